"""Debian's chromium, driven by Playwright, and pages that report whatever goes wrong on them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.left_out import left_out

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_MS = 10_000
CSP_REPORT = "a policy was violated: "

Theme = Literal["light", "dark"]

_REPORTS = f"""
document.addEventListener("securitypolicyviolation", (event) => {{
  console.error("{CSP_REPORT}" + event.violatedDirective + " " + event.blockedURI);
}});
"""


@contextmanager
def a_browser() -> Iterator[Browser]:
    """The browser, until the block ends."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        left_out("chromium", f"none of {', '.join(PROGRAMS)} is on the path")
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@contextmanager
def a_tab(
    browser: Browser,
    base_url: str,
    *,
    theme: Theme = "light",
    script: bool = True,
    width: int = 1280,
    language: str = "en",
) -> Iterator[Tab]:
    """A page in a context of its own; when the block ends, nothing may have gone wrong on it."""
    context = browser.new_context(
        base_url=base_url,
        color_scheme=theme,
        java_script_enabled=script,
        viewport={"width": width, "height": 900},
        locale=language,
        timezone_id="UTC",
        service_workers="block",
    )
    context.set_default_timeout(TIMEOUT_MS)
    try:
        tab = Tab(context, base_url)
        yield tab
        assert not tab.troubles
    finally:
        context.close()


class Tab:
    """A page, and what went wrong on it: errors of scripts, reports of the policy, dialogs, requests to elsewhere.

    Attributes:
        refused: Whether an answer of the server may be a refusal (4xx), which a browser logs as an error.
    """

    def __init__(self, context: BrowserContext, base_url: str) -> None:
        self.troubles: list[str] = []
        self.refused = False
        self._base_url = base_url
        context.add_init_script(_REPORTS)
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self._logged(message.type, message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(f"a script failed: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self._asked(request.url))

    def open(self, path: str) -> Page:
        """Open an address of the site."""
        self.page.goto(path)
        return self.page

    def _logged(self, kind: str, text: str) -> None:
        is_refusal = "the server responded with a status of 4" in text
        if kind in {"error", "warning"} and not (self.refused and is_refusal):
            self.troubles.append(f"{kind}: {text}")

    def _dialog(self, dialog: Any) -> None:
        self.troubles.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _asked(self, url: str) -> None:
        if not url.startswith((self._base_url, "data:", "blob:")):
            self.troubles.append(f"asked elsewhere: {url}")
