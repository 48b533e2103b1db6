"""The programs on the page on access do what the page says."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask
from flask_login import LoginManager, UserMixin, login_user

from saga_es import Saga
from saga_es.access import Permission, Role
from saga_es.access.principal import PERMISSIONS
from saga_es.flask import EXTENSION, SagaES
from tests.api.conftest import opened
from tests.docs.pages import DOCS
from tests.support.bearers import Bearers, as_

PAGE = (DOCS / "access.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def program(name: str) -> dict[str, Any]:
    """What the program defines in which a name is defined."""
    (text,) = [text for text in PROGRAMS if re.search(rf"^(def )?{name}\b", text, flags=re.MULTILINE)]
    defined: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, f"{DOCS}/access.md", "exec"), defined)  # noqa: S102 (our own page)
    return defined


def test_a_function_of_the_application_knows_its_users(tmp_path: Path) -> None:
    """Who has no name gets 401."""
    app = program("by_proxy")["app"]
    with ExitStack() as stack:
        client = opened(stack, f"sqlite:///{tmp_path}/saga.db", app).client
        assert client.get("/api/saga/list", headers={"X-Remote-User": "Ann"}).status_code == 200
        assert client.get("/api/saga/list").status_code == 401


def test_the_users_of_flask_login_are_principals(tmp_path: Path) -> None:
    """Each by the roles of its own; another site cannot use the cookie of a user who is logged in."""
    shop = Flask("shop")
    shop.config.update(SECRET_KEY="not in production", SAGA_ES_DATABASE_URL=f"sqlite:///{tmp_path}/shop.db")
    login = LoginManager(shop)
    people = {name: User(name, roles) for name, roles in (("ann", ["operator"]), ("bob", ["viewer"]))}
    login.user_loader(people.get)
    shop.get("/login/<name>")(lambda name: str(login_user(people[name])))
    order = Saga("order")
    order.delay("rest", 3600)
    SagaES(shop, sagas=[order], console=True, auth=program("by_login")["by_login"])
    try:
        saga_id = shop.extensions[EXTENSION].opened().engine.start("order", {}).saga_id
        pause, because = f"/api/saga/{saga_id}/pause", {"reason": "x", "actor": "Eve"}
        ann, bob, stranger = (shop.test_client() for _ in range(3))
        assert stranger.get("/console/sagas").status_code == 401
        for client, name in ((ann, "ann"), (bob, "bob")):
            client.get(f"/login/{name}")
            assert client.get("/console/sagas").status_code == 200
        assert bob.post(pause, json=because).status_code == 403
        assert ann.post(pause, json=because, headers={"Origin": "https://evil.example"}).status_code == 403
        assert ann.post(pause, data="{}", content_type="text/plain").status_code == 415
        paused = ann.post(pause, json=because)
        assert paused.get_json()["pause"]["actor"] == "ann"
        assert stranger.post(pause, json=because).status_code == 401
    finally:
        shop.extensions[EXTENSION].node.close()


class User(UserMixin):  # type: ignore[misc]  # the library is untyped
    """A user of the shop."""

    def __init__(self, name: str, roles: list[str]) -> None:
        self.id = name
        self.roles = roles


def test_a_blueprint_declares_what_it_asks_for(tmp_path: Path) -> None:
    """For all its routes, or for one."""
    defined = program("orders")
    with ExitStack() as stack:
        app = msgspec.structs.replace(program("by_proxy")["app"], blueprints=[defined["orders"]], auth=Bearers())
        client = opened(stack, f"sqlite:///{tmp_path}/saga.db", app).client
        assert client.get("/orders/count", headers=as_("viewer")).status_code == 200


@pytest.mark.parametrize("permission", [p for p in Permission if p is not Permission.OPEN])
def test_the_table_of_permissions_is_that_of_the_code(permission: Permission) -> None:
    """Each permission with the roles that have it."""
    (roles,) = re.findall(rf"^\| [^|]*`{permission.name}`[^|]* \| ([^|]+) \|$", PAGE, flags=re.MULTILINE)
    having = {role for role in Role if permission in PERMISSIONS[role]}
    match roles.partition(":")[0].split():
        case ["no", "role"]:
            named = set[Role]()
        case ["all"]:
            named = set(Role)
        case ["all", "but", other]:
            named = set(Role) - {Role(other.strip("`"))}
        case several:
            named = {Role(name.strip("`,")) for name in several}
    assert named == having
