"""What participants are shown: read when a request is sent, stored nowhere, and checked before the first."""

from __future__ import annotations

import ssl
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from saga_es import Participant, RetryPolicy, Saga, open_engine
from saga_es.cli.options import CANNOT_SERVE, reported
from saga_es.definition.credentials import Credentials, Source
from saga_es.node.credentials import BadCredentials
from saga_es.node.settings import Settings, variable_of
from saga_es.node.unknown import uncalled_addresses, unknown_variables
from saga_es.runtime.calls.answers import NotSent
from saga_es.runtime.calls.transport import HttpTransport
from tests.conftest import TIMEOUT_S
from tests.support import participants
from tests.support.certificates import Certified, certified
from tests.support.participants import Call, Says
from tests.support.raw_servers import over_tls, raw_server, request_of

TOKEN = "t0ken-of-the-bank-4711"
OTHER = "an0ther-t0ken-4712"


pytestmark = pytest.mark.usefixtures("each_way")


@pytest.fixture
def bank() -> Iterator[participants.Participant]:
    """A participant that remembers what it was shown."""
    with participants.Participant() as served:
        yield served


def shown_to(bank: participants.Participant, auth: Source) -> str:
    """The header that a request with these credentials had."""
    transport = HttpTransport(bank.url, credentials=Credentials(auth=auth))
    transport.send("POST", "/pay", {}, b"{}", TIMEOUT_S)
    transport.close()
    return bank.calls[-1].headers["authorization"]


def paying(**credentials: Source) -> Saga:
    """A saga that calls the bank once."""
    saga = Saga("pays")
    once = RetryPolicy(attempts=1)
    saga.request("pay", Participant("bank", **credentials).post("/pay"), compensation=None, retry=once)
    return saga


# ── Where the text comes from ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["bearer", "Bearer", "BEARER"])
def test_a_token_comes_from_each_source(
    bank: participants.Participant, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text itself, a variable, a file as an editor leaves it, or a function."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setenv("BANK_TOKEN", TOKEN)
    sources: list[Source] = [
        f"{scheme} {TOKEN}",
        f"{scheme} env:BANK_TOKEN",
        f"{scheme} file:{tmp_path / 'token'}",
        lambda: f"{scheme} {TOKEN}",
    ]
    assert {shown_to(bank, source) for source in sources} == {f"Bearer {TOKEN}"}


def test_a_user_and_a_password_are_shown_as_basic(bank: participants.Participant) -> None:
    """Also with signs beyond ASCII, and with colons in the password."""
    assert shown_to(bank, "basic ada:pässw:rd") == f"Basic {b64encode('ada:pässw:rd'.encode()).decode()}"


def test_a_token_is_read_anew_for_each_request(bank: participants.Participant, tmp_path: Path) -> None:
    """It was replaced meanwhile; the connection stays."""
    file = tmp_path / "token"
    transport = HttpTransport(bank.url, credentials=Credentials(auth=f"bearer file:{file}"))
    for token in (TOKEN, OTHER):
        file.write_text(token)
        transport.send("POST", "/pay", {}, None, TIMEOUT_S)
    transport.close()
    assert [call.headers["authorization"] for call in bank.calls] == [f"Bearer {TOKEN}", f"Bearer {OTHER}"]


def fails() -> str:
    """A function whose error names a secret."""
    raise RuntimeError(TOKEN)


@pytest.mark.parametrize(
    "auth",
    [
        "bearer file:/no/such/file",
        "bearer env:SAGA_TEST_NOT_SET",
        f"bearer {TOKEN} {TOKEN}",
        f"bearer {TOKEN}\r\nX-Evil: 1",
        f"bearer {TOKEN}ä",
        f"basic {TOKEN}",
        f"basic ada:{TOKEN}\nx",
        f"digest {TOKEN}",
        TOKEN,
        "bearer",
        "",
        fails,
        lambda: "",
        lambda: f"bearer {TOKEN}\nX-Evil: 1",
        lambda: TOKEN,
    ],
)
def test_without_credentials_nothing_is_sent(bank: participants.Participant, auth: Source) -> None:
    """And the error names no secret."""
    transport = HttpTransport(bank.url, name="participant 'bank'", credentials=Credentials(auth=auth))
    with pytest.raises(NotSent, match="participant 'bank' cannot be shown who calls") as caught:
        transport.send("POST", "/pay", {}, None, TIMEOUT_S)
    assert bank.calls == []
    assert TOKEN not in str(caught.value)


# ── In an engine ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_saga_shows_its_token_and_the_log_never_has_it(bank: participants.Participant, tmp_path: Path) -> None:
    """Not even when the participant repeats it as its result; a variable replaces what the code says."""
    bank.script = lambda call: Says(body={"you": dict(call.headers)["authorization"], "token": f"x{TOKEN}x"})
    database = tmp_path / "log.db"
    with open_engine(
        f"sqlite:///{database}",
        paying(auth=f"bearer {OTHER}"),
        participants={"bank": bank.url},
        credentials={"bank": {"auth": f"bearer {TOKEN}"}},
    ) as engine:
        result = engine.start("pays", {}).result(TIMEOUT_S)
    assert [call.headers["authorization"] for call in bank.calls] == [f"Bearer {TOKEN}"]
    assert result.status.name == "COMPLETED"
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"x***x" in kept
    assert TOKEN.encode() not in kept
    assert OTHER.encode() not in kept


@pytest.mark.parametrize(
    ("credentials", "says"),
    [
        ({"auth": "bearer file:/no/such/file"}, "BANK_AUTH: cannot read '/no/such/file'"),
        ({"auth": f"hmac {TOKEN}"}, "BANK_AUTH: it has no known scheme; write `bearer TOKEN`"),
        ({"auth": "bearer env:SAGA_TEST_NOT_SET"}, "BANK_AUTH: the variable SAGA_TEST_NOT_SET is empty"),
        ({"ca": "file:/no/such/file"}, "BANK_CA: cannot read '/no/such/file'"),
        ({"ca": "no certificate"}, "ca is no certificate in PEM"),
        ({"cert": "no certificate"}, "cert and key are no certificate"),
        ({"key": TOKEN}, "a key is given, and no cert"),
    ],
)
def test_credentials_are_checked_before_the_engine_opens(
    tmp_path: Path, credentials: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the variable and the cure, and exit code 78; in code or by setting."""
    url = {"bank": "https://bank.invalid"}
    for saga, settings in ((paying(), {"bank": credentials}), (paying(**credentials), {})):
        opening = open_engine(f"sqlite:///{tmp_path / 'x.db'}", saga, participants=url, credentials=settings)
        with pytest.raises(SystemExit) as ended, reported(), opening:
            pass
        assert ended.value.code == CANNOT_SERVE
        said = capsys.readouterr().err
        assert f"SAGA_ES_PARTICIPANT_{says}" in said or says in said
        assert TOKEN not in said


def test_a_certificate_for_plain_http_is_refused(tmp_path: Path) -> None:
    """Nobody would see it."""
    opening = open_engine(
        f"sqlite:///{tmp_path / 'x.db'}",
        paying(ca=certified("bank").authority.decode()),
        participants={"bank": "http://bank.invalid"},
    )
    with pytest.raises(BadCredentials, match="_BANK_CA: the base URL is not https"), opening:
        pass


def test_one_participant_with_two_credentials_is_refused(tmp_path: Path) -> None:
    """Calls would show one or the other."""
    saga = paying(auth=f"bearer {TOKEN}")
    saga.request("again", Participant("bank", auth=f"bearer {OTHER}").post("/pay"), compensation=None)
    with pytest.raises(BadCredentials, match="'bank' is defined twice") as caught:
        open_engine(f"sqlite:///{tmp_path / 'x.db'}", saga, participants={"bank": "http://bank.invalid"})
    assert TOKEN not in str(caught.value)


# ── Variables ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_variable_is_an_address_if_its_value_is_a_url() -> None:
    """A participant may be named `bank_key`."""
    environ = {
        "SAGA_ES_PARTICIPANT_BANK": "https://bank",
        "SAGA_ES_PARTICIPANT_BANK_AUTH": f"bearer {TOKEN}",
        "SAGA_ES_PARTICIPANT_BANK_CA": "file:/ca.pem",
        "SAGA_ES_PARTICIPANT_BANK_KEY": "https://key.bank",
        "SAGA_ES_PARTICIPANT_BANK_KEY_AUTH": "basic env:LOGIN",
    }
    loaded = Settings.load({}, environ)
    assert loaded.participants == {"bank": "https://bank", "bank_key": "https://key.bank"}
    assert loaded.credentials == {
        "bank": {"auth": f"bearer {TOKEN}", "ca": "file:/ca.pem"},
        "bank_key": {"auth": "basic env:LOGIN"},
    }
    assert TOKEN not in repr(loaded)
    assert unknown_variables(environ, ["bank", "bank_key"]) == []
    assert uncalled_addresses(environ, ["bank", "bank_key"]) == []
    assert [line.partition(":")[0] for line in uncalled_addresses(environ, ["bank"])] == [
        "SAGA_ES_PARTICIPANT_BANK_KEY",
        "SAGA_ES_PARTICIPANT_BANK_KEY_AUTH",
    ]


@pytest.mark.parametrize("name", ["bank", "old-bank", "Bank.of v2"])
def test_credentials_find_their_participant(
    bank: participants.Participant, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same rule as its address."""
    monkeypatch.setenv(variable_of(name), bank.url)
    monkeypatch.setenv(f"{variable_of(name)}_AUTH", f"bearer {TOKEN}")
    saga = Saga("pays")
    saga.request("pay", Participant(name).post("/pay"), compensation=None)
    with open_engine(f"sqlite:///{tmp_path / 'x.db'}", saga) as engine:
        engine.start("pays", {}).result(TIMEOUT_S)
    assert [call.headers["authorization"] for call in bank.calls] == [f"Bearer {TOKEN}"]


def test_credentials_show_nothing_of_themselves() -> None:
    """A request is printed in errors and tracebacks."""
    assert TOKEN not in repr(Participant("bank", auth=f"bearer {TOKEN}", key=TOKEN).get("/"))


# ── Certificates ─────────────────────────────────────────────────────────────────────────────────────────


def server_tls(of: Certified, trusts: bytes | None, folder: Path) -> ssl.SSLContext:
    """TLS of a server with this certificate, which asks callers for one that this authority signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(of.key + of.certificate)
        file.flush()
        context.load_cert_chain(file.name)
    context.num_tickets = 0
    if trusts is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=trusts.decode())
    return context


def answers_with_the_callers_certificate(seen: list[object]) -> Callable[[ssl.SSLSocket], None]:
    def script(taken: ssl.SSLSocket) -> None:
        while request_of(taken):
            seen.append(taken.getpeercert(binary_form=True))
            taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    return script


def test_a_certificate_is_shown_and_replaced_while_the_transport_is_in_use(tmp_path: Path) -> None:
    """The first has another key than the second; a kept connection with the first is not used again."""
    server, first, second = certified("localhost"), certified("ada", "an authority"), certified("bob", "another")
    seen: list[object] = []
    tls = server_tls(server, first.authority + second.authority, tmp_path)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    credentials = Credentials(ca=server.authority.decode(), cert=f"file:{cert}", key=f"file:{key}")
    with raw_server(over_tls(tls, answers_with_the_callers_certificate(seen))) as raw:  # type: ignore[arg-type]
        transport = HttpTransport(f"https://localhost:{raw.port}", credentials=credentials)
        for shown in (first, first, second):
            cert.write_bytes(shown.certificate)
            key.write_bytes(shown.key)
            assert transport.send("POST", "/pay", {}, None, TIMEOUT_S).status == 200
        key.write_bytes(first.key)
        with pytest.raises(NotSent, match="do not belong together"):
            transport.send("POST", "/pay", {}, None, TIMEOUT_S)
        transport.close()
    assert seen == [ssl.PEM_cert_to_DER_cert(one.certificate.decode()) for one in (first, first, second)]


def test_nothing_is_sent_to_a_server_of_another_authority_or_that_refuses_our_certificate(tmp_path: Path) -> None:
    """`ca` stands in place of what the machine trusts."""
    server, stranger = certified("localhost"), certified("ada")
    seen: list[object] = []
    tls = server_tls(server, server.authority, tmp_path)
    with raw_server(over_tls(tls, answers_with_the_callers_certificate(seen))) as raw:  # type: ignore[arg-type]
        for credentials in (
            Credentials(ca=stranger.authority.decode()),
            Credentials(ca=server.authority.decode()),
            Credentials(ca=server.authority.decode(), cert=(stranger.key + stranger.certificate).decode()),
        ):
            transport = HttpTransport(f"https://localhost:{raw.port}", credentials=credentials)
            with pytest.raises(NotSent):
                transport.send("POST", "/pay", {}, None, TIMEOUT_S)
            transport.close()
    assert seen == []


def test_an_answer_of_the_bank_is_otherwise_left_alone(bank: participants.Participant) -> None:
    """A short word is no credential that could be told from a text."""

    def echo(call: Call) -> Says:
        return Says(body=call.headers["authorization"].encode())

    bank.script = echo
    transport = HttpTransport(bank.url, credentials=Credentials(auth="bearer x"))
    assert transport.send("GET", "/", {}, None, TIMEOUT_S).body == b"Bearer x"
    transport.close()
