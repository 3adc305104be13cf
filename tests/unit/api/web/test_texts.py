"""The words of the pages: every language has all of them, and templates and scripts ask for none that is not there."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest
from markupsafe import Markup

from controller.api.web.texts import DEFAULT, Texts, Words, catalogs, chosen

WEB = Path(__file__).parents[4] / "dashboards" / "web"
PYTHON = Path(__file__).parents[4] / "controller" / "api" / "web"
OTHERS = sorted(set(catalogs()) - {DEFAULT})
ENGLISH = catalogs()[DEFAULT].words
ASKED = re.compile(r"""\bt\(\s*["']([a-z0-9_]+\.[a-z0-9_.]+)["']\s*[,)]""")
SAID = re.compile(r"""\bsay\(\s*["']([a-z0-9_]+\.[a-z0-9_.]+)["']""")


def fields(words: Words) -> set[str]:
    """The placeholders of all forms of a text."""
    forms = [words] if isinstance(words, str) else list(words.values())
    return {name for form in forms for _, name, _, _ in Formatter().parse(form) if name is not None}


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_has_the_same_keys(language: str) -> None:
    words = catalogs()[language].words
    assert sorted(words) == sorted(ENGLISH)


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_has_the_same_placeholders(language: str) -> None:
    words = catalogs()[language].words
    wrong = {key: fields(words[key]) ^ fields(text) for key, text in ENGLISH.items() if key in words}
    # One form may leave the number out ("one pool"), and the other language may have no such form.
    assert {key: names for key, names in wrong.items() if names - {"n"}} == {}


def test_counted_texts_have_both_forms() -> None:
    forms = {key: set(text) for key, text in ENGLISH.items() if not isinstance(text, str)}
    assert {key: names for key, names in forms.items() if names != {"one", "other"}} == {}


def test_chinese_has_its_own_punctuation() -> None:
    beside = re.compile(r"[\u4e00-\u9fff]\s*[,;:?!]|[,;:?!]\s*[\u4e00-\u9fff]")
    words = catalogs()["zh"].words.items()
    assert {key: text for key, text in words if isinstance(text, str) and beside.search(text)} == {}


def test_templates_ask_for_words_that_there_are() -> None:
    asked = {(file.name, key) for file in WEB.glob("templates/**/*.html") for key in ASKED.findall(file.read_text())}
    assert len(asked) > 50
    assert {(file, key) for file, key in asked if key not in ENGLISH} == set()


def test_scripts_ask_for_words_that_there_are() -> None:
    said = {(file.name, key) for file in WEB.glob("static/js/*.js") for key in SAID.findall(file.read_text())}
    assert len(said) > 5
    assert {(file, key) for file, key in said if key not in ENGLISH} == set()


def test_a_text_with_values() -> None:
    texts = Texts("en", {"a.b": "{who} <has> {n}", "a.c": {"one": "one pool", "other": "{n} pools"}})
    assert texts("a.b", who="<b>", n=3) == "&lt;b&gt; &lt;has&gt; 3"
    assert texts("a.b", who=Markup("<b>x</b>"), n=3) == "<b>x</b> &lt;has&gt; 3"
    assert [texts("a.c", n=1), texts("a.c", n=2)] == ["one pool", "2 pools"]
    assert texts.plain("a.b", who="<b>", n=3) == "<b> <has> 3"
    assert texts.known("a.z", "<new>") == "&lt;new&gt;"
    assert texts.section("a") == {"a.b": "{who} <has> {n}", "a.c.one": "one pool", "a.c.other": "{n} pools"}
    with pytest.raises(KeyError):
        texts("a.z")


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "fr, zh-TW;q=0.5, en;q=0.4", "zh"),
        (None, "en;q=0.3, zh;q=0.2", "en"),
        (None, "xx;q=nonsense,,;q=", "en"),
        ("zh", "en", "zh"),
        ("../etc", "zh", "zh"),
    ],
)
def test_the_language_of_a_reader(cookie: str | None, accepted: str, language: str) -> None:
    assert chosen(cookie, accepted).language == language
