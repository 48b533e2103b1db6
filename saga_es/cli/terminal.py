"""What the commands write: text is text, whatever stands in it.

Names, ids, inputs and errors come from users, participants and imported files. None of them may move the cursor, change
colours, reverse the reading direction, hide characters, add a line, or be read as markup.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from saga_es.core.describe import is_plain, plain

PIPED_WIDTH = 250
"""Columns of a table that no terminal shows."""

_IN_JSON = re.compile(r"[^\x20-\x7e]")

errors = Console(stderr=True, highlight=False, markup=False, emoji=False)
"""Everything that is no data goes to stderr."""


def screen() -> Console:
    """For tables on stdout."""
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width)


def cell(text: str, style: str = "") -> Text:
    """A text of anybody's, for a table or a line."""
    return Text(plain(text), style=style)


def say(text: str) -> None:
    """Print one line on stdout."""
    click.echo(plain(text))


def print_json(value: Any) -> None:
    """Print JSON for machines on one line; what a terminal might heed is escaped, so that it is the same JSON."""
    print_json_text(msgspec.json.encode(value, enc_hook=str).decode())


def print_json_text(text: str, before: str = "") -> None:
    """Print a text that is JSON, after some words."""
    click.echo(plain(before) + _IN_JSON.sub(_escaped, text))


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if is_plain(character):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))
