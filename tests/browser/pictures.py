"""Makes the pictures of the console that the pages show: `make pictures`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

import services
from saga_es.api.server import server_of
from saga_es.console import mount_console
from tests.api.conftest import Served, opened
from tests.support.browser import a_browser
from tests.support.journeys_served import begin, begun, journey, outing, stuck

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
CONCERT = {"name": "Evening Concert", "date": "2030-05-17"}


@contextmanager
def served() -> Iterator[tuple[Served, str]]:
    """The demonstration and some sagas more, with their console, and where they are."""
    inner = journey()
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        app = replace(services.app, sagas=[*services.app.sagas, inner, outing(inner)])
        site = opened(stack, f"sqlite:///{folder}/saga.db", app, port=0)
        mount_console(site.app)
        server = server_of(site.node, site.app)
        thread = threading.Thread(target=server.run)
        thread.start()
        yield site, f"http://127.0.0.1:{server.effective_port}"
        site.node.closing.set()
        server.trigger.pull_trigger(lambda: server.asyncore.close_all(server._map))
        thread.join()
        server.task_dispatcher.shutdown()


def main() -> None:
    """Write each picture, light and dark."""
    FOLDER.mkdir(exist_ok=True)
    with served() as (site, base_url), a_browser() as browser:
        for _ in range(3):
            stuck(site)
        begin(site, busy=True)
        begun(site)
        begin(site, "outing", guests=[f"guest {number}" for number in range(12)])
        for step in ("venue", "event_details", None):
            site.client.post("/api/saga/execute", json=CONCERT | {"fail_at_step": step})
        answer = site.client.post("/api/saga/execute", json=CONCERT | {"fail_at_step": "ticket"})
        saga_id = answer.get_json()["transaction_id"]
        pages = {"list": "sagas", "saga": f"sagas/{saga_id}", "attention": "attention"}
        for theme in ("light", "dark"):
            page = browser.new_page(
                base_url=base_url, color_scheme=theme, viewport={"width": 1280, "height": 760}, timezone_id="UTC"
            )
            for name, path in pages.items():
                page.goto(f"/console/{path}")
                page.screenshot(path=FOLDER / f"{name}-{theme}.png")


if __name__ == "__main__":
    main()
