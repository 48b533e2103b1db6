"""Nodes of the application on a real database, with the test client of their Flask application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from flask import Flask
from flask.testing import FlaskClient

import services
from saga_es import App
from saga_es.api import create_flask_app
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.admin import migrate
from tests.conftest import migrated
from tests.support.databases import KINDS, fresh_database


@dataclass(frozen=True)
class Served:
    """An open node, and what answers requests to it."""

    node: Node
    app: Flask
    client: FlaskClient


class OpenNode(Protocol):
    """Opens a node on the test's database; the test's end closes it. Settings are given by name."""

    def __call__(self, app: App = ..., **settings: Any) -> Served:
        """The open node."""
        ...


def opened(stack: ExitStack, database_url: str, app: App, **settings: Any) -> Served:
    """A node that is open until the stack unwinds; the environment has no say in it."""
    chosen = Settings.load({"database_url": database_url, "grace_s": 1.0, **settings}, environ={})
    node = Node(chosen, app)
    flask_app = create_flask_app(node)
    node.answer_calls_with(flask_app.wsgi_app)
    stack.callback(node.close)
    node.open()
    return Served(node, flask_app, flask_app.test_client())


def migrated_for_the_demo(url: str) -> None:
    """Migrate what is at a URL for the demo application."""
    node = Node(Settings.load({"database_url": url}, environ={}), services.app)
    migrate.upgrade(node.database, node.store.log, node.views)
    node.database.close()


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, one of each kind in turn; it may be migrated: for the demo, or with no more views.

    A module's own `served` has an application without views.
    """
    as_wanted = migrated if "served" in request.fixturenames else migrated_for_the_demo
    with fresh_database(request.param, tmp_path, as_wanted) as url:
        yield url


@pytest.fixture
def open_node(database_url: str) -> Iterator[OpenNode]:
    """Opens any number of nodes on one database."""
    with ExitStack() as stack:
        yield lambda app=services.app, **settings: opened(stack, database_url, app, **settings)


@pytest.fixture
def client(open_node: OpenNode) -> FlaskClient:
    """A client of the whole demo application, on an empty database."""
    return open_node().client


@pytest.fixture(scope="module", params=KINDS)
def kept_database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database that the tests of a module share, one of each kind in turn."""
    with fresh_database(request.param, tmp_path_factory.mktemp("kept")) as url:
        yield url


@pytest.fixture(scope="module")
def kept_client(kept_database_url: str) -> Iterator[FlaskClient]:
    """A client of the whole demo application, for tests that do not mind what is there already."""
    with ExitStack() as stack:
        yield opened(stack, kept_database_url, services.app).client
