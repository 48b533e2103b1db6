"""The project of a folder: its `pyproject.toml` names the application, as far as its owner reaches."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

from saga_es.errors import SettingsError


def project_folder(start: Path) -> Path | None:
    """The folder of the nearest `pyproject.toml` at or above a folder, as far as its owner reaches.

    A folder above may be somebody else's, or everybody's, such as `/tmp`: a file there would choose the code that runs.
    """
    return next((folder for folder in _of_one_owner(start) if (folder / "pyproject.toml").is_file()), None)


def _of_one_owner(start: Path) -> Iterator[Path]:
    """A folder, and those above it, up to the root of its repository or the first that is not its owner's alone."""
    owner = start.stat().st_uid
    for folder in [start, *start.parents]:
        about = folder.stat()
        if folder != start and (about.st_uid != owner or about.st_mode & stat.S_IWOTH):
            return
        yield folder
        if (folder / ".git").exists():
            return


def app_of_project(start: Path) -> object:
    """The application that the project of a folder names; None when there is no project, or it names none.

    Raises:
        SettingsError: The project's file cannot be read.
    """
    folder = project_folder(start)
    if folder is None:
        return None
    with (folder / "pyproject.toml").open("rb") as file:
        try:
            tool = tomllib.load(file).get("tool", {})
        except tomllib.TOMLDecodeError as error:
            raise SettingsError([f"app: {folder / 'pyproject.toml'} cannot be read: {error}"]) from error
    return tool.get("saga_es", {}).get("app")
