"""Pages from templates: an environment of our own, so that no setting of a host application weakens the escaping."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from saga_es.console.axis import span
from saga_es.console.words import translated

LARGEST_JSON = 20_000
"""Characters of JSON that a page shows; the API has the rest."""


@cache
def environment(language: str) -> Environment:
    """The templates in a language."""
    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    say: Callable[[str], str] = partial(translated, language)
    made.install_gettext_callables(say, lambda one, many, n: say(one if n == 1 else many), newstyle=True)  # type: ignore[attr-defined]  # the extension adds it
    made.filters |= {"time": time, "json": pretty, "span": span, "thousands": "{:,}".format, "say": say, "share": share}
    return made


def rendered(template: str, language: str, **given: Any) -> str:
    """A page."""
    return environment(language).get_template(template).render(language=language, **given)


def time(at: datetime | None, form: str = "moment") -> Markup:
    """A time in UTC, which the script shows in the viewer's zone."""
    if at is None:
        return Markup("—")
    at = at.astimezone(UTC)
    iso = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"
    shown = f"{at:%Y-%m-%d %H:%M:%S}" if form == "moment" else f"{at:%H:%M:%S}"
    shown += f".{at.microsecond // 1000:03}" if form == "exact" else ""
    return Markup('<time datetime="{}" data-form="{}" title="{}">{}</time>').format(iso, form, f"{iso} (UTC)", shown)


def pretty(value: Any) -> str:
    """A value as JSON, laid out; cut where it is too long for a page."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return (
        text if len(text) <= LARGEST_JSON else f"{text[:LARGEST_JSON]}\n… {len(text) - LARGEST_JSON:,} characters more"
    )


def share(part: float) -> str:
    """A share in per cent, rounded down: 100 % are all."""
    tenths = int(part * 1000)
    return f"{tenths // 10} %" if tenths % 10 == 0 else f"{tenths / 10} %"
