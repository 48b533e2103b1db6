"""The pages that show code, cut into what can be run: programs, files, and what is typed at a prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
README = DOCS.parent / "README.md"
MODEL = DOCS / "saga-model.md"
PAGES = [
    *sorted((DOCS / "saga-model").glob("*.md")),
    DOCS / "guide/flask.md",
    DOCS / "participants.md",
    DOCS / "schedules.md",
    DOCS / "schema-evolution.md",
    DOCS / "time-travel.md",
    DOCS / "views.md",
]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file it shows; None when it is something to run, or its output."""
        found = re.match(r"# ([\w.]+)\n", self.text)
        return found[1] if found else None


@dataclass(frozen=True)
class Section:
    """A heading of the second level, and what stands below it."""

    page: str
    title: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        """Its blocks, in order."""
        return [Block(language, text) for language, text in _BLOCK.findall(self.text)]

    @property
    def programs(self) -> list[tuple[str, str]]:
        """Its programs, each with what it prints."""
        blocks = self.blocks
        following = [*blocks, Block("", "")][1:]
        return [
            (block.text, after.text)
            for block, after in zip(blocks, following, strict=True)
            if block.language == "python" and block.file is None and after.language == "text"
        ]


def sections(page: Path) -> Iterator[Section]:
    """The sections of a page."""
    for title, text in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", page.read_text(), flags=re.DOTALL | re.MULTILINE):
        yield Section(page.stem, title, text)
