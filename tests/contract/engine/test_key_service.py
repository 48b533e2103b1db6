"""Keys that a service wraps: a saga outlives a service that is killed, and is parked where it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from saga_es import App, Saga
from saga_es.core.state import SagaStatus
from saga_es.errors import StoreUnavailable
from saga_es.node.explain import explained
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.encryption.errors import WrongKey
from tests.conftest import TIMEOUT_S
from tests.support.encrypted import CANARY, everything, input_of, key_file, purchase
from tests.support.key_service import ServiceWrapper, key_service

APPROVAL = {"who": f"{CANARY}-payload"}


@contextmanager
def opened(url: str, wrapper: ServiceWrapper, *sagas: Saga) -> Iterator[Node]:
    """An open node whose keys a service wraps."""
    node = Node(Settings.load({"database_url": url, "grace_s": 1.0}, {}), App(sagas=sagas, key_wrapper=wrapper))
    try:
        node.open()
        yield node
    finally:
        node.close()


def until_it_was_away(wrapper: ServiceWrapper, times: int) -> None:
    deadline = monotonic() + TIMEOUT_S
    while wrapper.was_away < times:
        assert monotonic() < deadline
        sleep(0.01)


def test_a_saga_goes_on_when_a_key_service_that_was_killed_is_there_again(database_url: str, tmp_path: Path) -> None:
    """Nothing of it is lost or fails meanwhile, and the database holds no secret."""
    with key_service(key_file(tmp_path)) as service:
        wrapper = ServiceWrapper(service)
        with opened(database_url, wrapper, purchase()) as node, ThreadPoolExecutor(1) as pool:
            assert node.keyring is not None
            handle = node.engine.start("purchase", input_of())
            service.kill()
            node.keyring.forget()
            given = pool.submit(node.engine.signal, handle.saga_id, "approval", APPROVAL)
            try:
                until_it_was_away(wrapper, 2)
            finally:
                service.begin()
            try:
                given.result(TIMEOUT_S)
            except StoreUnavailable:  # the caller was told, and repeats it
                node.engine.signal(handle.saga_id, "approval", APPROVAL, key="again")
            assert handle.result(TIMEOUT_S).status is SagaStatus.COMPLETED
    assert CANARY not in everything(database_url)


def test_a_saga_is_parked_while_the_service_refuses_its_key(database_url: str, tmp_path: Path) -> None:
    """It is found again by the next process that may have the key."""
    keys = key_file(tmp_path)
    with key_service(keys) as service:
        wrapper = ServiceWrapper(service)
        with opened(database_url, wrapper, purchase()) as node:
            saga_id = node.engine.start("purchase", input_of()).saga_id
            node.engine.signal(saga_id, "approval", APPROVAL)
            node.engine.follow(saga_id).result(TIMEOUT_S)
            other = node.engine.start("purchase", input_of("bob")).saga_id
            kept = keys.read_text()
            keys.write_text(key_file(tmp_path).read_text())
            service.kill()
            service.begin()
            assert node.keyring is not None
            node.keyring.forget()
            sentence = explained(node, other).sentence
            assert "is parked, because its key" in sentence
            assert "goes on when a process starts that has the key" in sentence
            with pytest.raises(WrongKey):
                node.engine.cancel(other, reason="too late", actor="ann")
        keys.write_text(kept)
        service.kill()
        service.begin()
        with opened(database_url, wrapper, purchase()) as node:
            node.engine.signal(other, "approval", APPROVAL)
            assert node.engine.follow(other).result(TIMEOUT_S).status is SagaStatus.COMPLETED
