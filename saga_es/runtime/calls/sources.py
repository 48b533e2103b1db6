"""Where a secret comes from: a text, a variable, a file or a function, read whenever it is needed."""

from __future__ import annotations

import os
from pathlib import Path

from saga_es.definition.credentials import Source

LARGEST = 262_144
"""More bytes than any token or bundle of certificates has."""


class NoCredentials(Exception):
    """A source gives nothing that can be used; the message shows nothing of what it gives."""


def text_of(source: Source) -> str:
    """What a source says now, without white space around it.

    Raises:
        NoCredentials: It says nothing.
    """
    if callable(source):
        try:
            said: object = source()  # it may return anything
        except Exception as error:
            raise NoCredentials(f"its function raised {type(error).__name__}") from error
        where = "its function"
    elif source.startswith("env:"):
        where = f"the variable {source[4:]}"
        said = os.environ.get(source[4:], "")
    elif source.startswith("file:"):
        where = repr(source[5:])
        said = _content(source[5:])
    else:
        where, said = "the setting", source
    if not isinstance(said, str) or not said.strip():
        raise NoCredentials(f"{where} is empty, or no text; put the secret there")
    return said.strip()


def _content(file: str) -> str:
    try:
        with Path(file).open(encoding="utf-8") as opened:
            return opened.read(LARGEST)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise NoCredentials(f"cannot read {file!r}: {why}; write the secret into it") from error
