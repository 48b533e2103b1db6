"""Planted bugs of what is done in trouble: a database that is away, a worker that comes first, a clock that lies."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

ARCHIVING = "saga_es/store/archive/archiving.py"
BATCH = "saga_es/runtime/batch.py"
CATCH_UP = "saga_es/store/views/catch_up.py"
CHORES = "saga_es/runtime/chores.py"
DISPATCH = "saga_es/runtime/dispatch.py"
EXECUTION = "saga_es/api/execution.py"
OWNED = "saga_es/runtime/owned.py"
RECOVERY = "saga_es/runtime/cluster/recovery.py"
STATE = "saga_es/core/state.py"
WORKERS = "saga_es/store/workers.py"

HOST_CLOCK = '__import__("time").time()'

MUTANTS = [
    Mutant(
        "a heartbeat that failed is the last",
        CHORES,
        'self._warn("a heartbeat", error)\n',
        'self._warn("a heartbeat", error)\n            return 3600.0\n',
        ("tests/contract/engine/test_troubled_chores.py",),
    ),
    Mutant(
        "after trouble while recovering nobody looks again for an hour",
        RECOVERY,
        "return [], RECOVER_EVERY_S",
        "return [], 3600.0",
        ("tests/contract/engine/test_troubled_chores.py",),
    ),
    Mutant(
        "the notifications are read no more after trouble",
        CHORES,
        'self._warn("a look for commands", error)\n',
        'self._warn("a look for commands", error)\n            return None\n',
        ("tests/contract/store/test_notifications.py", "tests/contract/store/test_flaky_database.py"),
    ),
    Mutant(
        "sagas without code are looked for no more after trouble",
        CHORES,
        'self._warn("a look for sagas without code", error)\n            return LOOK_AGAIN_AFTER_S\n',
        'self._warn("a look for sagas without code", error)\n            return None\n',
        ("tests/contract/engine/test_troubled_chores.py",),
    ),
    Mutant(
        "the rows of a view that follows are written after its checkpoint",
        CATCH_UP,
        "            for statement, rows in writes:\n",
        "        with self._database.writing() as connection:\n            for statement, rows in writes:\n",
        ("tests/contract/store/test_catch_up.py",),
    ),
    Mutant(
        "an acknowledgement takes along what was recorded since the look",
        "saga_es/store/notifications.py",
        'saga_bells.c.version == sa.bindparam("at")',
        'sa.bindparam("at") > 0',
        ("tests/contract/store/test_notifications.py",),
    ),
    Mutant(
        "of two starts with one id and other inputs, in two processes, both are answered",
        BATCH,
        "                    self._owned.fail(saga, error)\n            case _:",
        "                    pass\n            case _:",
        ("tests/contract/engine/test_starts_at_once.py",),
    ),
    Mutant(
        "of two starts with one id and other inputs, in one batch, both are answered",
        OWNED,
        "            request.handle.mark_failed(error)\n",
        "            self._attach(saga, request.handle)\n",
        ("tests/contract/engine/test_starts_at_once.py",),
    ),
    Mutant(
        "a start that is not in the log refuses another",
        BATCH,
        "if error is not None and saga.state.version == 0:",
        "if error is not None and saga.state.version < 0:",
        ("tests/contract/engine/test_starts_at_once.py",),
    ),
    Mutant(
        "a rollback that races with its register does nothing",
        "saga_es/participant/records.py",
        "            self.roll_back(record_id, before_registered=before_registered)",
        "            return",
        ("tests/api/test_lost_answers.py",),
    ),
    Mutant(
        "a start that is not in the log is accepted at once",
        EXECUTION,
        "            handle.started(timeout=min(timeout_s, outage.COMMIT_TIMEOUT_S))\n",
        "",
        ("tests/api/test_execute.py",),
    ),
    Mutant(
        "a start that is not in the log is accepted after a while",
        EXECUTION,
        "    if node().store.sagas.find(handle.saga_id) is None:",
        "    if not handle.saga_id:",
        ("tests/api/test_execute.py",),
    ),
    Mutant(
        "a worker that goes while a saga waits for its child counts as a crash",
        "saga_es/core/evolve.py",
        "if not step.in_flight or step.child is not None:",
        "if not step.in_flight:",
        ("tests/unit/test_core_crashes.py",),
    ),
    Mutant(
        "a replaced input does not reach the elements of a list",
        STATE,
        "own if own is not None else self.step(step_of(name)).input",
        "own",
        ("tests/unit/test_core_fan_out.py",),
    ),
    Mutant(
        "an element loses its own input to that of the list",
        STATE,
        "own if own is not None else self.step(step_of(name)).input",
        "self.step(step_of(name)).input or own",
        ("tests/unit/test_core_fan_out.py",),
    ),
    Mutant(
        "an order in the batch that takes its saga over is dropped",
        CHORES,
        "                self._committer.put_back(outdated)\n",
        "                pass\n",
        ("tests/simulation/test_taken_away.py",),
    ),
    Mutant(
        "the calls of a saga that was taken away are waited for",
        OWNED,
        "        self._dispatch.forget(saga.state)\n        self._remote",
        "        self._remote",
        ("tests/unit/test_owned.py",),
    ),
    Mutant(
        "a saga that was taken away keeps its capacity",
        DISPATCH,
        "            if call is not None:\n                self._released(key)\n            self._held.drop(key)\n",
        "            self._held.drop(key)\n",
        ("tests/unit/test_dispatch.py",),
    ),
    Mutant(
        "a saga that comes back is owned beside what it was",
        OWNED,
        "            self._drop(stale)\n",
        "            pass\n",
        ("tests/simulation/test_taken_away.py",),
    ),
    Mutant(
        "a loop that starts over sends the calls of before",
        DISPATCH,
        "        self._made.clear()\n",
        "        pass\n",
        ("tests/unit/test_dispatch.py",),
    ),
    Mutant(
        "a paused saga is a suspect",
        "saga_es/runtime/cluster/suspects.py",
        "return state.paused is None and _crashes",
        "return _crashes",
        ("tests/contract/engine/test_suspects.py", "tests/unit/test_suspects.py"),
    ),
    Mutant(
        "a heartbeat is by the clock of the host",
        WORKERS,
        "values(heartbeat_at=database_now())",
        f"values(heartbeat_at={HOST_CLOCK})",
        ("tests/contract/store/test_workers.py",),
    ),
    Mutant(
        "a lease is by the clock of the host",
        WORKERS,
        "is_expired = row.heartbeat_at < row.now_s - self.lease_s",
        f"is_expired = row.heartbeat_at < {HOST_CLOCK} - self.lease_s",
        ("tests/contract/store/test_workers.py",),
    ),
    Mutant(
        "who lives is told by the clock of the host",
        WORKERS,
        "if row.heartbeat_at >= row.now_s - lease_s",
        f"if row.heartbeat_at >= {HOST_CLOCK} - lease_s",
        ("tests/contract/store/test_workers.py",),
    ),
    Mutant(
        "a view that follows goes on while its table is replaced",
        "saga_es/store/views/checkpoints.py",
        ".not_like('{\"swap\"%')",
        ".not_like('{\"none\"%')",
        ("tests/contract/store/test_catch_up.py",),
    ),
    Mutant(
        "a swap that was interrupted stops a view for ever",
        CATCH_UP,
        "> SWAP_TAKES:",
        "> 1000 * SWAP_TAKES:",
        ("tests/contract/store/test_catch_up.py",),
    ),
    Mutant(
        "verify reads several states of the log",
        "saga_es/store/drivers/postgresql.py",
        'read_only_options={"isolation_level": "REPEATABLE READ"',
        'read_only_options={"isolation_level": "READ COMMITTED"',
        ("tests/contract/store/test_verify.py::test_it_reads_one_state_of_the_log_whatever_is_appended_meanwhile",),
        databases="postgresql",
    ),
    Mutant(
        "what ended by the view alone is archived",
        ARCHIVING,
        "is_over = state and state.status in self._over.statuses and",
        "is_over = state and",
        ("tests/contract/store/test_archiving.py",),
    ),
    Mutant(
        "archiving does not wait for a replay",
        ARCHIVING,
        "            schema_lock(self._database),\n",
        "",
        ("tests/contract/store/test_archiving.py",),
    ),
    Mutant(
        "an archive with another end comes back",
        "saga_es/store/archive/importing.py",
        "if archived[last.stream_id] != Head(last.version, last.hash):",
        "if archived[last.stream_id].version < 0:",
        ("tests/contract/store/test_importing.py",),
    ),
    Mutant(
        "what comes back is missing in views that follow",
        "saga_es/store/views/forgetting.py",
        "if isinstance(view, View | Additions)], events)",
        "if isinstance(view, View | Additions) and not view.follows], events)",
        ("tests/contract/store/test_importing.py",),
    ),
    Mutant(
        "no heart beats between the splits of a large batch",
        BATCH,
        "                self._keep_alive()\n",
        "                pass\n",
        ("tests/contract/engine/test_floods.py",),
    ),
    Mutant(
        "a saga that slept goes on from what it knew",
        OWNED,
        "            self.catch_up(saga, state)\n\n    # ── Coming",
        "            saga.state = saga.state\n\n    # ── Coming",
        ("tests/contract/engine/test_payload_memory.py",),
    ),
    Mutant(
        "a saga that another worker has just claimed is taken over",
        RECOVERY,
        "state.owner == owners.get(saga_id) and not",
        "not",
        ("tests/contract/engine/test_takeover.py", "tests/unit/test_claims.py", "tests/simulation/test_outages.py"),
    ),
]
