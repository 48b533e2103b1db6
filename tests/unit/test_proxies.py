"""Participants behind a proxy: each connection is a tunnel, and a tunnel that is refused means that nothing left."""

from __future__ import annotations

import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from saga_es import Participant, RetryPolicy, Saga, open_engine
from saga_es.cli.options import CANNOT_SERVE, reported
from saga_es.definition.credentials import Credentials, Source
from saga_es.errors import SettingsError
from saga_es.node.credentials import BadCredentials
from saga_es.node.settings import Settings
from saga_es.runtime.calls.address import address_of
from saga_es.runtime.calls.answers import AnswerLost, NotSent
from saga_es.runtime.calls.proxies import asking, proxy_of
from saga_es.runtime.calls.transport import HttpTransport
from tests.conftest import TIMEOUT_S
from tests.support import participants
from tests.support.certificates import certified
from tests.support.participants import Hangs, Says, in_turn
from tests.support.raw_servers import over_tls, raw_server, request_of, saying
from tests.support.tunnels import STANDS, TunnelProxy, tunnel_proxy
from tests.unit.test_participant_credentials import answers_with_the_callers_certificate, server_tls

PASSWORD = "pass-of-the-pr0xy"
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

pytestmark = pytest.mark.usefixtures("each_way")


@pytest.fixture
def bank() -> Iterator[participants.Participant]:
    """A participant that remembers what it was sent."""
    with participants.Participant() as served:
        yield served


@pytest.fixture
def proxy() -> Iterator[TunnelProxy]:
    """A proxy that gives each tunnel."""
    with tunnel_proxy() as served:
        yield served


def through(proxy: Source, url: str, **more: Source) -> HttpTransport:
    """Calls to a participant, named as it is in errors."""
    return HttpTransport(url, name="participant 'bank'", credentials=Credentials(proxy=proxy, **more))


def send(transport: HttpTransport, timeout_s: float = TIMEOUT_S) -> int:
    """One call; the status of its answer."""
    return transport.send("POST", "/pay", {}, b"{}", timeout_s).status


# ── The way ──────────────────────────────────────────────────────────────────────────────────────────────


def test_calls_go_through_one_tunnel_that_is_kept(bank: participants.Participant, proxy: TunnelProxy) -> None:
    """The participant sees requests as if they came directly."""
    transport = through(proxy.url, f"{bank.url}/v1")
    assert [send(transport) for _ in range(3)] == [200] * 3
    transport.close()
    assert proxy.targets == [bank.url.removeprefix("http://")]
    assert [call.path for call in bank.calls] == ["/v1/pay"] * 3
    assert {call.headers["host"] for call in bank.calls} == set(proxy.targets)


def test_tls_goes_through_the_tunnel_to_the_participant(tmp_path: Path) -> None:
    """The proxy sees the host and the port, and cannot read the rest; it looks the host up, and not this machine."""
    bank, seen = certified("bank.example"), list[object]()
    tls = over_tls(server_tls(bank, bank.authority, tmp_path), answers_with_the_callers_certificate(seen))  # type: ignore[arg-type]
    shown = bank.key + bank.certificate
    with raw_server(tls) as served, tunnel_proxy(lambda _: served.port) as proxy:
        transport = through(proxy.url, "https://bank.example", ca=bank.authority.decode(), cert=shown.decode())
        assert send(transport) == 200
        transport.close()
    assert proxy.targets == ["bank.example:443"]
    assert len(seen) == 1


def test_a_user_and_a_password_are_shown_to_the_proxy_alone(bank: participants.Participant, proxy: TunnelProxy) -> None:
    """They stand in its URL, quoted where a URL wants it."""
    transport = through(f"http://ada:p%40ss%3Aw%C3%B6rd@127.0.0.1:{proxy.port}/", bank.url)
    assert send(transport) == 200
    transport.close()
    shown = b64encode("ada:p@ss:wörd".encode())
    assert b"\r\nProxy-Authorization: Basic " + shown + b"\r\n" in proxy.asked[0]
    assert not [name for call in bank.calls for name in call.headers if name.startswith("proxy")]


def test_a_tunnel_to_an_address_of_ipv6_is_asked_for_in_brackets() -> None:
    """As a URL has it (RFC 9110, 9.3.6)."""
    assert asking(proxy_of("http://proxy"), address_of("https://[::1]:8443")).startswith(b"CONNECT [::1]:8443 HTTP/1.1")


def test_another_proxy_is_used_as_soon_as_its_file_says_so(
    bank: participants.Participant, proxy: TunnelProxy, tmp_path: Path
) -> None:
    """Connections through the one before are not used again."""
    file = tmp_path / "proxy"
    transport = through(f"file:{file}", bank.url)
    with tunnel_proxy() as other:
        for where in (proxy, other, other, proxy):
            file.write_text(f"{where.url}\n")
            assert send(transport) == 200
        transport.close()
    assert (len(proxy.asked), len(other.asked)) == (2, 1)


def test_a_connection_of_the_proxy_before_that_comes_back_late_is_not_kept(
    bank: participants.Participant, proxy: TunnelProxy, tmp_path: Path
) -> None:
    """Its call was under way when another call learnt of the new proxy."""
    file, hangs = tmp_path / "proxy", Hangs()
    transport = through(f"file:{file}", bank.url)
    bank.script = in_turn(hangs, Says())
    file.write_text(proxy.url)
    late = threading.Thread(target=send, args=(transport,))
    late.start()
    bank.wait_for_calls(1)
    with tunnel_proxy() as other:
        file.write_text(other.url)
        assert send(transport) == 200
        hangs.then.set()
        late.join(TIMEOUT_S)
        kept = [connection.way.proxy for connection in transport._connections._idle]
        assert kept == [proxy_of(other.url)]
        transport.close()


# ── Refused ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", "407; correct the user and the password"),
        (b"HTTP/1.0 401 Unauthorized\r\n\r\n", "401; correct the user and the password"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope", "403; have it allow CONNECT there"),
        (b"HTTP/1.0 405 No\r\n\r\n", "405; it knows no CONNECT"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502; the proxy's own log says why"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "302; the proxy's own log says why"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "101; the proxy's own log says why"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 504 No\r\n\r\n", "504; the proxy's own log says why"),
        (STANDS + DONE, "its proxy sends more than an answer"),
        (STANDS[:20], "its proxy gave no readable answer: the answer was cut"),
        (b"", "its proxy gave no readable answer: the connection was closed"),
        (b"220 mail.example ESMTP\r\n\r\n", "its proxy gave no readable answer: it is no answer of HTTP/1.1"),
        (b"X" * 70_000, "its proxy gave no readable answer: the head of the answer is longer"),
    ],
)
def test_a_tunnel_that_is_refused_means_that_nothing_was_sent(answer: bytes, says: str) -> None:
    """Whatever the proxy says, and with both schemes; the message says what to do, and shows no password."""
    with raw_server(saying(answer)) as served:
        for scheme in ("http", "https"):
            transport = through(f"http://ada:{PASSWORD}@127.0.0.1:{served.port}", f"{scheme}://bank.example:8443")
            with pytest.raises(NotSent, match="participant 'bank' cannot be reached: its proxy") as caught:
                send(transport)
            transport.close()
            assert says in str(caught.value)
            assert PASSWORD not in str(caught.value)


def test_a_proxy_that_is_away_or_silent_means_that_nothing_was_sent() -> None:
    """The deadline of the call covers the tunnel."""
    transport = through(f"http://127.0.0.1:{participants.free_port()}", "https://bank.example")
    with pytest.raises(NotSent, match="its proxy cannot be reached: Connection refused"):
        send(transport)
    transport = through("http://no-such-proxy.invalid", "https://bank.example")
    with pytest.raises(NotSent, match="its proxy cannot be reached: "):
        send(transport)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        transport = through(f"http://127.0.0.1:{silent.getsockname()[1]}", "https://bank.example")
        with pytest.raises(NotSent, match=r"it took longer than 0\.2 s"):
            send(transport, 0.2)


def test_a_tunnel_that_breaks_after_the_request_means_that_the_answer_is_lost(proxy: TunnelProxy) -> None:
    """The participant may have acted."""
    came: list[bytes] = []
    with raw_server(lambda taken: came.append(request_of(taken))) as bank:
        transport = through(proxy.url, f"http://127.0.0.1:{bank.port}")
        with pytest.raises(AnswerLost, match="no answer from participant 'bank'"):
            send(transport)
        transport.close()
    assert len(came) == 1


# ── Tokens ───────────────────────────────────────────────────────────────────────────────────────────────


def test_tokens_are_fetched_through_the_proxy_beyond_private_networks(bank: participants.Participant) -> None:
    """An endpoint in a network of one's own is asked directly."""
    with tunnel_proxy(lambda _: participants.free_port()) as proxy:
        transport = through(proxy.url, bank.url, auth=f"oauth2 https://login.example/token shop {PASSWORD}")
        with pytest.raises(NotSent, match="cannot be shown who calls"):
            send(transport)
        transport.close()
        assert proxy.targets == ["login.example:443"]
        private = through(proxy.url, bank.url, auth=f"oauth2 http://127.0.0.1:{proxy.port}/token shop {PASSWORD}")
        with pytest.raises(NotSent, match="cannot be shown who calls"):
            send(private)
        private.close()
    assert [head.split(b" ")[0] for head in proxy.asked] == [b"CONNECT", b"POST"]


# ── Settings ─────────────────────────────────────────────────────────────────────────────────────────────


def paying(name: str = "bank", **credentials: Source) -> Saga:
    """A saga that calls a participant once."""
    saga = Saga("pays")
    request = Participant(name, **credentials).post("/pay")
    saga.request("pay", request, compensation=None, retry=RetryPolicy(attempts=1))
    return saga


def test_a_variable_names_the_proxy_of_a_participant(
    bank: participants.Participant, proxy: TunnelProxy, tmp_path: Path
) -> None:
    """Though its value is a URL; it stands in place of what the code says."""
    environ = {"SAGA_ES_PARTICIPANT_BANK": bank.url, "SAGA_ES_PARTICIPANT_BANK_PROXY": proxy.url}
    loaded = Settings.load({}, environ)
    assert (loaded.participants, loaded.credentials) == ({"bank": bank.url}, {"bank": {"proxy": proxy.url}})
    saga = paying(proxy="http://127.0.0.1:1")
    with open_engine(
        f"sqlite:///{tmp_path / 'log.db'}", saga, participants=loaded.participants, credentials=loaded.credentials
    ) as engine:
        assert engine.start("pays", {}).result(TIMEOUT_S).status.name == "COMPLETED"
    assert len(proxy.asked) == len(bank.calls) == 1


def test_a_participant_whose_name_ends_in_proxy_is_told_why_it_has_no_address(tmp_path: Path) -> None:
    """The variable that would name it names the proxy of another one."""
    with (
        pytest.raises(SettingsError, match=r"_OLD_PROXY: .* rename it, since no variable that ends in _PROXY is"),
        open_engine(f"sqlite:///{tmp_path / 'log.db'}", paying("old_proxy")),
    ):
        pass


BAD = [
    f"https://ada:{PASSWORD}@proxy:3128",
    f"socks5://ada:{PASSWORD}@proxy:1080",
    f"ada:{PASSWORD}@proxy:3128",
    f"http://ada:{PASSWORD}@proxy:3128/path",
    f"http://ada:{PASSWORD}@proxy:3128?x={PASSWORD}",
    f"http://ada:{PASSWORD}@proxy:99999",
    f"http://ada:{PASSWORD}%0d%0aX-Evil:1@proxy:3128",
    f"http://ada:{PASSWORD} @proxy:3128",
    f"http://ada:{PASSWORD}@proxy:3128\nhttp://other:3128",
    f"http://ada:{PASSWORD}@",
    "proxy:3128",
    "env:SAGA_TEST_NOT_SET",
    "file:/no/such/file",
    "http://[::1",
    "http://pro\\xy",
]


@pytest.mark.parametrize("source", BAD)
def test_a_bad_proxy_is_refused_before_the_engine_opens(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the variable, exit code 78 and no password; a function that returns it fails when it is asked."""
    url = {"bank": "https://bank.invalid"}
    opening = open_engine(f"sqlite:///{tmp_path / 'x.db'}", paying(proxy=source), participants=url)
    with pytest.raises(SystemExit) as ended, reported(), opening:
        pass
    assert ended.value.code == CANNOT_SERVE
    said = capsys.readouterr().err
    assert "SAGA_ES_PARTICIPANT_BANK_PROXY: " in said
    with pytest.raises(NotSent) as caught:
        send(through(lambda: source, "https://bank.invalid"))
    assert PASSWORD not in said + str(caught.value)


@pytest.mark.parametrize(
    ("proxy", "url", "what"),
    [
        (f"http://ada:{PASSWORD}@proxy.example", "https://bank.example", "its password"),
        (f"http://ada:{PASSWORD}@192.0.2.1:3128", "http://bank", "its password"),
        ("http://proxy.example:3128", "http://bank", "what is sent to the participant"),
        ("http://proxy.example:3128", "https://bank.example", None),
        (f"http://ada:{PASSWORD}@10.0.0.1:3128", "https://bank.example", None),
        ("http://proxy:3128", "http://bank", None),
    ],
)
def test_what_everybody_on_the_way_to_a_proxy_could_read_is_refused(
    tmp_path: Path, proxy: str, url: str, what: str | None
) -> None:
    """Beyond private networks, unless a setting allows it."""
    database = f"sqlite:///{tmp_path / 'x.db'}"
    saga, given = paying(), {"participants": {"bank": url}, "credentials": {"bank": {"proxy": proxy}}}
    if what is not None:
        opening = open_engine(database, saga, **given)  # type: ignore[arg-type]
        with pytest.raises(BadCredentials, match=f"_BANK_PROXY: .* everybody .* could read {what}") as caught, opening:
            pass
        assert PASSWORD not in str(caught.value)
    with open_engine(database, saga, insecure_http=what is not None, **given):  # type: ignore[arg-type]
        pass


def test_the_proxy_of_the_environment_is_left_alone(
    bank: participants.Participant, proxy: TunnelProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is meant for the whole process; a participant has its own."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    transport = HttpTransport(bank.url)
    assert send(transport) == 200
    transport.close()
    assert proxy.asked == []
