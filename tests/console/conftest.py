"""The console on real databases: the fixtures of the API's tests, with the pages beside the API."""

from __future__ import annotations

import pytest

import services
from saga_es.console import mount_console
from tests.api.conftest import OpenNode, Served, database_url, open_node
from tests.support.journeys_served import app_of, journey, outing

__all__ = ["database_url", "open_node"]


@pytest.fixture
def served(open_node: OpenNode) -> Served:
    """A node that knows journeys and outings, with its console."""
    inner = journey()
    return with_console(open_node(app_of(inner, outing(inner))))


@pytest.fixture
def demo(open_node: OpenNode) -> Served:
    """The demonstration with its console."""
    return with_console(open_node(services.app))


def with_console(served: Served) -> Served:
    mount_console(served.app)
    return served
