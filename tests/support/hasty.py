"""`saga-es` on a host of its own, as `tests.support.host` is it, that waits less long for a database when it stops."""

from __future__ import annotations

import sys

from saga_es.cli import main
from saga_es.runtime import engine
from tests.support.host import become

if __name__ == "__main__":
    engine.CLOSE_TIMEOUT_S = engine.GOODBYE_S = 0.5
    host, seconds, *arguments = sys.argv[1:]
    become(host, float(seconds))
    main(arguments, prog_name="saga-es")
