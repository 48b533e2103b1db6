"""What the way to a participant lacks, or would let others read; known before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from saga_es.definition.credentials import NONE, TLS, Credentials
from saga_es.definition.saga import Saga
from saga_es.node.participants import credentials_of
from saga_es.node.settings import PREFIX, Settings, variable_of
from saga_es.queues.transport import QueueTransport
from saga_es.runtime.calls.address import is_private
from saga_es.runtime.calls.credentials import Tls, check_written
from saga_es.runtime.calls.proxies import Proxy, proxy_of
from saga_es.runtime.calls.sources import NoCredentials
from saga_es.runtime.calls.transport import HttpTransport, Transport


def unusable(settings: Settings, transports: Mapping[str, Transport], sagas: Iterable[Saga]) -> list[str]:
    """A line for each credential that a call over the network could not use, and for each call that all could read."""
    shown = sorted(credentials_of(settings, sagas).items())
    over_network = [
        (name, credentials, transport.address)
        for name, credentials in shown
        if isinstance(transport := transports.get(name), HttpTransport)
    ]
    return [
        *(
            f"{variable_of(name)}: {address.host} is beyond loopback and private networks, and http encrypts nothing; "
            f"write https://, or set {PREFIX}INSECURE_HTTP=true if only friends can read what is sent there"
            for name, _, address in over_network
            if not (settings.insecure_http or address.is_tls or is_private(address.host))
        ),
        *(
            problem
            for name, credentials, address in over_network
            for problem in _problems_of(
                variable_of(name), credentials, is_tls=address.is_tls, may_be_read=settings.insecure_http
            )
        ),
        *(
            problem
            for name, transport in sorted(transports.items())
            if isinstance(transport, QueueTransport)
            for problem in _unusable_queue(name, transport, dict(shown).get(name, NONE), settings)
        ),
    ]


def _unusable_queue(
    name: str, transport: QueueTransport, credentials: Credentials, settings: Settings
) -> Iterator[str]:
    """The same for a participant behind a queue: the URL alone says who calls."""
    for which, _ in credentials.given():
        yield f"{variable_of(name)}_{which.upper()}: it is for HTTP; a queue's user and password stand in its URL"
    url = transport.url
    strangers = [host for host in url.hosts if not is_private(host.rpartition(":")[0].strip("[]"))]
    is_encrypted = url.is_tls or url.options.get("security.protocol", "").upper() in {"SSL", "SASL_SSL"}
    if strangers and not (is_encrypted or settings.insecure_http):
        yield (
            f"{variable_of(name)}: {strangers[0]} is beyond loopback and private networks, and nothing is encrypted on "
            f"the way; write amqps:// or tls:// (Kafka: ?security.protocol=SSL), or set "
            f"{PREFIX}INSECURE_HTTP=true if only friends can read it"
        )


def _problems_of(variable: str, credentials: Credentials, *, is_tls: bool, may_be_read: bool) -> Iterator[str]:
    """A line for each credential that cannot be used.

    Args:
        variable: The variable with the participant's base URL.
        credentials: The sources.
        is_tls: Whether that URL is `https`.
        may_be_read: Whether the user allows that others on the way read what is sent.
    """
    is_well = True
    for name, source in credentials.given():
        setting = f"{variable}_{name.upper()}"
        try:
            check_written(name, source)
        except NoCredentials as error:
            is_well = False
            yield f"{setting}: {error}"
            continue
        if name in TLS and not is_tls:
            is_well = False
            yield f"{setting}: the base URL is not https, so no certificate is shown or seen; correct {variable}"
        if name == "proxy" and not callable(source) and not may_be_read:
            yield from (f"{setting}: {problem}" for problem in _readable(proxy_of(source), is_tls=is_tls))
    with_certificates = [source for name, source in credentials.given() if name in TLS]
    if is_well and with_certificates and not any(map(callable, with_certificates)):
        try:
            Tls(credentials).context()
        except NoCredentials as error:
            yield f"{variable}_CA, _CERT, _KEY: {error}"


def _readable(proxy: Proxy, *, is_tls: bool) -> Iterator[str]:
    """What everybody between here and a proxy could read."""
    what = "its password" if proxy.authorization else None if is_tls else "what is sent to the participant"
    if what and not is_private(proxy.address.host):
        yield (
            f"{proxy.address.host} is beyond loopback and private networks, and everybody on the way there could read "
            f"{what}; name a proxy in a network of your own, or set {PREFIX}INSECURE_HTTP=true if only friends can "
            "read it"
        )
