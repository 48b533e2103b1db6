"""Principals and addresses: what cannot be one is refused when it is made."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
from click.testing import CliRunner

from saga_es.access import Permission, Principal, Role
from saga_es.access.authenticate import Authenticate, Unguarded, first_of, is_loopback
from saga_es.access.principal import PERMISSIONS
from saga_es.cli import main
from saga_es.core.access import Scope, Starter
from saga_es.errors import SettingsError
from saga_es.node.app import App
from saga_es.node.guarding import authentication_of, check_address
from saga_es.node.settings import Settings

if TYPE_CHECKING:
    from flask import Request


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": " "},
        {"name": "x" * 201},
        {"name": "a\nb"},
        {"name": "a\u202eb"},
        {"name": "a", "tenant": "a\0"},
        {"name": "a", "roles": ["root"]},
        {"name": "a", "roles": "viewer"},
        {"name": "a", "sagas": "order"},
    ],
)
def test_what_cannot_be_a_principal_is_refused(wrong: dict[str, Any]) -> None:
    """Its name stands in the log and on pages; a text is not a list of roles."""
    with pytest.raises((ValueError, TypeError)):
        Principal(**wrong)


def test_a_principal_is_a_value() -> None:
    """It does not change, and lists become sets."""
    ann = Principal("Ann", ["operator", "viewer"], ["order"])
    assert ann == Principal("Ann", {"viewer", "operator"}, ("order",))
    assert hash(ann)
    assert (ann.covers("order"), ann.covers("refund"), Principal("Bob").covers("refund")) == (True, False, True)


def test_roles_have_what_their_names_say() -> None:
    """No role has all; a permission that no role has could not be given, but for that of the URL of a reply."""
    assert {permission for some in PERMISSIONS.values() for permission in some} == set(Permission) - {Permission.REPLY}
    assert PERMISSIONS.keys() == set(Role)
    assert not any(some == set(Permission) for some in PERMISSIONS.values())
    assert not Principal("Bob").may(Permission.READ)
    assert Principal("Bob").may(Permission.OPEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_needs_no_credentials(host: str) -> None:
    """Only this machine can reach it."""
    assert is_loopback(host)
    check_address(host, "--host", Settings(), None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "shop.example", "", "localhost.example", "1.1.127.0"])  # noqa: S104 (asked, not bound)
def test_another_address_needs_credentials_or_the_flag(host: str, caplog: pytest.LogCaptureFixture) -> None:
    """The error names the settings; the flag warns at each start."""
    with pytest.raises(Unguarded, match=r"SAGA_ES_AUTH.*--insecure-no-auth"):
        check_address(host, "--host", Settings(), None)
    check_address(host, "--host", Settings(), lambda _: None)
    assert caplog.records == []
    for _ in range(2):
        check_address(host, "--host", Settings(insecure_no_auth=True), None)
    assert ["--insecure-no-auth" in record.getMessage() for record in caplog.records] == [True, True]


@pytest.mark.parametrize(
    "command",
    [
        ["serve", "--host", "0.0.0.0"],  # noqa: S104 (refused)
        ["worker", "--health-port", "0", "--health-host", "::"],
    ],
)
def test_serving_others_without_credentials_ends_with_78(command: list[str], tmp_path: Any) -> None:
    """Before anything is served or migrated; the line names the setting."""
    url = f"sqlite:///{tmp_path}/saga.db"
    done = CliRunner().invoke(main, [*command, "--app", "tests.support.worker_app", "--database-url", url])
    assert done.exit_code == 78, done.output
    assert "SAGA_ES_AUTH" in done.output
    assert "--insecure-no-auth" in done.output
    assert not (tmp_path / "saga.db").exists()


def test_the_setting_overrides_the_application() -> None:
    """A function of the application, by default; `none` asks for nothing."""
    app = App(auth=lambda _: None)
    ann = Principal("Ann")
    one: dict[str, Authenticate] = {"keys": lambda _: None, "ann": lambda _: ann}
    there = {name: partial(one.__getitem__, name) for name in one}
    assert authentication_of(Settings(), app, there) is app.auth
    assert authentication_of(Settings(auth="none"), app, there) is None
    assert authentication_of(Settings(), App(), there) is None
    assert authentication_of(Settings(auth="keys"), app, there) is one["keys"]
    assert authentication_of(Settings(), App(auth="keys"), there) is one["keys"]
    several = authentication_of(Settings(auth="keys, ann"), app, there)
    assert several is not None
    assert several(cast("Request", None)) is ann
    for wrong in ("magic", "keys magic", "none keys", "", " "):
        with pytest.raises(SettingsError, match="SAGA_ES_AUTH"):
            authentication_of(Settings(auth=wrong), app, there)


def test_several_authentications_are_asked_in_turn() -> None:
    """The first that knows the sender counts."""
    ann, bob = Principal("Ann"), Principal("Bob")
    request: Any = object()
    assert first_of([lambda _: None, lambda _: ann, lambda _: bob])(request) is ann
    assert first_of([lambda _: None, lambda _: None])(request) is None


ANN, BOB, SHOP_ANN = Starter("Ann"), Starter("Bob"), Starter("Ann", "shop")


@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        (Scope(), [None, ANN, BOB]),
        (Scope(by="Ann"), [ANN]),
        (Scope("shop"), [SHOP_ANN]),
        (Scope("shop", by="Ann"), [SHOP_ANN]),
        (Scope("shop", by="Bob"), []),
        (Scope(sagas=frozenset({"order"})), [None, ANN, BOB]),
        (Scope(sagas=frozenset({"trip"})), []),
    ],
)
def test_a_scope_has_the_sagas_of_its_tenant_its_definitions_and_its_starter(
    scope: Scope, seen: list[Starter | None]
) -> None:
    """All three: who sees what one started sees nothing that anybody else did."""
    assert [starter for starter in (None, ANN, BOB, SHOP_ANN) if scope.has("order", starter)] == seen
