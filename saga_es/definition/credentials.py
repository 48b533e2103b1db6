"""How a participant is called: what it is shown, whose certificate is trusted there, through which proxy; as values."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

Source = str | Callable[[], str]
"""A text; `env:NAME` or `file:/path`, which are read whenever the text is needed; or a function that returns it."""


TLS = ("ca", "cert", "key")
"""Those that TLS is opened with."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """How calls to a participant show who calls. None: as if there were no such setting.

    Attributes:
        auth: `bearer TOKEN`, `basic USER:PASSWORD` or `oauth2 TOKEN-URL CLIENT-ID SECRET [SCOPE …]`, where a source
            may stand for the secret; or a function that returns such a text.
        ca: Certificates of the authorities that are trusted there instead of this machine's, in PEM.
        cert: Our certificate, with those between it and its authority, in PEM.
        key: The private key of `cert`, in PEM, if it does not stand there.
        sign: `ALGORITHM KEY-ID SOURCE`, by which each request is signed (RFC 9421); or a function that returns such a
            text.
        proxy: `http://[USER:PASSWORD@]HOST:PORT`, through which each connection goes.
    """

    auth: Source | None = None
    ca: Source | None = None
    cert: Source | None = None
    key: Source | None = None
    sign: Source | None = None
    proxy: Source | None = None

    def given(self) -> Iterator[tuple[str, Source]]:
        """Those that are given, by name."""
        for name in self.__struct_fields__:
            if (source := getattr(self, name)) is not None:
                yield name, source

    def under(self, stronger: Credentials) -> Credentials:
        """These, with what others say in their place."""
        return Credentials(**dict(self.given()) | dict(stronger.given()))

    def __repr__(self) -> str:
        """The names alone: a log line or a traceback may show them."""
        return f"Credentials({', '.join(f'{name}=***' for name, _ in self.given())})"


NONE = Credentials()
