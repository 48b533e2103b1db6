"""The tests of other modules, collected once more where other fixtures stand."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from types import ModuleType
from typing import Any

from _pytest.fixtures import FixtureFunctionDefinition


def once_more(*modules: ModuleType, apart_from: Collection[str] = ()) -> dict[str, Any]:
    """All tests of the modules but these, and the fixtures of their own, by name."""
    found: dict[str, Any] = {}
    for module in modules:
        short = module.__name__.rpartition(".test_")[2]
        for name, thing in vars(module).items():
            if name.startswith("test_") and name not in apart_from and thing.__module__ == module.__name__:
                found[f"test_{short}__{name.removeprefix('test_')}"] = _on_any_database(thing)
            elif isinstance(thing, FixtureFunctionDefinition):
                found[name] = thing
    return found


def _on_any_database(test: Callable[..., object]) -> Callable[..., object]:
    """The test without the databases that it names: it runs on what the other module's fixtures give it."""
    marks = getattr(test, "pytestmark", [])
    others = [mark for mark in marks if mark.args[:1] != ("database_url",)]
    if others == marks:
        return test

    @wraps(test)
    def again(**fixtures: object) -> object:
        return test(**fixtures)

    again.__dict__["pytestmark"] = others
    return again
