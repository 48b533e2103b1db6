"""A small server for a process without HTTP: `/livez`, `/readyz` and `/metrics`, and nothing else."""

from __future__ import annotations

import threading

from flask import Flask
from waitress.server import BaseWSGIServer

from saga_es.api.access import admit
from saga_es.api.guards import with_headers
from saga_es.api.health import health_blueprint
from saga_es.api.listening import listen
from saga_es.api.problems import register_problem_handlers
from saga_es.errors import CannotServe
from saga_es.logs import logger
from saga_es.node.guarding import check_address
from saga_es.node.health import NODE_UNOPENED
from saga_es.node.node import Node

THREADS = 2


def serve_probes(node: Node, host: str, port: int) -> BaseWSGIServer:
    """Serve health and metrics on a thread of their own, until the server is closed.

    Raises:
        Unguarded: Others can reach the address, and nobody has to be known.
        CannotServe: The address is taken, or is not an address of this machine.
    """
    check_address(host, "--health-host / SAGA_ES_HEALTH_HOST", node.settings, node.authenticate)
    app = Flask("saga_es_probes")
    app.extensions[NODE_UNOPENED] = node
    app.register_blueprint(health_blueprint)
    app.before_request(admit)
    app.after_request(with_headers)
    register_problem_handlers(app)
    try:
        server = listen(
            app,
            host,
            port,
            threads=THREADS,
            payload_limit=0,
            request_timeout_s=node.settings.request_timeout_s,
        )
    except (OSError, ValueError) as error:
        raise CannotServe(host, port, str(error), "--health-host and --health-port") from error
    logger.info("health and metrics are served", url=f"http://{host}:{server.effective_port}")
    threading.Thread(target=server.run, name="saga-es-probes", daemon=True).start()
    return server
