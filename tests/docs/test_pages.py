"""The pages have one form: lines that fit, an index that names them all, decisions that are built alike."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, README

PAGES = [README, README.parent / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
MOST_COLUMNS = 120
MOST_LINES_OF_A_DECISION = 40
PRINTED = {"", "console", "text", "mermaid"}
"""Blocks that show what a program prints, or a file as it is: nobody can break their lines."""

DECISION = re.compile(
    r"# (?P<number>\d{3}): [^\n]+\n\n"
    r"Status: (accepted|replaced by \[\d{3}\]\([\w.-]+\))\n"
    r"Date: \d{4}-\d{2}-\d{2}\n\n"
    r"## Context\n.+\n\n## Decision\n.+\n\n## Consequences\n.+\n",
    flags=re.DOTALL,
)


def name(page: Path) -> str:
    """The page's path from the top of the project."""
    return str(page.relative_to(README.parent))


def lines_of_prose_and_code(text: str) -> Iterator[tuple[int, str]]:
    """The lines that a writer can break: not the rows of tables, not what a program printed or wrote."""
    fence, is_generated = None, False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("<!-- ") and "make " in line:
            is_generated = line.endswith("begin -->")
        elif line.startswith("```"):
            fence = line.removeprefix("```") if fence is None else None
        elif not (is_generated or fence in PRINTED or line.startswith("| ")):
            yield number, line


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_fit_into_120_columns(page: Path) -> None:
    """Rows of tables, output and generated parts are excepted: breaking them would change what they say."""
    too_long = [number for number, line in lines_of_prose_and_code(page.read_text()) if len(line) > MOST_COLUMNS]
    assert not too_long, f"{name(page)}: lines {too_long}"


def test_what_is_excepted_is_only_what_cannot_be_broken() -> None:
    """Prose and programs count, whatever stands between them."""
    shown = (
        "a\n```text\nb\n```\nc\n```python\nd\n```\n| e |\n<!-- make bench: begin -->\nf\n<!-- make bench: end -->\ng\n"
    )
    assert [line for _, line in lines_of_prose_and_code(shown)] == ["a", "c", "d", "g"]


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda page: page.stem[:3])
def test_a_decision_has_status_date_context_decision_and_consequences(decision: Path) -> None:
    """In this order, under the number of its file, and on one page."""
    text = decision.read_text()
    form = DECISION.fullmatch(text)
    assert form, name(decision)
    assert form["number"] == decision.name[:3]
    assert len(text.splitlines()) <= MOST_LINES_OF_A_DECISION


def test_decisions_are_numbered_without_gaps() -> None:
    """So that a number names one decision for ever."""
    assert [int(decision.name[:3]) for decision in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_the_index_names_every_page() -> None:
    """Each page of docs/ is linked from docs/README.md, and each decision with it."""
    index = DOCS / "README.md"
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in re.findall(r"\]\(([^)]+)\)", index.read_text())}
    assert {*DOCS.rglob("*.md")} - {index} <= linked


PUBLIC = dict(re.findall(r"^\| `(saga_es[.\w]*)` \| (.*) \|$", (DOCS / "public-api.md").read_text(), re.MULTILINE))


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_of_a_module_are_those_of_the_page(module: str) -> None:
    """No more and no fewer: what the page does not name is internal."""
    found = importlib.import_module(module)
    names = getattr(found, "__all__", None) or [
        name for name, value in vars(found).items() if isinstance(value, type) and value.__module__ == module
    ]
    assert sorted(re.findall(r"`(\w+)`", PUBLIC[module])) == sorted(names)


def test_the_page_names_every_public_module() -> None:
    """Each module at the root of the package."""
    package = README.parent / "saga_es"
    at_the_root = {f"saga_es.{path.stem}" for path in package.glob("*.py") if not path.stem.startswith("__")}
    assert {*PUBLIC} - {
        "saga_es",
        "saga_es.access",
        "saga_es.django",
        "saga_es.participant",
        "saga_es.participant.messaging",
        "saga_es.publish",
        "saga_es.testing",
    } == at_the_root


PATH = re.compile(
    r"`((?:saga_es/|tests/|services/|migrations/|benchmarks/|core/|runtime/|store/|definition/|node/|cli/)[\w./-]*)`"
)


@pytest.mark.parametrize("page", PAGES[2:], ids=name)
def test_a_path_on_a_page_is_there(page: Path) -> None:
    """A page names files by their path from the top of the project, or of the package."""
    top = README.parent
    gone = [
        path
        for path in PATH.findall(page.read_text())
        if not any((at / path).exists() for at in (top, top / "saga_es"))
    ]
    assert not gone, f"{name(page)}: {gone}"


def test_the_glossary_says_each_word_once() -> None:
    """One meaning for one word."""
    rows = re.findall(r"^\| ([^|]+) \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    words = [word for row in rows if row not in {"word", "---"} for word in row.split(", ")]
    assert len(words) == len(set(words))


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    """Versions with their dates, the unreleased one above them, and under each only the known kinds of change."""
    text = (README.parent / "CHANGELOG.md").read_text()
    first, *released = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert first == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", title) for title in released)
    project = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]
    assert released[0].startswith(f"[{project['version']}] - "), "the newest release is the project's version"
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= kinds


RETIRED = re.compile(
    r"\b(bells?|errands?|patience|hearing|whoever|that one|turn(s|ed|ing)? round|following views?)\b",
    flags=re.IGNORECASE,
)
"""Words that were given up for the field's, and turns of phrase that point instead of naming."""


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_a_page_has_the_words_of_the_glossary(page: Path) -> None:
    """One word for one thing: the words that were given up stay away."""
    said = [
        (number, found[0])
        for number, line in lines_of_prose_and_code(page.read_text())
        if (found := RETIRED.search(line.replace("saga_bells", "")))
    ]
    assert not said, f"{name(page)}: {said}"
