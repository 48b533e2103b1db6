"""Migrations expand first and contract later, so that the version before works on while and after this one migrates.

An expanding migration only adds: tables, columns that may be left out, indexes. Whatever else one does has to be named:
`contract = "why"`, and its id says that processes must know the migration before it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from saga_es.store.admin.ownership import VIEWS_0_1_0
from saga_es.store.revision import FIRST_RELEASED, HEAD, is_newer, number, since, suits
from saga_es.store.views.mixed import BUILT_IN
from saga_es.store.views.saga_view import sagas
from saga_es.store.views.tags import saga_tags

FOLDER = Path(__file__).parents[2] / "migrations" / "versions"
MIGRATIONS = sorted(FOLDER.glob("*.py"))
SINCE_RELEASE = [path for path in MIGRATIONS if path.stem[:4] > FIRST_RELEASED]
READS = {"get_bind", "get_context", "get_columns", "get_table_names", "get_indexes", "has_table"}
RUNS_SQL = {"execute", "exec_driver_sql", "scalar", "scalars"}


def refusals(source: str) -> Iterator[str]:
    """What a migration does that does not only add, on the way up."""
    tree = ast.parse(source)
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "downgrade":
            continue
        for call in (node for node in ast.walk(statement) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Attribute):
                yield from _refused(call, call.func)


def _refused(call: ast.Call, called: ast.Attribute) -> Iterator[str]:
    is_op = isinstance(called.value, ast.Name) and called.value.id == "op"
    match called.attr:
        case name if name in RUNS_SQL:
            yield f"line {call.lineno}: {name} runs SQL that cannot be judged"
        case "create_table":
            pass
        case "create_index" if not _is_true(call, "unique"):
            pass
        case "add_column":
            yield from (f"line {call.lineno}: the column {why}" for why in _why_not(call))
        case name if is_op and name not in READS:
            yield f"line {call.lineno}: op.{name} does not only add"


def _why_not(call: ast.Call) -> Iterator[str]:
    columns = [node for node in ast.walk(call) if isinstance(node, ast.Call) and _name(node) == "Column"]
    for column in columns:
        given = {word.arg: word.value for word in column.keywords}
        nullable = given.get("nullable")
        is_nullable = isinstance(nullable, ast.Constant) and nullable.value is True
        if not is_nullable and "server_default" not in given:
            yield "has no default, and does not say nullable=True: older processes could insert no row"
        if "unique" in given or any(_name(node) == "ForeignKey" for node in ast.walk(column)):
            yield "brings a constraint that older processes do not know"
    if not columns:
        yield "is made elsewhere, and cannot be judged"


def _name(node: ast.AST) -> str:
    func = getattr(node, "func", None)
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")


def _is_true(call: ast.Call, word: str) -> bool:
    return any(given.arg == word for given in call.keywords)


def constant(source: str, name: str) -> str | None:
    """The value of a constant of a migration."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            (target,) = statement.targets
            if isinstance(target, ast.Name) and target.id == name:
                return str(statement.value.value) if statement.value.value is not None else None
    return None


@pytest.mark.parametrize("path", SINCE_RELEASE, ids=lambda path: path.stem)
def test_a_migration_only_adds_or_is_named_as_one_that_contracts(path: Path) -> None:
    """One that contracts is for processes that know what was there before it: the expansion was released earlier."""
    source = path.read_text()
    contract, revision = constant(source, "contract"), constant(source, "revision")
    assert revision is not None
    if contract is None:
        assert list(refusals(source)) == []
    else:
        assert contract
        assert since(revision) >= number(constant(source, "down_revision") or "")


def test_ids_of_migrations_are_numbers_in_order_and_say_since_when_processes_can_work_on() -> None:
    """From 0006 on; and whom one migration has shut out, the next does not let in again."""
    revisions = [constant(path.read_text(), "revision") or "" for path in MIGRATIONS]
    assert [number(revision) for revision in revisions] == [f"{n:04}" for n in range(1, len(revisions) + 1)]
    said = revisions[5:]
    assert all("_since_" in revision for revision in said)
    assert all(since(earlier) <= since(later) for earlier, later in pairwise(said))
    assert revisions[-1] == HEAD
    assert [constant(path.read_text(), "down_revision") for path in MIGRATIONS] == [None, *revisions[:-1]]


@pytest.mark.parametrize(
    "statement",
    [
        "op.drop_column('saga_workers', 'pid')",
        "op.drop_table('saga_bells')",
        "op.rename_table('saga_bells', 'saga_notes')",
        "op.alter_column('saga_workers', 'pid', type_=sa.BigInteger)",
        "op.alter_column('saga_workers', 'pid', new_column_name='process')",
        "op.add_column('saga_workers', sa.Column('zone', sa.Text, nullable=False))",
        "op.add_column('saga_workers', sa.Column('zone', sa.Text))",
        "op.add_column('saga_workers', sa.Column('zone', sa.Text, nullable=True, unique=True))",
        "op.add_column('saga_workers', zone)",
        "op.create_index('few', 'saga_workers', ['pid'], unique=True)",
        "op.create_unique_constraint('few', 'saga_workers', ['pid'])",
        "op.execute('ALTER TABLE saga_workers DROP COLUMN pid')",
        "op.get_bind().exec_driver_sql('DROP TABLE saga_bells')",
        "with op.batch_alter_table('saga_workers') as batch: batch.drop_column('pid')",
    ],
)
def test_what_older_processes_could_not_live_with_is_refused(statement: str) -> None:
    """Each takes away, or asks for more."""
    assert len(list(refusals(f"def upgrade():\n    {statement}"))) >= 1


@pytest.mark.parametrize(
    "statement",
    [
        "op.create_table('saga_zones', sa.Column('name', sa.Text, nullable=False))",
        "op.add_column('saga_workers', sa.Column('zone', sa.Text, nullable=True))",
        "op.add_column('saga_workers', sa.Column('zone', sa.Text, nullable=False, server_default=''))",
        "op.create_index('few', 'saga_workers', ['pid'])",
    ],
)
def test_what_only_adds_is_allowed(statement: str) -> None:
    """Older processes do not see it."""
    assert list(refusals(f"def upgrade():\n    {statement}\n\ndef downgrade():\n    op.drop_table('x')")) == []


@pytest.mark.parametrize("table", [sagas, saga_tags], ids=lambda table: table.name)
def test_built_in_views_grow_by_columns_that_older_processes_can_leave_out(table: sa.Table) -> None:
    """All columns of 0.1.0 are there, and each later one may be empty."""
    assert set(VIEWS_0_1_0) == BUILT_IN
    first = VIEWS_0_1_0[table.name]
    assert first <= set(table.columns.keys())
    later = [column for column in table.columns if column.name not in first]
    assert [column.name for column in later if not (column.nullable or column.server_default)] == []


def test_a_newer_migration_suits_if_it_says_that_this_version_can_work_on() -> None:
    """Older ones are to be migrated; newer ones that do not name us are for others."""
    own, newer = number(HEAD), f"{int(number(HEAD)) + 1:04}"
    assert [suits(None), suits("0001"), suits(HEAD), suits(f"{newer}_since_{own}")] == [False, False, True, True]
    assert [suits(newer), suits(f"{newer}_since_{newer}")] == [False, False]
    assert [is_newer(None), is_newer("0001"), is_newer(HEAD), is_newer(newer)] == [False, False, False, True]
