"""Planted bugs of the store, and of the participants' records in it."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

LOG = "saga_es/store/log.py"
RECORDS = "saga_es/participant/records.py"
WRITER = "saga_es/store/writer.py"
WORKERS = "saga_es/store/workers.py"
FIRST_MIGRATION = "migrations/versions/0001_log_and_workers.py"

MUTANTS = [
    Mutant(
        "an append is dropped, and reported as written",
        WRITER,
        "self._log.append(connection, [row for _, rows in batch for row in rows])",
        "self._log.append(connection, batch[0][1])",
        ("tests/contract/test_writer.py",),
    ),
    Mutant(
        "the expected version is ignored",
        WRITER,
        "return Conflict() if moved_on else Refused(str(error.orig))",
        "return Written() if moved_on else Refused(str(error.orig))",
        ("tests/contract/test_append.py", "tests/contract/test_writer.py"),
    ),
    Mutant(
        "two events may stand at one version",
        FIRST_MIGRATION,
        '        sa.UniqueConstraint("stream_id", "version", name="saga_events_stream_version"),\n',
        "",
        ("tests/contract/test_log.py", "tests/contract/test_writer.py"),
    ),
    Mutant(
        "a commit whose answer was lost is taken for somebody else's",
        WRITER,
        "                if self._log.holds(connection, rows):  # our own commit, whose answer was lost\n"
        "                    return Written()\n",
        "",
        ("tests/contract/test_writer.py",),
    ),
    Mutant(
        "somebody else's commit is taken for our own",
        LOG,
        "return [tuple(row) for row in found] == wanted",
        "return len([tuple(row) for row in found]) == len(wanted)",
        ("tests/contract/test_writer.py", "tests/contract/test_append.py"),
    ),
    Mutant(
        "one bad draft takes its whole batch along",
        WRITER,
        "            return [self._write_alone(prepared) for prepared in batch]",
        "            return [self._write_alone(batch[0])] * len(batch)",
        ("tests/contract/test_writer.py",),
    ),
    Mutant(
        "a view that is not brought up to date",
        WRITER,
        "        self._views.apply(connection, [recorded for draft, _ in batch for recorded in draft.recorded()])\n",
        "",
        ("tests/contract/test_writer.py", "tests/contract/test_views.py"),
    ),
    Mutant(
        "a view is brought up to date after the commit",
        WRITER,
        "        with self._database.writing() as connection:\n            self._append(connection, batch)",
        "        with self._database.writing() as connection:\n"
        "            self._log.append(connection, [row for _, rows in batch for row in rows])\n"
        "        with self._database.writing() as connection:\n"
        "            self._views.apply(connection, [r for draft, _ in batch for r in draft.recorded()])",
        ("tests/contract/test_writer.py",),
    ),
    Mutant(
        "a reader skips a position that is committed late",
        LOG,
        "max(seen, default=0) - FOLLOW_BACK",
        "max(seen, default=0)",
        ("tests/contract/test_follow.py",),
        databases="postgresql",
    ),
    Mutant(
        "the log can be changed",
        FIRST_MIGRATION,
        "CREATE TRIGGER saga_events_no_update BEFORE UPDATE ON saga_events\n        BEGIN SELECT RAISE",
        "CREATE TRIGGER saga_events_no_update BEFORE UPDATE ON saga_events WHEN false\n        BEGIN SELECT RAISE",
        ("tests/contract/test_log.py",),
    ),
    Mutant(
        "a worker that lives is taken for dead",
        WORKERS,
        "if row.expired or Process(row.host, row.pid, row.pid_started).is_gone()]",
        "]",
        ("tests/contract/test_workers.py", "tests/contract/test_takeover.py"),
    ),
    Mutant(
        "the sagas of living workers are taken, too",
        WORKERS,
        "return unfinished & (sagas.c.owner.is_(None) | sagas.c.owner.not_in(living))",
        "return unfinished & (sagas.c.owner.is_(None) | sagas.c.owner.not_in(living) | sa.true())",
        ("tests/contract/test_takeover.py", "tests/contract/test_workers.py"),
    ),
    Mutant(
        "a worker that is gone is waited for until its lease runs out",
        WORKERS,
        "if row.expired or Process(row.host, row.pid, row.pid_started).is_gone()]",
        "if row.expired]",
        ("tests/contract/test_workers.py",),
    ),
    Mutant(
        "another process with the same number is taken for the one that is gone",
        WORKERS,
        "return self.host == _host() and _pid_started(self.pid) != self.pid_started",
        "return self.host == _host() and _pid_started(self.pid) is None",
        ("tests/contract/test_workers.py",),
    ),
    Mutant(
        "a rollback that comes first leaves no tombstone",
        RECORDS,
        "            case []:\n                undone: tuple[int, RecordEvent] = (0, RecordTombstoned())",
        "            case []:\n                return",
        ("tests/api/test_lost_answers.py", "tests/api/test_services.py"),
    ),
    Mutant(
        "what was rolled back is registered again",
        RECORDS,
        "            found = self.first_fields(record_id)\n",
        "            found = registered.fields\n",
        ("tests/api/test_lost_answers.py",),
    ),
    Mutant(
        "a late register overrides the tombstone",
        RECORDS,
        '                raise Tombstoned(f"{record_id} was rolled back before it was registered; use a new key")',
        "                return {}",
        ("tests/api/test_lost_answers.py", "tests/api/test_services.py"),
    ),
]
