"""A contender: a process that is measured. This is the benchmark's end of the pipe to it."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

TIMEOUT_S = 120.0


class Unable(Exception):
    """The contender cannot run here; the message says why, in one line."""

    def __init__(self, why: str) -> None:
        super().__init__(" ".join(why.split())[:300])


class Contender:
    """A program of `benchmarks.contenders` in a process of its own.

    Args:
        name: The module.
        arguments: Its command line.

    Raises:
        Unable: The contender reports that it cannot run, or does not answer.
    """

    def __init__(self, name: str, *arguments: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.contenders.{name}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C must reach only the benchmark, which ends the contender
        )
        said = self._read(TIMEOUT_S)
        if "unable" in said:
            self.close()
            raise Unable(f"{name}: {said['unable']}")

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def ask(self, question: str, **about: Any) -> dict[str, Any]:
        """Send a question, and wait for the answer.

        Raises:
            Unable: The contender did not answer, ended, or failed.
        """
        assert self._process.stdin is not None
        print(json.dumps({"ask": question, **about}), file=self._process.stdin, flush=True)
        said = self._read(TIMEOUT_S)
        if "unable" in said:
            raise Unable(f"{self.name}: {said['unable']}")
        return said

    def kill(self) -> None:
        """Kill the process, as a crash would."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the process, and wait until it has ended."""
        self._process.communicate()  # the process ends when its input ends

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close() if kind is None else self.kill()

    def _read(self, timeout_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(timeout_s) else ""
        if not line:
            self.kill()
            raise Unable(f"{self.name} did not answer within {timeout_s:g} s, or ended")
        answer: dict[str, Any] = json.loads(line)
        return answer
