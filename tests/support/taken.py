"""A saga whose calls may be taken with 202, for the tests of how they end."""

from __future__ import annotations

from saga_es import Participant, RetryPolicy, Saga


def paying(*, timeout_s: float, attempts: int, accepts_202: bool = True) -> Saga:
    """A saga that calls the bank once, which is undone by another call."""
    saga, bank = Saga("pays"), Participant("bank")
    saga.request(
        "pay",
        bank.post("/pay", accepts_202=accepts_202),
        compensation=bank.delete("/pay", accepts_202=accepts_202),
        timeout_s=timeout_s,
        retry=RetryPolicy(attempts=attempts, first_delay_s=0.01),
        compensation_retry=RetryPolicy(attempts=3, first_delay_s=0.01),
    )
    return saga
