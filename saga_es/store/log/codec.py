"""Encoding events as text, and decoding them. The class name is the stored type; each category has a closed set.

Events of an older schema are decoded through upcasters; events of a newer schema are not decoded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any, Protocol, get_args

import msgspec

from saga_es.core import events as e
from saga_es.core.access import AccessEvent, SubjectErased
from saga_es.core.batches import BatchEvent
from saga_es.core.schedules import ScheduleEvent
from saga_es.core.upcasters import FIRST_SCHEMA, UPCASTERS, Upcasters, present_schema, upcast
from saga_es.core.values import DEEPEST, NO_FORM, Unfaithful, door_for_results, encode, is_too_deep
from saga_es.errors import DefinitionError, PayloadTooLarge, PayloadUnencodable, UnreadableEvent
from saga_es.store.encryption.cipher import BIT, Changed, DataKey, Place, decrypted, encrypted, key_id_of, unread
from saga_es.store.encryption.errors import NoKey, NoKeysHere
from saga_es.store.encryption.fields import masked, secrets_of

SAGA = "saga"
PLAN = "plan"
IMPORT = "import"
ACCESS = "access"
BATCH = "batch"
SUBJECT = "subject"
SCHEDULE = "schedule"

DEFAULT_PAYLOAD_LIMIT = 1_048_576
"""Bytes of JSON that an input, a result or a record may take, unless a setting says otherwise."""

ENVELOPE = 1024
"""Bytes of JSON that an event may take beside its payload: names, ids, counters."""

SHORT = min(ENVELOPE, 2 * DEEPEST)
"""Bytes of JSON up to which an event is neither too large nor too deep: each level takes two."""


BUILT_IN: Mapping[str, tuple[type[Any], ...]] = {
    SAGA: get_args(e.SagaEvent),
    PLAN: (e.PlanRecorded,),
    IMPORT: (e.SagaImported,),
    ACCESS: get_args(AccessEvent),
    BATCH: get_args(BatchEvent),
    SUBJECT: (SubjectErased,),
    SCHEDULE: get_args(ScheduleEvent),
}
"""The event classes of the categories that are ours."""


def of_application(events: Mapping[str, Iterable[type[Any]]]) -> Mapping[str, Iterable[type[Any]]]:
    """The event classes of an application, by category.

    Raises:
        DefinitionError: A category is one of ours: the application's classes would read, or write, our events.
    """
    if taken := sorted(BUILT_IN.keys() & events.keys()):
        raise DefinitionError(f"the category {taken[0]!r} is saga_es's own; give yours another name")
    return events


class Keys(Protocol):
    """The keys of subjects."""

    def key(self, key_id: str) -> DataKey:
        """The key with this id.

        Raises:
            NoKey: It cannot be had.
            StoreUnavailable: What has it did not answer.
        """
        ...

    def key_id_of(self, tenant: str, subject: str) -> str:
        """The id of a subject's key, which is made if there is none."""
        ...


class Codec:
    """Encodes events as JSON, and decodes them by category and type.

    Args:
        events: The event classes of each further category; those in `BUILT_IN` are ours.
        payload_limit: Bytes of JSON an event's payload may take.
        upcasters: The upcasters of the further categories.
        keys: The keys of subjects; None: what is encrypted is neither written nor read.

    Raises:
        DefinitionError: An upcaster is for an event that does not exist.
    """

    def __init__(
        self,
        events: Mapping[str, Iterable[type[Any]]] | None = None,
        payload_limit: int = DEFAULT_PAYLOAD_LIMIT,
        upcasters: Upcasters | None = None,
        keys: Keys | None = None,
    ) -> None:
        tables = {**BUILT_IN, **(events or {})}
        self._upcasters = {**(upcasters or {}), **UPCASTERS}
        self.schemas: Mapping[str, int] = defaultdict(
            lambda: FIRST_SCHEMA, {category: present_schema(category, self._upcasters) for category in tables}
        )
        self._decoders = {
            (category, kind.__name__): msgspec.json.Decoder(kind)
            for category, kinds in tables.items()
            for kind in kinds
        }
        for category, event_type, _ in self._upcasters:
            if (category, event_type) not in self._decoders:
                raise DefinitionError(
                    f"an upcaster is for {event_type!r} in category {category!r}, which has no such event"
                )
        self._payload_limit = payload_limit
        self.keys = keys

    def encode(self, event: object) -> str:
        """The event's fields as JSON text.

        Raises:
            PayloadTooLarge: The text is larger than the limit.
            PayloadUnencodable: A value in the event has no JSON form, or it nests too deep.
        """
        return self.encode_all((event,))[0][0].decode()

    def encode_all(self, events: Sequence[object]) -> tuple[list[bytes], list[int]]:
        """The fields of each event, and how many bytes they are; see `encode`."""
        try:
            texts = [encode(event) for event in events]
        except NO_FORM:
            texts = [_encoded(event) for event in events]  # says which event has none
        sizes = list(map(len, texts))
        if max(sizes) > SHORT:
            for text in texts:
                self._check(text)
        return texts, sizes

    def _check(self, text: bytes) -> None:
        if len(text) > self._payload_limit + ENVELOPE:
            raise PayloadTooLarge(len(text), self._payload_limit)
        if is_too_deep(text):
            raise PayloadUnencodable(f"the payload holds more than {DEEPEST} lists and objects in each other")

    def encrypt(self, rows: Sequence[dict[str, Any]], events: Sequence[Any], key_id: str) -> None:
        """Encrypt what is secret in the rows of a draft. Without the key, no row is written, whatever it holds.

        Raises:
            NoKey: The key cannot be had.
            StoreUnavailable: What has the key did not answer.
        """
        key = self._key(key_id)
        for row, event in zip(rows, events, strict=True):
            secrets = secrets_of(event)
            if secrets:
                row["schema"] += BIT
                place = Place(row["stream_id"], row["category"], row["version"], row["type"], row["schema"])
                row["data"] = encrypted(encode(masked(event)).decode(), secrets, key_id, key, place)

    def opened(self, text: str, place: Place) -> str:
        """The text of an event, decrypted if its key can be had, else masked.

        Raises:
            UnreadableEvent: A ciphertext does not belong here.
            StoreUnavailable: What has the key did not answer.
        """
        try:
            key_id = key_id_of(text)
            if key_id is None or self.keys is None:
                return unread(text)
            return decrypted(text, self.keys.key(key_id), place)
        except NoKey as why:
            return unread(text, why)
        except (Changed, msgspec.DecodeError, LookupError, AttributeError) as error:
            raise UnreadableEvent(place.category, place.type, str(error)) from error

    def without_keys(self) -> Codec:
        """The same, as those decode who have no key."""
        other = copy(self)
        other.keys = None
        return other

    def lacks(self, key_id: str) -> NoKey | None:
        """Why a key cannot be had; None if it can.

        Raises:
            StoreUnavailable: What has the key did not answer.
        """
        try:
            self._key(key_id)
        except NoKey as error:
            return error
        return None

    def _key(self, key_id: str) -> DataKey:
        if self.keys is None:
            raise NoKeysHere(key_id)
        return self.keys.key(key_id)

    def schema(self, category: str) -> int:
        """The schema in which events of a category are written."""
        return self.schemas[category]

    def decode(self, category: str, event_type: str, text: str, schema: int | None = None) -> Any:
        """The event that was stored.

        Args:
            category: The category of its stream.
            event_type: The name of its class.
            text: Its fields, as JSON.
            schema: The schema it was written in; None: the present one.

        Raises:
            UnreadableEvent: Its type is unknown, its schema is newer than ours, or its fields do not fit the class.
        """
        decoder = self._decoders.get((category, event_type))
        if decoder is None:
            raise UnreadableEvent(category, event_type, "no such event is known to this version")
        present = self.schemas[category]
        if schema is not None and schema > present:
            raise UnreadableEvent(
                category,
                event_type,
                f"it is of schema {schema}, and this version reads {category} up to schema {present}",
            )
        try:
            if schema is not None and schema < present:
                text = self._upcast(category, event_type, text, schema)
            return decoder.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableEvent(category, event_type, str(error)) from error

    def _upcast(self, category: str, event_type: str, text: str, schema: int) -> str:
        try:
            fields = upcast(msgspec.json.decode(text), category, event_type, schema, self._upcasters)
            return encode(fields).decode()
        except Exception as error:
            why = f"it cannot be converted from schema {schema} to {self.schemas[category]}: {error!r}"
            raise UnreadableEvent(category, event_type, why) from error


def check_numbers(event: object, text: str) -> None:
    """Check that an event has no number that JSON lacks: NaN and infinities became null in its text, without a word.

    Raises:
        PayloadUnencodable: There is one; the message has its path.
    """
    if "null" not in text:  # nearly always
        return
    try:
        door_for_results(event, type(event).__name__)
    except Unfaithful as unfaithful:
        raise PayloadUnencodable(str(unfaithful)) from unfaithful


def _encoded(event: object) -> bytes:
    try:
        return encode(event)
    except NO_FORM as error:
        raise PayloadUnencodable(_why_not(event, error)) from error


def _why_not(event: object, error: Exception) -> str:
    """Which value of an event has no JSON form, by its path."""
    try:
        door_for_results(event, type(event).__name__)
    except Unfaithful as unfaithful:
        return str(unfaithful)
    return f"{type(event).__name__} cannot be written as JSON: {error}"
