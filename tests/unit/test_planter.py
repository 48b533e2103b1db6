"""The planter of `make mutants DEEP=1`: it plants one bug at a time, in code that runs."""

from __future__ import annotations

import types
from typing import Any

from tests.mutants.deep import modules, plant
from tests.mutants.planter import Planted, planted

TEXT = '''
class Box:
    limit = 3

    def holds(self, n: int) -> bool:
        """Whether it holds so many."""
        assert n > 0, "a message"
        return n <= self.limit and not self.is_shut()

    def is_shut(self) -> bool:
        return False
'''


def bugs() -> list[Planted]:
    return list(planted(TEXT))


def test_each_bug_is_one_change() -> None:
    """Assertions, docstrings and annotations are left alone."""
    assert [(bug.function, bug.was, bug.now) for bug in bugs()] == [
        ("Box.holds", "return n <= self.limit and (not self.is_shut())", "return None"),
        ("Box.holds", "n <= self.limit and (not self.is_shut())", "n <= self.limit or not self.is_shut()"),
        ("Box.holds", "n <= self.limit", "n < self.limit"),
        ("Box.holds", "not self.is_shut()", "self.is_shut()"),
        ("Box.is_shut", "return False", "return None"),
        ("Box.is_shut", "False", "True"),
    ]


def test_a_bug_is_planted_in_the_function_that_others_have() -> None:
    """Who has the class already has the bug, too."""
    module = types.ModuleType("boxes")
    module.__file__ = "boxes.py"
    exec(compile(TEXT, "boxes.py", "exec"), module.__dict__)  # noqa: S102 (the text stands above)
    box: Any = module.__dict__["Box"]()
    assert box.holds(3)
    plant(module, bugs()[2])
    assert not box.holds(3)
    assert box.holds(2)


def test_every_module_of_the_core_has_tests_for_its_bugs() -> None:
    """And there are some two thousand bugs."""
    found = list(modules("core"))
    assert all(module.groups for module in found)
    assert sum(len(module.bugs) for module in found) > 1500
