"""The keys of subjects: `saga-es erase`, `saga-es rotate`."""

from __future__ import annotations

import click

from saga_es.cli.actor import actor_option
from saga_es.cli.options import USAGE, fail, reading, settings_options
from saga_es.cli.remote import remote, remote_options
from saga_es.cli.terminal import errors
from saga_es.node.settings import Settings

LONGEST_REASON = 2000


@click.command(short_help="Erase a person: delete the key of a subject.")
@settings_options(
    click.argument("subject", metavar="SUBJECT"),
    click.option("--tenant", default="", metavar="NAME", help="The tenant that it belongs to.  [default: none]"),
    click.option("--reason", required=True, metavar="TEXT", help="Why; the log keeps it for ever. Name nobody."),
    actor_option,
    remote_options,
)
def erase(settings: Settings, subject: str, tenant: str, reason: str, actor: str) -> None:
    """Delete the key of SUBJECT: nobody can read any more what its sagas recorded.

    The log keeps that a subject was erased, and not which. Sagas of it that are under way are parked. Repeat it after
    an interruption: exit code 3 says that there is nothing left to erase.
    """
    if not 0 < len(reason.strip()) <= LONGEST_REASON:
        fail(f"--reason: write 1 to {LONGEST_REASON} characters", USAGE)
    server = remote()
    if server is not None:
        if tenant:
            fail("--tenant: with --url the tenant is that of the key", USAGE)
        key_id = server.erase(subject, actor, reason)
    else:
        with reading(settings) as node:
            key_id = node.subjects.erase(subject, actor, reason, tenant)
    errors.print(f"Erased: the key {key_id} is gone; other processes forget it within 5 seconds.", markup=False)


@click.command(short_help="Wrap the keys of subjects under the first key of the key file.")
@settings_options()
def rotate(settings: Settings) -> None:
    """Wrap the keys of all subjects under the first key of the key file, and say how many were wrapped by others.

    Put the new key into the first line of the file, restart all processes, run this, and remove the old line. It may be
    interrupted and repeated: at each moment the file with both lines reads all keys.
    """
    with reading(settings) as node:
        if node.keyring is None:
            fail("SAGA_ES_ENCRYPTION_KEY_FILE is not set: there is no key to wrap with", USAGE)
        count = node.keyring.rotate(lambda _: None)
    errors.print(f"Wrapped {count} keys again.", markup=False)
