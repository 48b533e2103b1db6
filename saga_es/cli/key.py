"""API keys: `saga-es key create`, `key list`, `key revoke`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import click

from saga_es.access.principal import Principal, Role
from saga_es.cli import output_keys
from saga_es.cli.actor import actor_option
from saga_es.cli.options import USAGE, as_json_option, fail, reading, settings_options
from saga_es.cli.terminal import errors
from saga_es.node.settings import Settings
from saga_es.store.queries.filters import age_s


def _duration(_context: click.Context, _option: click.Parameter, text: str | None) -> timedelta | None:
    try:
        return None if text is None else timedelta(seconds=age_s(text))
    except ValueError as error:
        raise click.BadParameter("write it as in 90d, 12h or 30m") from error


@click.group()
def key() -> None:
    """API keys: who may call the HTTP API, and do what."""


@key.command(short_help="Make a key, and print it once.")
@settings_options(
    click.argument("name", metavar="NAME"),
    click.option(
        "--role",
        "roles",
        multiple=True,
        type=click.Choice([role.value for role in Role]),
        help="What it may do; may be repeated.",
    ),
    click.option(
        "--saga", "sagas", multiple=True, metavar="NAME", help="A definition that it may act on.  [default: all]"
    ),
    click.option("--tenant", default="", metavar="NAME", help="The tenant that it belongs to.  [default: none]"),
    click.option(
        "--expires-in", callback=_duration, metavar="TIME", help="Such as 90d.  [default: it does not expire]"
    ),
    actor_option,
    as_json_option,
)
def create(
    settings: Settings,
    name: str,
    roles: Sequence[str],
    sagas: Sequence[str],
    tenant: str,
    expires_in: timedelta | None,
    actor: str,
    as_json: bool,
) -> None:
    """Make a key for the principal NAME, and print it. It cannot be shown again: the log has only its hash.

    A principal has at most two valid keys. To exchange a key, make the second, give it to the service, and revoke the
    first.
    """
    if not roles:
        fail(f"--role: a key without a role may do nothing; there are {', '.join(Role)}", USAGE)
    try:
        principal = Principal(name, roles, sagas or None, tenant, via="key")
    except ValueError as error:
        fail(f"NAME or --tenant: {error}", USAGE)
    with reading(settings) as node:
        made = node.keys.create(principal, actor, expires_in)
    output_keys.show_made(made, principal, as_json=as_json)


@key.command("list", short_help="List the keys.")
@settings_options(as_json_option)
def list_(settings: Settings, as_json: bool) -> None:
    """List all keys, the newest first. Nothing of it is secret."""
    with reading(settings) as node:
        output_keys.show_keys(node.keys.rows(), as_json=as_json)


@key.command(short_help="Revoke a key.")
@settings_options(
    click.argument("key_id", metavar="ID"),
    click.option("--reason", required=True, metavar="TEXT", help="Why; the log keeps it for ever."),
    actor_option,
)
def revoke(settings: Settings, key_id: str, reason: str, actor: str) -> None:
    """Revoke the key ID, as `key list` names it. Every process refuses it within seconds."""
    with reading(settings) as node:
        node.keys.revoke(key_id, actor, reason)
    errors.print(f"Revoked {key_id}.", markup=False)
