"""Progress bars on stderr, with rate and remaining time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from saga_es.cli.terminal import errors


class RateColumn(ProgressColumn):
    """The rate of the work.

    Args:
        what: The unit, such as `events`.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what

    def render(self, task: Task) -> Text:
        """The present rate, per second."""
        rate = task.finished_speed or task.speed
        return Text(f"{rate:,.0f} {self._what}/s" if rate else "")


@contextmanager
def advancing(title: str, what: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show a bar; the yielded function advances it by a number of units."""
    with _bar(title, what) as progress:
        task = progress.add_task(title, total=total)
        yield lambda more: progress.advance(task, more)


@contextmanager
def reaching(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar of events; the yielded function sets the position reached, and the last position."""
    with _bar(title, "events") as progress:
        task = progress.add_task(title, total=None)

        def reached(position: int, last: int) -> None:
            progress.update(task, completed=position, total=max(position, last))

        yield reached


def _bar(title: str, what: str) -> Progress:
    columns = (
        TextColumn(title, markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(what),
        TimeRemainingColumn(),
    )
    # On one screen, output goes above the bar; a file or a pipe gets the output unchanged.
    is_one_screen = sys.stdout.isatty()
    return Progress(*columns, console=errors, disable=not errors.is_terminal, redirect_stdout=is_one_screen)
