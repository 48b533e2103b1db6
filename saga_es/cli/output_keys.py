"""The output of `saga-es key`: a table for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from saga_es.access.keys import NewKey
from saga_es.access.principal import Principal
from saga_es.cli.terminal import cell, errors, print_json, say, screen
from saga_es.core.describe import moment


def show_made(made: NewKey, principal: Principal, *, as_json: bool) -> None:
    """Print a key, for the only time."""
    if as_json:
        print_json({"key": made.text, "key_id": made.key_id, "name": principal.name})
        return
    errors.print(
        f"Made {made.key_id} for {principal.name}. Keep the key now: it cannot be shown again.",
        markup=False,
        soft_wrap=True,
    )
    say(made.text)


def show_keys(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print what is known of each key."""
    if as_json:
        print_json({"keys": rows})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("id", "name", "roles", "sagas", "tenant", "state", "made", "by", "expires"):
        table.add_column(column, no_wrap=column in {"id", "state"})
    for row in rows:
        table.add_row(
            cell(row["key_id"]),
            cell(row["name"]),
            cell(", ".join(row["roles"])),
            cell("all" if row["sagas"] is None else ", ".join(row["sagas"])),
            cell(row["tenant"]),
            cell(row["state"]),
            moment(row["created_at"]),
            cell(row["created_by"]),
            moment(row["expires_at"]) if row["expires_at"] else "never",
        )
    screen().print(table)
