"""Which behaviours have no planted bug: the functions that handle trouble, by module."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.mutants.mutant import Mutant

DEPARTMENTS = ("core", "runtime", "store")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def unplanted(root: Path, mutants: Iterable[Mutant]) -> dict[str, list[str]]:
    """The functions that catch an error and have no planted bug, by module; modules without any are left out."""
    of_file: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        of_file[mutant.file].append(mutant)
    found: dict[str, list[str]] = {}
    for department in DEPARTMENTS:
        for path in sorted((root / "saga_es" / department).rglob("*.py")):
            text = path.read_text()
            module = path.relative_to(root).as_posix()
            planted = {text.count("\n", 0, text.index(mutant.old)) + 1 for mutant in of_file[module]}
            names = [
                name
                for name, function in functions(ast.parse(text))
                if _catches(function) and not any(_holds(function, line) for line in planted)
            ]
            if names:
                found[module] = names
    return found


def functions(tree: ast.AST, within: str = "") -> Iterator[tuple[str, _Function]]:
    """Every function with its name, and that of its class; functions in functions are not apart."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, _Function):
            yield within + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{within}{node.name}.")


def _catches(function: _Function) -> bool:
    return any(isinstance(node, ast.ExceptHandler) for node in ast.walk(function))


def _holds(function: _Function, line: int) -> bool:
    return function.lineno <= line <= (function.end_lineno or function.lineno)
