"""Commands to a participant behind a topic of Kafka, and its replies."""

from __future__ import annotations

import threading
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as Delivered

from saga_es.logs import logger
from saga_es.publish.brokers.url import BrokerUrl
from saga_es.queues.kafka import REPLIES, ReplyTo, of_consumer, of_producer
from saga_es.queues.offices import CLOSE_TIMEOUT_S, RETRY_S, TIMEOUT_S, Heard, Letter, Letters

LISTENED_S = 0.1
"""How long the thread waits for a reply, before it looks for what became of commands."""


class KafkaOffice:
    """Sends commands to the topic of a participant, and hears replies from one partition of the topic of its replies.

    Args:
        url: The brokers, and the topic.
        hear: Is told each reply.
    """

    def __init__(self, url: BrokerUrl, hear: Heard) -> None:
        self._url = url
        self._hear = hear
        self._name = uuid4().hex
        self._letters = Letters()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="saga-es-commands", daemon=True)
        self._closing = threading.Event()
        self._reply_to: ReplyTo | None = None  # until the replies can be heard, nothing is sent
        self._down: KafkaError | None = None
        self._producer = Producer(of_producer(url, self._note))
        self._replies = Consumer(of_consumer(url, self._note, f"saga_es.{self._name}"))

    def post(self, letter: Letter) -> None:
        """See `Office`."""
        self._letters.add(letter)
        with self._lock:
            if self._thread.ident is None:
                self._thread.start()
            self._send_all()

    def close(self) -> None:
        """See `Office`."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_TIMEOUT_S)
        else:
            self._end()

    def _send_all(self) -> None:
        """Send what there is, if the brokers are there; the lock is held."""
        if self._reply_to is None or self._down is not None:
            return
        while (letter := self._letters.next()) is not None:
            if not letter.is_over() and not self._send(letter, str(self._reply_to)):
                return

    def _send(self, letter: Letter, reply_to: str) -> bool:
        def delivered(error: KafkaError | None, _: Delivered) -> None:
            if error is not None:  # it may have arrived all the same
                self._letters.again.append(letter)

        headers: dict[str, str | bytes | None] = {"content-type": "application/json", "id": letter.id}
        try:
            self._producer.produce(self._url.place, letter.content(reply_to), on_delivery=delivered, headers=headers)
        except BufferError:
            self._letters.again.appendleft(letter)
            return False
        return True

    # ── On the thread ────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._connect()
            except KafkaException as error:
                self._away(error)
                self._closing.wait(RETRY_S)
                continue
            while not self._closing.is_set() and self._down is None:
                self._listen()
        self._end()

    def _connect(self) -> None:
        """See that the brokers answer; the first time, find the partition for the replies, and where it ends."""
        topic = self._url.place + REPLIES
        found = self._replies.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
        if found.error is not None:  # it may be that it is being made
            raise KafkaException(found.error)
        if self._reply_to is None:
            partition = sorted(found.partitions)[int(self._name, 16) % len(found.partitions)]
            place = TopicPartition(topic, partition)
            _, place.offset = self._replies.get_watermark_offsets(place, timeout=TIMEOUT_S)
            self._replies.assign([place])
            self._reply_to = ReplyTo(topic, partition, self._name)
        self._down = None

    def _listen(self) -> None:
        reply = self._replies.poll(LISTENED_S)
        if reply is not None and reply.error() is None and reply.key() == self._name.encode():
            self._hear(reply.value() or b"")
        with self._lock:
            self._producer.poll(0)
            self._send_all()

    def _away(self, error: KafkaException) -> None:
        if self._down is None:
            why = str(error.args[0])
            logger.warning("the broker of a participant is away, and is tried again", broker=self._url.name, error=why)
        with self._lock:
            self._down = error.args[0]
            self._producer.poll(0)
            self._letters.away(error)

    def _note(self, error: KafkaError) -> None:
        is_away = error.code() == KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001 (public, but for its name)
        if is_away and self._down is None:
            logger.warning(
                "the broker of a participant is away, and is tried again", broker=self._url.name, error=str(error)
            )
            self._down = error

    def _end(self) -> None:
        self._producer.purge()
        self._producer.flush(0)
        self._replies.close()
