"""The saga API and the console beside the pages of a Django project."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from saga_es.django.starting import nodes
from saga_es.node.extras import check_server
from saga_es.node.health import NODE_UNOPENED

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


def with_saga_pages(application: Wsgi, *, api: str = "/api/saga", console: str = "/console") -> Wsgi:
    """A WSGI application that serves the saga API and the console, and leaves all else to the project's own.

    Args:
        application: The project's, as `get_wsgi_application()` returns it.
        api: The path of the saga API.
        console: The path of the console. Without `auth` in the saga application, who may reach it may give commands.

    Raises:
        NotInstalled: The extra `server` is not installed.
    """
    check_server("to serve the saga API and the console")
    from saga_es.api.application import mount  # noqa: PLC0415 (an extra)
    from saga_es.console import mount_console  # noqa: PLC0415 (an extra)

    pages = Flask("saga_es")
    found = nodes()
    mount(found.node, found.opened, pages, api)
    mount_console(pages, console, at_root=False)

    def served(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        pages.extensions[NODE_UNOPENED] = found.node  # in a child, it is another than when this was made
        path = f"{environ.get('PATH_INFO', '')}/"
        is_ours = path.startswith((f"{api}/", f"{console}/"))
        return (pages if is_ours else application)(environ, start_response)

    return served
