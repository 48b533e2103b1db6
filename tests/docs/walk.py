"""A guide that is walked: its files are made, its commands typed in a real shell, and what they say is compared.

A block whose first line is `# name` is a file. In a block `console` a line `$ …` is typed, and what stands below it is
what it says; `…` stands for what varies. A command that only looks is repeated until what was ordered has come about.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from tests.docs.prompt import BETWEEN_LOOKS_S, LOOKING, exchanges, matches
from tests.e2e.conftest import TIMEOUT_S, environment
from tests.support.processes import ROOT

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_OF_A_JOB = re.compile(r"^bash: line \d+: +\d+ Killed .*\n", flags=re.MULTILINE)
"""What bash says of a job that was killed, whenever it notices."""
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")


class Shell:
    """A real shell in a folder; what it started in the background ends with it."""

    def __init__(self, folder: Path, said: Path) -> None:
        self._said, self._number = said, 0
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=environment(PATH=path, PYTHONPATH=str(ROOT), SAGA_ES_LEASE_S="2"),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def type(self, command: str) -> str:
        """Type a command; what it says, on both outputs."""
        assert self._bash.stdin is not None
        self._number += 1
        said, ended = self._said / f"{self._number}.said", self._said / f"{self._number}.ended"
        typed = f"{{ {command}\n}} < /dev/null > {shlex.quote(str(said))} 2>&1\ntouch {shlex.quote(str(ended))}\n"
        self._bash.stdin.write(typed.encode())
        self._bash.stdin.flush()
        deadline = monotonic() + 3 * TIMEOUT_S
        while not ended.exists():
            assert monotonic() < deadline, f"$ {command}\ndoes not end:\n{said.read_text()}"
            assert self._bash.poll() is None, f"$ {command}\nended the shell"
            sleep(BETWEEN_LOOKS_S / 2)
        return _OF_A_JOB.sub("", said.read_text())

    def close(self) -> None:
        """End the shell, and all that it started."""
        assert self._bash.stdin is not None
        os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.stdin.close()
        self._bash.wait()


@contextmanager
def shell(folder: Path, said: Path) -> Iterator[Shell]:
    """A shell in a folder, its notes in another."""
    opened = Shell(folder, said)
    try:
        yield opened
    finally:
        opened.close()


def walk(page: Path, folder: Path, said: Path) -> int:
    """Walk a page in an empty folder.

    Args:
        page: The page.
        folder: The folder, empty.
        said: Another folder, for what the commands say.

    Returns:
        How many commands were typed.
    """
    typed = 0
    with shell(folder, said) as opened:
        for language, text in _BLOCK.findall(page.read_text()):
            named = _FILE.match(text)
            if language != "console" and named is not None:
                file = folder / named[1]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            elif language == "console":
                for command, shown in exchanges(text):
                    _see(opened, command, shown)
                    typed += 1
    return typed


def _see(opened: Shell, command: str, shown: str) -> None:
    deadline = monotonic() + 2 * TIMEOUT_S
    said = opened.type(command)
    if command.endswith("&"):  # it goes on, and says more while nobody waits for it
        return
    while not matches(shown, said) and _only_looks(command) and monotonic() < deadline:
        sleep(BETWEEN_LOOKS_S)
        said = opened.type(command)
    assert matches(shown, said), f"$ {command}\n{said}\nis not what is shown:\n{shown}"


def _only_looks(command: str) -> bool:
    words = shlex.split(command)
    return words[:1] == ["saga-es"] and words[1] in LOOKING
