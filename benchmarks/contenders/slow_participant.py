"""A participant that takes its time: `POST /wait/SECONDS` answers 200 after so many; `GET /most` says what it saw."""

from __future__ import annotations

import asyncio
import json
import sys


class Participant:
    """Answers on one port.

    Attributes:
        now: How many requests it is answering.
        most: The most that it answered at once.
        entered: How many have come.
    """

    def __init__(self) -> None:
        self.now = self.most = self.entered = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        while head := await _head(reader):
            method, path, length = head
            await reader.readexactly(length)
            body = await self._wait(float(path.rpartition("/")[2])) if method == "POST" else vars(self)
            answer = json.dumps(body).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()
        writer.close()

    async def _wait(self, seconds: float) -> object:
        self.now += 1
        self.entered += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(seconds)
        self.now -= 1
        return {}


async def _head(reader: asyncio.StreamReader) -> tuple[str, str, int] | None:
    """The method, the path and the length of the body; None at the end of the connection."""
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    method, path, _ = lines[0].split(" ")
    return method, path, int(headers.get("content-length", 0))


async def _main(port: int) -> None:
    server = await asyncio.start_server(Participant().serve, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
