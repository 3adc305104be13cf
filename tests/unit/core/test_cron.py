"""Floors by the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.cron import Cron, FloorWindow

HOUR = timedelta(hours=1)


FIELDS = [
    # text minutes hours days months weekdays
    pytest.param("* * * * *", range(60), range(24), range(1, 32), range(1, 13), range(7), id="all"),
    pytest.param("5 7 1 2 3", {5}, {7}, {1}, {2}, {3}, id="numbers"),
    pytest.param("0,30 8,20 * * *", {0, 30}, {8, 20}, range(1, 32), range(1, 13), range(7), id="lists"),
    pytest.param("0 9-17 * * 1-5", {0}, range(9, 18), range(1, 32), range(1, 13), range(1, 6), id="ranges"),
    pytest.param(
        "*/20 */6 */10 */5 */3", {0, 20, 40}, {0, 6, 12, 18}, {1, 11, 21, 31}, {1, 6, 11}, {0, 3, 6}, id="steps"
    ),
    pytest.param(
        "10-30/10 22/1 5/10 * *", {10, 20, 30}, {22, 23}, {5, 15, 25}, range(1, 13), range(7), id="steps of a part"
    ),
    pytest.param("0 0 1-3,10,20-22/2 * *", {0}, {0}, {1, 2, 3, 10, 20, 22}, range(1, 13), range(7), id="all together"),
    pytest.param("0 0 * jan-Mar,DEC mon-fri", {0}, {0}, range(1, 32), {1, 2, 3, 12}, range(1, 6), id="names"),
    pytest.param("0 0 * * 7", {0}, {0}, range(1, 32), range(1, 13), {0}, id="7 is Sunday"),
    pytest.param("0 0 * * 5-7", {0}, {0}, range(1, 32), range(1, 13), {5, 6, 0}, id="a week's end"),
    pytest.param("0 0 * * sun,sat", {0}, {0}, range(1, 32), range(1, 13), {0, 6}, id="names of its days"),
    pytest.param("  0   0 * *  * ", {0}, {0}, range(1, 32), range(1, 13), range(7), id="spaces"),
]


@pytest.mark.parametrize(("text", "minute", "hour", "day", "month", "weekday"), FIELDS)
def test_the_five_fields(
    text: str, minute: set[int], hour: set[int], day: set[int], month: set[int], weekday: set[int]
) -> None:
    cron = Cron.parse(text)

    assert [cron.minutes, cron.hours, cron.days, cron.months, cron.weekdays] == [
        set(minute),
        set(hour),
        set(day),
        set(month),
        set(weekday),
    ]


REFUSED = [
    ("* * * *", "has 4 fields; write minute, hour, day of month, month, day of week"),
    ("* * * * * *", "has 6 fields"),
    ("", "has 0 fields"),
    ("60 * * * *", "'60' is no minute; write a number from 0 to 59"),
    ("* 24 * * *", "'24' is no hour; write a number from 0 to 23"),
    ("* * 0 * *", "'0' is no day of month; write a number from 1 to 31"),
    ("* * 32 * *", "'32' is no day of month"),
    ("* * * 13 *", "'13' is no month; write a number from 1 to 12"),
    ("* * * 0 *", "'0' is no month"),
    ("* * * * 8", "'8' is no day of week; write a number from 0 to 7"),
    ("-1 * * * *", "'' is no minute"),
    ("1.5 * * * *", "'1.5' is no minute"),
    ("mon * * * *", "'mon' is no minute"),
    ("* * * mon *", "'mon' is no month"),
    ("* * * * jan", "'jan' is no day of week"),
    ("5-1 * * * *", "'5-1' is no minute: 5 comes after 1"),
    ("* * * * sat-sun", "'sat-sun' is no day of week: 6 comes after 0"),
    ("*/0 * * * *", "'0' is no step; write a number from 1 to 59"),
    ("*/ * * * *", "'' is no step"),
    ("*/60 * * * *", "'60' is no step"),
    ("1,,2 * * * *", "'' is no minute"),
    ("*-5 * * * *", "'*' is no minute"),
    ("1-2-3 * * * *", "'2-3' is no minute"),
    ("1/2/3 * * * *", "'2/3' is no step"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=[text or "empty" for text, _ in REFUSED])
def test_what_is_no_cron_expression_is_refused_in_a_sentence(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("*", r"\*")):
        Cron.parse(text)


ON = [
    # January 2026: the 1st is a Thursday, the 5th a Monday
    pytest.param("0 0 13 * *", [13], id="day of month"),
    pytest.param("0 0 * * thu", [1, 8, 15, 22, 29], id="day of week"),
    pytest.param("0 0 13 * thu", [1, 8, 13, 15, 22, 29], id="both given: either will do"),
    pytest.param("0 0 */10 * thu", [1], id="one begins with a star: both must hold"),
    pytest.param("0 0 1-7 * */2", [1, 3, 4, 6], id="so with the other"),
    pytest.param("0 0 31 * sun", [4, 11, 18, 25, 31], id="Sunday is 0"),
    pytest.param("0 0 * feb *", [], id="another month"),
    pytest.param("0 0 1 feb thu", [], id="another month, and both days given"),
]


@pytest.mark.parametrize(("text", "days"), ON)
def test_the_days_on_which_it_fires(text: str, days: list[int]) -> None:
    cron = Cron.parse(text)

    assert [day for day in range(1, 32) if cron.on(datetime(2026, 1, day, tzinfo=UTC))] == days


def utc(day: int, hour: int = 0, minute: int = 0, second: int = 0, month: int = 1) -> datetime:
    return datetime(2026, month, day, hour, minute, second, tzinfo=UTC)


OPEN = [
    # start duration [(time, open)]
    pytest.param(
        "0 8 * * *",
        2 * HOUR,
        [(utc(5, 7, 59, 59), False), (utc(5, 8), True), (utc(5, 9, 59, 59), True), (utc(5, 10), False)],
        id="its start belongs to it, its end does not",
    ),
    pytest.param(
        "0 22 * * *",
        8 * HOUR,
        [(utc(5, 21, 59), False), (utc(5, 22), True), (utc(6, 0), True), (utc(6, 5, 59), True), (utc(6, 6), False)],
        id="over midnight",
    ),
    pytest.param(
        "0 22 * * fri",
        8 * HOUR,
        [(utc(9, 23), True), (utc(10, 5), True), (utc(10, 23), False), (utc(8, 23), False)],
        id="over midnight, by the day on which it began",
    ),
    pytest.param(
        "0 0 * * mon",
        timedelta(days=5),
        [(utc(4, 23, 59), False), (utc(5), True), (utc(9, 23, 59), True), (utc(10), False)],
        id="days long",
    ),
    pytest.param(
        "0 6 1 * *",
        timedelta(days=31),
        [(utc(1, 5, 59), True), (utc(1, 6), True), (utc(31), True), (utc(1, 5, 59, month=2), True)],
        id="the longest, from month to month",
    ),
    pytest.param(
        "0 6 1 1 *",
        timedelta(days=31),
        [(utc(1, 5, 59), False), (utc(1, 6), True), (utc(1, 5, 59, month=2), True), (utc(1, 6, month=2), False)],
        id="the longest, once",
    ),
    pytest.param(
        "0,30 9,12 * * *",
        timedelta(minutes=15),
        [
            (utc(5, 9, 14), True),
            (utc(5, 9, 15), False),
            (utc(5, 9, 44), True),
            (utc(5, 12, 30), True),
            (utc(5, 11), False),
        ],
        id="several times a day",
    ),
    pytest.param(
        "*/10 * * * *",
        timedelta(hours=1),
        [(utc(5, hour, 7), True) for hour in (0, 11, 23)],
        id="windows that overlap",
    ),
    pytest.param("0 0 30 2 *", HOUR, [(utc(day, 0), False) for day in (1, 28)], id="a day that never comes"),
    pytest.param("30 23 31 12 *", HOUR, [(utc(1, 0, 29), True), (utc(1, 0, 30), False)], id="over the new year"),
]


@pytest.mark.parametrize(("start", "duration", "times"), OPEN)
def test_when_a_window_is_open(start: str, duration: timedelta, times: list[tuple[datetime, bool]]) -> None:
    window = FloorWindow(start, duration, 4)

    assert [(at, window.open_at(at)) for at, _ in times] == times


def test_times_are_those_of_the_zone_on_the_wall() -> None:
    berlin = FloorWindow("0 8 * * *", 2 * HOUR, 4, "Europe/Berlin")

    assert [berlin.open_at(utc(5, hour)) for hour in (6, 7, 8, 9)] == [False, True, True, False]
    assert [berlin.open_at(utc(5, hour, month=7)) for hour in (5, 6, 7, 8)] == [False, True, True, False]


def test_the_day_is_that_of_the_zone() -> None:
    tokyo = FloorWindow("0 0 * * mon", HOUR, 4, "Asia/Tokyo")

    assert tokyo.open_at(utc(4, 15)), "Monday has begun there"
    assert not tokyo.open_at(utc(5, 0))


SPRING = [
    # 29 March 2026: from 2:00 to 3:00 in Berlin, which is 1:00 UTC
    pytest.param(
        "0 1 * * *",
        3 * HOUR,
        [(0, 0, True), (0, 59, True), (1, 0, True), (1, 59, True), (2, 0, False)],
        id="through it",
    ),
    pytest.param(
        "30 2 * * *",
        HOUR,
        [(0, 59, False), (1, 0, True), (1, 29, True), (1, 30, False)],
        id="a start that there is not",
    ),
    pytest.param("0 8 * * *", HOUR, [(5, 59, False), (6, 0, True), (7, 0, False)], id="after it"),
]
AUTUMN = [
    # 25 October 2026: from 3:00 back to 2:00 in Berlin, which is 1:00 UTC
    pytest.param(
        "30 2 * * *",
        HOUR,
        [(0, 30, True), (0, 59, True), (1, 0, False), (1, 30, True), (1, 59, True), (2, 29, True), (2, 30, False)],
        id="an hour that comes twice",
    ),
    pytest.param(
        "0 1 * * *",
        3 * HOUR,
        [(22, 59, False), (23, 0, True), (0, 30, True), (1, 30, True), (2, 59, True), (3, 0, False)],
        id="through it",
    ),
]


@pytest.mark.parametrize(("start", "duration", "times"), SPRING)
def test_the_clocks_go_forward(start: str, duration: timedelta, times: list[tuple[int, int, bool]]) -> None:
    window = FloorWindow(start, duration, 4, "Europe/Berlin")
    seen = [(hour, minute, window.open_at(utc(29, hour, minute, month=3))) for hour, minute, _ in times]

    assert seen == times


@pytest.mark.parametrize(("start", "duration", "times"), AUTUMN)
def test_the_clocks_go_back(start: str, duration: timedelta, times: list[tuple[int, int, bool]]) -> None:
    """A window goes by what the clock on the wall shows: it may be an hour longer or shorter on that day."""
    window = FloorWindow(start, duration, 4, "Europe/Berlin")
    seen = [
        (hour, minute, window.open_at(utc(24 if hour > 12 else 25, hour, minute, month=10)))
        for hour, minute, _ in times
    ]

    assert seen == times


@pytest.mark.parametrize(
    ("duration", "floor", "zone", "why"),
    [
        (timedelta(seconds=59), 1, "UTC", "a scheduled floor lasts 0:00:59; make it between 1 minute and 31 days"),
        (timedelta(days=31, seconds=1), 1, "UTC", "make it between 1 minute and 31 days"),
        (HOUR, 0, "UTC", "a scheduled floor is 0; it must be at least 1"),
        (HOUR, 1, "Mars/Olympus", "'Mars/Olympus' is no time zone here"),
        (HOUR, 1, "../etc/passwd", "is no time zone here"),
    ],
)
def test_a_window_that_cannot_be_is_refused(duration: timedelta, floor: int, zone: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        FloorWindow("0 8 * * *", duration, floor, zone)


def test_the_shortest_and_the_longest_are_taken() -> None:
    assert FloorWindow("0 8 * * *", timedelta(minutes=1), 1).zone is UTC
    assert FloorWindow("0 8 * * *", timedelta(days=31), 1).floor == 1


minute_of_the_year = st.integers(0, 365 * 24 * 60 - 1).map(lambda minute: utc(1) + timedelta(minutes=minute))


@given(
    st.sampled_from(["0 8 * * *", "15 22 * * 1-5", "*/45 6-8 1,15 * *", "30 1 * 2,6 sat", "5 0 31 * *"]),
    st.sampled_from([timedelta(minutes=7), 5 * HOUR, 30 * HOUR, timedelta(days=9)]),
    minute_of_the_year,
)
def test_it_is_open_if_and_only_if_it_fired_within_its_duration(start: str, duration: timedelta, now: datetime) -> None:
    """Asked minute by minute, as cron itself does."""
    cron, window = Cron.parse(start), FloorWindow(start, duration, 1)
    back = range(int(duration.total_seconds() // 60))
    fired = any(
        cron.on(at) and at.hour in cron.hours and at.minute in cron.minutes
        for at in (now - timedelta(minutes=minute) for minute in back)
    )

    assert window.open_at(now) == fired


def test_windows_of_a_day_follow_each_other_without_a_gap() -> None:
    hourly = FloorWindow("0 * * * *", HOUR, 1)
    seen = [hourly.open_at(utc(5) + timedelta(minutes=minute)) for minute in range(24 * 60)]

    assert all(one and other for one, other in pairwise(seen))
