"""Planted bugs of the shell: what is done with what was decided."""

from __future__ import annotations

from tests.mutants.mutant import CANCEL, CHAOS, FROZEN, SOME_WAYS, STANDBY, Mutant

BATCH = "saga_es/runtime/batch.py"
OUTAGES = ("tests/simulation/test_outages.py",)
CHORES = "saga_es/runtime/chores.py"
CHILDREN = "saga_es/runtime/children.py"
ERRANDS = "saga_es/runtime/intake/forwarding.py"
IDS = "saga_es/runtime/ids.py"
CLOCK = "saga_es/runtime/waiting/clock.py"
CLOCKS = ("tests/unit/test_clock.py",)
LOOP = "saga_es/runtime/loop.py"
ORDERS = "saga_es/runtime/intake/commands.py"
OWNED = "saga_es/runtime/owned.py"

MUTANTS = [
    Mutant(
        "an id that is a constant has another key after a crash",
        "saga_es/runtime/intake/starts.py",
        "    return text_of(given)\n",
        "    return given\n",
        ("tests/contract/engine/test_starts.py",),
    ),
    Mutant(
        "nobody looks whether the participant of a retired step has an address",
        "saga_es/node/participants.py",
        "for variant in saga.variants(name))\n",
        "for variant in saga.variants(name) if not variant.is_retired)\n",
        ("tests/unit/test_reachable.py",),
    ),
    Mutant(
        "a fork that Python was not told of goes unnoticed",
        "saga_es/store/process.py",
        "    if os.getpid() != _present.pid:\n",
        "    if not _present.pid:\n",
        ("tests/e2e/test_forked.py",),
    ),
    Mutant(
        "a saga that waits for capacity outlives its deadline",
        "saga_es/runtime/cluster/recovery.py",
        "            states += self._read_expired(look, {state.saga_id for state in states})\n",
        "",
        ("tests/simulation/test_deadlines.py",),
    ),
    Mutant(
        "a rehearsal looks at conditions with what the saga knew later",
        "saga_es/runtime/rehearsal.py",
        "                what = self._looked_at_again(before, step, has_held=has_held)\n",
        "                what = self._looked_at_again(state, step, has_held=not has_held)\n",
        ("tests/contract/engine/test_gate.py",),
    ),
    Mutant(
        "a rollback is compared with the code that is to be rolled back",
        "saga_es/cli/check.py",
        "        ways_back(definitions, others),\n",
        "        ways_back(definitions, [code_of(definitions)] * len(others)),\n",
        ("tests/e2e/test_gate.py",),
    ),
    Mutant(
        "an attempt begins a trace of its own",
        "saga_es/tracing/spans.py",
        "            context_of(parent),\n            kind,\n",
        "            Context(),\n            kind,\n",
        ("tests/api/test_spans.py",),
    ),
    Mutant(
        "a child has no trace",
        "saga_es/runtime/children.py",
        "parent=parent, trace=trace, by=by, key=key))",
        "parent=parent, trace=None, by=by, key=key))",
        ("tests/api/test_traces.py",),
    ),
    Mutant(
        "a state forgets its trace",
        "saga_es/core/evolve.py",
        "        trace=started.trace,\n",
        "",
        ("tests/api/test_traces.py",),
    ),
    Mutant(
        "a worker that drains takes what others can run",
        "saga_es/runtime/ability.py",
        "(self._others is None or self._others.run(state))",
        "self._others is None",
        ("tests/contract/engine/test_draining.py",),
    ),
    Mutant(
        "workers that drain leave sagas to each other",
        "saga_es/runtime/living.py",
        "if id_ != worker_id and not _drains(code)",
        "if id_ != worker_id",
        ("tests/contract/engine/test_draining.py",),
    ),
    Mutant(
        "new sagas begin whatever there is in memory",
        "saga_es/runtime/admission.py",
        " or self._is_too_heavy(name)",
        "",
        ("tests/contract/engine/test_room_for_payloads.py",),
    ),
    Mutant(
        "the time without code is that without an event",
        "saga_es/runtime/overdue.py",
        "self._since.get(state.saga_id, now)",
        "self._since.get(state.saga_id, now.replace(year=2000))",
        ("tests/contract/engine/test_code_that_does_not_come_back.py",),
    ),
    Mutant(
        "the time without code goes on when the code has come back",
        "saga_es/runtime/overdue.py",
        "self._since, self._seen, self._is_between = self._seen, {}, True",
        "self._since, self._seen, self._is_between = self._since | self._seen, {}, True",
        ("tests/contract/engine/test_code_that_does_not_come_back.py",),
    ),
    Mutant(
        "a parameter that a plan does not know is no missing code",
        "saga_es/runtime/needed_code.py",
        "    if not unknown:\n        return None\n",
        "    if unknown is not None:\n        return None\n",
        ("tests/contract/engine/test_versions.py", "tests/workers/test_deployments.py"),
    ),
    Mutant(
        "any number of requests wait for their sagas",
        "saga_es/api/waiting.py",
        "if not self._places.acquire(blocking=False):",
        "if not self._places.acquire(blocking=False) and self._most_waiting < 0:",
        ("tests/e2e/test_waiting_requests.py",),
    ),
    Mutant(
        "a worker that leaves older plans begins their sagas",
        "saga_es/runtime/needed_code.py",
        "    if here.leaves_older and state.status is SagaStatus.PENDING",
        "    if here.leaves_older and state.status is SagaStatus.FAILED",
        ("tests/contract/engine/test_versions.py",),
    ),
    Mutant(
        "a clock that jumps is followed at once",
        CLOCK,
        "        most = FOLLOWS_AT * (passed_s - self.begun_s)\n",
        "        most = abs(self.ahead_s)\n",
        CLOCKS,
    ),
    Mutant(
        "a wait that was recorded by a clock that was ahead is kept as it stands",
        "saga_es/store/sagas.py",
        "        if now is None or (saga_id not in",
        "        if now is not None or (saga_id not in",
        ("tests/contract/engine/test_jumping_clocks.py",),
    ),
    Mutant(
        "after a jump of the clock all heartbeats are late",
        "saga_es/store/workers.py",
        "        return is_expired and self._silence.trusts_database and not process.is_here()\n",
        "        return is_expired\n",
        ("tests/contract/engine/test_jumping_clocks.py",),
    ),
    Mutant(
        "another key after a crash",
        IDS,
        'return _uuid5(f"{saga_id}/{step}/{direction}")',
        "return new_id()",
        (SOME_WAYS,),
    ),
    Mutant(
        "a caller's key is another saga each time",
        IDS,
        'return _uuid5(f"tenant/{len(tenant)}/{tenant}/{named}" if tenant else named)',
        "return new_id()",
        ("tests/unit/test_ids.py", "tests/contract/engine/test_engine.py"),
    ),
    Mutant(
        "a principal sees the sagas of every tenant",
        "saga_es/core/access.py",
        "tenant == self.tenant and",
        "True and",
        ("tests/api/test_tenants.py",),
    ),
    Mutant(
        "a route that declares nothing is for everybody",
        "saga_es/api/access.py",
        "(asked is not None and found.may(asked))",
        "asked is None or found.may(asked)",
        ("tests/api/test_access.py",),
    ),
    Mutant(
        "the call is made before its intent is committed",
        BATCH,
        "            receipts = self._retry(partial(self._writer.write, [prepared for _, prepared in chunk]))",
        "            for proposal in batch.proposals:\n"
        "                self._owned._dispatch.perform(proposal.state, proposal.events)\n"
        "            self._owned._dispatch.send()\n"
        "            receipts = self._retry(partial(self._writer.write, [prepared for _, prepared in chunk]))",
        (SOME_WAYS,),
    ),
    Mutant(
        "a takeover that the log does not tell",
        CHORES,
        "batch.proposal(self._owned.add(state)).add(takeover, batch.now)",
        "self._owned.advance(self._owned.add(state), state, None)",
        (FROZEN, SOME_WAYS),
    ),
    Mutant(
        "a zombie's refused append is taken for written",
        BATCH,
        "            case Conflict():\n                self._overtaken(proposal)",
        "            case Conflict():\n"
        "                self._owned.advance(proposal.saga, proposal.state, proposal.events)",
        (FROZEN, CHAOS),
    ),
    Mutant(
        "a zombie goes on with a saga that others took",
        OWNED,
        "if not isinstance(state, SagaState) or state.owner != self.worker_id or state.status.ended:",
        "if not isinstance(state, SagaState) or state.status.ended:",
        (FROZEN, CHAOS),
    ),
    Mutant(
        "what was under way is not done again after a takeover",
        BATCH,
        "events = None if is_takeover else proposal.events",
        "events = proposal.events",
        (SOME_WAYS,),
    ),
    Mutant(
        "what somebody else's event interrupted is told to nobody",
        BATCH,
        "        if self._owned.catch_up(saga, state):\n            self._put_facts_back(proposal)",
        "        self._owned.catch_up(saga, state)",
        ("tests/contract/store/test_notifications.py", "tests/contract/engine/test_command_races.py", CHAOS),
    ),
    Mutant(
        "an interrupted saga is looked for once, at the start",
        CHORES,
        "        return again_s",
        "        return None",
        (STANDBY,),
    ),
    Mutant(
        "a batch holds all that is there, however many they are",
        "saga_es/runtime/inbox.py",
        "min(len(self.items), MOST_AT_ONCE)))",
        "len(self.items)))",
        ("tests/contract/engine/test_floods.py",),
    ),
    Mutant(
        "the heart waits for thousands that wait for the same time",
        LOOP,
        "self._dispatch.due(batch.now, MOST_AT_ONCE)",
        "self._dispatch.due(batch.now, 1_000_000)",
        ("tests/contract/engine/test_floods.py",),
    ),
    Mutant(
        "a batch is one transaction, however large",
        BATCH,
        "if chunk and size + more > MAX_TRANSACTION_SIZE:",
        "if chunk and not size:",
        ("tests/contract/engine/test_floods.py",),
    ),
    Mutant(
        "the heart waits for hundreds of orders for sagas of others",
        ERRANDS,
        "if self._clock.now() >= until:",
        "if self._clock.now() < until - timedelta(days=1):",
        ("tests/contract/engine/test_floods.py",),
    ),
    Mutant(
        "answers are waited for though more than a batch waits already",
        LOOP,
        "return min(waiting + calls, MOST_AT_ONCE) if calls else 0",
        "return waiting + calls if calls else 0",
        ("tests/contract/engine/test_floods.py",),
    ),
    Mutant(
        "who had counted as gone sees some of its sagas again, and not the others",
        CHORES,
        "return None if self._heartbeat.has_seen_all else 0.0",
        "return None",
        ("tests/contract/engine/test_floods.py",),
    ),
    Mutant(
        "an order that rings no notification",
        ORDERS,
        "draft = Draft(saga_id, SAGA, state.version, tuple(events), now, key=state.key, notifies=True)",
        "draft = Draft(saga_id, SAGA, state.version, tuple(events), now, key=state.key)",
        ("tests/contract/store/test_notifications.py",),
    ),
    Mutant(
        "the child is told to abort, and not waited for",
        CHILDREN,
        "        recorded.add_done_callback(lambda done: self._follow(handle, done))",
        "        recorded.add_done_callback(lambda _: self._put(_returned(state.saga_id, step, attempt, Completed())))",
        (SOME_WAYS, CANCEL),
    ),
    Mutant(
        "the child is waited for, and not told to abort",
        CHILDREN,
        "        self._put(CommandRequest(child.saga_id, _revoke(state), recorded))",
        "        recorded.set_result(None)",
        (
            "tests/contract/engine/test_children.py::test_a_child_that_had_completed_is_compensated_when_its_parent_aborts",
        ),
    ),
    Mutant(
        "the same id with another input is the same saga",
        "saga_es/core/state.py",
        "return state.plan.saga == saga and _canonical(state.input) == _canonical(input_)",
        "return state.plan.saga == saga",
        ("tests/contract/engine/test_engine.py",),
    ),
    Mutant(
        "a command is refused by what its owner has read, not by the log",
        BATCH,
        "            if proposal.refused:\n                batch.unconfirmed.append(proposal)\n",
        "            proposal.settle_refusals()\n",
        ("tests/contract/engine/test_command_races.py",),
    ),
    Mutant(
        "a refusal is lost when another writer comes first",
        BATCH,
        "        for request, _ in proposal.refused:\n            self._put(request)\n",
        "",
        ("tests/contract/engine/test_command_races.py",),
    ),
    Mutant(
        "sagas that cannot begin are read again and again",
        "saga_es/runtime/cluster/recovery.py",
        "self._ability.names, look.left)",
        "self._ability.names, self._ability.names)",
        OUTAGES,
    ),
    Mutant(
        "sagas of others are read again although nothing has happened to them",
        "saga_es/runtime/remote_handles.py",
        "self._sagas.moved(known) if known else ()",
        "known",
        OUTAGES,
    ),
    Mutant(
        "one iteration takes over as many large sagas as the memory holds",
        "saga_es/runtime/payloads.py",
        "Memory(min(max(left - spare, 1), READ_BYTES_AT_ONCE), min(spare, READ_BYTES_AT_ONCE))",
        "Memory(max(left - spare, 1), spare)",
        ("tests/simulation/test_large_takeovers.py",),
    ),
    Mutant(
        "one iteration wakes as many large sagas as the memory holds",
        "saga_es/runtime/payloads.py",
        "(woken and size + saga.size > READ_BYTES_AT_ONCE)",
        "False",
        ("tests/simulation/test_large_takeovers.py",),
    ),
    Mutant(
        "a takeover that was cut short goes on at the next look",
        "saga_es/runtime/cluster/recovery.py",
        "(len(orphans) == limit or is_cut_short)",
        "len(orphans) == limit",
        ("tests/simulation/test_large_takeovers.py",),
    ),
]
