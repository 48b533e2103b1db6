"""What docs/saga-model.md shows is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "saga-model.md").read_text()
PROGRAMS = re.findall(r"## ([^\n]+)\n(?:(?!## ).)*?```python\n(.*?)```", PAGE, flags=re.DOTALL)
ENDS = {
    "One after the other": ["{'confirmed': 7}"],
    "At the same time": ["flight cancelled: no cover for 12A and room 301", "hotel cancelled", "COMPENSATED"],
    "The point of no return": ["COMPLETED 5"],
    "Trying again, and giving up": ["COMPENSATED closed for lunch"],
}


@pytest.mark.parametrize(("title", "program"), PROGRAMS, ids=[title for title, _ in PROGRAMS])
def test_a_program_of_the_page_prints_what_it_says(title: str, program: str, tmp_path: Path) -> None:
    """Each program runs as it stands, in an empty folder; what runs at the same time may print over each other."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60, capture_output=True, text=True
    )
    *before, last = ENDS[title]
    assert done.stdout.rstrip().endswith(last)
    assert all(said in done.stdout for said in before)
    assert len(done.stdout.replace("\n", "")) == len("".join(ENDS[title])), "and nothing else"


def test_every_section_has_its_program() -> None:
    """Nothing is shown that is not run."""
    assert {title for title, _ in PROGRAMS} == set(ENDS) == set(re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE))
