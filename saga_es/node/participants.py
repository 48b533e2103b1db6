"""How the participants of an application are reached: over HTTP, a queue, or the application in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from saga_es.access.principal import IN_PROCESS_CALLER
from saga_es.definition.credentials import NONE, Credentials
from saga_es.definition.requests import Request
from saga_es.definition.saga import Saga
from saga_es.logs import logger
from saga_es.node.credentials import in_code
from saga_es.node.settings import Settings, by_variable, variable_of
from saga_es.queues.transport import QueueTransport
from saga_es.queues.url import is_queue
from saga_es.runtime.calls.address import address_of
from saga_es.runtime.calls.limits import Limit
from saga_es.runtime.calls.transport import HttpTransport, Transport, WsgiApp, WsgiTransport

Routes = Callable[[str, str], bool]
"""Says whether an application has a route for a method and for the path of a request, as it is written."""


def transports_of(settings: Settings, sagas: Iterable[Saga], call_application: WsgiApp) -> Mapping[str, Transport]:
    """The transport to each participant that a saga calls, or that a setting names.

    Raises:
        SettingsError: Two participants have the same variable.
        BadCredentials: The code defines a participant twice, with different credentials.
    """
    sagas = list(sagas)
    shown = credentials_of(settings, sagas)
    called = by_variable(called_by(sagas))
    given = by_variable(settings.participants)
    for variable in sorted(set(given) - set(called)):
        logger.warning("no saga calls a participant that is set", participant=given[variable], called=sorted(called))
    transports: dict[str, Transport] = {}
    for variable, name in sorted((given | called).items()):
        url = settings.participants[given[variable]] if variable in given else None
        if url is None or _is_self(name, url, settings):
            transports[name] = WsgiTransport(call_application, IN_PROCESS_CALLER)
        elif is_queue(url):
            transports[name] = QueueTransport(url, f"participant {name!r}")
        else:
            kept = settings.calls_at_once  # more than a limit of its own allows are never open
            transports[name] = HttpTransport(url, kept, f"participant {name!r}", shown.get(name, NONE))
    return transports


def limits_of(settings: Settings, names: Iterable[str]) -> dict[str, Limit]:
    """What participants bear that have a limit of their own."""
    given = by_variable(settings.limits)
    known = by_variable(names)
    for variable in sorted(set(given) - set(known)):
        logger.warning("no participant has these limits", participant=given[variable], known=sorted(known.values()))
    limits: dict[str, Limit] = {}
    for variable in set(given) & set(known):
        said = settings.limits[given[variable]]
        limits[known[variable]] = Limit(int(said.get("calls", settings.calls_at_once)), said.get("rate"))
    return limits


def credentials_of(settings: Settings, sagas: Iterable[Saga]) -> dict[str, Credentials]:
    """What each participant is shown: what the code says, with the settings in its place."""
    coded = in_code(request for _, request in _requests(sagas))
    given = by_variable(settings.credentials)
    names = by_variable(settings.participants) | by_variable(coded)
    for variable in sorted(set(given) - set(names)):
        logger.warning(
            "no participant has these credentials", participant=given[variable], known=sorted(names.values())
        )
    return {
        name: coded.get(name, NONE).under(Credentials(**settings.credentials.get(given.get(variable, ""), {})))
        for variable, name in names.items()
    }


def unreachable(
    transports: Mapping[str, Transport], sagas: Iterable[Saga], *, is_served: bool, routes: Routes | None
) -> list[str]:
    """The requests that have nowhere to go: better known now than in the middle of a saga.

    Args:
        transports: The transport to each participant.
        sagas: The definitions.
        is_served: Whether this process has an application.
        routes: The routes of that application; None: they are not known.

    Returns:
        A sentence for each request without an address and without a route in this process, with the setting to make.
    """
    problems = []
    for saga, request in _requests(sagas):
        if not isinstance(transports.get(request.participant), WsgiTransport):
            continue
        if not is_served:
            why = "this process serves no application"
        elif routes is not None and not routes(request.method, request.path):
            why = f"the application in this process has no route for {request.method} {request.path}"
        else:
            continue
        variable = variable_of(request.participant)
        participant = f"saga {saga!r} calls the participant {request.participant!r}"
        is_taken = variable.endswith("_PROXY")  # always the proxy of another participant
        cure = (
            "rename it, since no variable that ends in _PROXY is an address" if is_taken else "set it to its base URL"
        )
        problems.append(f"{variable}: {participant}, and {why}; {cure}")
    return list(dict.fromkeys(problems))


def called_by(sagas: Iterable[Saga]) -> frozenset[str]:
    """The participants that requests of these sagas call."""
    return frozenset(request.participant for _, request in _requests(sagas))


def _requests(sagas: Iterable[Saga]) -> Iterator[tuple[str, Request]]:
    """The requests of each saga, by its name; those of retired steps, which sagas of older plans still make, too."""
    for saga in sagas:
        variants = (variant for name in saga.step_names for variant in saga.variants(name))
        yield from (
            (saga.name, callee) for variant in variants for callee in variant.callees if isinstance(callee, Request)
        )


def _is_self(name: str, url: str, settings: Settings) -> bool:
    """Whether a participant's URL is this server, whose threads would wait for each other."""
    if is_queue(url):
        return False
    address = address_of(url)
    loopback = {"127.0.0.1", "localhost", "::1"}
    here = loopback if settings.host in {*loopback, "0.0.0.0", "::"} else {settings.host}  # noqa: S104 (compared, not bound)
    is_self = address.host in here and address.port == settings.port
    if is_self:
        logger.warning("a participant is this server: its calls stay in the process", participant=name, url=url)
    return is_self
