"""The shape of the code, read from its imports: who may know whom."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeGuard

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(file for top in ("saga_es", "services") for file in (ROOT / top).rglob("*.py"))
SERVICES = ("event", "event_details", "venue", "ticket")
PUBLIC = ("saga_es", "saga_es.participant", "saga_es.api")
EDGE = ("saga_es.api", "saga_es.cli", "saga_es.console", "saga_es.django", "saga_es.flask")
LONGEST_FILE = 400
MOST_NAMES = 20
DATABASES = {"sqlite", "postgresql", "postgres", "mysql", "mariadb"}

IMPURE = ("time", "random", "uuid", "logging", "threading", "os", "asyncio", "socket", "secrets", "queue", "io")

PUBLIC_MODULES = {"__init__", "__main__", "alembic", "client", "commands", "errors", "events", "flask", "views"}
"""What stands at the root of the package: what is public, and nothing else."""

MAY_KNOW = {
    "errors": "",
    "logs": "",
    "core": "errors",
    "definition": "core errors",
    "store": "core errors",
    "runtime": "store definition core errors",
    "commands": "core",
    "events": "core",
    "views": "store",
    "metrics": "store core errors",
    "tracing": "runtime store definition core errors",
    "publish": "runtime store core errors",
    "queues": "publish runtime store definition core errors",
    "access": "store core errors",
    "node": "access queues publish metrics tracing runtime store definition core errors",
    "alembic": "store",
    "participant": "queues runtime store definition core errors",
    "testing": "runtime store definition core errors",
    "api": "access node runtime store definition core errors",
    "client": "node runtime store definition core errors",
    "console": "access api node runtime store definition core logs errors",
    "cli": "access console api participant node queues runtime store definition core errors",
    "flask": "console cli api node runtime store definition core errors",
    "django": "console cli api node runtime store definition core errors",
    "__main__": "cli",
    "store.drivers": "store.host_time store.own_files errors",
    "store.encryption": "store.host_time store.database store.drivers store.tables core errors",
    "store.log": "store.encryption store.host_time store.database store.drivers store.tables core errors",
    "store.views": "store.host_time store.registry store.revision store.log store.database store.drivers "
    "store.schema_lock store.tables core errors",
    "store.queries": "store.views store.log store.sagas store.process store.workers store.database store.drivers "
    "store.tables core errors",
    "store.archive": "store.publishers store.views store.log store.ports store.sagas store.schema_lock store.database "
    "store.own_files store.tables core errors",
    "store.proof": "store.archive store.log store.sagas store.tables core errors",
    "store.admin": "store.publishers store.views store.registry store.revision store.log store.process store.workers "
    "store.schema_lock store.database store.drivers store.tables core errors",
    "runtime.waiting": "store.host_time errors",
    "runtime.calls": "runtime.waiting store.host_time definition store.log core errors",
    "runtime.cluster": "runtime.ability runtime.capacity runtime.owned runtime.waiting store definition core errors",
    "runtime.command_batches": "runtime.ids store core errors",
    "runtime.intake": "runtime.calls runtime.control runtime.handle runtime.ids runtime.inbox runtime.tracing "
    "runtime.waiting store definition core errors",
}
"""Whom of ours a room may know, beside itself and (where it acts) `logs`.

Imports point one way: what exposes, does, remembers, decides."""


BEHIND_THE_PORTS = tuple(
    f"saga_es.store.{name}"
    for name in ("database_store", "writer", "workers", "notifications", "log.log", "log.heads", "tables")
)
"""What stands behind the ports of the store, on a database."""


class Import(NamedTuple):
    """One name that a file imports, or a whole module when the name is None."""

    module: str
    name: str | None
    line: int
    inside: bool

    @property
    def target(self) -> str:
        """What is meant: the module, or the submodule that is imported like a name."""
        full = f"{self.module}.{self.name}"
        return full if self.name and _is_module(full) else self.module


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


@cache
def imports(file: Path) -> tuple[Import, ...]:
    return tuple(_imports(ast.parse(file.read_text()), file, inside=False))


def _imports(node: ast.AST, file: Path, *, inside: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names):
                yield from (Import(alias.name, None, child.lineno, inside) for alias in names)
            case ast.ImportFrom(module, names, level):
                base = _base(file, level) + ([module] if module else [])
                yield from (Import(".".join(base), alias.name, child.lineno, inside) for alias in names)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from _imports(child, file, inside=True)
            case _:
                yield from _imports(child, file, inside=inside)


def _base(file: Path, level: int) -> list[str]:
    package = list(file.relative_to(ROOT).parent.parts)
    return package[: len(package) - (level - 1)] if level else []


def of(package: str) -> list[Path]:
    return [file for file in FILES if within(module_of(file), package)]


def where(file: Path, found: Import) -> str:
    return f"{file.relative_to(ROOT)}:{found.line} imports {found.target}"


def test_there_is_something_to_read() -> None:
    """A test that walks an empty folder proves nothing."""
    assert {"saga_es.core.decide", "saga_es.store.log.log", "saga_es.runtime.loop"} <= {
        module_of(file) for file in FILES
    }
    assert any(found.target == "saga_es.core.state" for found in imports(ROOT / "saga_es/core/decide.py"))


@pytest.mark.parametrize("room", MAY_KNOW)
def test_a_room_knows_only_the_rooms_below_it(room: str) -> None:
    """Core knows errors; store knows core; runtime knows both and the definition; nobody looks up."""
    logs = () if room in {"core", "definition"} else ("logs",)
    known = [f"saga_es.{name}" for name in (room, *logs, *MAY_KNOW[room].split())]
    strangers = [
        where(file, found)
        for file in of(f"saga_es.{room}")
        for found in imports(file)
        if within(found.target, "saga_es", "services") and not within(found.target, *known)
    ]
    assert strangers == []


def test_every_room_has_its_rule() -> None:
    """A folder, or a module at the root, that nobody wrote a rule for is not watched."""
    package = ROOT / "saga_es"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")} | {path.stem for path in package.glob("*.py")}
    inner = {
        f"{name}.{path.parent.name}" for name in ("store", "runtime") for path in package.glob(f"{name}/*/__init__.py")
    }
    assert rooms - {"__init__"} | inner == MAY_KNOW.keys()


def test_the_root_holds_nothing_but_public_names() -> None:
    """Each module there is public, and says which of its names are."""
    assert {path.stem for path in (ROOT / "saga_es").glob("*.py")} == PUBLIC_MODULES
    for name in PUBLIC_MODULES - {"__main__"}:
        module = importlib.import_module("saga_es" if name == "__init__" else f"saga_es.{name}")
        assert module.__all__, name
        assert not [public for public in module.__all__ if public.startswith("_")], name
    assert len(importlib.import_module("saga_es").__all__) <= MOST_NAMES


@pytest.mark.parametrize("package", ["saga_es.runtime", "saga_es.testing", "saga_es.store.sagas"])
def test_who_uses_the_store_knows_its_ports_and_not_what_is_behind_them(package: str) -> None:
    """So the loop runs on the simulator's store as it runs on a database."""
    behind = [
        where(file, found) for file in of(package) for found in imports(file) if within(found.target, *BEHIND_THE_PORTS)
    ]
    assert behind == []


def test_the_loop_knows_the_port_of_the_executor_alone() -> None:
    """Who makes its calls is for the node to say, or for the simulator."""
    knows = [
        where(file, found)
        for package in ("saga_es.runtime", "saga_es.testing")
        for file in of(package)
        for found in imports(file)
        if found.target in {"saga_es.runtime.calls.executor", "saga_es.runtime.calls.pool"}
        and module_of(file) != "saga_es.runtime.calls.executor"
    ]
    assert knows == []


def test_the_core_is_pure() -> None:
    """No clock, no dice, no I/O, no threads: what it decides can be decided again."""
    impure = [
        where(file, found) for file in of("saga_es.core") for found in imports(file) if within(found.module, *IMPURE)
    ]
    assert impure == []


@pytest.mark.parametrize("call", ["now", "utcnow", "today", "open", "print", "input"])
def test_the_core_asks_nobody_for_the_time(call: str) -> None:
    """Also `datetime` is a type there, and not a clock."""
    calls = [
        f"{file.relative_to(ROOT)}:{node.lineno} calls {call}"
        for file in of("saga_es.core")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and call in {getattr(node.func, "id", ""), getattr(node.func, "attr", "")}
    ]
    assert calls == []


def test_only_the_edge_knows_the_edge() -> None:
    """The API is known to what wires it up, and to itself."""
    knows = [
        where(file, found)
        for file in of("saga_es")
        for found in imports(file)
        if within(found.target, "saga_es.api") and not within(module_of(file), *EDGE)
    ]
    assert knows == []


def test_nothing_of_the_library_knows_the_demonstration() -> None:
    """The application is found by its name in a setting."""
    knows = [
        where(file, found) for file in of("saga_es") for found in imports(file) if within(found.module, "services")
    ]
    assert knows == []


def test_the_services_use_the_library_as_anyone_would() -> None:
    """Only its public packages, never a module inside them."""
    deeper = [
        where(file, found)
        for file in of("services")
        for found in imports(file)
        if within(found.module, "saga_es") and (found.target not in PUBLIC or (found.name or "").startswith("_"))
    ]
    assert deeper == []


def test_the_names_the_services_use_are_public() -> None:
    """A package that lists its public names means it."""
    hidden = [
        f"{where(file, found)}.{found.name}, which is not in its __all__"
        for file in of("services")
        for found in imports(file)
        if found.name and found.target == found.module and found.module in PUBLIC
        if found.name not in getattr(importlib.import_module(found.module), "__all__", [found.name])
    ]
    assert hidden == []


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_knows_another(service: str) -> None:
    """They speak over HTTP, or not at all."""
    others = [f"services.{other}" for other in SERVICES if other != service]
    knows = [
        where(file, found)
        for file in of(f"services.{service}")
        for found in imports(file)
        if within(found.target, *others)
    ]
    assert knows == []


def test_nobody_but_a_driver_asks_which_database_it_is() -> None:
    """Nobody reads a dialect's or a driver's name, and no text is the name of a database: a driver answers instead."""
    asked = [
        f"{file.relative_to(ROOT)}:{node.lineno} asks for the name of the database"
        for file in FILES
        if not within(module_of(file), "saga_es.store.drivers")
        for node in ast.walk(ast.parse(file.read_text()))
        if _asks_which_database(node)
    ]
    assert asked == []


def _asks_which_database(node: ast.AST) -> TypeGuard[ast.expr]:
    match node:
        case ast.Constant(value=str(text)):
            return text in DATABASES
        case ast.Attribute(value=ast.Attribute(attr=owner) | ast.Name(id=owner), attr="name" | "driver"):
            return owner.strip("_") in {"dialect", "driver"}
        case ast.Attribute(attr="get_backend_name" | "get_driver_name" | "drivername"):
            return True
        case _:
            return False


def test_no_file_is_longer_than_can_be_read_at_once() -> None:
    """At most 400 lines."""
    long = {
        str(file.relative_to(ROOT)): lines
        for file in FILES
        if (lines := len(file.read_text().splitlines())) > LONGEST_FILE
    }
    assert long == {}


def test_imports_stand_at_the_top() -> None:
    """An import inside a function hides a cycle; where it is meant, a comment on its line says why."""
    hidden = [
        where(file, found)
        for file in of("saga_es")
        for found in imports(file)
        if found.inside and "#" not in file.read_text().splitlines()[found.line - 1]
    ]
    assert hidden == []


@pytest.mark.parametrize("call", ["eval", "exec", "__import__"])
def test_no_text_is_run_as_code(call: str) -> None:
    """What is stored and sent is JSON, nothing that can be executed."""
    calls = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == call
    ]
    assert calls == []


def test_everything_is_logged_by_one_logger() -> None:
    """An embedded engine is heard as the host configured the logger `saga_es`, and configures nothing."""
    others = [
        where(file, found)
        for file in of("saga_es")
        for found in imports(file)
        if within(found.module, "structlog", "logging") and module_of(file) not in {"saga_es.logs", "saga_es.node.logs"}
    ]
    assert others == []


def test_nothing_is_pickled() -> None:
    """Pickles are code, and nobody can read them in a log."""
    pickled = [
        where(file, found)
        for file in FILES
        for found in imports(file)
        if within(found.module, "pickle", "marshal", "shelve", "dill")
    ]
    assert pickled == []
