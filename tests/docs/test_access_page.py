"""The programs on the page on access do what the page says."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from saga_es.access import Permission, Role
from saga_es.access.principal import PERMISSIONS
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
        case ["all"]:
            named = set(Role)
        case ["all", "but", other]:
            named = set(Role) - {Role(other.strip("`"))}
        case several:
            named = {Role(name.strip("`,")) for name in several}
    assert named == having
