"""Token quotas: what is counted of counters, and for how long a key is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.access import KeyId
from controller.core.quota import (
    MINUTE,
    Block,
    DayUsage,
    KeyUsage,
    QuotaKind,
    QuotaMemory,
    TokenLimits,
    fold,
    recall,
)
from tests.fakes.clock import START

KEY, OTHER = KeyId("key_000000000001"), KeyId("key_000000000002")
MIDNIGHT = datetime(2026, 1, 6, tzinfo=UTC)
TODAY = START.date()
BOTH = TokenLimits(per_minute=100, per_day=1000)


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@dataclass(frozen=True)
class Step:
    """A reading `at` seconds after the start; None is unknown."""

    at: float
    counter: float | None
    day: float
    minute: float
    until: float | None = None  # of the block


@dataclass(frozen=True)
class Case:
    name: str
    steps: Sequence[Step]
    limits: TokenLimits = field(default=BOTH)
    start: datetime = START
    known: bool = True  # a reading without the key came before


CASES = [
    Case("a new key is counted from zero", [Step(2, 30, 30, 30), Step(4, 50, 50, 50)]),
    Case("of the first reading of all nothing is counted", [Step(2, 900, 0, 0), Step(4, 950, 50, 50)], known=False),
    Case("the same reading adds nothing", [Step(2, 30, 30, 30), Step(4, 30, 30, 30), Step(6, 30, 30, 30)]),
    Case("a counter that fell began anew", [Step(2, 80, 80, 80), Step(4, 15, 95, 95), Step(6, 0, 95, 95)]),
    Case("unknown changes nothing", [Step(2, 30, 30, 30), Step(4, None, 30, 30), Step(6, 40, 40, 40)]),
    Case(
        "what is older than a minute leaves the window",
        [Step(2, 30, 30, 30), Step(61, 50, 50, 50), Step(62, 50, 50, 20)],
    ),
    Case("at the limit it is blocked for a minute", [Step(2, 99, 99, 99), Step(4, 100, 100, 100, 62)]),
    Case(
        "until enough has left the window",
        [Step(2, 10, 10, 10), Step(10, 60, 60, 60), Step(20, 160, 160, 160, 80), Step(70, 160, 160, 100, 80)],
    ),
    Case(
        "what was under way when it was blocked counts, too",
        [Step(2, 100, 100, 100, 62), Step(10, 190, 190, 190, 62), Step(62, 190, 190, 90), Step(64, 200, 200, 100, 70)],
    ),
    Case(
        "an unknown reading lets nobody in early and shuts nobody out",
        [
            Step(2, 100, 100, 100, 62),
            Step(30, None, 100, 100, 62),
            Step(61, None, 100, 100, 62),
            Step(62, None, 100, 0),
        ],
    ),
    Case(
        "of a gap longer than the window its last minute counts as such",
        [Step(2, 0, 0, 0), Step(602, 900, 900, 90), Step(604, 909, 909, 99), Step(606, 910, 910, 100, 662)],
    ),
    Case("a gap within the window counts whole", [Step(2, 0, 0, 0), Step(62, 100, 100, 100, 122)]),
    Case("no limits, no block", [Step(2, 1e12, 1e12, 1e12)], limits=TokenLimits()),
    Case(
        "a day is used up until midnight",
        [Step(2, 1000, 1000, 1000, 12 * 3600), Step(4000, 1000, 1000, 0, 12 * 3600), Step(12 * 3600, 1000, 0, 0)],
    ),
    Case(
        "the later end counts, where both are used up shortly before midnight",
        [Step(2, 1000, 1000, 1000, 62), Step(10, 1000, 0, 1000, 62), Step(62, 1001, 1, 1)],
        start=MIDNIGHT - s(9),
    ),
    Case(
        "what is counted first after midnight is of the new day",
        [Step(2, 70, 70, 70), Step(10, 90, 20, 90), Step(12, 95, 25, 95)],
        start=MIDNIGHT - s(5),
    ),
    Case(
        "a clock that goes back over midnight gives no second day",
        [Step(2, 1000, 1000, 1000, 24 * 3600 + 1), Step(-60, 1010, 1010, 10, 24 * 3600 + 1)],
        start=MIDNIGHT - s(1),
        limits=TokenLimits(per_day=1000),
    ),
    Case(
        "a clock that goes back shuts nobody out for longer than a minute",
        [Step(7200, 100, 100, 100, 7260), Step(0, 101, 101, 1)],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fold(case: Case) -> None:
    memory = fold(QuotaMemory(), {}, {}, case.start) if case.known else QuotaMemory()
    for step in case.steps:
        now = case.start + s(step.at)
        readings = None if step.counter is None else {KEY: step.counter}
        memory = fold(memory, readings, {KEY: case.limits}, now)
        used = memory.usage[KEY]

        assert (used.today(now), pytest.approx(used.last_minute(now))) == (step.day, step.minute), f"{step}"
        block = memory.blocks.get(KEY)
        until = None if step.until is None else case.start + s(step.until)
        assert (block and block.until) == until, f"{step}"


def test_which_quota_it_was_and_what_nginx_is_told() -> None:
    def blocked(tokens: float) -> Block:
        before = fold(QuotaMemory(), {}, {}, START)
        return fold(before, {KEY: tokens}, {KEY: BOTH}, START + s(0.5)).blocks[KEY]

    assert blocked(100) == Block(START + s(60.5), QuotaKind.MINUTE)
    assert blocked(100).text() == "1767614461 minute", "whole seconds, and rather late than early"
    assert blocked(1000) == Block(MIDNIGHT, QuotaKind.DAY)
    assert blocked(1000).text() == "1767657600 day"


def test_keys_come_and_go_and_no_other_is_touched() -> None:
    limits = {KEY: BOTH, OTHER: BOTH}
    memory = fold(QuotaMemory(), {}, limits, START)
    memory = fold(memory, {KEY: 40}, limits, START + s(2))
    memory = fold(memory, {KEY: 40, OTHER: 100}, limits, START + s(4))
    assert list(memory.blocks) == [OTHER]

    gone = fold(memory, {OTHER: 100}, limits, START + s(6))
    assert gone.usage[KEY].today(START) == 40, "what it used is not forgotten"
    back = fold(gone, {KEY: 45, OTHER: 100}, limits, START + s(8))
    assert back.usage[KEY].today(START) == 45, "it goes on where it was"
    assert list(back.blocks) == [OTHER]


def test_a_key_without_a_quota_is_counted_and_never_blocked() -> None:
    memory = fold(fold(QuotaMemory(), {}, {}, START), {KEY: 1e9}, {OTHER: BOTH}, START + s(2))

    assert memory.usage[KEY].today(START) == 1e9
    assert memory.blocks == {}


@pytest.mark.parametrize("counter", [-1.0, float("nan"), float("inf")])
def test_what_is_no_count_is_not_counted(counter: float) -> None:
    memory = fold(QuotaMemory(read_at=START), {KEY: counter, OTHER: 5}, {}, START)

    assert list(memory.usage) == [OTHER]


def test_a_key_that_was_not_seen_for_days_is_forgotten() -> None:
    memory = fold(fold(QuotaMemory(), {}, {}, START), {KEY: 5, OTHER: 5}, {}, START)
    memory = fold(memory, {OTHER: 5}, {}, START + timedelta(days=2))
    assert list(memory.usage) == [OTHER], "one that is still told of is known, though it does nothing"
    memory = fold(memory, {OTHER: 6}, {}, START + timedelta(days=9))
    assert memory.usage[OTHER].today(START + timedelta(days=9)) == 1


def stored(tokens: float, counter: float, day: date = TODAY, key: KeyId = KEY) -> DayUsage:
    return DayUsage(key, day, tokens, counter, START)


def test_a_new_leader_goes_on_where_the_old_one_was() -> None:
    memory = recall([stored(990, 5000)], {KEY: BOTH}, START)
    assert memory.blocks == {}

    memory = fold(memory, {KEY: 5009}, {KEY: BOTH}, START + s(5))
    assert memory.usage[KEY].today(START) == 999
    memory = fold(memory, {KEY: 5010}, {KEY: BOTH}, START + s(7))
    assert memory.blocks[KEY] == Block(MIDNIGHT, QuotaKind.DAY)


def test_a_block_of_the_day_stands_before_anything_was_read() -> None:
    memory = recall([stored(1000, 5000)], {KEY: BOTH}, START)

    assert fold(memory, None, {KEY: BOTH}, START).blocks == {KEY: Block(MIDNIGHT, QuotaKind.DAY)}
    raised = {KEY: TokenLimits(per_day=2000)}
    assert recall([stored(1000, 5000)], raised, START).blocks == {}, "the plan's limit is another one now"


def test_the_newest_day_is_gone_on_with() -> None:
    yesterday = TODAY - timedelta(days=1)
    memory = recall([stored(7, 100, yesterday), stored(3, 103), stored(1, 50, yesterday, OTHER)], {}, START)
    assert memory.usage == {KEY: KeyUsage(stored(3, 103)), OTHER: KeyUsage(stored(1, 50, yesterday, OTHER))}

    memory = fold(memory, {KEY: 104, OTHER: 52}, {}, START + s(2))
    assert (memory.usage[KEY].today(START), memory.usage[OTHER].today(START)) == (4, 2)


def test_a_key_of_which_nothing_is_stored_is_not_charged_for_what_nobody_watched() -> None:
    memory = fold(recall([stored(7, 100, key=OTHER)], {}, START), {KEY: 900, OTHER: 100}, {}, START)
    assert memory.usage[KEY].today(START) == 0


COUNTERS = st.lists(st.one_of(st.none(), st.integers(0, 500)), min_size=1, max_size=40)
GAPS = st.lists(st.floats(0.1, 90), min_size=40, max_size=40)
LIMITS = st.builds(TokenLimits, st.one_of(st.none(), st.integers(1, 800)), st.one_of(st.none(), st.integers(1, 3000)))


def growth(readings: Sequence[int | None]) -> int:
    """The sum of what each counter grew by; one that fell began at zero."""
    total, before = 0, 0
    for reading in readings:
        if reading is not None:
            total += reading - before if reading >= before else reading
            before = reading
    return total


def timeline(readings: Sequence[int | None], gaps: Sequence[float]) -> list[tuple[datetime, int | None]]:
    at, found = START, []
    for reading, gap in zip(readings, gaps, strict=False):
        at += s(gap)
        found.append((at, reading))
    return found


@given(COUNTERS, GAPS, LIMITS)
def test_all_that_grew_is_counted_and_nothing_else(
    readings: Sequence[int | None], gaps: Sequence[float], limits: TokenLimits
) -> None:
    memory, days = fold(QuotaMemory(), {}, {}, START), dict[date, float]()
    for at, reading in timeline(readings, gaps):
        before = memory
        memory = fold(memory, None if reading is None else {KEY: reading}, {KEY: limits}, at)
        if KEY in memory.usage:
            total = memory.usage[KEY].total
            days[total.day] = total.tokens
            assert total.tokens >= 0
            assert 0 <= memory.usage[KEY].last_minute(at) <= total.tokens + 1e-6
            again = fold(memory, None if reading is None else {KEY: reading}, {KEY: limits}, at)
            assert again == memory, "the same reading adds nothing"
        if reading is None:
            assert memory.usage == before.usage
    assert sum(days.values()) == growth(readings)


@given(COUNTERS, GAPS, LIMITS)
def test_a_block_stands_until_its_time_and_only_for_what_was_used(
    readings: Sequence[int | None], gaps: Sequence[float], limits: TokenLimits
) -> None:
    memory = fold(QuotaMemory(), {}, {}, START)
    for at, reading in timeline(readings, gaps):
        before = memory.blocks.get(KEY)
        memory = fold(memory, None if reading is None else {KEY: reading}, {KEY: limits}, at)
        after = memory.blocks.get(KEY)
        if before is not None and before.until > at:
            assert after is not None, "nobody is let in early"
            assert after.until >= before.until
        if after is not None and reading is None:
            assert after == before, "and nobody is shut out for what is not known"
        if reading is not None:
            used = memory.usage[KEY]
            day = limits.per_day is not None and used.today(at) >= limits.per_day
            minute = limits.per_minute is not None and used.last_minute(at) >= limits.per_minute
            assert (after is not None) == (day or minute)
            assert after is None or at < after.until <= max(at + MINUTE, MIDNIGHT)


@given(COUNTERS, GAPS, st.integers(1, 39))
def test_a_change_of_leaders_loses_and_adds_nothing(
    readings: Sequence[int | None], gaps: Sequence[float], where: int
) -> None:
    """Whatever was saved is counted on from, also where the counter began anew in between."""
    memory = fold(QuotaMemory(), {}, {}, START)
    for number, (at, reading) in enumerate(timeline(readings, gaps)):
        if number == where and KEY in memory.usage:
            memory = recall([memory.usage[KEY].total], {}, at)
        memory = fold(memory, None if reading is None else {KEY: reading}, {}, at)
    if KEY in memory.usage and memory.usage[KEY].total.day == TODAY:
        assert memory.usage[KEY].total.tokens == growth(readings)
