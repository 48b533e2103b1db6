"""Reads pages: what stands in them, as a browser without scripts sees it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

VOID = {"meta", "link", "input", "br", "hr", "img", "wbr"}


class Page(HTMLParser):
    """The elements of a page, with their attributes and texts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element has no content."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """The innermost element ends."""
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        """A text."""
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All its text, with single blanks."""
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        """The attributes of each element of this name that has these."""
        asked = {name.rstrip("_").replace("_", "-"): value for name, value in wanted.items()}
        return [found for name, found in self.elements if name == tag and asked.items() <= found.items()]

    @property
    def labelled(self) -> list[str]:
        """The labels of its regions."""
        return [found["aria-label"] for found in self.all("section") if "aria-label" in found]

    @property
    def saga_ids(self) -> list[str]:
        """The ids of the sagas that it lists, in order."""
        return [found["aria-label"] for found in self.all("a") if "id" in found.get("class", "").split()]


def page_of(response: TestResponse, status: int = 200) -> Page:
    """The page of a response; it keeps the policy of content, and its markup is whole."""
    assert response.status_code == status, response.text[-2000:]
    assert response.content_type == "text/html; charset=utf-8"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    page = Page(response.text)
    for tag, attributes in page.elements:
        assert tag != "style", "an inline style"
        assert tag != "script" or attributes.get("src", "").startswith("/"), "an inline script"
        for name, value in attributes.items():
            assert name != "style", (tag, attributes)
            assert not name.startswith("on"), (tag, attributes)
            assert not (name in {"src", "href", "action"} and re.match(r"\s*(javascript|data|https?):|//", value)), (
                value
            )
    return page


def token_of(client: FlaskClient, path: str) -> str:
    """The token of a form."""
    (found, *_) = page_of(client.get(path)).all("input", name="csrf")
    return found["value"]
