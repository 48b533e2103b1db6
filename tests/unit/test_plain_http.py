"""Participants beyond loopback and private networks are called with TLS, unless a setting says otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from saga_es import Participant, Saga, open_engine
from saga_es.cli.options import CANNOT_SERVE, reported

OWN = [
    "127.0.0.1",
    "127.9.9.9",
    "127.1",
    "2130706433",
    "0x7f000001",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.7.7",
    "169.254.1.1",
    "[::1]",
    "[::ffff:10.0.0.1]",
    "[fd00::7]",
    "[fe80::1]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "bank",
    "old_bank",
    "bank.localhost",
    "bank.local",
    "bank.shop.svc",
    "bank.shop.svc.cluster.local",
    "bank.Internal",
]
BEYOND = [
    "8.8.8.8",
    "134744072",
    "0x08080808",
    "8.8.2056",
    "172.32.0.1",
    "172.15.255.255",
    "192.169.0.1",
    "11.0.0.1",
    "100.64.0.1",
    "203.0.113.7",
    "[2001:db8::1]",
    "[::ffff:8.8.8.8]",
    "bank.example",
    "bank.example.",
    "localhost.example",
    "127.0.0.1.example",
    "10.0.0.1.nip.io",
    "notlocal.notinternal",
    "bank.xlocal",
]


def paying() -> Saga:
    """A saga that calls the bank."""
    saga = Saga("pays")
    saga.request("pay", Participant("bank").post("/pay"), compensation=None)
    return saga


@pytest.mark.parametrize("host", BEYOND)
def test_plain_http_to_strangers_is_refused_when_the_engine_opens(
    tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the variable, the host and the cure, exit code 78, and no database."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with (
        pytest.raises(SystemExit) as ended,
        reported(),
        open_engine(url, paying(), participants={"bank": f"http://{host}:8080/v1"}),
    ):
        pass
    assert ended.value.code == CANNOT_SERVE
    said = capsys.readouterr().err
    assert "SAGA_ES_PARTICIPANT_BANK" in said
    assert host.strip("[]") in said
    assert "write https://, or set SAGA_ES_INSECURE_HTTP=true" in said
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize("host", OWN)
def test_plain_http_in_a_network_of_ones_own_is_allowed(tmp_path: Path, host: str) -> None:
    """Whether anybody is there is not asked."""
    with open_engine(
        f"sqlite:///{tmp_path / 'x.db'}", paying(), participants={"bank": f"http://{host}:8080"}
    ) as engine:
        assert engine.worker_id


@pytest.mark.parametrize("setting", [{"insecure_http": True}, {}])
def test_a_setting_allows_it_and_tls_needs_none(tmp_path: Path, setting: dict[str, bool]) -> None:
    """It is for the operator to say who reads there."""
    scheme = "http" if setting else "https"
    with open_engine(
        f"sqlite:///{tmp_path / 'x.db'}",
        paying(),
        participants={"bank": f"{scheme}://bank.example"},
        insecure_http=bool(setting),
    ) as engine:
        assert engine.worker_id
