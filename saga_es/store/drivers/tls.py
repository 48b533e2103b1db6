"""TLS to a server on another host: encrypted, its certificate and its name checked, unless the URL says otherwise.

Without that the drivers would take any server, or fall back to plain text without a word. On this host, and over a
socket, nobody is in between.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

ALWAYS_LOCAL = {"", "localhost"}
TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def for_libpq(url: URL) -> dict[str, Any]:
    """The options for a driver of PostgreSQL that uses libpq."""
    if "sslmode" in url.query or is_local(_hosts_of_libpq(url)):
        return {}
    is_named = "sslrootcert" in url.query or "PGSSLROOTCERT" in os.environ
    return {"sslmode": "verify-full", **({} if is_named else {"sslrootcert": _authorities_for_libpq()})}


def for_pymysql(url: URL) -> dict[str, Any]:
    """The options for PyMySQL.

    Raises:
        ValueError: An option of the URL is neither true nor false.
    """
    speaks_of_tls = any(name.startswith("ssl") for name in url.query)
    if _says(url, "ssl_disabled", default=False) or (not speaks_of_tls and is_local(_hosts_of_pymysql(url))):
        return {}
    context = ssl.create_default_context(cafile=_given(url, "ssl_ca"), capath=_given(url, "ssl_capath"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as the driver does: authorities of one's own are seldom so strict
    is_checked = _says(url, "ssl_verify_cert", default=True)
    names = [_says(url, name, default=True) for name in ("ssl_verify_identity", "ssl_check_hostname")]
    context.check_hostname = is_checked and all(names)
    context.verify_mode = ssl.CERT_REQUIRED if is_checked else ssl.CERT_NONE
    if certificate := _given(url, "ssl_cert"):
        context.load_cert_chain(certificate, _given(url, "ssl_key"), _given(url, "ssl_key_password"))
    if ciphers := _given(url, "ssl_cipher"):
        context.set_ciphers(ciphers)
    # The driver would take the text `false` for true, and put options of its own in the place of the context.
    replaced = ("ssl_disabled", "ssl_verify_cert", "ssl_verify_identity", "ssl_key_password")
    return {"ssl": context, **dict.fromkeys(replaced)}


def is_local(hosts: Iterable[str]) -> bool:
    """Whether all these hosts are this one: loopback, or a socket in the file system."""
    return all(host.lower() in ALWAYS_LOCAL or host.startswith(("/", "@")) or _is_loopback(host) for host in hosts)


def cure(reason: str, of_driver: str) -> str:
    """What to add to a driver's words when they are about TLS.

    Args:
        reason: What the driver said.
        of_driver: The cure for that database.
    """
    return f"; {of_driver}" if of_driver and re.search("SSL|TLS|certificate", reason) else ""


CURE_FOR_LIBPQ = (
    "a server on another host must show a certificate for its name: name the authority (?sslrootcert=FILE), or give up "
    "that check (?sslmode=require) or TLS (?sslmode=disable) in the URL, if nobody else is in that network"
)
CURE_FOR_PYMYSQL = (
    "a server on another host must show a certificate for its name: name the authority (?ssl_ca=FILE), or give up that "
    "check (?ssl_verify_cert=false) or TLS (?ssl_disabled=true) in the URL, if nobody else is in that network"
)


def _hosts_of_libpq(url: URL) -> list[str]:
    """All hosts that the URL names, by whatever option; else those of the environment, as libpq reads it."""
    named = [url.host or "", *_all(url, "host")]
    hosts = [_without_port(host) for several in named for host in several.split(",") if host]
    hosts += [host for several in _all(url, "hostaddr") for host in several.split(",")]
    if not hosts:
        hosts = [os.environ.get(name, "") for name in ("PGHOST", "PGHOSTADDR")]
    is_elsewhere = "service" in url.query or "PGSERVICE" in os.environ  # a file names the host, nobody knows which
    return [*hosts, "service"] if is_elsewhere else hosts


def _hosts_of_pymysql(url: URL) -> list[str]:
    if "unix_socket" in url.query:
        return []
    of_file = [name for name in url.query if name.startswith("read_default_")]
    return [url.host] if url.host else of_file


def _without_port(host: str) -> str:
    found = re.fullmatch(r"\[(?P<address>[^\]]*)\](?::\d*)?|(?P<name>[^:]*)(?::\d*)?", host)
    return host if found is None else found["address"] or found["name"] or ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _authorities_for_libpq() -> str:
    """The file of authorities that libpq would take, else the system's: `system` is empty in the driver's own build."""
    own = Path("~/.postgresql/root.crt").expanduser()
    return str(own) if own.is_file() else ssl.get_default_verify_paths().cafile or "system"


def _says(url: URL, name: str, *, default: bool) -> bool:
    text = _given(url, name)
    if text is None:
        return default
    if text.lower() not in TRUTHS:
        raise ValueError(f"{name} is true or false")
    return TRUTHS[text.lower()]


def _given(url: URL, name: str) -> str | None:
    return next(iter(_all(url, name)), None)


def _all(url: URL, name: str) -> tuple[str, ...]:
    return tuple(url.normalized_query.get(name, ()))
