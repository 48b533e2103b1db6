"""Views: tables of your own that are made from the log, and can be made from it again at any time (docs/views.md)."""

from saga_es.store.drivers.columns import UtcDateTime, key_text
from saga_es.store.log.entries import Recorded
from saga_es.store.views.kinds import Additions, Change, Tally, View

__all__ = ["Additions", "Change", "Recorded", "Tally", "UtcDateTime", "View", "key_text"]
