"""Secrets in texts that others wrote: a library names a URL with its password, a participant repeats a token.

What is recorded or logged of an error is masked here. It is the last wall, not the first: a secret that looks like no
other cannot be known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MASK = "***"

SECRET_HEADERS = frozenset(
    {
        "authentication-info",
        "authorization",
        "cookie",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "set-cookie",
        "set-cookie2",
        "www-authenticate",
        "x-access-token",
        "x-amz-security-token",
        "x-api-key",
        "x-auth-token",
        "x-csrf-token",
        "x-forwarded-authorization",
        "x-xsrf-token",
        "api-key",
        "apikey",
        "signature",
        "signature-input",
        "webhook-signature",
    }
)
"""The headers, in lower case, of which nothing is kept, recorded or logged, in requests and in answers."""

_NAMED = (
    r"(?:[\w-]{0,40}(?:token|secret|passw(?:or)?d|passphrase|pwd|api[_-]?key|private[_-]?key|access[_-]?key|credentials?"
    r"|signature|authorization|session[_-]?id)|sig|auth|jwt)"
)
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_TELLING = r"(?=[^\r\n]{0,100}?(?=[\w.~+/-]{0,100}[\d=])[\w.~+/=-]{8,})"
"""A header's value is masked if it has a word with a digit: `authorization: declined` is none."""

# Every repetition is bounded: who writes the text shall not choose how long it is looked at.
_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), replacement)
    for pattern, replacement in (
        # A user and a password in a URL. An unescaped slash may be in the password, but not behind a port.
        (r"(\b[a-z][a-z0-9+.-]{0,20}://)[^\s/?#@'\"<>]{0,500}@", r"\1***@"),
        (r"(\b[a-z][a-z0-9+.-]{0,20}://)[^\s:/?#@'\"<>]{0,100}:(?!\d+[/?#])[^\s@'\"<>]{0,500}@", r"\1***@"),
        # Parameters of a URL or a form, members of JSON and of a dict.
        (rf"\b({_NAMED})=(?!=)(?:{_QUOTED}|[^\s&;,'\"<>)\]}}]+)", r"\1=***"),
        (rf"([\"'])({_NAMED})\1(\s*:\s*)(?:{_QUOTED})", r"\1\2\1\3\1***\1"),
        # Headers as they are printed, to the end of the line.
        (rf"\b({'|'.join(sorted(SECRET_HEADERS))})(['\"]?\s*:\s*){_TELLING}[^\r\n]+", r"\1\2***"),
        # Credentials without a name, and tokens that begin as such tokens do.
        (r"\b(Bearer|Basic)\s+(?=[\w.~+/-]*[\d=._~+/])[\w.~+/-]{8,}=*", r"\1 ***"),
        (r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)*", MASK),
        (r"\b(sgk|whsec|ghp|gho|ghs|glpat|sk_live|sk_test|rk_live|xox[abprs])[_-][\w+/-]{8,}=*", r"\1_***"),
        (r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?(?:-----END \1PRIVATE KEY-----|\Z)", MASK),
    )
)
_MAY_HAVE = re.compile(
    r"://|eyJ|bearer|basic|token|secret|passw|passphrase|pwd|key|credential|sig|auth|session|cookie|jwt"
    r"|sgk_|whsec|gh[pos]_|glpat|sk_|rk_|xox",
    re.IGNORECASE,
)
"""What no text without a secret of the forms above has to have: nearly all texts are looked at once."""


def masked(text: str) -> str:
    """The text, with `***` in place of what looks like a secret."""
    if _MAY_HAVE.search(text) is None:
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def harmless(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Headers by their names in lower case, without those that hold secrets."""
    return {name.lower(): value for name, value in headers if name.lower() not in SECRET_HEADERS}
