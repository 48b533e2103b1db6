"""Each field of each event of a saga is secret or clear; what is secret is readable with its key, in its place."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest

from saga_es.core import events as e
from saga_es.core.plan import Plan
from saga_es.errors import UnreadableEvent
from saga_es.store.encryption.cipher import BIT, DataKey
from saga_es.store.encryption.errors import KeyErased, NoKeysHere
from saga_es.store.encryption.fields import CLEAR, SECRET, SECRETS
from saga_es.store.log.codec import SAGA, Codec
from saga_es.store.log.entries import Draft, Entry, prepare
from saga_es.store.log.held import HeldLog

AT = datetime(2024, 2, 29, tzinfo=UTC)
CANARY = "c4n4ry"
KINDS: tuple[type[Any], ...] = get_args(e.SagaEvent)


class OneKey:
    """One key, which can be erased."""

    def __init__(self) -> None:
        self.found: DataKey | None = DataKey(b"k" * 32, "acme")

    def key(self, key_id: str) -> DataKey:
        """See `Keys`."""
        if self.found is None:
            raise KeyErased(key_id)
        return self.found

    def key_id_of(self, tenant: str, subject: str) -> str:
        """See `Keys`."""
        return f"{tenant}/{subject}"


def planted(kind: type[Any]) -> Any:
    """An event whose secrets are all there; all else is the least that its class takes."""
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.name in SECRET:
            given[field.name] = {"it": CANARY, "'": '"$encrypted"'} if field.name == "input" else CANARY
        elif field.required:
            given[field.name] = _least(field.type)
    return msgspec.convert(msgspec.to_builtins(kind(**given)), kind)


def _least(wanted: Any) -> Any:
    choices = {str: "x", int: 1, datetime: AT, Plan: Plan("p", ())}
    if wanted in choices:
        return choices[wanted]
    options = get_args(wanted)
    return options[0] if isinstance(options[0], str) else choices[options[0]]


def written(codec: Codec, event: object, key: str | None = "k1") -> Entry:
    (row,) = prepare(Draft("s1", SAGA, 6, (event,), AT, key=key), codec).rows
    return Entry(1, row["stream_id"], SAGA, row["version"], row["type"], row["data"], AT, row["schema"], "")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_field_is_secret_or_clear(kind: type[Any]) -> None:
    """A new field has to be named in one of the two lists."""
    fields = set(kind.__struct_fields__)
    assert not fields - SECRET - CLEAR
    assert not SECRET & CLEAR


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_secret_is_read_with_the_key_and_masked_without(kind: type[Any]) -> None:
    """With it the event is as it was; the row has no secret; without it an event is what views were made from."""
    keys = OneKey()
    codec, event = Codec(keys=keys), planted(kind)
    entry = written(codec, event)
    assert CANARY not in entry.text
    assert (entry.schema >= BIT) == bool(SECRETS[kind])
    assert HeldLog(codec).decode(entry).event == event
    (seen,) = Draft("s1", SAGA, 6, (event,), AT, key="k1").recorded()
    assert HeldLog(Codec()).decode(entry) == seen
    keys.found = None
    assert CANARY not in str(HeldLog(codec).decode(entry).event)


@pytest.mark.parametrize(
    "moved", [{"stream_id": "s2"}, {"version": 8}, {"type": "InputReplaced"}, {"schema": BIT + 2}], ids=str
)
def test_a_ciphertext_that_was_moved_is_not_read(moved: dict[str, Any]) -> None:
    """Not in another stream, version or schema, nor as another event."""
    codec = Codec(keys=OneKey())
    entry = written(codec, e.ChildStarted("pay", "payment", "s9", {"it": CANARY}))
    with pytest.raises(UnreadableEvent, match="another place or key"):
        HeldLog(codec).decode(msgspec.structs.replace(entry, **moved))


def test_a_ciphertext_of_another_field_or_tenant_is_not_read() -> None:
    """The name of the field and the tenant are authenticated, too."""
    keys = OneKey()
    codec = Codec(keys=keys)
    entry = written(codec, e.StepFailed("pay", 1, "rejected", "no", frame="pay.py:7"))
    data = msgspec.json.decode(entry.text)
    sealed = data["$encrypted"]
    sealed["error"], sealed["frame"] = sealed["frame"], sealed["error"]
    swapped = msgspec.structs.replace(entry, text=msgspec.json.encode(data).decode())
    with pytest.raises(UnreadableEvent, match="another place or key"):
        HeldLog(codec).decode(swapped)
    keys.found = DataKey(b"k" * 32, "other")
    with pytest.raises(UnreadableEvent, match="another place or key"):
        HeldLog(codec).decode(entry)


@pytest.mark.parametrize("text", ['{"$encrypted":7}', '{"$encrypted":{"key":"k1","error":7}}', "[]", "7", "{"])
def test_a_row_that_only_claims_to_be_encrypted_is_unreadable(text: str) -> None:
    """Whatever stands in it, it is one clear error."""
    entry = msgspec.structs.replace(written(Codec(), e.SagaFailed("no"), None), text=text, schema=BIT + 1)
    for codec in (Codec(), Codec(keys=OneKey())):
        with pytest.raises(UnreadableEvent):
            HeldLog(codec).decode(entry)


def test_without_a_key_nothing_is_encrypted_and_nothing_of_an_encrypted_saga_is_written() -> None:
    """A saga without a key has the rows of ever; one with a key takes no event where its key is not, secret or not."""
    event = e.StepCompleted("pay", CANARY)
    assert written(Codec(), event, None).text == Codec().encode(event)
    with pytest.raises(NoKeysHere, match="SAGA_ES_ENCRYPTION_KEY_FILE"):
        written(Codec(), e.StepStarted("pay", 1))
    assert {CANARY in written(Codec(keys=OneKey()), event, key).text for key in (None, "k1")} == {True, False}
