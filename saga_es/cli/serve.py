"""`saga-es serve`."""

from __future__ import annotations

import click

from saga_es.cli.options import SERVING, USAGE, errors, fail, settings_options
from saga_es.node.node import Node, load_app
from saga_es.node.settings import Settings


@click.command()
@settings_options(*SERVING, click.option("--only", metavar="NAMES", help="Serve just these parts: event,venue ..."))
def serve(settings: Settings, only: str | None) -> None:
    """Migrate, recover interrupted sagas, and serve the application."""
    from saga_es.api.server import serve as serve_node  # noqa: PLC0415 (only this command needs Flask: the others start faster)

    app = load_app(settings.app)
    parts = None if only is None else {part.strip() for part in only.split(",") if part.strip()}
    if parts is not None and (not parts or not parts <= set(app.parts)):
        unknown = ", ".join(sorted(parts - set(app.parts))) or "nothing"
        fail(f"--only: {unknown} cannot be served; there are {', '.join(app.parts)}", USAGE)
    runs_sagas = parts is None or "saga" in parts
    node = Node(settings, app, recovers=runs_sagas)
    serve_node(node, parts, lambda url: errors.print(f"Serving {app.name} on {url} (Ctrl-C stops)", soft_wrap=True))
