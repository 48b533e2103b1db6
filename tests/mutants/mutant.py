"""What a planted bug is."""

from __future__ import annotations

from dataclasses import dataclass

_WAYS = "tests/simulation/test_every_way.py::test_"

SOME_WAYS = _WAYS + "some_ways_of_every_shape_keep_every_promise"
CHAOS = _WAYS + "chaos_keeps_every_promise"
FROZEN = _WAYS + "a_frozen_worker_that_wakes_up_has_no_say_any_more"
CANCEL = _WAYS + "a_cancel_at_any_moment_is_survived_with_a_death_at_any_point"
CANCEL_ANYWHERE = _WAYS + "a_cancel_is_survived_whatever_became_of_the_calls_before_it"
STANDBY = _WAYS + "a_worker_that_was_up_all_the_time_takes_over"
PAUSE = _WAYS + "a_pause_and_a_resume_are_survived_with_a_death_at_any_point"


@dataclass(frozen=True)
class Mutant:
    """A bug that engines like this one have had, as a change to one place of the code.

    Attributes:
        name: What goes wrong, in a few words.
        file: Where it is planted.
        old: The text that stands there, once.
        new: What takes its place.
        tests: What should find it: files, or tests in them.
        databases: Which tests of these, as pytest's `-k` has it: on SQLite, unless only others can find it.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    databases: str = "not postgresql and not mariadb"

    def planted(self, text: str) -> str:
        """The file with the bug in it.

        Raises:
            LookupError: The code has moved on, and the mutant must follow.
        """
        found = text.count(self.old)
        if found != 1:
            raise LookupError(f"mutant {self.name!r}: its place stands {found} times in {self.file}")
        return text.replace(self.old, self.new)
