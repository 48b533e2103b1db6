"""The limits of a worker."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """The limits of one worker.

    Attributes:
        sagas_at_once: The most sagas with a call in flight; further new sagas stay PENDING; None: any number.
        most_crashes: How many workers may crash while the same call is in flight; then its saga is FAILED.
        payload_memory: Bytes of inputs and results from which on those of sagas that wait are let go; None: never.
        takes_over: Whether it takes over sagas whose worker is gone. A process that only serves participants does not.
        missing_code_timeout_s: Seconds after which a saga whose code no living worker has is FAILED; None: never.
        leaves_older_plans: Whether it leaves new sagas of older plans to other workers.
        drains: Whether it takes only sagas that no other living worker can run.
    """

    sagas_at_once: int | None = None
    most_crashes: int = 5
    takes_over: bool = True
    payload_memory: int | None = None
    leaves_older_plans: bool = False
    drains: bool = False
    missing_code_timeout_s: float | None = None
