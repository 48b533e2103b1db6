"""`saga-es serve`."""

from __future__ import annotations

import os

import click

from saga_es.cli.options import SERVING, USAGE, app_of, fail, settings_options
from saga_es.cli.terminal import errors
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.node.unknown import warn_of_unknown_variables


@click.command()
@settings_options(
    *SERVING,
    click.option("--console/--no-console", default=None, help="Whether to serve the console.  [default: yes]"),
    click.option("--only", metavar="NAMES", help="Serve only these blueprints: event,venue ..."),
)
def serve(settings: Settings, only: str | None) -> None:
    """Migrate, recover interrupted sagas, and serve the application."""
    from saga_es.api.server import serve as serve_node  # noqa: PLC0415 (only this command needs Flask: the others start faster)
    from saga_es.console import mount_console  # noqa: PLC0415 (and the pages)

    app = app_of(settings)
    names = None if only is None else {name.strip() for name in only.split(",") if name.strip()}
    if names is not None and (not names or not names <= set(app.named_blueprints)):
        unknown = ", ".join(sorted(names - set(app.named_blueprints))) or "nothing"
        fail(f"--only: {unknown} cannot be served; there are {', '.join(app.named_blueprints)}", USAGE)
    runs_sagas = names is None or "saga" in names
    node = Node(settings, app, recovers=runs_sagas)
    warn_of_unknown_variables(os.environ, node.participants)
    pages = mount_console if settings.console and runs_sagas else None

    def ready(url: str) -> None:
        stops = "the console is at /console/; Ctrl-C stops" if pages else "Ctrl-C stops"
        errors.print(f"Serving {app.name} on {url} ({stops})", soft_wrap=True)

    serve_node(node, names, ready, pages)
