"""Planted bugs of the calls: how participants are called, and what their answers mean."""

from __future__ import annotations

from tests.mutants.mutant import CHAOS, SOME_WAYS, Mutant

ANSWERS = "saga_es/runtime/calls/outcomes.py"
AWAY = "saga_es/runtime/calls/away.py"
OUTAGES = ("tests/simulation/test_outages.py",)
CALLS = "saga_es/runtime/dispatch.py"
EXECUTOR = "saga_es/runtime/calls/executor.py"
WATCH = "saga_es/runtime/calls/watched.py"
POOL = "saga_es/runtime/calls/pool.py"
WAITING_CALLS = ("tests/unit/test_pool.py", "tests/unit/test_dispatch.py", "tests/contract/engine/test_overload.py")

MUTANTS = [
    Mutant(
        "threads of calls come in vain, and go again",
        "saga_es/runtime/calls/pool.py",
        "elif self._counted < self._limit and",
        "elif self._counted <= self._limit and",
        ("tests/unit/test_pool.py",),
    ),
    Mutant(
        "half an answer is taken for none",
        "saga_es/runtime/calls/reading.py",
        "        self.received += len(data)\n",
        "",
        ("tests/unit/test_cut_answers.py",),
    ),
    Mutant(
        "nobody is told the rate of a participant",
        "saga_es/runtime/calls/limits.py",
        "        if self.limit.rate is not None:\n",
        "        if self.limit.rate is None:\n",
        ("tests/unit/test_many_requests.py",),
    ),
    Mutant(
        "a call that says that it goes on times out all the same",
        EXECUTOR,
        "            call.began_at = monotonic_s()\n            return True\n\n    def cancel",
        "            return True\n\n    def cancel",
        ("tests/unit/test_progress.py",),
    ),
    Mutant(
        "every word of a call is recorded",
        "saga_es/runtime/progress.py",
        "        if last is not None and (due",
        "        if last is None and (due",
        ("tests/unit/test_progress.py",),
    ),
    Mutant(
        "the last word of a call is lost",
        "saga_es/runtime/progress.py",
        "            self._timers.set(key, due, ProgressMade(call.saga_id, call))\n",
        "            call.is_progress_put = False\n",
        ("tests/unit/test_progress.py",),
    ),
    Mutant(
        "a call that was given up says that it goes on",
        EXECUTOR,
        "            if call.is_given_up or call.is_back or self._is_closed:\n",
        "            if call.is_back or self._is_closed:\n",
        ("tests/contract/engine/test_executor_port.py",),
    ),
    Mutant(
        "a time-out runs from when the call is queued",
        CALLS,
        "        if left_s > 0:\n",
        "        if left_s > 0 and call.began_at is not None:\n",
        WAITING_CALLS,
    ),
    Mutant(
        "one queue for all calls",
        EXECUTOR,
        "(call.lane, partial(self._run, call, returned)) for call in waiting",
        '(("all",), partial(self._run, call, returned)) for call in waiting',
        WAITING_CALLS,
    ),
    Mutant(
        "a call that was given up no longer counts for its participant",
        POOL,
        "        self._hanging += 1\n        queue.hanging += 1\n",
        "        self._hanging += 1\n        queue.hanging += 1\n"
        "        queue.busy -= 1\n        self._let_in(queue)\n",
        WAITING_CALLS,
    ),
    Mutant(
        "the time for which a step blocks the loop counts for all calls on it",
        WATCH,
        "                        call.began_at += lag_s\n",
        "                        call.began_at += 0.0\n",
        ("tests/unit/test_coroutines.py",),
    ),
    Mutant(
        "an action that another worker may have begun is withdrawn",
        CALLS,
        "if not call.may_have_begun and call.began_at is None",
        "if call.began_at is None",
        WAITING_CALLS,
    ),
    Mutant(
        "another key on each attempt",
        CALLS,
        "key = key_of(state, step, direction)",
        'key = key_of(state, f"{step}/{attempt}", direction)',
        (SOME_WAYS,),
    ),
    Mutant(
        "one key for all elements of a list",
        CALLS,
        "key = key_of(state, step, direction)",
        'key = key_of(state, step.partition("[")[0], direction)',
        (SOME_WAYS,),
    ),
    Mutant(
        "a server error taken for a refusal",
        ANSWERS,
        "        case _:\n            return Unknown(_error(answer), _kinds(answer))",
        "        case _:\n            return Rejected(_error(answer))",
        ("tests/unit/test_outcomes.py",),
    ),
    Mutant(
        "a lost answer taken for a call that was not made",
        ANSWERS,
        "        case AnswerLost():\n            return Unknown(text(error))",
        "        case AnswerLost():\n            return Unavailable(text(error))",
        ("tests/unit/test_outcomes.py",),
    ),
    Mutant(
        "a call without a time-out",
        CALLS,
        "        self._timers.set((state.saga_id, step, direction), due, CallTimedOut(state.saga_id, late, call))\n",
        "        del due, late\n",
        (CHAOS, "tests/contract/engine/test_engine.py"),
    ),
    Mutant(
        "each saga finds out for itself that a participant is away",
        AWAY,
        "        if len(row) < AWAY_AFTER:\n",
        "        if len(row) <= AWAY_AFTER:\n            row.clear()\n",
        OUTAGES,
    ),
    Mutant(
        "a participant that is back is met by all at once",
        AWAY,
        "return self._let_through(lane, away, LET_THROUGH, now)",
        "return self._let_through(lane, away, away.count, now)",
        OUTAGES,
    ),
    Mutant(
        "a participant that never comes back keeps sagas for ever",
        AWAY,
        "return held.since + timedelta(seconds=LONGEST_HOLD_S) <= now",
        "return False",
        OUTAGES,
    ),
    Mutant(
        "new sagas are begun however many wait for their participant",
        "saga_es/runtime/admission.py",
        "self._executor.is_crowded(name) or not self._held.room_of(name) or",
        "self._executor.is_crowded(name) or",
        OUTAGES,
    ),
    Mutant(
        "sagas are taken over however many wait for their participant",
        "saga_es/runtime/admission.py",
        "min(self._executor.capacity_of(name), self._held.room_of(name))",
        "self._executor.capacity_of(name)",
        OUTAGES,
    ),
    Mutant(
        "a call that never began counts as a failure",
        "saga_es/runtime/held_calls.py",
        "if call is None or call.began_at is None or heard",
        "if call is None or heard",
        ("tests/contract/engine/test_overload.py",),
    ),
    Mutant(
        "a paused saga calls when its participant is back",
        CALLS,
        "            if (saga_id, step, direction) in self._held:\n",
        "            if False:\n",
        OUTAGES,
    ),
    Mutant(
        "a call that was taken keeps its place at its participant",
        "saga_es/runtime/calls/caller.py",
        "        self.taken(call)\n",
        "",
        ("tests/unit/test_accepted.py",),
    ),
    Mutant(
        "a call whose reply another process recorded is awaited on",
        "saga_es/runtime/replied.py",
        "if (*way, call.attempt) not in open_]",
        "if False]",
        ("tests/api/test_replies.py",),
    ),
    Mutant(
        "a reply that came before its answer leaves the call waiting",
        CALLS,
        "        if call is not None and not call.is_back and is_taken(call):\n",
        "        if False:\n",
        ("tests/api/test_replies.py",),
    ),
    Mutant(
        "an older refusal counts for the present attempt",
        "saga_es/core/operate.py",
        "    if isinstance(reply.outcome, Completed):\n",
        "    if True:\n",
        ("tests/unit/test_core_replies.py",),
    ),
    Mutant(
        "a participant is asked wherever it says",
        "saga_es/runtime/calls/accepted.py",
        "if not (is_same and is_plain and parts",
        "if not (is_plain and parts",
        ("tests/unit/test_accepted.py",),
    ),
]
