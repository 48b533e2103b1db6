"""Principals: who acts, with which roles, on which sagas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec
from msgspec.structs import force_setattr

from saga_es.access.permissions import Permission
from saga_es.core.access import Scope, Starter
from saga_es.core.describe import plain

LONGEST_NAME = 200
RESERVED = "cli:"
"""What the actors of the command line begin with."""


class Role(StrEnum):
    """A role. Whoever has several may do what each of them may."""

    VIEWER = "viewer"
    SERVICE = "service"
    OPERATOR = "operator"
    RESOLVER = "resolver"
    ADMIN = "admin"
    AUDITOR = "auditor"
    SENDER = "sender"


_LOOK = frozenset({Permission.OPEN, Permission.READ, Permission.WATCH})

PERMISSIONS: Final[Mapping[str, frozenset[Permission]]] = {
    Role.VIEWER: _LOOK,
    Role.SERVICE: frozenset(
        {Permission.OPEN, Permission.READ, Permission.PAYLOADS, Permission.START, Permission.SIGNAL, Permission.CALL}
    ),
    Role.OPERATOR: _LOOK | {Permission.PAYLOADS, Permission.OPERATE},
    Role.RESOLVER: _LOOK | {Permission.PAYLOADS, Permission.RESOLVE},
    Role.ADMIN: _LOOK | {Permission.ADMINISTER},
    Role.AUDITOR: _LOOK | {Permission.PAYLOADS, Permission.AUDIT},
    Role.SENDER: frozenset({Permission.OPEN, Permission.SIGNAL}),
}
"""What each role may do."""


class Principal(msgspec.Struct, frozen=True):
    """A person or a program that acts, as authentication found it.

    Attributes:
        name: Who it is; the log keeps it as the actor of a command.
        roles: What it may do.
        sagas: The names of the definitions whose sagas it may see and act on; None: all.
        tenant: The tenant whose sagas it may see and act on; empty: those of no tenant.
        via: How it was recognised: `key`, `jwt`, `process`, or a word of the application's.

    Raises:
        ValueError: The name is empty, too long or not plain text, or a role is unknown.
    """

    name: str
    roles: Iterable[str] = ()
    sagas: Iterable[str] | None = None
    tenant: str = ""
    via: str = "application"

    def __post_init__(self) -> None:
        """Check the values, and keep them in forms that do not change."""
        for what, text in (("name", self.name), ("tenant", self.tenant)):
            if (
                len(text) > LONGEST_NAME
                or text.startswith(RESERVED)
                or plain(text) != text
                or (what == "name" and not text.strip())
            ):
                raise ValueError(
                    f"the {what} of a principal has 1 to {LONGEST_NAME} plain characters, and does not "
                    f"begin with {RESERVED!r}: {text!a:.80}"
                )
        force_setattr(self, "roles", frozenset(Role(role) for role in _several("roles", self.roles)))
        if self.sagas is not None:
            force_setattr(self, "sagas", frozenset(_several("sagas", self.sagas)))

    def may(self, permission: Permission) -> bool:
        """Whether it has a permission. What is about the whole installation is for those who may see all of it."""
        if permission is Permission.WATCH and (self.tenant or self.sagas is not None):
            return False
        return permission is Permission.OPEN or any(permission in PERMISSIONS[role] for role in self.roles)

    def covers(self, saga: str) -> bool:
        """Whether it may act on sagas of a definition."""
        return self.sagas is None or saga in self.sagas

    @property
    def scope(self) -> Scope:
        """The sagas that are there for it: a service alone sees those that it started."""
        reads_all = Role.SENDER in self.roles or any(
            Permission.READ in PERMISSIONS[role] for role in self.roles if role != Role.SERVICE
        )
        sagas = None if self.sagas is None else frozenset(self.sagas)
        return Scope(self.tenant, sagas, None if reads_all else self.name)

    @property
    def starter(self) -> Starter:
        """Who it is for the sagas that it starts."""
        return Starter(self.name, self.tenant)


def _several(what: str, texts: Iterable[str]) -> Iterable[str]:
    if isinstance(texts, str):  # `roles="operator"` would be eight roles of one letter each
        raise TypeError(f"{what} are several texts, such as [{texts!r}], not one")
    return texts


UNGUARDED = Principal("anonymous", roles=list(Role), via="none")
"""Stands for each caller where nobody has to be known: it may do everything, and a body may name another actor."""

NOBODY = Principal("anonymous", via="none")
"""Stands for a caller without credentials, where some are asked for."""

IN_PROCESS_CALLER = Principal("saga_es", roles=[Role.SERVICE, Role.VIEWER], via="process")
"""Makes the calls of sagas within a process."""
