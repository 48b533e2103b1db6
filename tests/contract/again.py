"""The tests of other modules, collected once more where other fixtures stand."""

from __future__ import annotations

from collections.abc import Collection
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
                found[f"test_{short}__{name.removeprefix('test_')}"] = thing
            elif isinstance(thing, FixtureFunctionDefinition):
                found[name] = thing
    return found
