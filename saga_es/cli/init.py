"""`saga-es init`: write a small application that runs, and is crash-tested by its own tests."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from saga_es.cli.options import FAILURE, fail, reported
from saga_es.cli.terminal import say


@click.command(short_help="Write a small application into an empty folder.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Write a small application into FOLDER, which is made, or is empty.

    A saga, a service with a table and routes of its own that is safe to repeat, and tests that kill the saga at every
    event and a real process by kill -9.
    """
    with reported():
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            fail(f"{folder} is not empty; name a new folder", FAILURE)
        for source, target in _copies(files("saga_es.cli") / "new_application", folder):
            target.parent.mkdir(exist_ok=True)
            target.write_text(source.read_text())
            say(str(target))
    say(f"Next: cd {folder} && pip install 'saga-es[server]' pytest mypy && pytest && saga-es serve")


def _copies(source: Traversable, target: Path) -> list[tuple[Traversable, Path]]:
    """The files below a folder of the package, each with its place; `.tmpl` is taken off the names."""
    if source.is_file():
        return [(source, target)]
    inside = sorted(source.iterdir(), key=lambda entry: entry.name)
    return [copy for entry in inside for copy in _copies(entry, target / entry.name.removesuffix(".tmpl"))]
