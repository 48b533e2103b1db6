"""The settings as keywords: a type checker knows them all, and each with its type."""

from __future__ import annotations

from typing import get_type_hints

from saga_es.node.settings import Settings
from saga_es.node.settings_given import SettingsGiven

PARAMETERS = {"database_url", "database_url_file", "app"}
"""What `open_engine` takes as parameters of its own; a file with a URL would contradict the URL."""


def test_the_keywords_of_open_engine_are_the_settings() -> None:
    """A new setting, or another type of one, has to be said in both places."""
    settings = {name: kind for name, kind in get_type_hints(Settings).items() if name not in PARAMETERS}
    assert get_type_hints(SettingsGiven) == settings
