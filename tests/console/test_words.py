"""The texts of the pages: every one of them is in the catalogue of every language."""

from __future__ import annotations

import ast
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

import saga_es.console
from saga_es.console import blueprint
from saga_es.console.following import ACTIONS, SENTENCES
from saga_es.console.words import COLUMN_WORDS, LANGUAGES, SINCE_WORDS, STATUS_WORDS, WITHIN_WORDS, catalogue
from tests.api.conftest import Served
from tests.support.pages import page_of

HERE = Path(saga_es.console.__file__).parent
OTHERS = [language for language in LANGUAGES if language != "en"]


def in_templates() -> set[str]:
    """The texts in the templates, found as Babel finds them."""
    files = [file.read_bytes() for file in (HERE / "templates").glob("*.html")]
    options = {"extensions": "jinja2.ext.i18n", "silent": "false"}
    found = [text for file in files for _, _, text, _ in babel_extract(BytesIO(file), ("_",), (), options)]
    return {text for text in found if isinstance(text, str)}


def in_errors() -> set[str]:
    """The titles and sentences of the pages of errors, and of the errors of the framework none."""
    tree = ast.parse(Path(blueprint.__file__).read_text("utf-8"))
    given = [word for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords]
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    texts = [word.value for word in given if word.arg in {"title", "words"}]
    texts += [node.value for node in assigned if getattr(node.targets[0], "id", "") == "words"]
    return {text.value for text in texts if isinstance(text, ast.Constant) and isinstance(text.value, str)}


def all_texts() -> set[str]:
    tables = (STATUS_WORDS, SINCE_WORDS, COLUMN_WORDS, WITHIN_WORDS, ACTIONS, SENTENCES)
    return in_templates() | in_errors() | {text for table in tables for text in table.values()}


@pytest.mark.parametrize("language", OTHERS)
def test_no_text_is_missing_in_a_language(language: str) -> None:
    """And none stands in the catalogue that no page has."""
    texts = all_texts()
    assert len(texts) > 200
    assert texts - set(catalogue(language)) == set()
    assert set(catalogue(language)) - texts == set()


@pytest.mark.parametrize("language", OTHERS)
def test_a_catalogue_is_what_babel_reads(language: str) -> None:
    """Our reader of it finds what Babel finds; no translation is empty, and each keeps the places of its text."""
    with (HERE / "locale" / f"{language}.po").open("rb") as file:
        read = {str(message.id): str(message.string) for message in read_po(file) if message.id}
    assert read == catalogue(language)
    assert all(read.values())
    assert [text for text, said in read.items() if ("{n}" in text) != ("{n}" in said)] == []


def test_a_page_in_japanese_has_no_english_of_ours(served: Served) -> None:
    """Its heading, its filters, its table."""
    page = page_of(served.client.get("/console/sagas", headers={"Accept-Language": "ja,en;q=0.5"}))
    for said in ("サーガ", "実行中", "フィルター", "サーガはまだありません"):
        assert said in page.text
    assert "Filter" not in page.text
