"""The table of metrics on the page about observability, made from the code. `make docs` writes it."""

from __future__ import annotations

from collections.abc import Iterator

from saga_es.metrics.gauges import GAUGES
from saga_es.metrics.series import PREFIX, described
from tests.docs.event_table import BEGIN, END
from tests.docs.pages import DOCS

PAGE = DOCS / "observability.md"


def with_table(page: str) -> str:
    """The page, with the table as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = "\n".join(_rows())
    return f"{before}{BEGIN}\n\n{rows}\n\n{END}{after}"


def _rows() -> Iterator[str]:
    gauges = {f"{PREFIX}_{name}": ("gauge", labels, words) for name, (words, labels) in GAUGES.items()}
    yield from ("| metric | kind | labels | means |", "|---|---|---|---|")
    for name, (kind, labels, words) in {**described(), **gauges}.items():
        yield f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {words} |"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
