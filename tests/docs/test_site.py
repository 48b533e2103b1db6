"""The documentation is a site: every page, and every public name from its docstring."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

from tests.docs.pages import DOCS, README

PUBLIC = re.findall(r"^\| `(saga_es[.\w]*)` \| (.*) \|$", (DOCS / "public-api.md").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` builds it: what Sphinx warns of fails."""
    built = tmp_path_factory.mktemp("site")
    arguments = ["--fail-on-warning", "--keep-going", "--quiet", "-c", "docs/site", ".", str(built / "site")]
    command = [sys.executable, "-m", "sphinx", "-d", str(built / "doctrees"), *arguments]
    done = subprocess.run(command, cwd=README.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built / "site"


def test_every_page_is_in_the_navigation(site: Path) -> None:
    """The index of the pages becomes the navigation of the site; the front page leads to it."""
    shown = (site / "docs/README.html").read_text()
    pages = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")} - {Path("README.html")}
    assert not [page for page in pages if f'class="reference internal" href="{page}"' not in shown]
    assert "docs/README.html" in (site / "index.html").read_text()


def test_every_public_class_and_function_is_in_the_reference(site: Path) -> None:
    """Under its module, with its docstring; an error once, under `saga_es.errors`."""
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    described = {name for kind in inventory.data.values() for name in kind}
    objects = {
        f"{module}.{name}": getattr(importlib.import_module(module), name)
        for module, names in PUBLIC
        for name in re.findall(r"`(\w+)`", names)
    }
    missing = [
        name
        for name, value in objects.items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and name not in described
    ]
    assert len(objects) > 100
    assert not [name for name in missing if f"{objects[name].__module__}.{objects[name].__name__}" not in described]


def test_the_site_needs_no_network(site: Path) -> None:
    """No script, style, font or picture of another host is loaded."""
    loaded = re.compile(r"<(?:script|img)[^>]+src=\"(https?:[^\"]+)|<link[^>]+stylesheet[^>]+href=\"(https?:[^\"]+)")
    pages = list(site.rglob("*.html"))
    assert len(pages) > 80
    assert not [found for page in pages for found in loaded.findall(page.read_text())]
