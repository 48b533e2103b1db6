"""A connection to the database that is cut at any message: before it arrives, or before its answer does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.cutting import cut_everywhere


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("loses_answer", [False, True], ids=["on the way there", "on the way back"])
def test_a_saga_ends_well_wherever_its_connection_is_cut(
    database_url: str,
    loses_answer: bool,  # noqa: FBT001 (a case)
    tmp_path: Path,
) -> None:
    """What was in doubt is settled by reading: each call had its committed intent, and was made under one key.

    Each second message, for a saga takes few of them: `make torture` cuts at every one.
    """
    cuts: list[None] = []
    found = cut_everywhere(
        database_url, tmp_path, loses_answer=loses_answer, stride=2, was_cut=lambda: cuts.append(None)
    )
    assert found.faults == []
    assert len(cuts) > 1
