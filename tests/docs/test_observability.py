"""The page on observability says what the code does."""

from __future__ import annotations

from tests.docs.metrics_table import PAGE, with_table


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    """`make docs` writes it; a metric that is added, renamed or relabelled shows here."""
    assert with_table(PAGE.read_text()) == PAGE.read_text()
