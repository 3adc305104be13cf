"""The report as a file: whole, alone, and with everything in it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from controller.simulate import report
from controller.simulate.contest import Contest
from controller.simulate.report import About
from tests.unit.simulate.runs import KPA, NOTHING, OURS, STATIC, contest

ABOUT = About("small", "engine.json", ("Something that one would not expect.",))
_ALONE = {"meta", "link", "br", "img", "input", "hr"}  # elements that are never closed


class Reader(HTMLParser):
    """Every element is closed in its turn; keeps texts, attributes and names."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.names: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _ALONE:
            self.open.append(tag)
        if tag == "td":
            self.text += " "

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    reader.text = re.sub(r"\s+", " ", reader.text)
    return reader


@pytest.mark.parametrize(
    "played", [contest(), contest(STATIC), contest(STATIC, KPA, NOTHING)], ids=["alone", "two", "four"]
)
def test_it_is_well_formed_and_stands_alone(played: Contest) -> None:
    reader = read(report.html(played, ABOUT))

    assert reader.names.count("figure") == len(played.results)
    assert "script" not in reader.names
    places = [value for name, value in reader.attributes if name in ("src", "href", "xlink:href")]
    assert places == ["data:,"]
    assert "url(" not in report.html(played, ABOUT)
    assert "@import" not in report.html(played, ABOUT)


def test_it_has_everything() -> None:
    text = read(report.html(contest(STATIC), ABOUT)).text

    for said in (
        "Stoker met the SLO for 97.57 % of the requests",
        "12,345 requests of day.csv over 1 h",
        "static:4",
        "first token within 2 s and the whole answer within 30 s",
        "2.50 for an hour of one replica",
        "demand requests/s",
        "in flight and waiting requests",
        "ready desired",
        "first token, 95th percentile",
        "time since the trace began",
        "0:20:00 1 → 4",
        "9 in flight and waiting, target 2 for each of 1: 5 would do AboveTarget",
        "the ceiling is 4 AtCeiling",
        "engine.json",
        "line 7: it has no <time>",
        "Something that one would not expect.",
        "in_flight.target 2",
    ):
        assert said in text


def test_it_says_how_many_changes_are_not_listed() -> None:
    assert "5,000 times, of which the first 1 are kept" in read(report.html(contest(changes=5000), ABOUT)).text
    assert "It never did." in read(report.html(contest(changes=0), ABOUT)).text


def test_numbers_in_it_are_numbers() -> None:
    played = contest(NOTHING)
    short = replace(played, results=tuple(replace(run, series=(), duration_s=1.0) for run in played.results))

    for html in (report.html(played, ABOUT), report.html(short, ABOUT)):
        assert not re.search(r"\b(nan|inf|None)\b", html)


def test_it_is_the_same_each_time() -> None:
    assert report.html(contest(KPA), ABOUT) == report.html(contest(KPA), ABOUT)


def test_facts_are_those_of_the_trace() -> None:
    found = report.facts(contest())

    assert found["mean_rps"] == OURS.requests / 3600
    assert (found["malformed_count"], found["malformed"]) == (1, [{"line": 7, "why": "it has no <time>"}])
