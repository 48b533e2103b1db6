"""The notification listener: others have appended to this worker's sagas, or a saga without an owner waits."""

from __future__ import annotations

from collections.abc import Sequence

from saga_es.runtime.ability import Ability
from saga_es.runtime.capacity import Capacity
from saga_es.runtime.owned import OwnedSaga, OwnedSagas
from saga_es.runtime.waiting.polling import PollingInterval
from saga_es.store.ports import Notification, Notifications


class Listener:
    """Handles notifications in two steps: it names the sagas to read, and acknowledges once they are read.

    Args:
        ability: What this worker can run; None: it takes no sagas over.
    """

    def __init__(
        self, notifications: Notifications, owned: OwnedSagas, capacity: Capacity, ability: Ability | None
    ) -> None:
        self._notifications = notifications
        self._owned = owned
        self._capacity = capacity
        self._ability = ability
        self._interval = PollingInterval()
        self._pending: Sequence[Notification] = ()
        self._is_empty = True

    def listen(self, worker_id: str) -> list[OwnedSaga]:
        """The owned sagas that have events in the log which this worker has not read.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        self._pending = ()
        self._is_empty = self._notifications.is_empty()
        if not self._is_empty:
            alone = self._owned.left_alone  # their notifications are for a worker of a newer version
            pending = self._notifications.pending(worker_id)
            self._pending = [one for one in pending if one.is_over or one.saga_id not in alone]
        behind = {
            notification.saga_id
            for notification in self._pending
            if notification.version > self._owned.version(notification.saga_id)
        }
        return [saga for saga_id in sorted(behind) if (saga := self._owned.get(saga_id))]

    def acknowledge(self) -> list[str]:
        """Delete the notifications that were read. Return sagas with others that this worker might take over.

        Raises:
            StoreUnavailable: The database did not answer. The notifications that remain are read again.
        """
        self._notifications.acknowledge(
            [
                notification
                for notification in self._pending
                if notification.is_over or notification.saga_id in self._owned
            ]
        )
        if self._is_empty or self._ability is None:
            return []
        names = self._capacity.open_to(self._ability.names)
        return self._notifications.unclaimed(names, self._ability.lacking) if names else []

    def pause_s(self, *, is_busy: bool) -> float:
        """The seconds until the next look for notifications."""
        return self._interval.next_s(is_active=is_busy or bool(self._pending))
