"""Planted bugs of the walls: what others send is believed, waited for, kept or shown."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

LISTENING = ("tests/api/test_listening.py",)
SECRETS = ("tests/unit/test_secrets.py",)
TLS = ("tests/contract/store/test_tls.py",)

MUTANTS = [
    Mutant(
        "a request that drips is waited for",
        "saga_es/api/listening.py",
        "        if is_unfinished and now - self.waits_since > self.server.request_timeout_s:\n",
        "        if is_unfinished and now - self.last_activity > self.server.request_timeout_s:\n",
        LISTENING,
    ),
    Mutant(
        "connections that wait keep new ones out",
        "saga_es/api/listening.py",
        "if len(self._map) > self.adj.connection_limit - SPARE:",
        "if len(self._map) > self.adj.connection_limit:",
        LISTENING,
    ),
    Mutant(
        "a host among several decides alone whether TLS is checked",
        "saga_es/store/drivers/tls.py",
        "    return all(host.lower()",
        "    return any(host.lower()",
        TLS,
        databases="off_this_host",
    ),
    Mutant(
        "the address of a host that is named as local is not looked at",
        "saga_es/store/drivers/tls.py",
        '    hosts += [host for several in _all(url, "hostaddr") for host in several.split(",")]\n',
        "",
        TLS,
        databases="off_this_host",
    ),
    Mutant(
        "a large saga takes signals until it bursts",
        "saga_es/store/sagas.py",
        "        if size.bytes + more > limits.bytes:\n",
        "        if more > limits.bytes:\n",
        ("tests/api/test_bounds.py",),
    ),
    Mutant(
        "a password with a slash is shown",
        "saga_es/logs/secrets.py",
        "(?!\\d+[/?#])[^\\s@",
        "(?!\\d+[/?#])[^\\s/@",
        SECRETS,
    ),
    Mutant(
        "a traceback is logged with its secrets",
        "saga_es/logs/__init__.py",
        "told = masked(_FORMATTER.formatException(record.exc_info))",
        "told = _FORMATTER.formatException(record.exc_info)",
        ("tests/api/test_canary.py",),
    ),
    Mutant(
        "a database is opened through anybody's link",
        "saga_es/store/own_files.py",
        "return path.is_symlink() and about.st_uid not in {0, os.geteuid()}",
        "return False",
        ("tests/e2e/test_files.py",),
    ),
]
