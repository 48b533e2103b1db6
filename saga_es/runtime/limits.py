"""What a worker takes on."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """The limits of one worker.

    Attributes:
        sagas_at_once: Sagas with a call in flight; beyond them new ones stay PENDING; None: any number.
        most_crashes: Workers that may go while one and the same call is in flight; then its saga is FAILED.
        takes_over: Whether it takes over sagas whose worker is gone; a process that only serves participants does not.
    """

    sagas_at_once: int | None = None
    most_crashes: int = 5
    takes_over: bool = True
