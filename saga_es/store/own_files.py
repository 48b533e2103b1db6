"""Files that are their owner's alone, and that nobody else can have put there: what we write, we make."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

OWNERS = 0o600
"""The mode of a file that holds what the log holds."""

OWNERS_FOLDER = 0o700


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to; it takes the name, and the place of an older one, when all of it is on the disk.

    What stands beside under the name of the partial file is removed, not opened: it may be a link, or somebody else's.

    Raises:
        OSError: It cannot be written.
    """
    beside = path.with_name(path.name + ".part")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNERS), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def is_planted(path: Path) -> bool:
    """Whether a path is a link that another user has made: root's links, and our own, are meant."""
    try:
        about = path.lstat()
    except OSError:
        return False
    return path.is_symlink() and about.st_uid not in {0, os.geteuid()}
