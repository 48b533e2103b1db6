"""Plants small bugs in the functions of a module, one by one, over its syntax tree."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}

CHANGED_BY_KEYWORDS = {"replace", "_step"}
"""Functions whose keywords say what changes: each may be forgotten."""


@dataclass(frozen=True, eq=False)
class Planted:
    """A bug: the function it is in, its place, and what stands there now.

    Attributes:
        function: The qualified name of the function.
        line: Where it is planted.
        was: The code before.
        now: The code after.
        text: The whole module, without the bug.
        number: Which of its bugs this is.
    """

    function: str
    line: int
    was: str
    now: str
    text: str
    number: int

    @property
    def tree(self) -> ast.Module:
        """The whole module, with the bug."""
        tree = ast.parse(self.text)
        _, node, change = next(islice(_all(tree), self.number, None))
        _put(tree, node, change(copy.deepcopy(node)))
        return tree

    def __str__(self) -> str:
        return f"{self.line}: {self.function}: `{self.was}` became `{self.now}`"


def planted(text: str) -> Iterator[Planted]:
    """Every bug that can be planted in a module, in the order of its lines."""
    for number, (name, node, change) in enumerate(_all(ast.parse(text))):
        yield Planted(name, _line(node), _short(node), _short(change(copy.deepcopy(node))), text, number)


def _all(tree: ast.Module) -> Iterator[tuple[str, ast.AST, Change]]:
    for name, function in functions(tree):
        for node in _places(function):
            for change in _changes(node):
                yield name, node, change


def functions(tree: ast.AST, within: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """The functions of a module and of its classes, with their qualified names."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield within + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{within}{node.name}.")


def _places(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a body where a bug matters: not in annotations, assertions, messages of errors or docstrings."""
    rest: list[ast.AST] = list(reversed(function.body))
    while rest:
        node = rest.pop()
        if isinstance(node, ast.Assert | ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
            continue
        if _is_text(node) or _never_happens(node):
            continue
        yield node
        rest += reversed([child for child in ast.iter_child_nodes(node) if not _is_annotation(node, child)])


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _never_happens(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))):
            return True
        case _:
            return False


def _is_annotation(node: ast.AST, child: ast.AST) -> bool:
    match node:
        case ast.AnnAssign(annotation=annotation):
            return child is annotation
        case ast.FunctionDef(args=arguments, returns=returns):
            return child is arguments or child is returns
        case _:
            return False


Change = Callable[[ast.AST], ast.AST]
"""Makes of a copy of a node what takes its place."""


def _changes(node: ast.AST) -> Iterator[Change]:  # noqa: C901, PLR0912 (a table: one case a kind of node)
    match node:
        case ast.Compare(ops=ops):
            for place, op in enumerate(ops):
                if type(op) in _SWAPPED:
                    yield _with_op(place)
        case ast.BoolOp() | ast.BinOp() if type(node.op) in _SWAPPED:
            yield _swapped
        case ast.UnaryOp(op=ast.Not()):
            yield lambda found: found.operand  # type: ignore[attr-defined]
        case ast.If() | ast.IfExp() | ast.While():
            if not isinstance(node.test, ast.Compare | ast.UnaryOp):  # those are changed by themselves
                yield _negated
        case ast.Constant(value=bool()):
            yield lambda found: ast.Constant(not found.value)  # type: ignore[attr-defined]
        case ast.Constant(value=int() | float()):
            yield lambda found: ast.Constant(found.value + 1)  # type: ignore[attr-defined]
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield lambda _: ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Continue() | ast.Break():
            yield lambda _: ast.Pass()
        case ast.match_case(guard=ast.expr()):
            yield _unguarded
        case ast.comprehension(ifs=[_, *_]):
            yield _unfiltered
        case ast.Call(func=ast.Name(id=name), keywords=keywords) if name in CHANGED_BY_KEYWORDS:
            for place, keyword in enumerate(keywords):
                if keyword.arg is not None:
                    yield _without_keyword(place)
        case _:
            pass


def _with_op(place: int) -> Change:
    def change(found: ast.AST) -> ast.AST:
        assert isinstance(found, ast.Compare)
        found.ops[place] = _SWAPPED[type(found.ops[place])]()  # type: ignore[call-overload]
        return found

    return change


def _swapped(found: ast.AST) -> ast.AST:
    assert isinstance(found, ast.BoolOp | ast.BinOp)
    found.op = _SWAPPED[type(found.op)]()  # type: ignore[assignment]
    return found


def _negated(found: ast.AST) -> ast.AST:
    assert isinstance(found, ast.If | ast.IfExp | ast.While)
    found.test = ast.UnaryOp(ast.Not(), found.test)
    return found


def _unguarded(found: ast.AST) -> ast.AST:
    assert isinstance(found, ast.match_case)
    found.guard = None
    return found


def _unfiltered(found: ast.AST) -> ast.AST:
    assert isinstance(found, ast.comprehension)
    found.ifs = []
    return found


def _without_keyword(place: int) -> Change:
    def change(found: ast.AST) -> ast.AST:
        assert isinstance(found, ast.Call)
        del found.keywords[place]
        return found

    return change


def _put(tree: ast.Module, place: ast.AST, now: ast.AST) -> None:
    """Put a node in the place of another."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is place:
                setattr(parent, field, now)
            elif isinstance(value, list):
                value[:] = [now if child is place else child for child in value]
    _located(now, place)


def _located(now: ast.AST, node: ast.AST) -> None:
    if hasattr(node, "lineno"):
        ast.copy_location(now, node)
    ast.fix_missing_locations(now)


def _line(node: ast.AST) -> int:
    for found in ast.walk(node):
        if hasattr(found, "lineno"):
            return int(found.lineno)
    return 0


def _short(node: ast.AST) -> str:
    if isinstance(node, ast.If | ast.While):
        return f"if {ast.unparse(node.test)}"
    return " ".join(ast.unparse(node).split())[:100]
