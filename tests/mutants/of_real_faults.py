"""Planted bugs that only real processes, disks and databases bring to light, or that they must find, too."""

from __future__ import annotations

from tests.mutants import of_the_shell
from tests.mutants.mutant import Mutant

DATABASE = "saga_es/store/database.py"

KILLS = "tests/e2e/test_real_kills.py::test_workers_killed_again_and_again_lose_and_double_nothing"


def _also_found_by(name: str, *tests: str, databases: str = "sqlite") -> Mutant:
    """A bug that the simulator finds, to be found by killing real processes."""
    (found,) = (mutant for mutant in of_the_shell.MUTANTS if mutant.name == name)
    return Mutant(f"{name} (killed for real)", found.file, found.old, found.new, tests, databases)


MUTANTS = [
    _also_found_by("the call is made before its intent is committed", KILLS),
    _also_found_by("another key after a crash", KILLS),
    _also_found_by("what was under way is not done again after a takeover", KILLS),
    _also_found_by("a takeover that the log does not tell", KILLS),
    Mutant(
        "a lock is waited for without end",
        "saga_es/store/drivers/postgresql.py",
        "SET lock_timeout = '{timeouts.LOCK_S}s'",
        "SET lock_timeout = '0'",
        ("tests/contract/engine/test_troubled_databases.py::test_a_database_that_somebody_else_has_locked",),
        databases="postgresql",
    ),
    Mutant(
        "a deadlock is held against the events",
        "saga_es/store/drivers/error_codes.py",
        "        if isinstance(error, (IntegrityError, DataError)):\n",
        '        if isinstance(error, (IntegrityError, DataError)) or type(error).__name__ == "OperationalError":\n',
        ("tests/contract/engine/test_troubled_databases.py::test_whatever_else_a_server_says_of_itself",),
        databases="mariadb and deadlock",
    ),
    Mutant(
        "what could not be synced is taken for committed",
        DATABASE,
        """            if self._is_new_connection_better(error):
                self._direct.close()""",
        # Whoever opens the file anew takes what lies in the write-ahead log for committed.
        """            if error:
                self.close()""",
        ("tests/e2e/test_faulty_disk.py",),
        databases="syncing",
    ),
    Mutant(
        "thousands are taken over at once, and wait for a thread until they time out",
        "saga_es/runtime/cluster/recovery.py",
        "{name: most for name in open_to if (most := capacity_of(name))}",
        "{name: 10_000 for name in open_to if capacity_of(name)}",
        ("tests/contract/engine/test_many_interrupted.py",),
    ),
    Mutant(
        "a saga that can go on is taken over after thousands that only wait",
        "saga_es/runtime/cluster/recovery.py",
        "self._left_alone, look.now, lacking) if names",
        "self._left_alone, None, lacking) if names",
        ("tests/contract/engine/test_many_waiting.py",),
    ),
    Mutant(
        "a migration that was killed cannot be finished",
        "migrations/versions/0001_log_and_workers.py",
        "        sqlite_autoincrement=True,\n        if_not_exists=True,\n",
        "        sqlite_autoincrement=True,\n",
        ("tests/contract/store/test_migrating_a_log.py",),
        databases="mariadb",
    ),
    Mutant(
        "nobody is told when to come again",
        "saga_es/api/problems.py",
        'headers={"Retry-After": str(RETRY_AFTER_S)}',
        "headers={}",
        ("tests/api/test_every_route_without_a_database.py",),
        databases="route",
    ),
]
