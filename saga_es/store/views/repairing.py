"""Inline views that are behind, or lack what an earlier version did not write, are made anew beside the work of sagas.

Owns: that a view is not made anew in vain again and again. A function that still fails on the event that the mark names
costs one look; a replay that fails is tried again later and later.
"""

from __future__ import annotations

from collections.abc import Iterable

from saga_es.errors import UnreadableEvent
from saga_es.store.database import Database
from saga_es.store.log.log import Log
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views import checkpoints, mixed
from saga_es.store.views.checkpoints import Checkpoint, Failed
from saga_es.store.views.inline import refused
from saga_es.store.views.kinds import Projection
from saga_es.store.views.rebuild import rebuild


class Repair:
    """Makes the inline views of an application anew that are behind.

    Args:
        database: The database of the views and the log.
        log: The log.
        views: The views.
    """

    def __init__(self, database: Database, log: Log, views: Iterable[Projection]) -> None:
        self._database = database
        self._log = log.without_keys()
        self._views = [view for view in views if not view.follows]

    def step(self) -> list[str]:
        """Make the views that are behind anew, if there are any.

        Returns:
            The names of the views that are up to date again.

        Raises:
            ProjectionFailed: A view still fails; the others are up to date again.
            StoreUnavailable: The database did not answer, or the role of the connection may not make tables.
        """
        if not self._wanted()[0]:
            return []
        with schema_lock(self._database) as connection:
            wanted, behind, due = self._wanted()  # another process may have made them anew meanwhile
            for view in wanted:
                if view.name in behind:
                    self._look(view, behind[view.name])
            rebuilt = rebuild(connection, self._database, self._log, wanted).views if wanted else []
            failures = [one.failed for one in rebuilt if one.failed is not None]
            with connection.begin():
                mixed.unmark(connection, (one.view for one in rebuilt if one.failed is None and one.view in due))
                for failure in failures:
                    checkpoints.still_behind(connection, failure.view, refused(failure))
        for failure in failures:
            raise failure
        return [one.view.name for one in rebuilt]

    def _wanted(self) -> tuple[list[Projection], dict[str, Checkpoint], list[Projection]]:
        """The views to make anew; the marks of those that are behind; those that an earlier version wrote, too.

        A view that a newer version has made is left to processes of that version.
        """
        with self._database.reading() as connection:
            behind, due = checkpoints.behind(connection), mixed.due(connection, self._views)
            wanted = [view for view in self._views if view.name in behind or view in due]
            newer = mixed.of_newer(connection, wanted) if wanted else []
        return [view for view in wanted if view not in newer], behind, due

    def _look(self, view: Projection, checkpoint: Checkpoint) -> None:
        """Raise `ProjectionFailed` if the function of a view still fails on the event on which it failed."""
        failed = checkpoint.pending.behind or Failed(0, "", "", "")
        for entry in self._log.entries(after_position=failed.position - 1, until_position=failed.position):
            try:
                view.writes([self._log.decode(entry)], self._database.driver)
            except UnreadableEvent:  # a replay leaves it out
                return
