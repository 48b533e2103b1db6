"""Planted bugs of the store, and of the participants' records in it."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

LOG = "saga_es/store/log/log.py"
RECORDS = "saga_es/participant/records.py"
TAIL = "saga_es/store/log/tail.py"
MEMORY = "saga_es/testing/memory.py"
WRITER = "saga_es/store/writer.py"
WORKERS = "saga_es/store/workers.py"
PROCESS = "saga_es/store/process.py"
CHAIN = "saga_es/store/log/chain.py"
THIRD_MIGRATION = "migrations/versions/0003_chain.py"

MUTANTS = [
    Mutant(
        "an append is dropped, and reported as written",
        WRITER,
        "return APPEND, [row for _, rows in batch for row in rows]",
        "return APPEND, batch[0][1]",
        ("tests/contract/store/test_writer.py",),
    ),
    Mutant(
        "the expected version is ignored",
        WRITER,
        "if self._has_moved_on(connection, draft):\n                    return [Conflict()]",
        "if self._has_moved_on(connection, draft):\n                    return [Written()]",
        ("tests/contract/engine/test_append.py", "tests/contract/store/test_writer.py"),
    ),
    Mutant(
        "two events may stand at one version",
        THIRD_MIGRATION,
        '        sa.UniqueConstraint("stream_id", "version", name="saga_events_stream_version"),\n',
        "",
        ("tests/contract/store/test_log.py", "tests/contract/store/test_writer.py"),
    ),
    Mutant(
        "a commit whose answer was lost is taken for somebody else's",
        WRITER,
        "is_ours = self._log.holds(connection, [row for _, rows in batch for row in rows])",
        "is_ours = False",
        ("tests/contract/store/test_writer.py",),
    ),
    Mutant(
        "somebody else's commit is taken for our own",
        LOG,
        "return found == last",
        "return found.keys() == last.keys()",
        ("tests/contract/store/test_writer.py", "tests/contract/engine/test_append.py"),
    ),
    Mutant(
        "one bad draft takes its whole batch along",
        WRITER,
        "            return [*self._write(batch[:half]), *self._write(batch[half:])]",
        "            return [self._not_written(draft, error) for draft, _ in batch]",
        ("tests/contract/store/test_writer.py",),
    ),
    Mutant(
        "a view that is not brought up to date",
        WRITER,
        "*self._views.writes(_recorded(batch), self._driver), ",
        "",
        ("tests/contract/store/test_writer.py", "tests/contract/store/test_views.py"),
    ),
    Mutant(
        "a view that refuses an event refuses the append",
        WRITER,
        "        if not self._is_careful:\n            return self._write_carefully(batch)\n        logger",
        "        logger",
        ("tests/contract/store/test_writer.py", "tests/contract/engine/test_views_behind.py"),
    ),
    Mutant(
        "a view that is behind takes up later events",
        "saga_es/store/views/inline.py",
        "sort_out([view for view in views if view.name not in behind], events)",
        "sort_out(list(views), events)",
        ("tests/contract/store/test_writer.py",),
    ),
    Mutant(
        "NaN in a result becomes null",
        "saga_es/core/values.py",
        'if b"null" in encoded:  # it may have been NaN',
        "if not encoded:",
        ("tests/unit/test_values.py",),
    ),
    Mutant(
        "a view is brought up to date after the commit",
        WRITER,
        "        self._database.transact(self._writes(batch))\n",
        "        log, *views = self._writes(batch)\n"
        "        self._database.transact([log])\n"
        "        if views:\n"
        "            self._database.transact(views)\n",
        ("tests/contract/store/test_writer.py",),
    ),
    Mutant(
        "a reader skips a position that is committed late",
        TAIL,
        "if entry.position != before + 1 and not self._stays(before, entry.position):",
        "if entry.position < before + 1 and not self._stays(before, entry.position):",
        ("tests/contract/engine/test_follow.py",),
        databases="postgresql",
    ),
    Mutant(
        "the log can be changed",
        THIRD_MIGRATION,
        '("UPDATE", "saga_events", NO_UPDATE, "true")',
        '("UPDATE", "saga_events", NO_UPDATE, "false")',
        ("tests/contract/store/test_log.py",),
    ),
    Mutant(
        "what is archived may begin again",
        THIRD_MIGRATION,
        "AND NOT (a.version = {new}.version AND a.hash = {new}.hash)",
        "AND NOT (a.version = {new}.version)",
        ("tests/contract/store/test_archive_rules.py",),
    ),
    Mutant(
        "what was forged under a key is the answer to that key",
        "saga_es/store/sagas.py",
        "        return SagaExists(state.saga_id, foreign=True) if foreign else None",
        "        return None",
        ("tests/contract/engine/test_forged_starts.py",),
    ),
    Mutant(
        "an entry in the archives opens any stream",
        THIRD_MIGRATION,
        "WHERE a.stream_id = {old}.stream_id AND a.version >= {old}.version",
        "WHERE a.version >= {old}.version",
        ("tests/contract/store/test_archive_rules.py",),
    ),
    Mutant(
        "a hash that was never committed is remembered",
        WRITER,
        "        self._log.chained(prepared[1], self._heads, connection)\n",
        "        self._heads.learn(self._log.chained(prepared[1], self._heads, connection))\n",
        ("tests/contract/store/test_chain_in_the_log.py",),
    ),
    Mutant(
        "a hash is taken that is not that of the version before",
        LOG,
        "if head is not None and head.version == version:",
        "if head is not None:",
        ("tests/contract/store/test_chain_in_the_log.py",),
    ),
    Mutant(
        "a gap in a stream is chained over",
        CHAIN,
        "elif reached != version - 1:",
        "elif reached < 0:",
        ("tests/unit/test_chain.py",),
    ),
    Mutant(
        "a worker that lives is taken for dead",
        WORKERS,
        "[row.worker_id for row in found if self._is_gone(row)]",
        "[row.worker_id for row in found]",
        ("tests/contract/store/test_workers.py", "tests/contract/engine/test_takeover.py"),
    ),
    Mutant(
        "the sagas of living workers are taken, too",
        WORKERS,
        "return unfinished & (sagas.c.owner.is_(None) | sagas.c.owner.not_in(living))",
        "return unfinished & (sagas.c.owner.is_(None) | sagas.c.owner.not_in(living) | sa.true())",
        ("tests/contract/engine/test_takeover.py", "tests/contract/store/test_workers.py"),
    ),
    Mutant(
        "a worker that is gone is waited for until its lease runs out",
        WORKERS,
        "if process.is_gone() or self._silence",
        "if self._silence",
        ("tests/contract/store/test_workers.py",),
    ),
    Mutant(
        "another process with the same number is taken for the one that is gone",
        PROCESS,
        "return self.is_here() and _pid_started(self.pid) != self.pid_started",
        "return self.is_here() and _pid_started(self.pid) is None",
        ("tests/contract/store/test_workers.py",),
    ),
    Mutant(
        "the simulator takes somebody else's append for its own",
        MEMORY,
        'return Written() if there.hash == rows[-1]["hash"] else Conflict()',
        "return Written()",
        ("tests/contract/store/test_writer.py",),
    ),
    Mutant(
        "the simulator never buries a worker whose lease ran out",
        MEMORY,
        "if worker_id in dead or beaten < expired]",
        "if worker_id in dead]",
        ("tests/contract/store/test_workers.py",),
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
    Mutant(
        "verify takes any hash for the one before it",
        "saga_es/store/proof/integrity.py",
        "if follows and entry.hash != _hash(before.hash if before else genesis(stream_id), entry):",
        "if follows and before and entry.hash != _hash(before.hash, entry):",
        ("tests/unit/test_tampering.py",),
    ),
    Mutant(
        "verify overlooks a gap",
        "saga_es/store/proof/integrity.py",
        "    if not follows and archived is None:",
        "    if not follows and archived is not None:",
        ("tests/unit/test_tampering.py", "tests/contract/store/test_verify.py"),
    ),
    Mutant(
        "a stream that was cut off is taken for one that was archived",
        "saga_es/store/proof/seal.py",
        "if archived is not None and archived.version >= sealed.version:",
        "if archived is not None:",
        ("tests/unit/test_tampering.py",),
    ),
    Mutant(
        "the lines of a seal are not those that were signed",
        "saga_es/store/proof/seal.py",
        "if closing.root != root.hexdigest() or closing.streams != streams:",
        "if closing.streams != streams:",
        ("tests/unit/test_tampering.py",),
    ),
    Mutant(
        "any signature will do",
        "saga_es/store/proof/seal.py",
        "if not key.verifies(_signature(closing), _CONTEXT + closing.root.encode()):",
        "if not closing.signature:",
        ("tests/unit/test_tampering.py",),
    ),
    Mutant(
        "verify looks only at the first rows of a log",
        "saga_es/store/log/streams.py",
        'after = {"stream_id": entries[-1].stream_id, "version": entries[-1].version}',
        "return",
        ("tests/contract/store/test_verify.py",),
    ),
    Mutant(
        "a view with too many rows is taken for the fold of the log",
        "saga_es/store/views/comparing.py",
        "queries = (self._missing(), self._surplus(), self._different())",
        "queries = (self._missing(), self._missing(), self._different())",
        ("tests/contract/store/test_verify_views.py",),
    ),
    Mutant(
        "a migration that died begins the chain anew where it stopped",
        THIRD_MIGRATION,
        '        _fill_at_once(bind, rows)\n        bind.exec_driver_sql("COMMIT")',
        '        _fill_at_once(bind, rows[1:])\n        bind.exec_driver_sql("COMMIT")',
        ("tests/contract/store/test_migrating_a_log.py",),
        databases="mariadb",
    ),
    Mutant(
        "a batch reads all rows of the views that it changes",
        "saga_es/store/drivers/postgresql.py",
        "    connection.execute(_BY_KEY)\n",
        "",
        ("tests/contract/store/test_by_key.py",),
        databases="postgresql",
    ),
    Mutant(
        "of many changes at once all get the values of the first",
        "saga_es/store/drivers/mysql_batch.py",
        "for value in (row[self._key], row[place])]",
        "for value in (row[self._key], some[0][place])]",
        ("tests/contract/store/test_many_changes.py",),
        databases="mariadb",
    ),
    Mutant(
        "a publisher whose lease has run out still moves the position",
        "saga_es/store/publishers.py",
        "return held.holder not in {None, holder} and held.until > now",
        "return False",
        ("tests/contract/store/test_publishers.py",),
    ),
    Mutant(
        "a delivery that failed is passed over",
        "saga_es/publish/publisher.py",
        "                return self._failed(part[0], error)\n",
        "                self._failed(part[0], error)\n",
        ("tests/contract/store/test_publishers.py",),
    ),
    Mutant(
        "what was not told is archived",
        "saga_es/store/archive/archiving.py",
        "            stands += [publisher.position for publisher in publishers(connection)]\n",
        "",
        ("tests/contract/store/test_archiving.py",),
    ),
]
