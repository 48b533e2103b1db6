"""Plant every small bug in a department of the code, and see which the tests find: `make mutants DEEP=1`.

The tests are loaded once. Each bug is planted in a process of its own, a fork of this one, by giving a function the
code with the bug; so only code in functions is tried, and a bug takes as long as the tests up to the first red one.
What does not come to an end, or needs too much memory, is found, too.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import signal
import sys
import types
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path

import click
import pytest
from rich.console import Console
from rich.table import Table

from tests.mutants.planter import Planted, planted

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests" / "unit"
SLOW = "properties"
"""What the names of tests have that come last."""

CPU_S = 30
"""Of a processor, for one bug: all tests of a module together take less."""
PATIENCE_S = 240
MEMORY = 4 << 30

OPTIONS = ("-x", "-q", "--no-header", "-p", "no:cacheprovider", "--hypothesis-seed=1")


@dataclass(frozen=True)
class Module:
    """A module, the bugs that are planted in it, and the tests that should find them: groups, the nearest first."""

    name: str
    bugs: tuple[Planted, ...]
    groups: tuple[tuple[str, ...], ...]


def modules(department: str, tests: Path = TESTS) -> Iterator[Module]:
    """The modules of a department that have functions and tests."""
    texts = {path: path.read_text() for path in sorted(tests.glob("test_*.py"))}
    for path in sorted((ROOT / "saga_es" / department).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        near = [test for test, text in texts.items() if _names(text, name)]
        rest = [test for test in texts if test.name.startswith(f"test_{department}_") and test not in near]
        bugs = tuple(planted(path.read_text()))
        slow = [test for test in [*near, *rest] if SLOW in test.name]
        groups = ([test for test in some if test not in slow] for some in (near, rest))
        all_groups = tuple(tuple(map(str, group)) for group in (*groups, slow) if group)
        if bugs and all_groups:
            yield Module(name, bugs, all_groups)


def _names(text: str, module: str) -> bool:
    package, _, last = module.rpartition(".")
    return f"from {module} import" in text or f"from {package} import {last}" in text


# ── One bug ──────────────────────────────────────────────────────────────────────────────────────────────


def survivors(module: Module, bugs: list[Planted], at_once: int) -> tuple[Planted, ...]:
    """The bugs with which the tests are green, each tried in a fork of this process, which has one thread."""
    waiting, tried, alive = list(reversed(bugs)), dict[int, Planted](), set[Planted]()
    while waiting or tried:
        while waiting and len(tried) < at_once:
            bug = waiting.pop()
            tried[_forked(module, bug)] = bug
        child, status = os.wait()
        bug = tried.pop(child)
        if os.waitstatus_to_exitcode(status) == 0:
            alive.add(bug)
    return tuple(bug for bug in bugs if bug in alive)


def _forked(module: Module, bug: Planted) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException):
            code = _tried(module, bug)
        os._exit(code)
    return child


def _tried(module: Module, bug: Planted) -> int:
    for limit, most in ((resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_AS, MEMORY)):
        resource.setrlimit(limit, (most, most))
    signal.alarm(PATIENCE_S)  # nobody catches it: it ends the process
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    plant(import_module(module.name), bug)
    return int(any(pytest.main([*OPTIONS, *tests]) for tests in module.groups))


def plant(module: types.ModuleType, bug: Planted) -> None:
    """Give the function of a loaded module the code with the bug: all who have imported it have the bug, too."""
    code: types.CodeType = compile(bug.tree, module.__file__ or "", "exec", dont_inherit=True)
    for name in bug.function.split("."):
        code = next(const for const in code.co_consts if isinstance(const, types.CodeType) and const.co_name == name)
    function_of(module, bug.function).__code__ = code
    for cache in gc.get_objects():
        if hasattr(type(cache), "cache_clear") and str(getattr(cache, "__module__", "")).startswith("saga_es"):
            cache.cache_clear()


def function_of(module: types.ModuleType, name: str) -> types.FunctionType:
    """A function by its qualified name, without what its decorators have put around it."""
    found: object = module
    for part in name.split("."):
        found = vars(found)[part]
    while not isinstance(found, types.FunctionType):
        match found:
            case property(fget=inner) | cached_property(func=inner):
                found = inner
            case staticmethod() | classmethod():
                found = found.__func__
            case _:
                found = found.__wrapped__  # type: ignore[attr-defined]
    return found


# ── All ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Found:
    """What came of the bugs that were planted in a module."""

    module: str
    tried: int
    survivors: tuple[Planted, ...]


def found_in(module: Module, share: float, seed: int, at_once: int) -> Found:
    """Try the bugs of a module, or a share of them by dice."""
    dice = random.Random(f"{seed}/{module.name}")
    chosen = [bug for bug in module.bugs if dice.random() < share]
    return Found(module.name, len(chosen), survivors(module, chosen, at_once))


def table(found: list[Found]) -> Table:
    """The modules, for people."""
    shown = Table("module", "planted", "found", "share", title="Bugs over the syntax tree")
    left = sum(len(one.survivors) for one in found)
    rows = [(one.module, one.tried, len(one.survivors)) for one in found]
    for name, tried, alive in [*rows, ("all", sum(one.tried for one in found), left)]:
        share = f"{100 * (tried - alive) / tried:.0f} %" if tried else ""
        shown.add_row(name, f"{tried:,}", f"{tried - alive:,}", share)
    return shown


@click.command()
@click.argument("department", default="core")
@click.option("--module", "words", multiple=True, help="Only modules whose names hold this; may be repeated.")
@click.option("--share", default=1.0, show_default=True, help="Which share of the bugs is tried.")
@click.option("--seed", default=1, show_default=True, help="Of the dice that choose that share.")
@click.option("--at-once", default=os.cpu_count() or 1, show_default=True, help="How many are tried at the same time.")
def main(department: str, words: tuple[str, ...], share: float, seed: int, at_once: int) -> None:
    """Plant bugs in the modules of a DEPARTMENT (core), and list those that no test finds."""
    chosen = [module for module in modules(department) if not words or any(word in module.name for word in words)]
    tests = dict.fromkeys(test for module in chosen for group in module.groups for test in group)
    if pytest.main([*OPTIONS, *tests]) != 0:  # loads them, too
        sys.exit("the tests are red without any bug")
    console, found = Console(width=None if sys.stdout.isatty() else 170), []
    for module in chosen:
        found.append(found_in(module, share, seed, at_once))
        for bug in found[-1].survivors:
            console.print(f"{module.name}:{bug}", markup=False, soft_wrap=True)
    console.print(table(found))


if __name__ == "__main__":
    main()
