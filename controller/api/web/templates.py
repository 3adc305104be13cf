"""The templates of dashboards/web/templates, in the reader's language."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from controller.api.web import formats, static
from controller.api.web.texts import Texts, catalogs


@cache
def environment(language: str) -> Environment:
    """With the words of that language as `t`."""
    loader = PackageLoader("dashboards.web")  # by its name: what it is made of is data
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # they fit this code, not what is installed over it while it runs
    )
    made.filters.update(formats.filters())
    made.globals.update(t=catalogs()[language], static=static.static, has_charts=static.has_charts)
    return made


def fragment(name: str, texts: Texts, **values: Any) -> str:
    """A template on its own, for the live parts of a page."""
    return environment(texts.language).get_template(name).render(**values)
