"""The protocol of ownership, as a model that `spin` looks at in every order of its steps."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.left_out import left_out

MODEL = Path(__file__).with_name("ownership.pml")
DEEPEST = 1_000_000
"""The longest way that is looked at; the longest there is has some thousands of steps."""

SOUND = {
    "a worker dies, and one that lives counts as gone": "-DSENT=1",
    "another signal comes at any moment": "-DDEATHS=0 -DBURIALS=0",
    "two signals are waited for": "-DWANTED=2 -DDEATHS=0 -DBURIALS=0",
}

FAULTS = {
    "the expected version is ignored": "-DVERSION_IGNORED",
    "a takeover that the log does not tell": "-DTAKEOVER_UNTOLD -DBURIALS=0",
    "what was under way is not done again after a takeover": "-DNOT_RESUMED -DBURIALS=0",
    "nobody is ever buried": "-DNEVER_BURIED -DBURIALS=0",
    "the call is made before its intent is committed": "-DCALLED_FIRST -DDEATHS=0 -DBURIALS=0",
    "a refused append is taken for written": "-DREFUSED_IS_WRITTEN -DDEATHS=0",
    "an acknowledgement takes along what came since the look": "-DACKNOWLEDGES_ALL -DWANTED=2 -DDEATHS=0 -DBURIALS=0",
    "a notification in a transaction of its own": "-DNOTIFIED_APART -DWANTED=2 -DDEATHS=0 -DBURIALS=0",
    "an answer that met another writer's event is forgotten": "-DFACT_FORGOTTEN -DDEATHS=0 -DBURIALS=0",
}


def checked(folder: Path, options: str) -> str:
    """What spin finds in the model with these options of the preprocessor."""
    for program in ("spin", "cc"):
        if shutil.which(program) is None:
            left_out("spin", f"there is no `{program}` to check the model of ownership with")
    shutil.copy(MODEL, folder / MODEL.name)
    commands = (
        ["spin", *options.split(), "-a", MODEL.name],
        ["cc", "-O1", "-w", "-DNFAIR=3", "-o", "pan", "pan.c"],
        ["./pan", "-a", "-f", f"-m{DEEPEST}"],
    )
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert "max search depth too small" not in done.stdout
    return done.stdout


def errors(found: str) -> int:
    """How many errors spin counted; it stops at the first."""
    count = re.search(r"errors: (\d+)", found)
    assert count, found
    return int(count[1])


@pytest.mark.parametrize("options", SOUND.values(), ids=SOUND)
def test_the_protocol_of_ownership_keeps_its_promises_in_every_order(tmp_path: Path, options: str) -> None:
    """No two workers advance the saga, no call is made before its intent, and the saga ends in every fair run."""
    found = checked(tmp_path, options)
    assert errors(found) == 0, found
    assert "unreached in claim" in found, "the claim was looked at"


@pytest.mark.parametrize("options", FAULTS.values(), ids=FAULTS)
def test_a_fault_in_the_protocol_is_found(tmp_path: Path, options: str) -> None:
    """A model that finds nothing wrong whatever is planted in it would prove nothing."""
    assert errors(checked(tmp_path, options)) == 1


def test_each_fault_that_the_model_can_have_is_planted() -> None:
    """A name that is misspelt would plant nothing."""
    there = set(re.findall(r"#if(?:def|ndef) (\w+)", MODEL.read_text())) - {"DEATHS", "BURIALS", "WANTED", "SENT"}
    assert there == {options.split()[0].removeprefix("-D") for options in FAULTS.values()}
