"""The book of alerts: what is listed first, what is forgotten, and that nobody can fill the memory."""

from __future__ import annotations

from datetime import timedelta

from controller.core.alerts import FORGOTTEN_AFTER, RESOLVED_KEPT, Alert, HeardAlerts
from controller.reconcile.alerts import MOST, Alerts
from tests.fakes.clock import START, FakeClock


def alert(number: int, firing: bool = True, start: timedelta = timedelta(0)) -> Alert:
    return Alert(f"{number:x}", firing, START + start, {"alertname": f"A{number}"})


def names(book: Alerts, clock: FakeClock) -> list[str]:
    return [f"{known.alert.name} {'fires' if known.alert.firing else 'ended'}" for known in book.known(clock.now())]


def test_those_that_fire_come_first_and_the_newest_of_them_before_the_others() -> None:
    clock, book = FakeClock(), Alerts()
    for number in (1, 2, 3):
        book.hear([alert(number)], 0, clock.now())
        clock.advance(seconds=10)
    book.hear([alert(2, firing=False)], 0, clock.now())

    assert names(book, clock) == ["A3 fires", "A1 fires", "A2 ended"]


def test_what_came_of_a_message_is_counted() -> None:
    clock, counted = FakeClock(), list[HeardAlerts]()
    book = Alerts(counted.append)
    first = book.hear([alert(1), alert(2), alert(3, firing=False)], 4, clock.now())
    book.hear([alert(1), alert(2, firing=False)], 0, clock.now())

    assert first == HeardAlerts(firing=2, resolved=1, news=3, repeated=0, left_out=4)
    assert counted == [first, HeardAlerts(firing=1, resolved=1, news=1, repeated=1, left_out=0)]


def test_the_same_twice_in_one_message_is_one() -> None:
    clock, book = FakeClock(), Alerts()

    heard = book.hear([alert(1), alert(1)], 0, clock.now())

    assert (heard.news, heard.repeated, len(book.known(clock.now()))) == (1, 1, 1)


def test_what_nobody_repeats_is_forgotten_and_what_ended_an_hour_later() -> None:
    clock, book = FakeClock(), Alerts()
    book.hear([alert(1), alert(2), alert(3, firing=False)], 0, clock.now())
    clock.advance(seconds=FORGOTTEN_AFTER.total_seconds() - 1)
    book.hear([alert(2)], 0, clock.now())
    clock.advance(seconds=1)
    assert names(book, clock) == ["A2 fires", "A3 ended"]

    clock.advance(seconds=RESOLVED_KEPT.total_seconds())
    assert names(book, clock) == []


def test_no_more_than_a_thousand_are_known() -> None:
    clock, book = FakeClock(), Alerts()
    heard = book.hear([alert(number) for number in range(MOST + 5)], 0, clock.now())

    assert (heard.news, heard.left_out, len(book.known(clock.now()))) == (MOST, 5, MOST)
    again = book.hear([alert(0), alert(MOST + 9)], 0, clock.now())
    assert (again.repeated, again.left_out) == (1, 1), "those that are known can still change"


def test_what_has_ended_gives_way_to_what_fires_the_oldest_first() -> None:
    clock, book = FakeClock(), Alerts()
    book.hear([alert(number) for number in range(MOST)], 0, clock.now())
    for number in (7, 8):
        clock.advance(seconds=1)
        book.hear([alert(number, firing=False)], 0, clock.now())
    heard = book.hear([alert(8, start=timedelta(seconds=9)), alert(MOST), alert(MOST + 1)], 0, clock.now())

    found = names(book, clock)
    assert (heard.news, heard.left_out, len(found)) == (2, 1, MOST)
    assert f"A{MOST} fires" in found
    assert "A8 fires" in found, "it fires again and gives way to nothing"
    assert not any(name.startswith("A7 ") for name in found)
