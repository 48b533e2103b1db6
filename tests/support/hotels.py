"""Hotels that take part in sagas: one with the barrier, and one with a flaw to choose."""

from __future__ import annotations

import json
import threading
from enum import StrEnum
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from flask import Flask, Response, abort, jsonify, request
from sqlalchemy.engine import Connection, Engine

from saga_es.participant import Barrier, call_key, takes_part

TIMEOUT_S = 0.1
"""How long a careless hotel waits for the call that it is to undo; so which comes first is not up to chance."""

ACTION = "POST /rooms"
COMPENSATION = "DELETE /rooms/{action_key}"
PROBE = "GET /rooms/{action_key}"
BODY = {"guest": "Ada"}


class CarefulHotel:
    """Rooms in a table, behind the barrier; a service as anyone would write it."""

    def __init__(self, url: str) -> None:
        metadata = sa.MetaData()
        self.rooms = sa.Table(
            "rooms", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("guest", sa.Text)
        )
        self.barrier = Barrier(metadata)
        self.engine: Engine = sa.create_engine(url, connect_args={"timeout": 1})
        metadata.create_all(self.engine)
        self.app = Flask(__name__)
        takes_part(self.app)
        self.app.post("/rooms")(self.book)
        self.app.delete("/rooms/<key>")(self.cancel)

    def book(self) -> dict[str, Any]:
        """Book a room."""
        guest = request.get_json()["guest"]
        with self.engine.begin() as connection:
            booked: dict[str, Any] = self.barrier.act(connection, call_key(), lambda: self._insert(connection, guest))
            return booked

    def cancel(self, key: str) -> dict[str, Any]:
        """Undo a booking."""
        with self.engine.begin() as connection:
            return {"undone": self.barrier.undo(connection, key, lambda booked: self._delete(connection, booked))}

    @property
    def guests(self) -> list[str]:
        """Who has a room."""
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.select(self.rooms.c.guest).order_by(self.rooms.c.id)))

    def _insert(self, connection: Connection, guest: str) -> dict[str, Any]:
        made = connection.execute(sa.insert(self.rooms).values(guest=guest)).inserted_primary_key
        assert made is not None
        return {"room": made[0]}

    def _delete(self, connection: Connection, booked: dict[str, Any]) -> None:
        connection.execute(sa.delete(self.rooms).where(self.rooms.c.id == booked["room"]))


class Flaw(StrEnum):
    """What a participant can do wrong."""

    ACTS_AGAIN = "a repeated call books another room"
    REFUSES_A_REPETITION = "a repeated call is a conflict"
    REFUSES_WHILE_IT_ACTS = "a call is a conflict while another with its key acts"
    FORGETS_AN_EARLY_UNDO = "an undo of nothing is not remembered"
    KNOWS_ONLY_WHAT_IT_HAS = "an undo of nothing is a 404"
    UNDOES_ONLY_ONCE = "a repeated undo is a 404"
    CANNOT_UNDO = "an undo fails"
    UNDOES_NOTHING = "an undo says it is done, and is not"
    COMES_BACK = "what was undone can be done again"
    LOOKS_TOO_EARLY = "whether it was undone is looked up before the row is locked"
    CRASHES_ON_A_BAD_BODY = "a body that is not JSON is a 500"
    TAKES_ANY_BODY = "a body that is not JSON is taken"
    SPEAKS_HTML = "answers are pages"
    REFUSES_ALL = "every call is refused"


class CarelessHotel:
    """Rooms in memory; all is well but for one flaw."""

    def __init__(self, flaw: Flaw | None = None) -> None:
        self.flaw = flaw
        self.rooms: dict[str, str] = {}
        self._answers: dict[str, str] = {}
        self._acting: set[str] = set()
        self._undone: set[str] = set()
        self._changed = threading.Condition()
        self.app = Flask(__name__)
        self.app.post("/rooms")(self.book)
        self.app.delete("/rooms/<key>")(self.cancel)
        self.app.get("/rooms/<key>")(self.look)

    def book(self) -> Response:
        """Book a room."""
        if self.flaw is Flaw.REFUSES_ALL:
            abort(422)
        if not self._is_readable(request.get_data()):
            abort(400)
        key = call_key() or ""
        with self._changed:
            is_undone = key in self._undone
            if key in self._acting and self.flaw is Flaw.REFUSES_WHILE_IT_ACTS:
                abort(409)
            assert self._changed.wait_for(lambda: key not in self._acting, 10)
            if key in self._answers and self.flaw is not Flaw.ACTS_AGAIN:
                if is_undone or self.flaw is Flaw.REFUSES_A_REPETITION:
                    abort(409)
                return self._says({"room": self._answers[key]})
            self._act(key)
            if self.flaw is not Flaw.LOOKS_TOO_EARLY:
                is_undone = key in self._undone
            if is_undone:
                abort(409)
            self.rooms[key] = self._answers[key] = str(uuid4())
            return self._says({"room": self._answers[key]})

    def cancel(self, key: str) -> Response:
        """Undo a booking."""
        with self._changed:
            early = self.flaw is Flaw.LOOKS_TOO_EARLY
            self._changed.wait_for(lambda: key in (self._acting if early else self._answers), TIMEOUT_S)
            wrong = {
                Flaw.CANNOT_UNDO: 500,
                Flaw.KNOWS_ONLY_WHAT_IT_HAS: 404 if key not in self._answers else None,
                Flaw.UNDOES_ONLY_ONCE: 404 if key in self._undone else None,
            }
            status = wrong.get(self.flaw) if self.flaw else None
            if status is not None:
                abort(status)
            self._undo(key)
            self._changed.notify_all()
            return self._says({"undone": True})

    def look(self, key: str) -> Response:
        """Whether there is a booking."""
        with self._changed:
            if key not in self.rooms:
                abort(404)
            return self._says({"room": self.rooms[key]})

    def _act(self, key: str) -> None:
        """Let go of the lock while it takes its time, as one does who calls somebody else."""
        slow = {Flaw.REFUSES_WHILE_IT_ACTS: lambda: False, Flaw.LOOKS_TOO_EARLY: lambda: key in self._undone}
        if self.flaw in slow:
            self._acting.add(key)
            self._changed.notify_all()
            self._changed.wait_for(slow[self.flaw], TIMEOUT_S)
            self._acting.discard(key)
        self._changed.notify_all()

    def _undo(self, key: str) -> None:
        if self.flaw is not Flaw.UNDOES_NOTHING:
            self.rooms.pop(key, None)
        if self.flaw is Flaw.COMES_BACK:
            if self._answers.pop(key, None) is None:
                self._undone.add(key)
        elif key in self._answers or self.flaw is not Flaw.FORGETS_AN_EARLY_UNDO:
            self._undone.add(key)

    def _is_readable(self, body: bytes) -> bool:
        try:
            json.loads(body)
        except ValueError:
            if self.flaw is Flaw.CRASHES_ON_A_BAD_BODY:
                abort(500)
            return self.flaw is Flaw.TAKES_ANY_BODY
        return True

    def _says(self, answer: dict[str, Any]) -> Response:
        if self.flaw is Flaw.SPEAKS_HTML:
            return Response(f"<p>{' '.join(map(str, answer.values()))}</p>")
        return jsonify(answer)
