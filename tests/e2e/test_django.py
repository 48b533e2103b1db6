"""Sagas in a Django project: its transactions, its settings, its databases. The page of the guide shows the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.django.borrowed import borrowed
from saga_es.django.configured import url_of
from saga_es.errors import SettingsError
from saga_es.store.database import Database
from tests.e2e.conftest import TIMEOUT_S, environment
from tests.support import processes

SET_UP = """
import sys
import django
import sqlalchemy as sa
from django.conf import settings
from saga_es import App, Saga

saga = Saga("quick")

@saga.step(compensation=None)
def act(input):
    return input["n"]

def database(url):
    kind = {"sqlite": "sqlite3", "postgresql": "postgresql", "mysql": "mysql"}[url.get_backend_name()]
    if kind == "mysql":
        import pymysql
        pymysql.install_as_MySQLdb()
    return {
        "ENGINE": f"django.db.backends.{kind}", "NAME": url.database, "USER": url.username or "",
        "PASSWORD": url.password or "", "HOST": url.host or "", "PORT": url.port or "",
        "OPTIONS": {"transaction_mode": "IMMEDIATE"} if kind == "sqlite3" else {},
    }

settings.configure(
    DATABASES={"default": database(sa.make_url(sys.argv[1]))},
    INSTALLED_APPS=["saga_es.django"],
    ROOT_URLCONF="none",
    SAGA_ES={"app": App(name="shop", sagas=[saga]), "grace_s": 1},
)
django.setup()
from django.db import connection, transaction
from saga_es.django import close, engine, start
from saga_es.errors import NotFound, SagaError

def outcome(handle):
    try:
        return handle.result(20).results
    except NotFound:
        return "no saga"
"""

STARTED = (
    SET_UP
    + """
engine()
print(outcome(start("quick", {"n": 1})))
with transaction.atomic():
    kept = start("quick", {"n": 2})
    again = [start("quick", {"n": 3}, key="three") for _ in range(2)]
print(outcome(kept), again[0].saga_id == again[1].saga_id, outcome(again[1]))
try:
    with transaction.atomic():
        lost = start("quick", {"n": 4})
        raise KeyError
except KeyError:
    print(outcome(lost))
with transaction.atomic():
    try:
        with transaction.atomic():
            lost = start("quick", {"n": 5})
            raise KeyError
    except KeyError:
        kept = start("quick", {"n": 6})
print(outcome(lost), outcome(kept))
with transaction.atomic():
    start("quick", {"n": 3}, key="three")
    try:
        with transaction.atomic():
            start("quick", {"n": 7}, key="three")
    except SagaError as error:
        print(type(error).__name__)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 8")
        print(cursor.fetchone())
first = engine()
close()
print(engine() is first, outcome(start("quick", {"n": 9})))
"""
)


def test_a_saga_is_started_if_and_only_if_djangos_transaction_commits(database_url: str, tmp_path: Path) -> None:
    """Whole or to a savepoint; the same key is the same saga, and a refusal leaves the transaction as it was."""
    done = processes.run("-c", STARTED, database_url, cwd=tmp_path, env=environment(), timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "{'act': 1}",
        "{'act': 2} True {'act': 3}",
        "no saga",
        "no saga {'act': 6}",
        "SagaExists",
        "(8,)",
        "False {'act': 9}",
    ]


TOO_LATE = (
    SET_UP
    + """
with transaction.atomic():
    try:
        start("quick", {"n": 1})
    except SagaError as error:
        print(error)
print(outcome(start("quick", {"n": 2})))
"""
)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_engine_that_would_wait_for_its_own_thread_says_so(database_url: str, tmp_path: Path) -> None:
    """It would open the file that the transaction has locked; it opens before or after."""
    done = processes.run("-c", TOO_LATE, database_url, cwd=tmp_path, env=environment(), timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    why, ended = done.stdout.splitlines()
    assert "call saga_es.django.engine() before the transaction" in why
    assert ended == "{'act': 2}"


REQUESTED = (
    SET_UP
    + """
from django.core.signals import request_started
from saga_es.django.starting import nodes
print(nodes().is_open)
request_started.send(None, environ={})
print(nodes().is_open)
with transaction.atomic():
    kept = start("quick", {"n": 1})
print(outcome(kept))
"""
)


def test_the_first_request_opens_the_engine(database_url: str, tmp_path: Path) -> None:
    """So each request may start sagas in its transaction, whichever process serves it."""
    done = processes.run("-c", REQUESTED, database_url, cwd=tmp_path, env=environment(), timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["False", "True", "{'act': 1}"]


@pytest.mark.parametrize(
    ("database", "url"),
    [
        ({"ENGINE": "django.db.backends.sqlite3", "NAME": Path("/var/shop.db")}, "sqlite:////var/shop.db"),
        (
            {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "shop",
                "USER": "ann",
                "PASSWORD": "p@ss",
                "HOST": "db.example",
                "PORT": "5433",
                "OPTIONS": {"sslmode": "verify-full", "pool": True},
            },
            "postgresql://ann:p%40ss@db.example:5433/shop?sslmode=verify-full",
        ),
        (
            {"ENGINE": "django.contrib.gis.db.backends.postgis", "NAME": "shop", "HOST": "", "PORT": ""},
            "postgresql:///shop",
        ),
        ({"ENGINE": "django.db.backends.mysql", "NAME": "shop", "USER": "ann"}, "mysql://ann@/shop"),
    ],
)
def test_the_database_is_that_of_the_projects_settings(database: dict[str, Any], url: str) -> None:
    """With the options that the server knows, and without those that only Django knows."""
    assert url_of(database) == url


@pytest.mark.parametrize(
    ("database", "why"),
    [
        ({"ENGINE": "django.db.backends.oracle", "NAME": "shop"}, "give SAGA_ES a `database_url`"),
        ({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}, "need a file that threads share"),
        ({"ENGINE": "django.db.backends.sqlite3", "NAME": "file:memorydb_default?mode=memory"}, "need a file"),
    ],
)
def test_a_database_that_cannot_hold_sagas_is_refused_with_the_cure(database: dict[str, Any], why: str) -> None:
    """Before anything is opened."""
    with pytest.raises(SettingsError, match=why):
        url_of(database)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_of_another_driver_is_refused(database_url: str) -> None:
    """Such as that of psycopg2, or of mysqlclient: its cursors are not those that the statements are written for."""
    database = Database(database_url)
    with pytest.raises(SettingsError, match="needs Django to connect by psycopg, not builtins"):
        borrowed(object(), database)
    database.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_borrowed_connection_ends_no_transaction(database_url: str) -> None:
    """Neither when it is closed, nor when it is thrown away."""
    database = Database(database_url)
    with database.engine.connect() as lender:
        raw = lender.connection.driver_connection
        lender.exec_driver_sql("CREATE TABLE lent (n INTEGER)")
        with borrowed(raw, database) as connection:
            connection.execute(sa.text("INSERT INTO lent VALUES (1)"))
        assert raw is not None
        assert raw.in_transaction
        borrowed(raw, database).execute(sa.text("INSERT INTO lent VALUES (2)"))
        assert raw.in_transaction
        lender.rollback()
    database.close()


SERVED_AFTER_A_FORK = (
    SET_UP
    + """
import os
from django.core.wsgi import get_wsgi_application
from werkzeug.test import Client
from saga_es.django import with_saga_pages

client = Client(with_saga_pages(get_wsgi_application()))

def ready():
    outcome(start("quick", {"n": 1}))
    return client.get("/api/saga/readyz", base_url="http://localhost").status_code

print(ready(), flush=True)
child = os.fork()
if not child:
    print(ready(), flush=True)
    close()
    sys.exit(0)
print(os.waitpid(child, 0)[1], flush=True)
"""
)


def test_the_pages_of_a_process_that_was_forked_are_those_of_its_own_engine(database_url: str, tmp_path: Path) -> None:
    """A server may have used the sagas before it forks."""
    done = processes.run("-c", SERVED_AFTER_A_FORK, database_url, cwd=tmp_path, env=environment(), timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["200", "200", "0"]
