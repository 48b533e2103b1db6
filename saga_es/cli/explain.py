"""`saga-es explain`."""

from __future__ import annotations

import click

from saga_es.cli import output
from saga_es.cli.options import as_json_option, reading, settings_options
from saga_es.node.explain import explained
from saga_es.node.settings import Settings


@click.command(short_help="Explain why a saga is not moving.")
@settings_options(click.argument("saga_id", metavar="ID"), as_json_option)
def explain(settings: Settings, saga_id: str, as_json: bool) -> None:
    """Explain in one sentence why a saga is not moving, or how it has ended."""
    with reading(settings) as node:
        output.show_explanation(explained(node, saga_id), as_json=as_json)
