"""A prompt, as the pages show it: what is typed is run for real, and what it answers is compared."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic, sleep

import urllib3

from tests.e2e.conftest import TIMEOUT_S, Server, environment
from tests.support import processes

BETWEEN_LOOKS_S = 0.1
LOOKING = {"show", "list", "explain", "events"}
"""What only looks, and may be asked until what was ordered before has come to pass."""


def exchanges(text: str) -> Iterator[tuple[str, str]]:
    """What is typed, and the answer that is shown."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        typed, answer = re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*)\n?(.*)", part, flags=re.DOTALL).groups()  # type: ignore[union-attr]  # it always matches
        yield typed.replace("\\\n", " "), answer


def matches(shown: str, said: str) -> bool:
    """Whether that is what was said; `…` stands for anything within a line, and blanks are all alike."""
    pattern = "[^\n]*".join(re.escape(part) for part in _plain(shown).split("…"))
    return re.fullmatch(pattern, _plain(said)) is not None


def _plain(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.strip().splitlines())
    return "\n".join(line for line in lines if line)


class Prompt:
    """Types commands in a folder; what it started with `&` runs until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._settings = {"SAGA_ES_PORT": "0"}
        self._server: Server | None = None
        self._exit_code = 0
        self._http = urllib3.PoolManager()

    def type(self, command: str, shown: str) -> None:
        """Run a command, and see that it answers what is shown."""
        words = shlex.split(command)
        match words:
            case ["export", *assignments]:
                self._settings |= dict(text.split("=", 1) for text in assignments)
            case ["saga-es", "serve", *arguments, "&"]:
                self._server = Server(*arguments, settings=self._settings, cwd=self._folder)
                self._server.ready()
            case ["touch", name]:
                (self._folder / name).touch()
            case ["rm", name]:
                (self._folder / name).unlink()
            case _:
                self._see(words, shown)

    def close(self) -> None:
        """End what was started."""
        self._http.clear()
        if self._server is not None:
            self._server.close()

    def _see(self, words: list[str], shown: str) -> None:
        deadline = monotonic() + TIMEOUT_S
        said = self._answer(words)
        while not matches(shown, said) and _only_looks(words) and monotonic() < deadline:
            sleep(BETWEEN_LOOKS_S)
            said = self._answer(words)
        assert matches(shown, said), f"$ {shlex.join(words)}\n{said}\nis not what is shown:\n{shown}"

    def _answer(self, words: list[str]) -> str:
        match words:
            case ["echo", "$?"]:
                return str(self._exit_code)
            case ["curl", *arguments]:
                return self._curl(_curl_arguments(arguments))
            case ["saga-es", *arguments]:
                return self._run(["saga_es", *map(self._at_its_port, arguments)])
            case ["python", *arguments]:
                return self._run(arguments)
            case _:
                raise AssertionError(f"nobody knows how to type {words}")

    def _run(self, arguments: list[str]) -> str:
        env = environment(**self._settings)
        done = processes.run(*arguments, cwd=self._folder, env=env, timeout=TIMEOUT_S, together=True)
        self._exit_code = done.returncode
        return done.stdout

    def _at_its_port(self, text: str) -> str:
        return text if self._server is None else text.replace("http://localhost:5000", self._server.url)

    def _curl(self, sent: argparse.Namespace) -> str:
        assert self._server is not None, "nothing is served yet"
        url = sent.url.replace("localhost:5000", self._server.url)
        headers: Mapping[str, str] = dict(header.split(": ", 1) for header in sent.headers)
        return self._http.request(sent.method, url, headers=headers, body=sent.body).data.decode()


def _only_looks(words: list[str]) -> bool:
    if words[0] == "curl":
        return bool(_curl_arguments(words[1:]).method == "GET")
    return words[0] == "saga-es" and words[1] in LOOKING


def _curl_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("curl")
    parser.add_argument("-X", dest="method", default="GET")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="body")
    parser.add_argument("url")
    return parser.parse_args(arguments)
