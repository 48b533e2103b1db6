"""Commands to a service behind a topic of Kafka, and its replies.

Kafka has no acknowledgement of one message: a position is committed when the replies to all commands before it are
safe, which is after the service's own transaction. What was done behind it comes again to the next process, and is
answered by the barrier.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as Taken

from saga_es.logs import logger
from saga_es.publish.brokers.url import BrokerUrl
from saga_es.queues.kafka import ReplyTo, of_consumer, of_producer
from saga_es.queues.offices import CLOSE_TIMEOUT_S, Handle, Replied
from saga_es.store.host_time import monotonic_s

LISTENED_S = 0.1


class KafkaDesk:
    """Takes commands off the topic of a service. All processes of the service are one consumer group.

    Args:
        url: The brokers, and the topic.
        handle: Does what a command says.
        threads: How many commands are under way at once.
    """

    def __init__(self, url: BrokerUrl, handle: Handle, threads: int) -> None:
        self._url = url
        self._handle = handle
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="saga-es-command")
        self._free = threading.Semaphore(threads)
        self._thread = threading.Thread(target=self._run, name="saga-es-replies", daemon=True)
        self._ends_at: float | None = None
        self._taken: dict[int, dict[int, bool]] = {}  # by partition and offset, in order: whether its reply is safe

    def open(self) -> None:
        """See `Desk`."""
        self._producer = Producer(of_producer(self._url, self._note))
        self._commands = Consumer(of_consumer(self._url, self._note, f"saga_es.{self._url.place}"))
        self._commands.subscribe(
            [self._url.place], on_assign=self._forget, on_revoke=self._give_back, on_lost=self._forget
        )
        self._thread.start()

    def close(self, grace_s: float) -> None:
        """See `Desk`."""
        self._ends_at = monotonic_s() + grace_s
        if self._thread.ident is not None:
            self._thread.join(grace_s + CLOSE_TIMEOUT_S)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # ── On the thread ────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while self._ends_at is None:
            self._take()
            self._settle()
        while any(self._taken.values()) and monotonic_s() < self._ends_at:
            self._producer.poll(LISTENED_S)
            self._settle()
        self._producer.purge()
        self._producer.flush(0)
        self._commands.close()

    def _take(self) -> None:
        if not self._free.acquire(timeout=LISTENED_S):
            return
        message = self._commands.poll(LISTENED_S)
        if message is None or message.error() is not None:
            self._free.release()
            return
        offsets = self._taken.setdefault(message.partition() or 0, {})
        offset = message.offset() or 0
        offsets[offset] = False
        self._pool.submit(self._do, message.value() or b"", offsets, offset)

    def _settle(self) -> None:
        """Commit how far all is done."""
        self._producer.poll(0)
        for partition, offsets in self._taken.items():
            done = 0
            while offsets and offsets[offset := next(iter(offsets))]:
                del offsets[offset]
                done = offset + 1
            if done:
                self._commit(TopicPartition(self._url.place, partition, done))

    def _commit(self, place: TopicPartition) -> None:
        with suppress(KafkaException):  # the partition is another's now: it takes them again
            if self._ends_at is None:
                self._commands.commit(offsets=[place], asynchronous=True)
            else:
                self._commands.commit(offsets=[place], asynchronous=False)

    def _give_back(self, commands: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._settle()
        self._forget(commands, partitions)

    def _forget(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            self._taken.pop(partition.partition, None)

    def _note(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 (public, but for its name)
            logger.warning("the broker of a service is away, and is tried again", broker=self._url.name)

    # ── On the threads of the commands ───────────────────────────────────────────────────────────────────

    def _do(self, content: bytes, offsets: dict[int, bool], offset: int) -> None:
        try:
            reply = self._handle(content)
        finally:
            self._free.release()
        if reply is None:
            offsets[offset] = True
        else:
            self._reply(reply, offsets, offset)

    def _reply(self, reply: Replied, offsets: dict[int, bool], offset: int) -> None:
        def delivered(error: KafkaError | None, _: Taken) -> None:
            if error is not None and error.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001 (public, but for its name)
                self._reply(reply, offsets, offset)
            else:  # a place that does not exist would be tried for ever
                offsets[offset] = True

        try:
            to = ReplyTo.parse(reply.to)
        except ValueError:
            logger.warning("a command says nowhere where its reply goes, and is put aside")
            offsets[offset] = True
            return
        headers: dict[str, str | bytes | None] = {"content-type": "application/json", "id": reply.id}
        self._producer.produce(to.topic, reply.content, to.worker, to.partition, on_delivery=delivered, headers=headers)
