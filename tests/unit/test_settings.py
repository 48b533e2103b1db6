"""Settings: a flag, else the environment, else the default; and every bad one told at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from saga_es.errors import SettingsError
from saga_es.node.participants import limits_of
from saga_es.node.project import project_folder
from saga_es.node.settings import Settings
from saga_es.runtime.calls.address import Address, address_of
from saga_es.runtime.calls.limits import Limit

BARE: dict[str, str] = {}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one's own, whose `pyproject.toml` says nothing of an app."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_defaults_are_those_of_the_documentation() -> None:
    """Nothing has to be set."""
    assert Settings.load({}, BARE) == Settings(
        database_url="sqlite:///saga_es.db",
        app=None,
        host="127.0.0.1",
        port=5000,
        threads=8,
        waiting_requests=100,
        request_timeout_s=30.0,
        call_threads=32,
        calls_at_once=256,
        lease_s=10.0,
        most_crashes=5,
        missing_code_timeout_s=None,
        leave_older_plans=False,
        payload_limit=1_048_576,
        saga_events_limit=50_000,
        saga_bytes_limit=67_108_864,
        payload_memory_mb=256,
        execute_timeout_s=120.0,
        grace_s=5.0,
        database_wait_s=60.0,
        log_level="info",
        participants={},
    )


def test_each_setting_can_be_set_in_the_environment() -> None:
    """Numbers are read from their text."""
    environ = {
        "SAGA_ES_DATABASE_URL": "postgresql://db/x",
        "SAGA_ES_TABLE_PREFIX": "shop_",
        "SAGA_ES_APP": "shop.web:app",
        "SAGA_ES_HOST": "0.0.0.0",  # noqa: S104 (a value to be read, nothing is bound)
        "SAGA_ES_PORT": "8080",
        "SAGA_ES_THREADS": "16",
        "SAGA_ES_WAITING_REQUESTS": "20",
        "SAGA_ES_REQUEST_TIMEOUT_S": "7.5",
        "SAGA_ES_AUTH": "none",
        "SAGA_ES_JWT_ISSUER": "https://id.example",
        "SAGA_ES_JWT_AUDIENCE": "sagas",
        "SAGA_ES_JWT_JWKS": "https://id.example/jwks",
        "SAGA_ES_JWT_ALGORITHMS": "ES256 RS256",
        "SAGA_ES_JWT_ROLES_CLAIM": "groups",
        "SAGA_ES_INSECURE_NO_AUTH": "True",
        "SAGA_ES_TRUSTED_PROXIES": "1",
        "SAGA_ES_SAGAS_AT_ONCE": "500",
        "SAGA_ES_CALL_THREADS": "64",
        "SAGA_ES_CALLS_AT_ONCE": "5000",
        "SAGA_ES_LEASE_S": "2.5",
        "SAGA_ES_MOST_CRASHES": "7",
        "SAGA_ES_MISSING_CODE_TIMEOUT_S": "3600.0",
        "SAGA_ES_LEAVE_OLDER_PLANS": "True",
        "SAGA_ES_PAYLOAD_LIMIT": "2048",
        "SAGA_ES_SAGA_EVENTS_LIMIT": "1000",
        "SAGA_ES_SAGA_BYTES_LIMIT": "2097152",
        "SAGA_ES_PAYLOAD_MEMORY_MB": "64",
        "SAGA_ES_EXECUTE_TIMEOUT_S": "3",
        "SAGA_ES_GRACE_S": "0",
        "SAGA_ES_DATABASE_WAIT_S": "7",
        "SAGA_ES_ALLOWED_HOSTS": "shop.example .internal.example",
        "SAGA_ES_CONSOLE": "False",
        "SAGA_ES_METRICS": "False",
        "SAGA_ES_TRACES": "True",
        "SAGA_ES_HEALTH_PORT": "9100",
        "SAGA_ES_HEALTH_HOST": "10.0.0.7",
        "SAGA_ES_LOG_LEVEL": "debug",
        "SAGA_ES_LOG_FORMAT": "json",
        "SAGA_ES_INSECURE_HTTP": "True",
        "SAGA_ES_CALLBACK_URL": "https://sagas.example",
        "SAGA_ES_CALLBACK_SECRET": "env:CALLBACK_SECRET",
        "SAGA_ES_WEBHOOK": "https://hooks.example/saga",
        "SAGA_ES_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "SAGA_ES_WEBHOOK_SENDERS": "psp=env:PSP_HOOK",
        "SAGA_ES_PUBLISH": "nats://broker.example/sagas redis://broker.example?stream=sagas",
        "SAGA_ES_LISTEN": "amqp://broker.example/shop?queue=venue-commands",
    }
    loaded = Settings.load({}, environ)
    names = [
        name for name in Settings.__struct_fields__[:-3] if name not in {"database_url_file", "encryption_key_file"}
    ]
    assert {f"SAGA_ES_{name.upper()}": str(getattr(loaded, name)) for name in names} == {
        **environ,
        "SAGA_ES_EXECUTE_TIMEOUT_S": "3.0",
        "SAGA_ES_GRACE_S": "0.0",
        "SAGA_ES_DATABASE_WAIT_S": "7.0",
    }


def test_settings_show_no_secret_of_themselves() -> None:
    """A password, or a token in a path, would stand in a log line or a traceback."""
    loaded = Settings.load(
        {
            "database_url": "postgresql://ada:hunter2@db/x",
            "webhook": "https://hooks.example/hunter2",
            "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "webhook_senders": "psp=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "publish": "amqp://ada:hunter2@broker.example/shop",
            "listen": "amqp://ada:hunter2@broker.example/shop?queue=q",
            "participants": {"bank": "amqp://ada:hunter2@broker.example/shop?queue=bank"},
        },
        BARE,
    )
    shown = repr(loaded)
    assert [secret for secret in ("hunter2", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") if secret in shown] == []
    assert "port=5000" in shown


# ── The URL in a file ────────────────────────────────────────────────────────────────────────────────────

SECRET = "postgresql://ada:hunter2@db/x"


@pytest.fixture
def url_file(tmp_path: Path) -> Path:
    """A file as an editor, or a secret of an orchestrator, leaves it."""
    file = tmp_path / "database-url"
    file.write_text(f"{SECRET}\n")
    return file


def test_the_url_of_the_database_may_stand_in_a_file(url_file: Path) -> None:
    """By the flag or the variable; what shows the settings shows the file, not the URL."""
    for loaded in (
        Settings.load({"database_url_file": str(url_file)}, BARE),
        Settings.load({}, {"SAGA_ES_DATABASE_URL_FILE": str(url_file)}),
    ):
        assert loaded.database_url == SECRET
        assert "hunter2" not in repr(loaded)
        assert str(url_file) in repr(loaded)


def test_a_url_and_a_file_of_one_source_contradict_each_other(url_file: Path) -> None:
    """Nobody guesses which is meant. A flag replaces the variable of the other, as it replaces its own."""
    both = {"database_url": "sqlite:///a.db", "database_url_file": str(url_file)}
    variables = {f"SAGA_ES_{name.upper()}": value for name, value in both.items()}
    for flags, environ in ((both, BARE), ({}, variables)):
        with pytest.raises(SettingsError, match=r"--database-url-file / .*leave out one of the two"):
            Settings.load(flags, environ)
    assert Settings.load({"database_url": "sqlite:///b.db"}, {"SAGA_ES_DATABASE_URL_FILE": str(url_file)}) == Settings(
        database_url="sqlite:///b.db"
    )
    flag = {"database_url_file": str(url_file), "database_url": None}
    assert Settings.load(flag, {"SAGA_ES_DATABASE_URL": "sqlite:///a.db"}).database_url == SECRET


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"hunter2",
        b"SAGA_ES_DATABASE_URL=hunter2",
        b"postgresql://ada:hunter2@db/x\npostgresql://ada:hunter2@db/y",
        b"oracle://ada:hunter2@db/x",
        b"postgresql://ada:hun@ter2@db/x",
        b"postgresql://ada:hunter2@db:port/x",
        b"\xff\xfe",
    ],
)
def test_a_file_without_a_url_is_refused_and_its_content_not_shown(tmp_path: Path, content: bytes) -> None:
    """It may be another secret's file."""
    file = tmp_path / "database-url"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        Settings.load({"database_url_file": str(file)}, BARE)
    (problem,) = caught.value.problems
    assert problem.startswith("--database-url-file / SAGA_ES_DATABASE_URL_FILE: ")
    assert "hunter2" not in problem
    assert "ter2" not in problem


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    """With its name."""
    with pytest.raises(SettingsError, match=r"--database-url-file .*cannot read"):
        Settings.load({"database_url_file": str(tmp_path / name)}, BARE)


# ── Sources ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_flag_wins_over_the_environment() -> None:
    """A flag that was not given leaves it to the environment."""
    loaded = Settings.load({"port": 1, "host": None}, {"SAGA_ES_PORT": "2", "SAGA_ES_HOST": "::1"})
    assert (loaded.port, loaded.host) == (1, "::1")


def test_an_empty_variable_counts_as_not_set() -> None:
    """As `VAR= command` and many container files have it."""
    assert Settings.load({}, {"SAGA_ES_PORT": "", "SAGA_ES_PARTICIPANT_VENUE": ""}) == Settings()


def test_variables_of_others_are_passed_over() -> None:
    """The environment is full of them."""
    assert Settings.load({}, {"PORT": "1", "SAGA_ES_NEVER_HEARD_OF": "x"}) == Settings()


def test_a_setting_that_does_not_exist_is_a_mistake() -> None:
    """Whoever gives settings by name, as `open_engine` takes them, is told of a misspelt one and of those there are."""
    with pytest.raises(SettingsError, match=r"lese_s: there is no such setting; there are .*lease_s"):
        Settings.load({"lese_s": 3}, {})


def test_without_an_environment_given_the_process_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator exports is what counts."""
    monkeypatch.setenv("SAGA_ES_PORT", "8081")
    assert Settings.load().port == 8081


# ── Participants ─────────────────────────────────────────────────────────────────────────────────────────


def test_participants_are_read_by_name() -> None:
    """In lower case, with their underscores; also hosts without a dot, as in a container network."""
    environ = {
        "SAGA_ES_PARTICIPANT_EVENT": "http://127.0.0.1:5001",
        "SAGA_ES_PARTICIPANT_EVENT_DETAILS": "http://details:8080/base",
        "SAGA_ES_PARTICIPANT_VENUE": "https://venue.example.org",
        "SAGA_ES_PARTICIPANT_TICKET": "http://localhost:5004",
    }
    assert Settings.load({}, environ).participants == {
        "event": "http://127.0.0.1:5001",
        "event_details": "http://details:8080/base",
        "venue": "https://venue.example.org",
        "ticket": "http://localhost:5004",
    }


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("127.0.0.1:5001", "no base URL of HTTP"),
        ("ftp://x/", "no base URL of HTTP"),
        ("/api", "no base URL of HTTP"),
        ("http://", "no base URL of HTTP"),
        ("http://:5000", "names no host"),
        ("http://ada:SECRET@bank", "a user or a password"),
        ("https://SECRET@bank/x", "a user or a password"),
        ("http://:SECRET@bank", "a user or a password"),
        ("http://bank/x?token=SECRET", "a query"),
        ("http://bank/?", "a query"),
        ("http://bank/#SECRET", "a fragment"),
        ("http://bank:99999", "port"),
        ("http://bank:0", "port"),
        ("http://bank:http", "port"),
        ("http://[::1", "IPv6"),
        ("http://bank\\evil", "backslash"),
        ("http://bank/a b", "blank"),
        ("http://bank\n", "blank"),
        ("http://a..b", "names no host"),
        ("http://-bank", "names no host"),
        (f"http://{'a' * 64}", "names no host"),
        (f"http://{'ä' * 64}", "no form in ASCII"),
    ],
)
def test_a_participant_needs_a_base_url_that_a_call_carries_whole(url: str, why: str) -> None:
    """The problem names the variable and what is wrong, and no secret; nothing of a URL is dropped without a word."""
    with pytest.raises(SettingsError) as caught:
        Settings.load({}, {"SAGA_ES_PARTICIPANT_EVENT_DETAILS": url, "SAGA_ES_PARTICIPANT_VENUE": "http://v"})
    (problem,) = caught.value.problems
    assert problem.startswith("SAGA_ES_PARTICIPANT_EVENT_DETAILS: ")
    assert why in problem
    assert "SECRET" not in problem


def http(host: str, port: int, prefix: str) -> Address:
    return Address(is_tls=False, host=host, port=port, prefix=prefix)


def https(host: str, port: int, prefix: str) -> Address:
    return Address(is_tls=True, host=host, port=port, prefix=prefix)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://event_details:8080/base/", http("event_details", 8080, "/base")),
        ("http://my_app_web_1", http("my_app_web_1", 80, "")),
        ("https://venue.example.org.", https("venue.example.org.", 443, "")),
        ("HTTPS://Venue.example:8443", https("venue.example", 8443, "")),
        ("http://[::1]:5000/x", http("::1", 5000, "/x")),
        ("http://[fe80::1%25eth0]/", http("fe80::1%25eth0", 80, "")),
        ("http://127.0.0.1", http("127.0.0.1", 80, "")),
        ("https://bücher.example/ä/%20", https("xn--bcher-kva.example", 443, "/%C3%A4/%20")),
        ("http://bank:/x", http("bank", 80, "/x")),
    ],
)
def test_hosts_of_every_kind_are_participants(url: str, address: Address) -> None:
    """Names with an underscore, as Docker makes them, names of other scripts, and addresses of IPv6."""
    assert Settings.load({}, {"SAGA_ES_PARTICIPANT_X": url}).participants == {"x": url}
    assert address_of(url) == address


def test_a_file_of_authorities_that_is_missing_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS would trust nobody, and each call would say so."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with pytest.raises(SettingsError, match=r"authority.pem' that SSL_CERT_FILE names is missing"):
        Settings.load({"participants": {"bank": "https://bank"}}, {})
    assert Settings.load({"participants": {"bank": "http://bank"}}, {}).participants == {"bank": "http://bank"}


# ── All at once ──────────────────────────────────────────────────────────────────────────────────────────


def test_all_bad_settings_are_told_at_once() -> None:
    """One line each, with the flag and the variable, sorted; nobody mends them one by one."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(
            {"port": 70_000, "log_level": "loud"},
            {"SAGA_ES_THREADS": "many", "SAGA_ES_APP": "not a module", "SAGA_ES_PARTICIPANT_VENUE": "x"},
        )
    names = [problem.partition(":")[0] for problem in caught.value.problems]
    assert names == [
        "--app / SAGA_ES_APP",
        "--log-level / SAGA_ES_LOG_LEVEL",
        "SAGA_ES_PARTICIPANT_VENUE",
        "--port / SAGA_ES_PORT",
        "--threads / SAGA_ES_THREADS",
    ]
    assert str(caught.value) == "bad settings:\n" + "\n".join(f"  - {problem}" for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "-1"),
        ("port", "65536"),
        ("port", "5.5"),
        ("threads", "0"),
        ("waiting_requests", "0"),
        ("request_timeout_s", "0"),
        ("call_threads", "1001"),
        ("calls_at_once", "0"),
        ("lease_s", "0.5"),
        ("most_crashes", "0"),
        ("payload_memory_mb", "0"),
        ("lease_s", "nan"),
        ("lease_s", "inf"),
        ("payload_limit", "1023"),
        ("saga_events_limit", "99"),
        ("saga_bytes_limit", "0"),
        ("table_prefix", "Shop_"),
        ("table_prefix", "1shop"),
        ("table_prefix", "shop__"),
        ("table_prefix", "shop-"),
        ("table_prefix", "shop\n"),
        ("table_prefix", "a" * 17),
        ("execute_timeout_s", "-1"),
        ("grace_s", "3601"),
        ("log_level", "INFO"),
        ("app", "a b"),
        ("app", "a:b:c"),
    ],
)
def test_a_setting_out_of_its_bounds_is_refused(name: str, value: str) -> None:
    """The problem names it and says what is allowed."""
    with pytest.raises(SettingsError) as caught:
        Settings.load({}, {f"SAGA_ES_{name.upper()}": value})
    (problem,) = caught.value.problems
    assert problem.startswith(f"--{name.replace('_', '-')} / SAGA_ES_{name.upper()}: ")
    assert len(problem.partition(": ")[2]) > 10


# ── The app, from the project ────────────────────────────────────────────────────────────────────────────


def test_the_app_is_that_of_the_nearest_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from a folder deep inside; a flag or a variable wins."""
    (folder / "pyproject.toml").write_text('[tool.saga_es]\napp = "services"\n')
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert project_folder(deep) == folder
    assert Settings.load({}, BARE).app == "services"
    assert Settings.load({}, {"SAGA_ES_APP": "other"}).app == "other"
    assert Settings.load({"app": "third:app"}, {"SAGA_ES_APP": "other"}).app == "third:app"


def test_a_nearer_project_hides_one_further_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest counts, also when it says nothing."""
    (folder / "pyproject.toml").write_text('[tool.saga_es]\napp = "services"\n')
    inner = folder / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text("")
    monkeypatch.chdir(inner)
    assert Settings.load({}, BARE).app is None


def test_a_project_in_a_folder_that_everybody_may_write_is_not_obeyed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `/tmp`: a stranger's file above ours would choose the code that we run."""
    (folder / "pyproject.toml").write_text('[tool.saga_es]\napp = "planted"\n')
    ours = folder / "ours" / "deep"
    ours.mkdir(parents=True)
    monkeypatch.chdir(ours)
    assert Settings.load({}, BARE).app == "planted"
    folder.chmod(0o777)
    assert Settings.load({}, BARE).app is None
    assert project_folder(ours) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_project_in_a_folder_of_another_owner_is_not_obeyed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is above the folder of the command; and what is further up is not asked, whoever owns it."""
    (folder / "pyproject.toml").write_text('[tool.saga_es]\napp = "further_up"\n')
    theirs, ours = folder / "theirs", folder / "theirs" / "ours"
    ours.mkdir(parents=True)
    (theirs / "pyproject.toml").write_text('[tool.saga_es]\napp = "planted"\n')
    os.chown(theirs, 12345, 12345)
    monkeypatch.chdir(ours)
    assert Settings.load({}, BARE).app is None
    monkeypatch.chdir(theirs)
    assert Settings.load({}, BARE).app == "planted", "who goes there means it"


def test_no_project_is_looked_for_above_the_root_of_the_repository(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is above is another project."""
    (folder / "pyproject.toml").write_text('[tool.saga_es]\napp = "above"\n')
    deep = folder / "repository" / "src"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert Settings.load({}, BARE).app == "above"
    (folder / "repository" / ".git").mkdir()
    assert Settings.load({}, BARE).app is None
    (folder / "repository" / "pyproject.toml").write_text('[tool.saga_es]\napp = "its_own"\n')
    assert Settings.load({}, BARE).app == "its_own"


def test_a_project_file_that_cannot_be_read_is_a_bad_setting(folder: Path) -> None:
    """The problem names the file."""
    (folder / "pyproject.toml").write_text("[tool.saga_es\n")
    with pytest.raises(SettingsError, match=r"app: .*pyproject\.toml cannot be read"):
        Settings.load({}, BARE)


def test_a_project_file_is_not_asked_when_the_app_is_given(folder: Path) -> None:
    """A broken file in the folder does not stop who says which app."""
    (folder / "pyproject.toml").write_text("[tool.saga_es\n")
    assert Settings.load({"app": "services"}, BARE).app == "services"


def test_a_bad_app_in_the_project_file_is_told_like_any_other(folder: Path) -> None:
    """Where it was written does not make it right."""
    (folder / "pyproject.toml").write_text('[tool.saga_es]\napp = "not a module"\n')
    with pytest.raises(SettingsError, match="app"):
        Settings.load({}, BARE)


def test_what_a_participant_bears_stands_beside_its_address() -> None:
    """Numbers are limits; a URL is where a participant of such a name is."""
    loaded = Settings.load(
        {},
        {
            "SAGA_ES_PARTICIPANT_BANK": "http://bank",
            "SAGA_ES_PARTICIPANT_BANK_CALLS": "50",
            "SAGA_ES_PARTICIPANT_BANK_RATE": "2.5",
            "SAGA_ES_PARTICIPANT_EXCHANGE_RATE": "http://rates",
        },
    )
    assert loaded.participants == {"bank": "http://bank", "exchange_rate": "http://rates"}
    assert loaded.limits == {"bank": {"calls": 50, "rate": 2.5}}
    assert limits_of(loaded, ["bank", "exchange-rate"]) == {"bank": Limit(50, 2.5)}
    assert limits_of(Settings(limits={"bank": {"rate": 2.0}}, calls_at_once=9), ["bank"]) == {"bank": Limit(9, 2.0)}


@pytest.mark.parametrize(("which", "value"), [("CALLS", "0"), ("CALLS", "many"), ("RATE", "0"), ("RATE", "nan")])
def test_a_wrong_limit_is_told_with_its_variable(which: str, value: str) -> None:
    """As every wrong setting is."""
    variable = f"SAGA_ES_PARTICIPANT_BANK_{which}"
    with pytest.raises(SettingsError) as caught:
        Settings.load({}, {"SAGA_ES_PARTICIPANT_BANK": "http://bank", variable: value})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{variable}: ")
