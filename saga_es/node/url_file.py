"""The URL of the database in a file: a password in a variable or a flag is seen by more than the process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

LARGEST = 16_384
"""More characters than any URL has."""

_BOTH = ("database_url", "database_url_file")


class BadUrlFile(ValueError):
    """The file has no URL; the message shows nothing of what it has."""


def one_of_both(stronger: Mapping[str, object], weaker: Mapping[str, object]) -> dict[str, object]:
    """Settings of two sources: a URL of the stronger replaces a file of the weaker, and the other way round."""
    says = any(stronger.get(name) is not None for name in _BOTH)
    kept = {name: value for name, value in weaker.items() if not (says and name in _BOTH)}
    return {**kept, **{name: value for name, value in stronger.items() if value is not None}}


def url_in(file: str) -> str:
    """The URL that a file holds, as one line.

    Raises:
        BadUrlFile: It cannot be read, or holds something else.
    """
    try:
        with Path(file).open(encoding="utf-8") as opened:
            text = opened.read(LARGEST).strip()
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadUrlFile(f"cannot read {file!r}: {why}; write the URL of the database into it") from error
    if "://" not in text or len(text.splitlines()) > 1:
        raise BadUrlFile(f"{file!r} holds no URL of a database; write one into it, on one line")
    return text
