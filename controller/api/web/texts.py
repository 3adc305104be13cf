"""Every word on the pages, by language: dashboards/web/texts/LANGUAGE/SECTION.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TypeAlias

from markupsafe import Markup, escape

Words: TypeAlias = "str | Mapping[str, str]"  # a sentence, or one for each number: one, other
DEFAULT = "en"


@dataclass(frozen=True)
class Texts:
    """The words of one language. Called with a key it gives the text, ready for HTML."""

    language: str
    words: Mapping[str, Words] = field(repr=False)

    @property
    def name(self) -> str:
        """What the language calls itself."""
        return self.plain("language.name")

    def __call__(self, key: str, /, **values: object) -> Markup:
        """The text of `section.key` with these values in it; what is no Markup is escaped. Raises `KeyError`."""
        return Markup(escape(self._pick(key, values))).format(**values)

    def plain(self, key: str, /, **values: object) -> str:
        """The same as plain text. Raises `KeyError`."""
        return self._pick(key, values).format(**values)

    def known(self, key: str, fallback: str, /, **values: object) -> Markup:
        """The text of that key, or `fallback` where there is none: for words that the controller may gain."""
        return self(key, **values) if key in self.words else escape(fallback)

    def section(self, name: str) -> dict[str, str]:
        """All of one section by its key, with .one and .other where a number decides: for scripts."""
        found: dict[str, str] = {}
        for key, words in self.words.items():
            if key.startswith(f"{name}."):
                found |= {key: words} if isinstance(words, str) else {f"{key}.{n}": text for n, text in words.items()}
        return found

    def _pick(self, key: str, values: Mapping[str, object]) -> str:
        words = self.words[key]
        if isinstance(words, str):
            return words
        return words["one"] if values.get("n") == 1 and "one" in words else words["other"]


def folder() -> Traversable:
    """dashboards/web, wherever it is installed: what is known of it is its name."""
    return resources.files("dashboards") / "web"


@cache
def catalogs() -> Mapping[str, Texts]:
    """Every language that there is, by its code."""
    found = (item for item in (folder() / "texts").iterdir() if item.is_dir() and not item.name.startswith("_"))
    return {item.name: Texts(item.name, _read(item)) for item in sorted(found, key=lambda item: item.name)}


def _read(place: Traversable) -> dict[str, Words]:
    words: dict[str, Words] = {}
    for file in sorted(place.iterdir(), key=lambda item: item.name):
        if file.name.endswith(".toml"):
            section = file.name.removesuffix(".toml")
            words |= {f"{section}.{key}": value for key, value in tomllib.loads(file.read_text("utf-8")).items()}
    return words


def chosen(cookie: str | None, accepted: str) -> Texts:
    """The reader's language: what was chosen, else the first that the browser likes, else English."""
    known = catalogs()
    if cookie is not None and cookie in known:
        return known[cookie]
    for tag in _liked(accepted):
        if (short := tag.partition("-")[0].lower()) in known:
            return known[short]
    return known[DEFAULT]


def _liked(accepted: str) -> list[str]:
    """The tags of an Accept-Language, the dearest first."""
    found: list[tuple[float, str]] = []
    for part in accepted[:200].split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            found.append((-float(weight or 1), tag))
        except ValueError:
            continue
    return [tag for _, tag in sorted(found, key=lambda item: item[0])]
