"""What the doctor finds in this process: participants without an address, and variables that are no settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from saga_es.node.node import Node
from saga_es.node.unknown import uncalled_addresses, unknown_variables
from saga_es.store.drivers.finding import Finding

_ALL_KNOWN = "each SAGA_ES_ variable is a setting"


def examine_process(node: Node, environ: Mapping[str, str]) -> list[Finding]:
    """Examine whether each request has somewhere to go, and whether each variable of ours is read.

    Args:
        node: A node with the application that answers calls in this process, if there is one.
        environ: The environment.
    """
    called = node.participants
    unknown = unknown_variables(environ, called)
    if not called:  # a process without sagas cannot say which addresses are missing or too many
        return [
            Finding("participants", "ok", "no saga here calls one"),
            *_each("variables", unknown, _ALL_KNOWN),
        ]
    well = f"each of {len(called)} has an address, or its routes in this process"
    return [
        *_each("participants", node.unreachable(), well),
        *_each("variables", [*unknown, *uncalled_addresses(environ, called)], _ALL_KNOWN),
    ]


def _each(subject: str, problems: Iterable[str], well: str) -> Iterator[Finding]:
    warnings = [Finding(subject, "warning", problem) for problem in problems]
    yield from warnings or [Finding(subject, "ok", well)]
