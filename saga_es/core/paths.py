"""Paths into the values of a saga: `cart`, `cart[lines]`, `input[legs][0]`. Plain data, so a plan can hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PATH = re.compile(r"([A-Za-z_]\w*)(\[\w+\])*")
"""A name, then keys or indexes; nothing cleverer."""

NOT_THERE = (LookupError, TypeError, ValueError)
"""What `look_up` raises where the path leads nowhere."""


def root_of(path: str) -> str:
    """The name at the start of a path."""
    return path.partition("[")[0]


def look_up(path: str, known: Mapping[str, Any]) -> Any:
    """The value at the path.

    Raises:
        LookupError, TypeError, ValueError: There is no value: see `NOT_THERE`.
    """
    name, *keys = re.findall(r"\w+", path)
    value = known[name]
    for key in keys:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value
