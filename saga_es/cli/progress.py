"""The bar of work that takes long: how far, how fast, how long yet. On stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from saga_es.cli.options import errors


class RateColumn(ProgressColumn):
    """So many a second.

    Args:
        what: Of what.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what

    def render(self, task: Task) -> Text:
        """The present rate."""
        rate = task.finished_speed or task.speed
        return Text(f"{rate:,.0f} {self._what}/s" if rate else "")


@contextmanager
def advancing(title: str, what: str, total: int) -> Iterator[Callable[[int], object]]:
    """A bar that advances by as many as it is told of."""
    with _bar(title, what) as progress:
        task = progress.add_task(title, total=total)
        yield lambda more: progress.advance(task, more)


@contextmanager
def reaching(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of events that is told the position it has reached, and the last one there is."""
    with _bar(title, "events") as progress:
        task = progress.add_task(title, total=None)

        def told(position: int, last: int) -> None:
            progress.update(task, completed=position, total=max(position, last))

        yield told


def _bar(title: str, what: str) -> Progress:
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), RateColumn(what), TimeRemainingColumn())
    # What is printed meanwhile goes above the bar where both are on one screen; a file or a pipe gets it as it is.
    is_one_screen = sys.stdout.isatty()
    return Progress(*columns, console=errors, disable=not errors.is_terminal, redirect_stdout=is_one_screen)
