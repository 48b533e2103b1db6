"""Planted bugs of the core: what is decided, and what is remembered of it."""

from __future__ import annotations

from tests.mutants.mutant import CANCEL, CANCEL_ANYWHERE, CHAOS, PAUSE, SOME_WAYS, Mutant

DECIDE = "saga_es/core/decide.py"
RETURNED = "saga_es/core/returned.py"
EVOLVE = "saga_es/core/evolve.py"
GOING_ON = "saga_es/core/proceed.py"
ORDERS = "saga_es/core/operate.py"
RETRYING = "saga_es/core/retry.py"
STATE = "saga_es/core/state.py"

MUTANTS = [
    Mutant(
        "what a call says is recorded after its answer",
        "saga_es/core/decide.py",
        "            is_heard = is_in_flight(state, fact)\n",
        "            is_heard = True\n",
        ("tests/unit/test_core_progress.py", "tests/unit/test_core_properties.py"),
    ),
    Mutant(
        "what mostly follows follows in a pause, too",
        "saga_es/core/sequence.py",
        "state.paused is not None or ",
        "",
        ("tests/unit/test_core_sequence.py", PAUSE),
    ),
    Mutant(
        "what mostly follows follows in doubt, too",
        "saga_es/core/sequence.py",
        "if step != FIRST_CALL if other == name else",
        "if step.status is not StepStatus.IN_PROGRESS if other == name else",
        ("tests/unit/test_core_sequence.py",),
    ),
    Mutant(
        "compensation in the order of the steps",
        GOING_ON,
        "for name in reversed(state.effects)",
        "for name in state.effects",
        ("tests/unit/test_core_fan_out.py", "tests/unit/test_core_parallel.py", SOME_WAYS),
    ),
    Mutant(
        "a branch waits for the others",
        GOING_ON,
        "plan.is_sequence and state.steps",
        "state.steps",
        ("tests/unit/test_core_parallel.py",),
    ),
    Mutant(
        "everything compensated at once",
        GOING_ON,
        "free = {step for step in steps if state.plan.behind(step).isdisjoint(steps)}",
        "free = steps",
        (SOME_WAYS,),
    ),
    Mutant(
        "compensation begins while an action is out",
        GOING_ON,
        "return [] if _actions_in_flight(state) else back(state)",
        "return back(state)",
        (CANCEL, SOME_WAYS),
    ),
    Mutant(
        "compensated without recording that it is",
        EVOLVE,
        "return _without_effect(_step(state, name, **_ANSWERED, status=StepStatus.COMPENSATED, stuck=False), name)",
        "return _step(state, name, **_ANSWERED, status=StepStatus.COMPENSATED, stuck=False)",
        ("tests/unit/test_core_compensation.py",),
    ),
    Mutant(
        "a compensation that was given up ends as compensated",
        GOING_ON,
        "return [e.SagaFailed(_why_stuck(state, stuck[0]))] if is_all else []",
        "return [e.SagaCompensated()] if is_all else []",
        ("tests/unit/test_core_compensation.py",),
    ),
    Mutant(
        "one retry counter for both directions",
        RETRYING,
        "return planned.compensation, step.compensation_attempts, False",
        "return planned.compensation, step.attempts + step.compensation_attempts, False",
        ("tests/unit/test_core_retries.py", "tests/unit/test_core_compensation.py"),
    ),
    Mutant(
        "one attempt more than the policy allows",
        RETRYING,
        "counted >= policy.attempts and",
        "counted > policy.attempts and",
        ("tests/unit/test_core_retries.py",),
    ),
    Mutant(
        "what the participant asked to wait is ignored",
        RETRYING,
        "delay = max(delay, timedelta(seconds=outcome.retry_after_s))",
        "pass",
        ("tests/unit/test_core_retries.py",),
    ),
    Mutant(
        "unknown taken for not done",
        EVOLVE,
        'in_doubt = is_call and (state.step(failed.step).in_doubt or failed.failure == "unknown")',
        "in_doubt = is_call and state.step(failed.step).in_doubt",
        (SOME_WAYS,),
    ),
    Mutant(
        "a later refusal ends the doubt about an earlier attempt",
        EVOLVE,
        'in_doubt = is_call and (state.step(failed.step).in_doubt or failed.failure == "unknown")',
        'in_doubt = is_call and failed.failure == "unknown"',
        ("tests/unit/test_core_retries.py", "tests/unit/test_core_compensation.py", CHAOS),
    ),
    Mutant(
        "aborting forgets a step in doubt",
        EVOLVE,
        "doubtful += [name] if is_doubtful(waiting) else []",
        "doubtful += []",
        (CANCEL_ANYWHERE,),
    ),
    Mutant(
        "only a step that waits for its next attempt can be in doubt",
        EVOLVE,
        "return step.status is StepStatus.IN_PROGRESS and not step.in_flight and step.in_doubt",
        "return step.waiting is not None and step.in_doubt",
        ("tests/unit/test_core_commands.py",),
    ),
    Mutant(
        "a takeover forgets that a call was out",
        EVOLVE,
        "return replace(step, in_doubt=True, interrupted=True, crashes=crashes)",
        "return replace(step, crashes=crashes)",
        (CHAOS, SOME_WAYS),
    ),
    Mutant(
        "a saga that kills its process is tried for ever",
        DECIDE,
        "if step.crashes >= gone.most_crashes:",
        "if step.crashes < 0:",
        ("tests/unit/test_core_crashes.py",),
    ),
    Mutant(
        "the answer to an attempt that was given up counts for the next",
        RETURNED,
        "return step.in_flight and (step.status, fact.attempt) == called",
        "return step.in_flight and step.status == called[0]",
        ("tests/unit/test_core_forward.py", "tests/unit/test_core_retries.py", CHAOS),
    ),
    Mutant(
        "a signal that comes early is lost",
        ORDERS,
        "    return [e.SignalReceived(sent.signal, sent.payload, sent.key, sent.actor)]",
        "    waits = state.step(sent.signal).wait\n"
        "    return [e.SignalReceived(sent.signal, sent.payload, sent.key, sent.actor)] if waits else []",
        ("tests/unit/test_core_waits.py", SOME_WAYS),
    ),
    Mutant(
        "a signal given twice under one key is two signals",
        EVOLVE,
        "keys = state.signal_keys if key is None else _with_key(state, signal, key, payload)",
        "keys = state.signal_keys",
        ("tests/unit/test_core_waits.py", "tests/unit/test_core_commands.py"),
    ),
    Mutant(
        "the key of a signal takes any payload for the first",
        "saga_es/core/operate.py",
        "    if digest(sent.payload) != known:",
        "    if not known:",
        ("tests/unit/test_core_waits.py",),
    ),
    Mutant(
        "a signal is used and stays there",
        EVOLVE,
        "done = replace(done, signals={**state.signals, name: state.signals.get(name, ())[1:]})",
        "pass",
        ("tests/unit/test_core_waits.py",),
    ),
    Mutant(
        "the deadline aborts a saga behind its pivot",
        GOING_ON,
        "state.deadline_at > now or state.beyond_return:",
        "state.deadline_at > now:",
        ("tests/unit/test_core_times.py",),
    ),
    Mutant(
        "a cancel behind the pivot is followed",
        ORDERS,
        'return "its pivot was called: it can only go forward" if state.beyond_return else None',
        "return None",
        ("tests/unit/test_core_commands.py", CANCEL),
    ),
    Mutant(
        "a pause that retries ignore",
        DECIDE,
        "if state.paused or step.probing:",
        "if step.probing:",
        ("tests/unit/test_core_commands.py", PAUSE),
    ),
    Mutant(
        "a pause that the next step ignores",
        GOING_ON,
        "if state.paused or state.status.ended or state.owner is None:",
        "if state.status.ended or state.owner is None:",
        ("tests/unit/test_core_commands.py", PAUSE),
    ),
    Mutant(
        "a retry that was waited for is forgotten at takeover",
        STATE,
        "    if step.waiting is not None:\n        return step.waiting",
        "    if step.waiting is not None:\n        return None",
        (SOME_WAYS,),
    ),
    Mutant(
        "a compensation that was out is forgotten at takeover",
        STATE,
        "return e.CompensationStarted(name, step.compensation_attempts)",
        "return None",
        (SOME_WAYS,),
    ),
    Mutant(
        "a probe that nobody answered is taken for a no",
        RETURNED,
        "answered = e.ProbeAnswered(name, error=error)",
        "answered = e.ProbeAnswered(name, happened=False, error=error)",
        (SOME_WAYS, "tests/unit/test_core_probes.py"),
    ),
    Mutant(
        "completed when the list is, whatever became of its elements",
        STATE,
        "all(self.step(element).status in DONE for element in self.elements(name))",
        "bool(self.elements(name))",
        (SOME_WAYS,),
    ),
    Mutant(
        "a step that must succeed aborts the saga",
        RETURNED,
        'return step.kind == "retriable" or may_be_done',
        "return may_be_done",
        ("tests/unit/test_core_kinds.py",),
    ),
]
