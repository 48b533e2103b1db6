"""Starts sagas with any version of saga_es, from a folder with the application, until a file `enough` is there.

Arguments: the database, the beginning of the sagas' ids, and how many sagas there may be.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from versions_app import app  # type: ignore[import-not-found,unused-ignore]  # copied beside this file

from saga_es.client import open_client


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(url: str, prefix: str, most: int) -> None:
    """Each saga has a number, which says what becomes of it."""
    with open_client(url, *app.sagas) as client:
        say("started")
        for number in range(most):
            if Path("enough").exists():
                break
            saga_id = f"{prefix}-{number}"
            match number % 10:
                case 3:
                    client.start("pause", {}, saga_id=saga_id)
                case 7:
                    client.start("approval", {}, saga_id=saga_id)
                    client.signal(saga_id, "answer")
                case rest:
                    client.start("order", {"is_busy": rest in {1, 2}, "is_refused": rest in {2, 9}}, saga_id=saga_id)
            say(f"has started {saga_id}")
            time.sleep(0.1)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
