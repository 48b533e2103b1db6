"""The pages of the API: Swagger UI from this server, without an inline script and without a network.

`flask_swagger_ui` carries the files. Its own page has an inline script, which no strict policy allows.
"""

from __future__ import annotations

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, abort, send_from_directory

from saga_es.access.permissions import DECLARED, Permission

HERE = Path(__file__).parent / "pages"
FILES = Path(flask_swagger_ui.__file__).parent / "dist"
OURS = {"docs.html", "start.js"}
SERVED = {
    "index.css",
    "swagger-ui.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "favicon-16x16.png",
    "favicon-32x32.png",
}

viewer_blueprint = Blueprint("saga_es_docs", __name__)
setattr(viewer_blueprint, DECLARED, Permission.READ)


@viewer_blueprint.get("/")
def page() -> Response:
    """The page; it names its files and the document by relative paths, which are right behind any prefix."""
    return send_from_directory(HERE, "docs.html")


@viewer_blueprint.get("/<name>")
def file(name: str) -> Response:
    """A file of the page."""
    if name in OURS:
        return send_from_directory(HERE, name)
    if name not in SERVED:
        abort(404)
    return send_from_directory(FILES, name)
