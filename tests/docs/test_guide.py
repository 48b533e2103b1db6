"""The guide can be followed from an empty folder: each page of it is walked, command by command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import DOCS
from tests.docs.walk import walk

WALKED = {"getting-started.md": 12, "getting-started.ja.md": 12, "django.md": 7}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """An empty folder to walk in, and one for what the commands say."""
    empty, said = tmp_path / "empty", tmp_path / "said"
    empty.mkdir()
    said.mkdir()
    return empty, said


@pytest.mark.parametrize("page", WALKED)
def test_a_page_of_the_guide_can_be_followed(page: str, folders: tuple[Path, Path]) -> None:
    """Its files are made, its commands are typed in a real shell, and they say what the page shows."""
    assert walk(DOCS / "guide" / page, *folders) >= WALKED[page]


def test_a_page_that_shows_what_is_not_said_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """The walker compares: a wrong answer, and a file that is not made, are seen."""
    page = tmp_path / "page.md"
    page.write_text("```text\n# a.txt\n```\n\n```console\n$ cat a.txt && echo $((1 + 1))\n# a.txt\n2\n```\n")
    assert walk(page, *folders) == 1
    page.write_text("```console\n$ echo right\nwrong\n```\n")
    with pytest.raises(AssertionError, match="is not what is shown"):
        walk(page, *folders)
