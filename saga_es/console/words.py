"""The texts of the pages: English as they stand in the code, other languages from catalogues (`locale/*.po`)."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

LANGUAGES: Mapping[str, str] = {"en": "English", "ja": "日本語"}

STATUS_WORDS: Mapping[str, str] = {
    "PENDING": "Pending",
    "IN_PROGRESS": "In progress",
    "COMPLETED": "Completed",
    "COMPENSATING": "Compensating",
    "COMPENSATED": "Compensated",
    "FAILED": "Failed",
    "SKIPPED": "Skipped",
    "paused": "Paused",
    "retrying": "Retrying",
    "waiting": "Waiting",
    "stuck": "Stuck",
}

SINCE_WORDS: Mapping[str, str] = {
    "": "any time",
    "1h": "the last hour",
    "24h": "the last day",
    "7d": "the last week",
}

COLUMN_WORDS: Mapping[str, str] = {
    "steps": "Steps",
    "what": "What is happening",
    "attempts": "Attempts",
    "started": "Started",
    "took": "Took",
    "tags": "Tags",
}

WITHIN_WORDS: Mapping[str, str] = {"hour": "the last hour", "day": "the last day", "week": "the last week"}


@cache
def catalogue(language: str) -> dict[str, str]:
    """The translations of a language, by the English text; empty for English."""
    if language == "en":
        return {}
    return parsed((files(__package__) / "locale" / f"{language}.po").read_text("utf-8"))


def translated(language: str, text: str) -> str:
    """A text in a language; in English where the catalogue lacks it."""
    return catalogue(language).get(text) or text


def parsed(po: str) -> dict[str, str]:
    """The messages of a catalogue in the format of gettext, without plurals and contexts."""
    found: dict[str, str] = {}
    name, texts = "", {"msgid": "", "msgstr": ""}
    for line in [*po.splitlines(), "msgid"]:
        word, _, rest = line.partition(" ")
        if word == "msgid":
            if texts["msgid"]:
                found[texts["msgid"]] = texts["msgstr"]
            texts = {"msgid": "", "msgstr": ""}
        if word in texts:
            name, line = word, rest  # noqa: PLW2901 (what is left of the line)
        if line.startswith('"'):
            texts[name] += ast.literal_eval(line)
    return found
