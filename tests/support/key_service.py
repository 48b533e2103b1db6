"""A key service for tests: a process that wraps keys over HTTP and can be killed, and the wrapper that asks it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from saga_es.store.encryption.errors import KeysAway, WrongKey
from saga_es.store.encryption.wrapping import KeyFile
from tests.support.processes import ROOT

ANSWERS_WITHIN_S = 5.0


class KeyService:
    """The process. It keeps its keys in a file, so it knows them again when it was killed."""

    def __init__(self, keys: Path) -> None:
        self._keys = keys
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.begin()

    def begin(self) -> None:
        """Serve, at the same port as before."""
        command = [sys.executable, "-m", "tests.support.key_service", str(self._keys), str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()


@contextmanager
def key_service(keys: Path) -> Iterator[KeyService]:
    """A service that runs until the block ends."""
    service = KeyService(keys)
    try:
        yield service
    finally:
        service.kill()


class ServiceWrapper:
    """See `KeyWrapper`. It counts how often the service was away."""

    def __init__(self, service: KeyService) -> None:
        self._service = service
        self._current = str(self._asked("current"))
        self.was_away = 0

    @property
    def current(self) -> str:
        """See `KeyWrapper`."""
        return self._current

    def wrap(self, key: bytes, about: bytes) -> str:
        """See `KeyWrapper`."""
        return str(self._asked("wrap", key=b64encode(key).decode(), about=about.decode()))

    def unwrap(self, wrapped: str, by: str, about: bytes) -> bytes:
        """See `KeyWrapper`."""
        return b64decode(self._asked("unwrap", wrapped=wrapped, by=by, about=about.decode()))

    def _asked(self, what: str, **given: str) -> Any:
        url = f"http://127.0.0.1:{self._service.port}/{what}"
        try:
            with urllib.request.urlopen(url, json.dumps(given).encode(), timeout=ANSWERS_WITHIN_S) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                raise WrongKey(f"the key service refuses: {error.code}") from error
        except OSError as error:
            self.was_away += 1
            raise KeysAway(f"the key service does not answer: {error}") from error


class _Handler(BaseHTTPRequestHandler):
    keys: KeyFile

    def do_POST(self) -> None:
        """Wrap, unwrap, or say which key wraps now."""
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            match self.path:
                case "/wrap":
                    said = self.keys.wrap(b64decode(given["key"]), given["about"].encode())
                case "/unwrap":
                    said = b64encode(self.keys.unwrap(given["wrapped"], given["by"], given["about"].encode())).decode()
                case _:
                    said = self.keys.current
        except WrongKey:
            self.send_error(403)
            return
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve(keys: str, port: str) -> None:
    """Serve until killed."""
    _Handler.keys = KeyFile(keys)
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler)
    print(server.server_port, flush=True)  # noqa: T201 (the parent reads it)
    server.serve_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:])
