"""`saga-es failures`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from saga_es.cli import output
from saga_es.cli.filters import FILTERS
from saga_es.cli.options import as_json_option, reading, settings_options
from saga_es.node.settings import Settings
from saga_es.store.queries.failures import failures as found_failures
from saga_es.store.queries.filters import SagaFilter


@click.command(short_help="Group the sagas that need attention by what went wrong.")
@settings_options(*FILTERS, as_json_option)
def failures(settings: Settings, as_json: bool, **wanted: Any) -> None:
    """Group the sagas that need attention by what went wrong.

    A group is a definition, a step, and an error without ids, times and numbers. Without --status: FAILED sagas, and
    those that wait for their next try.
    """
    with reading(settings) as node:
        chosen = SagaFilter(**wanted)
        found = found_failures(node.database, node.store.log, node.store.sagas, chosen, datetime.now(UTC))
    output.show_failures(found, as_json=as_json)
