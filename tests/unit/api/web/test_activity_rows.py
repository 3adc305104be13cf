"""The filters of /activity and its lines: what an address means, what is one line, what leads where."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from controller.api.activity import Cursor, Line, Wanted
from controller.api.web.activity_rows import Chip, Filters, chips_of, leads_to, rows_of, same
from tests.fakes.clock import START


def line(number: int = 1, text: str = "It is so.", **other: object) -> Line:
    values: dict[str, object] = {
        "what": "event",
        "id": number,
        "at": START - timedelta(seconds=number),
        "kind": "replica_unready",
        "severity": "warning",
        "pool": "llama",
        "subject": "replica/llama-1",
        "reasons": ("ProbesFailed",),
        "text": text,
    }
    return Line(**(values | other))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"q": "  x ", "pool": "llama"}, {"q": "x", "pool": "llama"}),
        ({"what": "nothing", "severity": "info", "range": "2y"}, {}),
        ({"what": "event", "severity": "critical", "range": "1h"},) * 2,
        ({"from": "2026-01-05T12:00"}, {"from": "2026-01-05T12:00:00Z"}),
        ({"from": "2026-01-05T20:00:00+08:00"}, {"from": "2026-01-05T12:00:00Z"}),
        ({"from": "yesterday", "to": "0000-00-00"}, {}),
        ({"q": "x" * 300, "other": "y"}, {"q": "x" * 200}),
        ({"q": "\0", "pool": "a\0b", "kind": "a,b-c d"}, {"pool": "ab", "kind": "a d"}),
    ],
)
def test_what_an_address_means(given: dict[str, str], kept: dict[str, str]) -> None:
    filters = Filters.read(given)
    assert filters.kept() == kept
    assert Filters.read(filters.kept()) == filters


def test_what_the_ledger_is_asked() -> None:
    found = Filters.read({"kind": "a, b", "range": "1h"}).wanted(START)
    assert found == Wanted(kinds=("a", "b"), since=START - timedelta(hours=1))
    named = Filters.read({"from": "2026-01-01T00:00:00Z", "range": "1h", "to": "2026-01-02T00:00:00Z"}).wanted(START)
    assert (named.since, named.until) == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))


def test_links_keep_the_search() -> None:
    filters = Filters.read({"q": "a&b", "range": "15m", "kind": "x y"})
    assert filters.href(before="1") == "/activity?q=a%26b&kind=x+y&range=15m&before=1"
    assert Filters().href() == "/activity"
    asked = parse_qs(urlsplit(filters.export(START, "csv")).query)
    assert asked == {
        "q": ["a&b"],
        "kind": ["x", "y"],
        "from": ["2026-01-05T11:45:00Z"],
        "format": ["csv"],
        "limit": ["100000"],
    }


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (line(1, "3 probes failed, 4.5 s"), line(2, "12 probes failed, 5 s"), True),
        (line(1, "Sends to llama-1"), line(2, "Sends to llama-2"), False),
        (line(1), line(2, subject="replica/llama-2"), False),
        (line(1), line(2, reasons=("Stalled",)), False),
        (line(1, what="decision"), line(2, what="decision"), False),
    ],
)
def test_what_says_the_same(one: Line, other: Line, equal: bool) -> None:
    assert (same(one) == same(other)) is equal


def test_repeats_are_one_row_with_a_count() -> None:
    lines = [line(1, "1 s"), line(2, "another"), *(line(number, f"{number} s") for number in range(3, 42))]
    found = rows_of(lines, Wanted(), None)
    assert [(row.line.id, row.count, row.repeats[-1].id if row.repeats else None) for row in found.found] == [
        (1, 40, 41),
        (2, 1, None),
    ]
    assert found.older is None


def test_a_page_ends_before_the_row_that_is_too_many() -> None:
    lines = [line(number, f"text {'x' * number}") for number in range(1, 150)]
    found = rows_of(lines, Wanted(), None)
    assert (len(found.found), found.older) == (100, Cursor(lines[99].at, event=100))


def test_a_page_of_nothing_that_fits_says_where_to_go_on() -> None:
    lines = [line(number) for number in range(1, 2500)]
    found = rows_of(lines, Wanted(reason="Other"), None)
    assert (found.found, found.older) == ((), Cursor(lines[1999].at, event=2000))


@pytest.mark.parametrize(
    ("given", "chips"),
    [
        (line(), [("pool", "llama", "/pools/llama"), ("replica", "llama-1", "/activity?subject=replica%2Fllama-1")]),
        (line(subject="pool/llama"), [("pool", "llama", "/pools/llama")]),
        (line(pool="", subject="node/a b", node="a b"), [("node", "a b", "/nodes/a%20b")]),
        (line(pool="", subject="gateway"), [("gateway", "gateway", "/activity?subject=gateway")]),
        (line(pool="a/b?", subject="pool/a/b?"), [("pool", "a/b?", "/pools/a%2Fb%3F")]),
    ],
)
def test_what_a_line_is_about(given: Line, chips: list[tuple[str, str, str]]) -> None:
    assert chips_of(given) == [Chip(*chip) for chip in chips]


@pytest.mark.parametrize(
    ("kind", "subject", "text", "where"),
    [
        ("drill_started", "pool/llama", "Drill cafe12 by ada: Friday.", "/drills/cafe12"),
        ("drill_ended", "pool/llama", "Drill cafe12, kill of llama-1, passed.", "/drills/cafe12"),
        ("drill_ended", "pool/llama", "Drill ../x, kill", ""),
        ("alert_firing", "pool/llama", "", "/alerts?name=Because"),
        ("gateway_failed", "gateway", "", "/gateway"),
        ("replica_ready", "replica/llama-1", "", ""),
    ],
)
def test_where_an_event_leads(kind: str, subject: str, text: str, where: str) -> None:
    assert leads_to(line(kind=kind, subject=subject, text=text, reasons=("Because",))) == where
