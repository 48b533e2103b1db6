"""What the pages that show code say is true: programs and commands are run, and do what stands below them."""

from __future__ import annotations

import inspect
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest

from saga_es.api import create_flask_app
from saga_es.cli import main
from saga_es.core import events as e
from saga_es.core.commands import Command
from saga_es.core.facts import Fact
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.control import Control
from tests.docs.event_table import found, with_tables
from tests.docs.pages import DOCS, MODEL, PAGES, README, Section, sections
from tests.docs.prompt import Prompt, exchanges, matches
from tests.support import processes

SECTIONS = [section for page in PAGES for section in sections(page)]
PROGRAMS = [section for section in (*SECTIONS, *sections(DOCS / "guide/deploying.md")) if section.programs]
TYPED = [page for page in PAGES if "```console" in page.read_text()]


# ── Programs ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("section", PROGRAMS, ids=[f"{section.page}: {section.title}" for section in PROGRAMS])
def test_a_program_prints_what_stands_below_it(section: Section, tmp_path: Path) -> None:
    """Each program runs as it stands, in a folder with the files of its section, and prints exactly that."""
    for block in section.blocks:
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text)
    for program, output in section.programs:
        done = processes.run("-c", program, cwd=tmp_path, env=os.environ, timeout=60)
        assert done.stdout == output, done.stderr
        assert done.returncode == 0, done.stderr


# ── Commands ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def prompt(tmp_path: Path) -> Iterator[Prompt]:
    """A prompt in an empty folder."""
    prompt = Prompt(tmp_path)
    yield prompt
    prompt.close()


@pytest.mark.parametrize("page", TYPED, ids=[page.stem for page in TYPED])
def test_what_is_typed_answers_what_is_shown(page: Path, prompt: Prompt, tmp_path: Path) -> None:
    """From the top of the page to its bottom: files are made, servers started, commands run."""
    for block in (block for section in sections(page) for block in section.blocks):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text)
        if block.language == "console":
            for typed, answer in exchanges(block.text):
                prompt.type(typed, answer)


def test_each_command_is_there_in_all_three_ways(tmp_path: Path) -> None:
    """As the table of commands writes them: the method and its arguments, the route, the command and its options."""
    node = Node(Settings(database_url=f"sqlite:///{tmp_path}/empty.db"))
    routes = {(m, rule.rule) for rule in create_flask_app(node).url_map.iter_rules() for m in rule.methods or ()}
    page = (DOCS / "saga-model" / "operating.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| (.*) \| (`GET` of )?`(\S+)` \| `saga-es ([^`]+)` \|$", page, re.MULTILINE)
    shown = set()
    for python, is_get, path, command in rows:
        assert ("GET" if is_get else "POST", f"/api/saga/<string:transaction_id>/{path}") in routes, path
        first, *rest = shlex.split(command)
        order = main.get_command(click.Context(main), first)
        assert order is not None, command
        params = order.make_context(first, rest).params
        assert params.get("saga_id", params.get("saga_ids")) in {"ID", ("ID",)}, command
        if not is_get:
            name, arguments = re.fullmatch(r"`engine\.(\w+)\((.*)\)`", python).groups()  # type: ignore[union-attr]  # or it fails
            asked = ["self", *arguments.replace("=", "").split(", ")]
            assert list(inspect.signature(getattr(Control, name)).parameters) == asked, name
            shown.add(name.title().replace("_", ""))
    assert shown == {command.__name__ for command in get_args(Command)} - {"SendSignal", "Revoke", "Reply"}


def test_what_is_shown_differs_from_what_is_said_when_a_word_does() -> None:
    """Blanks and `…` are all that is forgiven."""
    assert matches("a … c\n\nd", "a  bb c \nd\n")
    assert not matches("a … c", "a bb cd")
    assert not matches("a … c", "a\nb c")


# ── Whole pages ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_block_of_the_pages_is_run_or_compared() -> None:
    """A program is followed by what it prints, unless it is a file; there are no other languages."""
    for section in SECTIONS:
        blocks = section.blocks
        programs = [block for block in blocks if block.language == "python" and block.file is None]
        outputs = [block for block in blocks if block.language == "text"]
        assert len(programs) == len(outputs) == len(section.programs), section.title
        assert {block.language for block in blocks} <= {"python", "text", "console"}, section.title
        assert blocks, f"{section.title} shows nothing"


def test_every_link_leads_somewhere() -> None:
    """To a file that is there, and to a heading that it has; in the README, too."""
    for page in (README, *DOCS.rglob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in _anchors(there), f"{page.name}: {target}"


def _anchors(page: Path) -> set[str]:
    return {_anchor(title) for title in re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)}


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


# ── Events and facts ─────────────────────────────────────────────────────────────────────────────────────


def test_the_tables_of_events_and_facts_are_those_of_the_code() -> None:
    """`make docs` would change nothing."""
    page = MODEL.read_text()
    assert with_tables(page) == page, "run `make docs`"


def test_every_event_comes_of_a_fact_and_every_fact_leads_to_an_event() -> None:
    """Nothing in the log is out of reach, and nothing that happens is without effect."""
    leads, _ = found()
    assert {lead.event for lead in leads} == {event.__name__ for event in get_args(e.SagaEvent)}
    assert {lead.fact for lead in leads} == {fact.__name__ for fact in get_args(Fact)}
