"""A batch in parts: a thousand drafts may be a gigabyte, and that is more than one transaction should be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from saga_es.store.writer import Prepared, Receipt

Wanted = tuple[Callable[[Receipt], None], Prepared]
"""A draft, and who is to know what became of it."""

LARGEST_PART = 16_777_216
"""Characters of encoded events in one transaction, beside a draft that is larger. PostgreSQL takes no parameter above
1 GB, in which every quote is escaped again; and what is written for as long as a lease keeps the heart from beating."""


def in_parts(drafts: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    """The drafts in their order, as many together as one transaction takes; one that is larger by itself."""
    part: list[Wanted] = []
    size = 0
    for draft in drafts:
        _, (_, rows) = draft
        more = sum(len(row["data"]) for row in rows)
        if part and size + more > LARGEST_PART:
            yield part
            part, size = [], 0
        part.append(draft)
        size += more
    if part:
        yield part
