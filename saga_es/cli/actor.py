"""Who gives a command on the command line."""

from __future__ import annotations

import getpass
import os
import socket

import click


def actor() -> str:
    """The user of the system and the host, as the log names them."""
    return f"cli:{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run us under an unknown user id
        return f"uid {os.getuid()}"


actor_option = click.option("--actor", default=actor, metavar="NAME", help="Who you are.  [default: cli:USER@HOST]")
