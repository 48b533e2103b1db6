"""The filters of `saga-es list`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from saga_es.core.state import SagaStatus
from saga_es.store.queries.filters import MOST_TAGS, age_s, tag_of


def age(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """Parse the age of an option, in seconds.

    Raises:
        BadParameter: It is none.
    """
    with _as_usage():
        return None if text is None else age_s(text)


def tags_of(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Parse the tags of an option.

    Raises:
        BadParameter: A tag is invalid, or there are too many.
    """
    if len(texts) > MOST_TAGS:
        raise click.BadParameter(f"at most {MOST_TAGS}, not {len(texts)}")
    with _as_usage():
        return tuple(map(tag_of, texts))


@contextmanager
def _as_usage() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


FILTERS = [
    click.option(
        "--status", type=click.Choice(list(SagaStatus), case_sensitive=False), help="Only sagas with this status."
    ),
    click.option("--name", help="Only sagas of this definition."),
    click.option(
        "--tag",
        "tags",
        multiple=True,
        callback=tags_of,
        metavar="NAME:VALUE",
        help="Only sagas with this tag; may be repeated, the rarest first.",
    ),
    click.option(
        "--older-than",
        "older_than_s",
        callback=age,
        metavar="AGE",
        help="Only sagas at least this old: 90, 10m, 2h, 3d.",
    ),
    click.option("--newer-than", "newer_than_s", callback=age, metavar="AGE", help="Only sagas at most this old."),
    click.option("--error", metavar="TEXT", help="Only sagas whose error contains this text, in upper or lower case."),
    click.option("--paused/--not-paused", default=None, help="Only sagas that are paused, or only sagas that are not."),
    click.option("--parent", metavar="ID", help="Only the child sagas of this saga."),
]
"""Options; each sets one attribute of a `SagaFilter`."""
