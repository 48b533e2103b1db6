"""Loading the application that a setting names: what is wrong with it is said so that it can be set right."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from saga_es.errors import SettingsError
from saga_es.node.app import App
from saga_es.node.node import load_app

APP = "from saga_es import App\napp = App(name='shop', version='1')\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project, which is where the command is given; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    return tmp_path


def test_an_application_is_found_in_the_folder_of_the_command(folder: Path) -> None:
    """Its module alone says enough when it is called `app` there."""
    (folder / "a_shop.py").write_text(APP)
    assert isinstance(load_app("a_shop"), App)
    assert load_app("a_shop:app") is load_app("a_shop")


def test_a_module_that_is_not_there_is_named(folder: Path) -> None:
    """With the place that was looked at."""
    with pytest.raises(SettingsError, match=f"no module 'no_shop'; looked for in {re.escape(str(folder))}"):
        load_app("no_shop.web:app")


def test_a_module_that_the_application_imports_is_told_from_the_application(folder: Path) -> None:
    """Otherwise one would look for the application, which is there."""
    (folder / "half_a_shop.py").write_text("import no_such_bank\n")
    with pytest.raises(SettingsError, match="no module 'no_such_bank', which 'half_a_shop' imports"):
        load_app("half_a_shop:app")


def test_a_module_without_an_application_says_so(folder: Path) -> None:
    """With the name that was asked for."""
    (folder / "empty_shop.py").write_text("")
    with pytest.raises(SettingsError, match=r"'empty_shop' has no saga_es\.App named 'shop'"):
        load_app("empty_shop:shop")


def test_a_module_in_the_folder_does_not_take_the_place_of_one_that_is_installed(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The explicit application is the installed one; the one that the folder's project names is the folder's."""
    installed = tmp_path_factory.mktemp("installed")
    (installed / "known_shop.py").write_text(APP)
    (folder / "known_shop.py").write_text("from saga_es import App\napp = App(name='planted')\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(installed)])
    assert load_app("known_shop").name == "shop"
    sys.modules.pop("known_shop")
    sys.path.remove(str(folder))
    (folder / "pyproject.toml").write_text('[tool.saga_es]\napp = "known_shop"\n')
    assert load_app("known_shop").name == "planted"
