"""The lock of CI fits what the package asks for, on each Python; no lower bound allows a version with a known hole."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.processes import ROOT

PYTHONS = ("3.11.7", "3.12.1", "3.13.0")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = [Requirement(line) for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines() if line[0] != "#"]

HOLES = {
    "cryptography": "46.0.4",
    "flask": "3.1.2",
    "jinja2": "3.1.5",
    "marshmallow": "3.26.1",
    "pymysql": "1.1.0",
    "requests": "2.32.3",
    "urllib3": "2.6.2",
    "waitress": "3.0.0",
    "werkzeug": "3.1.5",
}
"""The newest version of each package that has a hole which its own project has published."""


def asked_for() -> Iterator[Requirement]:
    """What the package and its extras ask for, without themselves."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in (Requirement(line) for lines in groups for line in lines):
        if requirement.name != PROJECT["name"]:
            yield requirement


def pinned(python: str) -> dict[str, Version]:
    """The versions of the lock on a Python."""
    about = {"python_version": python[:4], "python_full_version": python}
    pins: dict[str, Version] = {}
    for line in LOCK:
        if line.marker is None or line.marker.evaluate(about):
            (exactly,) = line.specifier
            assert exactly.operator == "=="
            assert pins.setdefault(canonicalize_name(line.name), Version(exactly.version)) == Version(exactly.version)
    return pins


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_fits_what_the_package_asks_for(python: str) -> None:
    """Else nothing could be installed with it. `make lock` writes it anew."""
    pins = pinned(python)
    wrong = [
        f"{requirement}, and the lock has {found}"
        for requirement in asked_for()
        if (found := pins.get(canonicalize_name(requirement.name))) and found not in requirement.specifier
    ]
    assert wrong == []
    assert {"flask", "sqlalchemy", "pytest", "waitress"} <= pins.keys()


@pytest.mark.parametrize("name", sorted(HOLES))
def test_no_version_with_a_known_hole_is_allowed(name: str) -> None:
    """By any of the lists in which the package stands."""
    found = [requirement for requirement in asked_for() if canonicalize_name(requirement.name) == name]
    assert found
    assert [str(one) for one in found if Version(HOLES[name]) in one.specifier] == []


def test_ci_installs_the_versions_of_the_lock() -> None:
    """And no command of a user does."""
    assert 'PIP_CONSTRAINT="$PWD/.ci/constraints.txt"' in (ROOT / ".ci" / "run").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert makefile.count("PIP_CONSTRAINT") == makefile.partition("\nsbom:")[2].partition("\n\n")[0].count(
        "PIP_CONSTRAINT"
    )
