"""The planted bugs of `make mutants` keep up with the code they are planted in."""

from __future__ import annotations

import pytest

from tests.mutants.__main__ import MUTANTS, ROOT
from tests.mutants.mutant import Mutant
from tests.mutants.unplanted import unplanted


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_planted_bug_has_its_place_in_the_code(mutant: Mutant) -> None:
    """What it replaces stands there once, what comes of it is Python, and the tests that should find it are there."""
    text = (ROOT / mutant.file).read_text()
    compile(mutant.planted(text), mutant.file, "exec")
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / file).read_text()


def test_each_planted_bug_has_a_name_of_its_own() -> None:
    """And there are many."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) > 50


def test_a_bug_whose_place_is_gone_is_told() -> None:
    """It must not pass for one that was found."""
    with pytest.raises(LookupError, match="its place stands 0 times"):
        MUTANTS[0].planted("other code")


def test_a_function_that_handles_trouble_is_named_until_a_bug_is_planted_in_it() -> None:
    """The heartbeat catches an outage: without the bug that is planted there, the list of what has none names it."""
    module, function = "saga_es/runtime/chores.py", "Beat.run"
    elsewhere = [mutant for mutant in MUTANTS if mutant.name != "a heartbeat that failed is the last"]
    assert function in unplanted(ROOT, elsewhere)[module]
    assert function not in unplanted(ROOT, MUTANTS).get(module, [])
