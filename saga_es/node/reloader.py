"""Whether this process only watches files: the parent of a development server that starts itself anew."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_TRUE = {"1", "true", "yes", "on", "t", "y"}


def is_reloader_parent(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> bool:
    """Whether `flask run` or Django's `runserver` runs here, and a child of this process will serve.

    Such a parent imports the application, too. It must take over no sagas: it would run them with the code of the time
    when it started, beside the child.

    Args:
        arguments: The command line; by default the process's own.
        environ: The environment; by default the process's own.
    """
    arguments = sys.argv if arguments is None else arguments
    environ = os.environ if environ is None else environ
    program, rest = Path(arguments[0]) if arguments else Path(), list(arguments[1:])
    if "runserver" in rest[:1]:
        return "--noreload" not in rest and environ.get("RUN_MAIN") != "true"
    is_flask = program.stem == "flask" or program.parts[-2:] == ("flask", "__main__.py")
    if not is_flask or "run" not in rest or environ.get("WERKZEUG_RUN_MAIN") == "true":
        return False
    is_debug = "--debug" in rest or environ.get("FLASK_DEBUG", "").lower() in _TRUE
    return "--no-reload" not in rest and ("--reload" in rest or is_debug)
