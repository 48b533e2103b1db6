"""The composition root: the only module that knows how the objects are wired."""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from saga_es.access.keys import Keys
from saga_es.access.permissions import Permission
from saga_es.access.principal import IN_PROCESS_CALLER, UNGUARDED, Principal
from saga_es.access.seen import SeenLog
from saga_es.access.subjects import Subjects
from saga_es.core.access import Scope
from saga_es.definition.code import Code, code_of
from saga_es.errors import SettingsError
from saga_es.node.app import BARE, App
from saga_es.node.credentials import BadCredentials
from saga_es.node.encryption import keyring_of
from saga_es.node.gc import look_less_often
from saga_es.node.guarding import authentication_of
from saga_es.node.participants import Routes, called_by, limits_of, transports_of, unreachable
from saga_es.node.project import app_of_project, project_folder
from saga_es.node.publishing import publishers_of
from saga_es.node.replies import replies_of
from saga_es.node.settings import Settings
from saga_es.node.tokens import jwt_of
from saga_es.node.tracing import tracing_of
from saga_es.node.unusable import unusable
from saga_es.node.waiting import counts_waiting
from saga_es.node.webhooks import webhooks_of
from saga_es.queues.transport import QueueTransport
from saga_es.runtime.calls.answers import AnswerLost, NotSent
from saga_es.runtime.calls.bulkhead import Bulkhead
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.transport import HttpTransport, WsgiApp, WsgiTransport
from saga_es.runtime.command_batches.batches import Batches
from saga_es.runtime.command_batches.runner import Runner
from saga_es.runtime.engine import Engine
from saga_es.runtime.intake.client import Client
from saga_es.runtime.intake.commands import Commands
from saga_es.runtime.intake.starts import Starts
from saga_es.runtime.limits import Limits
from saga_es.runtime.projector import Projector
from saga_es.runtime.schedules import Schedules
from saga_es.runtime.waiting.clock import SharedClock
from saga_es.runtime.waiting.outage import retry_for
from saga_es.store.admin import migrate
from saga_es.store.database import Database
from saga_es.store.database_store import DatabaseStore
from saga_es.store.log.codec import Codec, of_application
from saga_es.store.sagas import SagaLimits, Sagas
from saga_es.store.views.batches import batch_view
from saga_es.store.views.catch_up import CatchUp
from saga_es.store.views.figures import figures_view
from saga_es.store.views.keys import key_view
from saga_es.store.views.kinds import Views
from saga_es.store.views.repairing import Repair
from saga_es.store.views.saga_view import saga_view
from saga_es.store.views.tags import tag_view

if TYPE_CHECKING:
    from saga_es.metrics.meter import Meter

MEGABYTE = 1_000_000
MOST_SIGHTS = 256
"""Scopes of principals for which a node is kept as they see it."""


class Node:
    """One process of saga_es: its database, its store, its views and its engine.

    Args:
        recovers: Whether the engine takes over interrupted sagas.
        drains: Whether the engine takes only sagas that no other living worker can run.
        loop: The event loop for `async def` steps, unless the application names one; None: loops of the engine's own.

    Attributes:
        closing: Set when the process is about to end; answers that go on and on end then.
        readers: Ends what reads the database on a thread of its own, and waits for it; called once `closing` is set.
    """

    def __init__(
        self,
        settings: Settings,
        app: App = BARE,
        *,
        recovers: bool = True,
        drains: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.settings = settings
        self.app = app
        self.closing = threading.Event()
        self.readers: list[Callable[[], None]] = []
        self.database = Database(settings.database_url, table_prefix=settings.table_prefix)
        self.views = Views([saga_view, tag_view, key_view, batch_view, figures_view(), *app.views])
        self.keyring = keyring_of(settings, app, self.database)
        codec = Codec(of_application(app.events), settings.payload_limit, app.upcasters, self.keyring)
        of_sagas = SagaLimits(settings.saga_events_limit, settings.saga_bytes_limit)
        self.store = DatabaseStore.on(self.database, codec, self.views, settings.lease_s, of_sagas)
        definitions = app.definitions
        self._definitions = definitions
        self.meter = _meter(self.database, self.store, self.views, self._waiting_for_code) if settings.metrics else None
        if self.meter is not None:
            self.store = self.meter.store
        self.clock = clock = SharedClock(self.store.workers.now_s)
        self.commands = Commands(self.store, clock)
        self.subjects = Subjects(self.database, self.keyring, self.store.writer, clock.now)
        self.keys = Keys(self.database, self.store.log, self.store.writer, clock.now)
        self.authenticate = authentication_of(
            settings,
            app,
            {"keys": lambda: self.keys, "jwt": lambda: jwt_of(settings), "webhooks": lambda: webhooks_of(settings)},
        )
        self.tracing, make_caller = tracing_of(settings)
        self.client = Client(self.store, definitions, clock, self.tracing)
        self.transports = transports_of(settings, definitions, self._call_application)
        self._application: WsgiApp | None = None
        self._routes: Routes | None = None
        loop = app.loop or loop
        self._executor = executor = Executor(
            self.transports,
            settings.call_threads,
            settings.payload_limit,
            app.wrapping,
            loop,
            make_caller,
            Bulkhead(settings.calls_at_once, limits_of(settings, self.transports)),
        )
        self.replies = replies_of(settings)
        if self.replies is not None:
            executor.tell_where_to_reply(self.replies.url_for)
        memory = settings.payload_memory_mb * MEGABYTE
        limits = Limits(
            settings.sagas_at_once,
            settings.most_crashes,
            takes_over=recovers,
            payload_memory=memory,
            missing_code_timeout_s=settings.missing_code_timeout_s,
            leaves_older_plans=settings.leave_older_plans,
            drains=drains,
        )
        self.engine = Engine(
            self.store,
            executor,
            definitions,
            clock,
            limits,
            loop,
            carries_context=app.carries_context,
            tracing=self.tracing,
        )
        self.schedules = Schedules(self.store, Starts(self.store, definitions, clock), app.schedules)
        if recovers and not drains and app.schedules:
            self.engine.worker.keep(self.schedules)
        self.batches = Batches(self.database, self.store, clock.now)
        self.batch_runner = Runner(self.batches, self.store, lambda: self.engine.worker_id, self.engine.submit)
        self._runs_batches = recovers
        self.projector = Projector(
            (CatchUp(self.database, self.store.log, view) for view in self.views if view.follows),
            repair=Repair(self.database, self.store.log, self.views),
        )
        self.publishers = publishers_of(settings, app, self.database, self.store.log)
        self.store.writer.when_behind = self.projector.repair_soon
        self.whole = self
        self._sights: dict[tuple[Scope, bool], Node] = {}

    def seen_by(self, principal: Principal) -> Node:
        """This node as it is for a principal: its log shows the sagas, and the payloads, that it may see."""
        if principal is UNGUARDED:
            return self
        sight = (principal.scope, principal.may(Permission.PAYLOADS))
        found = self._sights.get(sight)
        if found is None:
            if len(self._sights) >= MOST_SIGHTS:
                self._sights.clear()
            found = self._sights[sight] = copy(self)
            log = SeenLog(self.database, self.store.log.codec, sight[0], shows_payloads=sight[1])
            found.store = replace(self.store, log=log, sagas=Sagas(log))
        return found

    @cached_property
    def code(self) -> Code:
        """The code of this process, as data."""
        return code_of(self._definitions)

    def _waiting_for_code(self) -> dict[str, int]:
        return counts_waiting(self.store, self.code)

    def answer_calls_with(self, application: WsgiApp, routes: Routes | None = None) -> None:
        """Send calls to participants without a base URL to this WSGI application.

        Args:
            application: The application.
            routes: Its routes, if they are known: a request without one is refused when the node opens.
        """
        self._application, self._routes = application, routes

    def call(
        self, participant: str, method: str, path: str, body: dict[str, Any] | None, timeout_s: float
    ) -> tuple[int, Any]:
        """Call a participant outside any saga, with the transport of a saga's calls; the default is this process.

        Returns:
            The HTTP status (0: no answer) and the decoded answer.
        """
        transport = self.transports.get(participant) or WsgiTransport(self._call_application, IN_PROCESS_CALLER)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            answer = transport.send(
                method, path, headers, None if body is None else msgspec.json.encode(body), timeout_s
            )
            return answer.status, msgspec.json.decode(answer.body)
        except (NotSent, AnswerLost, msgspec.DecodeError) as error:
            return 0, {"error": str(error)}

    @property
    def participants(self) -> frozenset[str]:
        """The participants that the sagas call."""
        return called_by(self._definitions)

    def unreachable(self) -> list[str]:
        """The requests of the sagas that have no address, and no route in this process: a sentence for each."""
        is_served = self._application is not None
        return unreachable(self.transports, self._definitions, is_served=is_served, routes=self._routes)

    def open(self, wait_s: float = 0.0) -> None:
        """Migrate, then run the engine, which first takes over interrupted sagas, and the asynchronous views.

        Args:
            wait_s: Seconds to wait for a database server that does not answer; a file is never waited for.

        Raises:
            SettingsError: A saga calls a participant that has no address, and no route in this process.
            WrongKey: The keys of subjects cannot be unwrapped here.
            BadCredentials: A participant could not be shown who calls, or would be called without TLS.
            StoreUnavailable: The database did not answer.
        """
        if problems := self.unreachable():
            raise SettingsError(problems)
        if problems := unusable(self.settings, self.transports, self._definitions):
            raise BadCredentials(problems)
        look_less_often()
        wait_s = wait_s if self.database.driver.has_server else 0.0
        lease_s = self.settings.lease_s
        retry_for(lambda: migrate.upgrade(self.database, self.store.log, self.views, lease_s=lease_s), wait_s)
        if self.keyring is not None:
            self.keyring.check()
        for publisher in self.publishers:  # first: a new one is told of all that this process does
            publisher.register()
        self.engine.open()
        self.projector.open()
        for publisher in self.publishers:
            publisher.open()
        if self._runs_batches:
            self.batch_runner.open()
        if self.meter is not None:
            self.meter.open(self._measure)

    def close(self) -> None:
        """Stop the engine and the asynchronous views, and close the connections; in a forked process, do nothing."""
        if self.engine.is_inherited:
            return
        self.closing.set()
        for end in self.readers:
            end()
        self.batch_runner.close()
        self.projector.close()
        self.engine.close(self.settings.grace_s)
        for publisher in self.publishers:
            publisher.close()
        for transport in self.transports.values():
            if isinstance(transport, QueueTransport | HttpTransport):
                transport.close()
        if self.meter is not None:
            self.meter.close()
        self.database.close()

    def _measure(self) -> dict[str, float]:
        """The present values of this process's own gauges."""
        waiting = self._executor.waiting
        return {
            "owned_sagas": self.engine.active,
            "calls_in_flight": max(0, self.engine.in_flight - waiting),
            "calls_waiting": waiting,
            "loop_lag_seconds": self.engine.lag_s,
        }

    def _call_application(self, environ: dict[str, Any], start_response: Any) -> Any:
        if self._application is None:
            raise NotSent("this process serves no application; set SAGA_ES_PARTICIPANT_<NAME> to a base URL")
        return self._application(environ, start_response)


def load_app(name: str | None) -> App:
    """Import an application by name: `module` (its attribute `app`) or `module:attribute`; None: an empty one.

    The application that the project names is looked for in the project's folder first. Any other is looked for where
    it is installed first: a module of its name in the folder of the command does not take its place.

    Raises:
        SettingsError: The module does not exist, or has no such application.
    """
    if name is None:
        return BARE
    module_name, _, attribute = name.partition(":")
    folder = str(project_folder(Path.cwd()) or Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0 if app_of_project(Path.cwd()) == name else len(sys.path), folder)
    try:
        found = getattr(importlib.import_module(module_name), attribute or "app", None)
    except ModuleNotFoundError as error:
        is_itself = error.name is not None and f"{module_name}.".startswith(f"{error.name}.")
        importer = "" if is_itself else f", which {module_name!r} imports"
        why = f"app: no module {error.name!r}{importer}; looked for in {folder} and the environment"
        raise SettingsError([why]) from error
    if not isinstance(found, App):
        raise SettingsError([f"app: {module_name!r} has no saga_es.App named {attribute or 'app'!r}"])
    return found


def _meter(
    database: Database, store: DatabaseStore, views: Views, waiting: Callable[[], Mapping[str, int]]
) -> Meter | None:
    """The meter, if the package that it needs is installed."""
    if find_spec("prometheus_client") is None:
        return None
    from saga_es.metrics.meter import Meter  # noqa: PLC0415  # an extra: without it, nothing is counted

    return Meter(database, store, views, waiting)
