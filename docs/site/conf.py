"""The documentation as a site, from the pages as they are: `make site`.

The project is the source folder, so that links to the README and to code work. The index is docs/README.md; what stands
in its tables becomes the navigation.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import flask
from sphinx.application import Sphinx

import saga_es.node.app

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project = PROJECT["name"]
version = release = PROJECT["version"]
project_copyright = "the authors of saga_es; MIT licence"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/README"
default_role = "code"  # a name in a docstring
include_patterns = ["README.md", "CHANGELOG.md", "docs/**"]
suppress_warnings = [
    "misc.highlighting_failure",  # a diagram of mermaid stays text: to draw it takes a network
    "myst.header",  # headings of level 3 are no sections whose programs are run
]

html_theme = "furo"
html_title = f"saga_es {release}"
html_show_sourcelink = False
html_copy_source = False
html_extra_path = ["extra"]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
vars(saga_es.node.app)["Request"] = flask.Request  # a type that the package names and does not import

_SECTION = re.compile(r"^##+ (?P<title>.+)\n(?P<body>(?:(?!##).*\n)*)", re.MULTILINE)
_LINK = re.compile(r"\]\((?P<page>[\w./-]+)\.md\)")


def _navigation(index: str) -> str:
    """A hidden table of contents for each section of the index."""
    seen: set[str] = set()
    trees = []
    for section in _SECTION.finditer(index):
        pages = [page for page in _LINK.findall(section["body"]) if page not in seen]
        seen.update(pages)
        if section["title"] == "Look up":
            pages.append("site/reference")
        if pages:
            body = "\n".join(pages)
            trees.append(f"```{{toctree}}\n:hidden:\n:caption: {section['title']}\n\n{body}\n```\n")
    return "\n".join(trees)


def _add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    if page == root_doc:
        source[0] += "\n" + _navigation(source[0])


def setup(app: Sphinx) -> None:
    """Let Sphinx add the navigation to the index."""
    app.connect("source-read", _add_navigation)
