"""Graceful shutdown of a process."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from saga_es.logs import logger
from saga_es.node.node import Node


def stop_gracefully_when_asked(node: Node) -> None:
    """On SIGTERM or SIGINT, stop the engine after its grace for the calls in flight, and leave the main thread."""

    def stop() -> None:
        node.closing.set()  # a page that is open would hold a thread of the server, and the end, for seconds
        logger.info("stopping", grace_s=node.settings.grace_s)
        node.engine.close(node.settings.grace_s)

    def asked_to_stop(_signal: int, _frame: FrameType | None) -> None:
        # The engine stops first, in a thread of its own: requests that wait for a saga are answered when the grace is
        # over, and only then can the server's threads end. No log line here: the interrupted code may hold its lock.
        threading.Thread(target=stop, name="saga-es-stop").start()
        raise SystemExit

    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, asked_to_stop)
