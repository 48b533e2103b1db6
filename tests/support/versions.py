"""Processes of several versions of saga_es on one database.

The versions are folders for PYTHONPATH: this tree, and wheels of released versions, unpacked. The wheels stand in
`tests/histories`; a note there says how each was made. What they depend on is what this version has.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from zipfile import ZipFile

from tests.e2e.conftest import environment
from tests.support.processes import ROOT
from tests.support.worker_app import Noted, noted

RELEASED = ROOT / "tests" / "histories"
THIS = ROOT
TIMEOUT_S = 150.0


def unpacked(version: str, folder: Path) -> Path:
    """A released version, in a folder of its own. A wheel of pure Python is unpacked as it is installed."""
    with ZipFile(RELEASED / f"saga_es-{version}-py3-none-any.whl") as wheel:
        wheel.extractall(folder)
    return folder


class Member:
    """A process of one version, and what it prints."""

    def __init__(self, version: Path, *command: str, folder: Path, name: str) -> None:
        self.name = name
        self._output = folder / f"{name}.log"
        settings = {"PYTHONPATH": str(version), "PYTHONDONTWRITEBYTECODE": "1", "SAGA_ES_APP": "versions_app"}
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, *command], cwd=folder, env=environment(**settings), stdout=output, stderr=output
            )
        self.pid = self._process.pid

    @property
    def said(self) -> str:
        """All that it has printed."""
        return self._output.read_text()

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(TIMEOUT_S)

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def exit_code(self) -> int:
        """Block until it has ended."""
        return self._process.wait(TIMEOUT_S)


class Fleet:
    """Processes of several versions, which run one application on one database. All are gone at the end of the block.

    Args:
        url: The database.
        folder: Their folder, in which the application is put.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self._members: list[Member] = []
        for name in ("versions_app", "versions_starter"):
            shutil.copy(ROOT / "tests" / "support" / f"{name}.py", folder)

    @classmethod
    @contextmanager
    def at(cls, url: str, folder: Path) -> Iterator[Self]:
        """A fleet, which ends with the block."""
        fleet = cls(url, folder)
        try:
            yield fleet
        finally:
            for member in fleet._members:
                member.kill()

    def worker(self, version: Path, name: str) -> Member:
        """A worker that has begun to start."""
        return self._started(version, name, "-m", "saga_es", "worker", "--lease-s", "2", "--database-url", self.url)

    def starter(self, version: Path, prefix: str, most: int = 10_000) -> Member:
        """A process that starts sagas, until `enough`, and runs none."""
        return self._started(version, prefix, "versions_starter.py", self.url, prefix, str(most))

    def command(self, version: Path, *arguments: str) -> Member:
        """A command on the database."""
        return self._started(version, "-".join(arguments), "-m", "saga_es", *arguments, "--database-url", self.url)

    def enough(self) -> None:
        """Let those that start sagas end."""
        (self.folder / "enough").touch()

    def calls(self) -> list[Noted]:
        """All calls so far."""
        return noted(self.ledger)

    def called_by(self, member: Member) -> int:
        """How many calls a worker has made."""
        return sum(call.pid == member.pid for call in self.calls())

    def _started(self, version: Path, name: str, *command: str) -> Member:
        member = Member(version, *command, folder=self.folder, name=name)
        self._members.append(member)
        return member
