"""Environment variables that look like settings of ours and are none: a slip of the pen changes nothing, silently."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

from saga_es.logs import logger
from saga_es.node.credentials import is_about
from saga_es.node.settings import PARTICIPANT, PREFIX, Settings, variable_of

CLOSE = 0.6
"""How alike a name must be to be the one that was meant; 1 is the same."""

OF_PARTICIPANTS = frozenset({"credentials", "participants", "limits"})
"""The settings that are read from variables with the names of participants."""

_LIKE_OURS = re.compile(r"SAGA[_-]?ES[_-]", re.IGNORECASE)

_OF_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?$")
"""Kubernetes sets such variables for a service named `saga-es` or `saga-es-worker`: nobody's slip."""


def unknown_variables(environ: Mapping[str, str], called: Iterable[str] = ()) -> list[str]:
    """A sentence for each variable that looks like ours and is no setting, with the name that was probably meant.

    Args:
        environ: The environment.
        called: The participants that the sagas of this process call.
    """
    known = {PREFIX + name.upper() for name in Settings.__struct_fields__ if name not in OF_PARTICIPANTS}
    addresses = {variable_of(name) for name in called}
    return [
        _sentence(name, "there is no such setting", known | addresses)
        for name in _like_ours(environ)
        if name not in known and not _is_address(name)
    ]


def uncalled_addresses(environ: Mapping[str, str], called: Iterable[str]) -> list[str]:
    """A sentence for each address of a participant that no saga calls; engines warn of them by themselves."""
    addresses = {variable_of(name) for name in called}
    return [
        _sentence(name, "no saga here calls such a participant", addresses)
        for name in _like_ours(environ)
        if _is_address(name) and environ[name] and _participant(name, environ[name]) not in addresses
    ]


def warn_of_unknown_variables(environ: Mapping[str, str], called: Iterable[str]) -> None:
    """Log each variable that looks like ours and is no setting."""
    for sentence in unknown_variables(environ, called):
        logger.warning("an environment variable is not a setting", problem=sentence)


def _like_ours(environ: Mapping[str, str]) -> list[str]:
    return [name for name in sorted(environ) if _LIKE_OURS.match(name) and not _is_of_kubernetes(name, environ[name])]


def _participant(name: str, value: str) -> str:
    """The variable with the address of the participant that a variable is about."""
    about = name.removeprefix(PARTICIPANT)
    return variable_of(about.rpartition("_")[0] if is_about(about, value) else about)


def _is_address(name: str) -> bool:
    return name.startswith(PARTICIPANT) and name != PARTICIPANT


def _is_of_kubernetes(name: str, value: str) -> bool:
    found = _OF_KUBERNETES.search(name)
    return found is not None and (not name.endswith("_PORT") or "://" in value or name.endswith("_SERVICE_PORT"))


def _sentence(name: str, what: str, known: Collection[str]) -> str:
    nearest = _nearest(name, known)
    return f"{name}: {what}" + (f"; did you mean {nearest}?" if nearest else "; unset it, or correct its name")


def _nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that is most like a name; what all names begin with makes none alike."""
    tails = {one.removeprefix(start): one for start in (PREFIX, PARTICIPANT) for one in known if one.startswith(start)}
    meant = _LIKE_OURS.sub("", name, count=1).upper().replace("-", "_")
    found = get_close_matches(meant, sorted(tails), 1, CLOSE) or get_close_matches(
        meant.removeprefix("PARTICIPANT_"), sorted(tails), 1, CLOSE
    )
    return tails[found[0]] if found else None
