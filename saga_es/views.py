"""Views: tables of your own, made from the log; they can be rebuilt from it at any time (docs/views.md)."""

from saga_es.store.drivers.columns import UtcDateTime, key_text
from saga_es.store.log.entries import Recorded
from saga_es.store.views.kinds import Additions, Change, Tally, View

__all__ = ["Additions", "Change", "Recorded", "Tally", "UtcDateTime", "View", "key_text"]
