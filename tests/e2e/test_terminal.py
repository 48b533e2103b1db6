"""Text is text: nothing that a saga carries moves a cursor, hides, reverses, adds a line or is read as markup."""

from __future__ import annotations

import json
import logging
from io import StringIO
from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_es import App, Saga, StepRejected
from saga_es.cli.options import show_bug
from saga_es.cli.terminal import cell
from saga_es.core.describe import plain
from saga_es.logs import logger
from saga_es.node.logs import _Rendered
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from tests.e2e.conftest import run_cli

NASTY = {
    "markup": "[/x] [red]no[/red] [link=https://evil.example]a[/link] :bomb:",
    "clear screen": "\x1b[2J\x1b]0;title\x07",
    "C1": "\x9b31m\x85\x90q",
    "right to left": "a\u202eexe.\u2066b\u2069",
    "zero width": "a\u200b\u200d\u2060\ufeffb",
    "lines": "one\ntwo\rthree\u2028four\u2029five\x0bsix\x0cseven",
    "tags": "\U000e0041\U000e007f\ufff9",
}
HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}


def shown_badly(text: str) -> list[str]:
    """What a terminal would heed or a reader would not see, beside the ends of lines."""
    return [f"U+{ord(character):04X}" for character in text if character != "\n" and category(character) in HIDDEN]


@given(st.text())
def test_a_text_that_is_shown_has_nothing_hidden(text: str) -> None:
    """Whatever it was; and what was plain stays as it is."""
    assert shown_badly(plain(text)) == []
    assert "\n" not in plain(text)
    assert plain(plain(text)) == plain(text)
    if not any(category(character) in HIDDEN for character in text):
        assert plain(text) == text


@pytest.mark.parametrize("form", ["console", "logfmt", "json"])
def test_the_traceback_of_a_bug_has_nothing_hidden(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the command ends with it, and in a log line, a host's too: its message may be a participant's."""
    error = RuntimeError("".join(NASTY.values()))
    show_bug(RuntimeError, error, None)
    found = (RuntimeError, error, None)
    record = logging.LogRecord("shop", logging.ERROR, "", 0, "%s", ("".join(NASTY.values()),), found)
    written, ours = StringIO(), logging.getLogger("saga_es")
    hosts = logging.StreamHandler(written)
    ours.addHandler(hosts)
    try:
        logger.error("a request failed", exc_info=error)
    finally:
        ours.removeHandler(hosts)
    shown = capsys.readouterr().err + _Rendered(form).format(record) + written.getvalue()
    assert shown.count("RuntimeError") >= 3
    assert shown_badly(shown) == []


def test_japanese_and_wide_blanks_stay_as_they_are() -> None:
    """An ideographic space is a blank, and no danger."""
    assert plain("申込\u3000受付 é\u00a0ß") == "申込\u3000受付 é\u00a0ß"
    assert cell("[/x]").plain == "[/x]"


@pytest.fixture(params=["markup", "all"])
def carried(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, dict[str, str]]:
    """A text that a saga carries everywhere: the text, the saga's id, and the settings to read it."""
    text = "".join(NASTY.values()) if request.param == "all" else NASTY[request.param]
    saga = Saga(f"order {text[:80]}")

    def pay(input: dict[str, str]) -> dict[str, str]:  # noqa: A002 (the field's word)
        return input

    saga.step(compensation=None, title=f"Pay {text}")(pay)

    @saga.step(compensation=None)
    def ship() -> None:
        raise StepRejected(text)

    url = f"sqlite:///{tmp_path / 'a.db'}"
    node = Node(Settings.load({"database_url": url}, environ={}), App(sagas=[saga]))
    node.open()
    try:
        handle = node.engine.start(saga, {"note": text, text: "key"}, tags={"note": "x"})
        handle.result(20)
    finally:
        node.close()
    return text, handle.saga_id, {"SAGA_ES_DATABASE_URL": url, "SAGA_ES_APP": "tests.support.worker_app"}


def test_every_command_shows_it_as_text(carried: tuple[str, str, dict[str, str]]) -> None:
    """Tables, stories, the log, reasons: none breaks, and none has anything hidden."""
    _text, saga_id, settings = carried
    commands = (
        ["list"],
        ["show", saga_id],
        ["events"],
        ["events", saga_id],
        ["explain", saga_id],
        ["verify"],
        ["check"],
    )
    for command in commands:
        done = run_cli(*command, settings=settings)
        assert done.returncode in {0, 7}, (command, done.stderr)
        assert shown_badly(done.stdout) == [], command
        assert shown_badly(done.stderr) == [], command
        assert "Traceback" not in done.stderr, command
    listed = run_cli("list", settings=settings).stdout
    assert len(listed.splitlines()) == 2, listed


def test_json_for_machines_is_the_same_json(carried: tuple[str, str, dict[str, str]]) -> None:
    """Escaped for a terminal, and equal when it is read."""
    text, saga_id, settings = carried
    done = run_cli("show", saga_id, "--json", settings=settings)
    assert shown_badly(done.stdout) == []
    story = json.loads(done.stdout)
    assert story["input"]["note"] == text
    assert story["steps"][0]["name"] == f"Pay {text}"
    assert text in story["error"]
