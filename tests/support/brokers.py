"""Real brokers for tests, each started for the test run, with what was published to them; they can be killed.

Kafka's is the mock cluster of librdkafka, which lives in this process.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol
from uuid import uuid4

import amqp
import nats
from confluent_kafka import Consumer, KafkaError
from redis import Redis

from tests.support import programs
from tests.support.programs import Absent

KINDS = ("rabbitmq", "kafka", "nats", "redis")
KILLABLE = ("rabbitmq", "nats", "redis")
START_TIMEOUT_S = 60.0

_UNTIL_TOLD = '"$@" >"$LOG" 2>&1 </dev/null & read -r _; kill -s KILL 0'
"""Kills the server, and all processes of its own, when a line comes in, or when the process that writes it is gone."""


class Server:
    """A broker of our own, in a folder of its own: it keeps its port and what it has stored when it is started again.

    Args:
        name: What people call it.
        command: Starts it.
        port: Where it then listens.
        folder: Is removed at the end.
        user: Who it runs as.
        environ: Its environment, besides ours.
    """

    def __init__(
        self,
        name: str,
        command: Iterable[str | Path],
        port: int,
        folder: Path,
        user: str | None = None,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.port = port
        self._name = name
        self._command = [*command]
        self._folder = folder
        self._user = user
        self._environ = {**os.environ, **(environ or {}), "LOG": str(folder / "log"), "HOME": str(folder)}
        self._watcher: subprocess.Popen[bytes] | None = None
        atexit.register(self._end)
        self.start()

    def start(self) -> None:
        """Start it; it answers when this returns.

        Raises:
            Absent: It does not.
        """
        self._watcher = subprocess.Popen(
            ["sh", "-c", _UNTIL_TOLD, "sh", *self._command],
            stdin=subprocess.PIPE,
            env=self._environ,
            cwd=self._folder,
            user=self._user,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if time.monotonic() > deadline:
                last = (self._folder / "log").read_text().splitlines()[-1:]
                raise Absent(f"{self._name} does not answer within {START_TIMEOUT_S:g} s: {''.join(last)}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill -9 it, and everything that it has started."""
        assert self._watcher is not None
        os.killpg(self._watcher.pid, signal.SIGKILL)
        self._watcher.communicate()
        while self._answers():
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _end(self) -> None:
        if self._watcher is not None and self._watcher.poll() is None:
            os.killpg(self._watcher.pid, signal.SIGKILL)
            self._watcher.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)


class Place(Protocol):
    """Where on a broker a test publishes, as something that others read."""

    url: str

    def messages(self) -> list[dict[str, Any]]:
        """All that has arrived so far, as JSON; in the order of arrival, as far as the broker has one."""
        ...


# ── RabbitMQ ─────────────────────────────────────────────────────────────────────────────────────────────


@cache
def rabbitmq() -> Server:
    """A RabbitMQ of this process.

    Raises:
        Absent: It is not installed.
    """
    program = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    if not program.exists():
        raise Absent("no `rabbitmq-server` is installed")
    user, port, folder = _home("rabbitmq")
    (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
    environ = {
        "RABBITMQ_NODENAME": f"{folder.name}@localhost",
        "RABBITMQ_DIST_PORT": str(programs.free_port()),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",  # one scheduler: it shares the machine
    }
    return Server("RabbitMQ", [program], port, folder, user, environ)


class Queue:
    """A durable queue that gets everything of an exchange that was declared beforehand, as an operator does."""

    def __init__(self) -> None:
        server = rabbitmq()
        self._port, self._name = server.port, f"saga-{uuid4().hex}"
        self.url = f"amqp://guest:guest@127.0.0.1:{server.port}/?exchange={self._name}"
        self.keys: list[str] = []
        with amqp.Connection(f"127.0.0.1:{self._port}") as connection, connection.channel() as channel:
            channel.exchange_declare(self._name, "topic", durable=True, auto_delete=False)
            channel.queue_declare(self._name, durable=True, auto_delete=False)
            channel.queue_bind(self._name, self._name, "#")
        self._got: list[dict[str, Any]] = []

    def messages(self) -> list[dict[str, Any]]:
        """See `Place`; it takes them out of the queue, and remembers them."""
        with amqp.Connection(f"127.0.0.1:{self._port}") as connection, connection.channel() as channel:
            while (message := channel.basic_get(self._name, no_ack=True)) is not None:
                self._got.append(json.loads(message.body))
                self.keys.append(message.delivery_info["routing_key"])
        return self._got


# ── Kafka ────────────────────────────────────────────────────────────────────────────────────────────────


_CLUSTER = """
import sys
from confluent_kafka import Producer
cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1}, logger=__import__("logging").Logger(""))
broker = next(iter(cluster.list_topics(timeout=30).brokers.values()))
print(f"{broker.host}:{broker.port}", flush=True)
sys.stdin.read()
"""


class Cluster:
    """The mock cluster of librdkafka, in a process of its own that can be frozen: it keeps nothing on a disk."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, "-c", _CLUSTER], stdin=pipe, stdout=pipe, text=True)
        atexit.register(self._process.kill)
        assert self._process.stdout is not None
        self.at = self._process.stdout.readline().strip()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It answers nothing, as a broker that hangs does; later it answers what it was asked meanwhile."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@cache
def kafka() -> Cluster:
    """The cluster of this process."""
    return Cluster()


class Topic:
    """A topic of Kafka."""

    def __init__(self) -> None:
        self._at = kafka().at
        self._name = f"saga-{uuid4().hex}"
        self.url = f"kafka://{self._at}/{self._name}"

    def messages(self) -> list[dict[str, Any]]:
        """See `Place`."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._at,
                "group.id": uuid4().hex,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "allow.auto.create.topics": True,
            }
        )
        consumer.subscribe([self._name])
        got: list[dict[str, Any]] = []
        partitions, ended = None, set[int]()
        try:
            while partitions is None or len(ended) < partitions:
                message = consumer.poll(10)
                assert message is not None
                partitions = len(consumer.assignment())
                if (error := message.error()) is None:
                    got.append(json.loads(message.value() or b""))
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition() or 0)
        finally:
            consumer.close()
        return got


# ── NATS ─────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def nats_server() -> Server:
    """A NATS with JetStream of this process.

    Raises:
        Absent: It is not installed.
    """
    program = _installed("nats-server")
    user, port, folder = _home("nats")
    command: list[str | Path] = [program, "-js", "-sd", folder / "data", "-a", "127.0.0.1", "-p", str(port)]
    return Server("NATS", command, port, folder, user)


class Subject:
    """A subject of NATS, for which the publisher makes the stream."""

    def __init__(self) -> None:
        server = nats_server()
        self._at, self._name = f"nats://127.0.0.1:{server.port}", f"sagas.{uuid4().hex}"
        self.url = f"{self._at}/{self._name}"

    def messages(self) -> list[dict[str, Any]]:
        """See `Place`."""
        return asyncio.run(self._read())

    async def _read(self) -> list[dict[str, Any]]:
        client = await nats.connect(self._at)
        try:
            stream = client.jetstream()
            name = self._name.replace(".", "_")
            last = (await stream.stream_info(name)).state.last_seq
            read = [await stream.get_msg(name, number) for number in range(1, last + 1)]
            return [json.loads(message.data or b"") for message in read]
        finally:
            await client.close()


# ── Redis ────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def redis() -> Server:
    """A Redis with an append-only file of this process.

    Raises:
        Absent: It is not installed.
    """
    program = _installed("redis-server")
    user, port, folder = _home("redis")
    command: list[str | Path] = [
        program,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        folder,
        "--appendonly",
        "yes",
    ]
    return Server("Redis", command, port, folder, user)


class Stream:
    """A stream of Redis."""

    def __init__(self) -> None:
        self._port, self._name = redis().port, f"saga-{uuid4().hex}"
        self.url = f"redis://127.0.0.1:{self._port}/0?stream={self._name}"

    def messages(self) -> list[dict[str, Any]]:
        """See `Place`."""
        with Redis(port=self._port) as client:
            entries: Any = client.xrange(self._name)
            return [json.loads(fields[b"event"]) for _, fields in entries]


def place(kind: str) -> Place:
    """A new place on a broker of this kind.

    Raises:
        Absent: The broker is not installed.
    """
    places: dict[str, Callable[[], Place]] = {"rabbitmq": Queue, "kafka": Topic, "nats": Subject, "redis": Stream}
    return places[kind]()


def server(kind: str) -> Server:
    """The broker of one of the kinds that can be killed."""
    return {"rabbitmq": rabbitmq, "nats": nats_server, "redis": redis}[kind]()


def _home(name: str) -> tuple[str | None, int, Path]:
    user, folder = programs.run_as(name), Path(mkdtemp(prefix=f"saga-es-{name}-"))
    if user is not None:
        shutil.chown(folder, user)
    return user, programs.free_port(), folder


def _installed(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        raise Absent(f"no `{name}` is installed")
    return found
