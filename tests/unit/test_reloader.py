"""The parent of a development server that starts itself anew: it watches files, and must take over nothing."""

from __future__ import annotations

import pytest

from saga_es.node.reloader import is_reloader_parent

FLASK = "/venv/bin/flask"
MODULE = "/venv/lib/python3.11/site-packages/flask/__main__.py"


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ("manage.py runserver", {}),
        ("/venv/bin/django-admin runserver 8000", {}),
        (f"{FLASK} run --debug", {}),
        (f"{FLASK} --app shop run --reload", {}),
        (f"{FLASK} --debug --app shop run", {}),
        (f"{MODULE} run", {"FLASK_DEBUG": "1"}),
        (f"{FLASK} run", {"FLASK_DEBUG": "true"}),
    ],
)
def test_the_parent_of_a_reloader_is_found(arguments: str, environ: dict[str, str]) -> None:
    """By its command line: nothing else tells that it will serve nothing. Its child has a mark in the environment."""
    assert is_reloader_parent(arguments.split(), environ)
    mark = {"RUN_MAIN": "true", "WERKZEUG_RUN_MAIN": "true"}
    assert not is_reloader_parent(arguments.split(), environ | mark)


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ("manage.py runserver --noreload", {}),
        ("manage.py migrate", {}),
        (f"{FLASK} run", {}),
        (f"{FLASK} run", {"FLASK_DEBUG": "0"}),
        (f"{FLASK} run --debug --no-reload", {}),
        (f"{FLASK} saga worker", {"FLASK_DEBUG": "1"}),
        ("/venv/bin/gunicorn shop:app", {"FLASK_DEBUG": "1"}),
        ("shop.py run --debug", {}),
        ("", {}),
    ],
)
def test_other_processes_take_over_what_was_interrupted(arguments: str, environ: dict[str, str]) -> None:
    """They serve themselves."""
    assert not is_reloader_parent(arguments.split(), environ)
