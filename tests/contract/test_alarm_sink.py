"""AlarmSink: the same promises from the fake and from a webhook whose receiver is slow, silent, broken or away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import pytest

from controller.adapters.webhook import Receiver, Webhook
from controller.core.alarm import Alarm, Finding, Severity, Standing
from controller.ports import Delivery
from controller.reconcile.parts import AlarmSink
from tests.fakes.alarms import FakeAlarmSink
from tests.fakes.clock import START, FakeClock
from tests.waiting import wait_for
from tests.webhook import WebhookReceiver

SLOW = Finding("StokerLatencyHigh", Severity.WARNING, (("pool", "llama"),), "It is slow.", "p95 is 2 s, above 0.5 s.")
DOWN = Finding("StokerPoolDown", Severity.CRITICAL, (("pool", "llama"),), "It is down.", "0 of 3 replicas serve.")
FIRING, RESOLVED = Standing.FIRING, Standing.RESOLVED


def alarm(finding: Finding = SLOW, standing: Standing = FIRING, changed_s: float = 20) -> Alarm:
    now = START + timedelta(seconds=changed_s)
    return Alarm(finding, standing, START, now, now)


class Place(Protocol):
    """A sink, and what happens at its other end."""

    @property
    def sink(self) -> AlarmSink: ...

    def tell(self, due: Sequence[Alarm]) -> Delivery: ...

    def received(self) -> list[tuple[str, str]]: ...

    def fail(self, how: str) -> None: ...

    def settle(self) -> None:
        """What was tried when it was told last has been tried."""
        ...

    def mend(self) -> None: ...

    def close(self) -> None: ...


class Fake:
    """All in memory: what was told a tick ago has been delivered by now."""

    def __init__(self) -> None:
        self._sink = FakeAlarmSink(FakeClock())
        self.sink: AlarmSink = self._sink

    def tell(self, due: Sequence[Alarm]) -> Delivery:
        self._sink.deliver()
        return self._sink.tell(due)

    def received(self) -> list[tuple[str, str]]:
        self._sink.deliver()
        return self._sink.told()

    def fail(self, how: str) -> None:
        self._sink.trouble = f"The webhook is {how}"

    def settle(self) -> None:
        self._sink.deliver()

    def mend(self) -> None:
        self._sink.trouble = ""

    def close(self) -> None:
        self.sink.close()


class Real:
    """The adapter, and a receiver on the loopback."""

    def __init__(self) -> None:
        self.receiver = WebhookReceiver()
        self.counted: list[str] = []
        self.told = Receiver(
            self.receiver.url, {"Authorization": "Bearer hunter2"}, timedelta(seconds=0.3), "http://c/"
        )
        self.sink = Webhook(self.told, FakeClock(), self.counted.append)

    def tell(self, due: Sequence[Alarm]) -> Delivery:
        return self.sink.tell(due)

    def received(self) -> list[tuple[str, str]]:
        return self.receiver.alerts()

    def fail(self, how: str) -> None:
        if how == "away":
            self.receiver.refuse()
        elif how == "silent":
            self.receiver.open.clear()
            self.receiver.code = 500  # what it was asked meanwhile it takes in no case
        else:
            self.receiver.code = int(how)

    def settle(self) -> None:
        ended = len(self.counted) + 2  # one may have been under way
        wait_for(lambda: len(self.counted) >= ended, 20, "two more requests")

    def mend(self) -> None:
        self.receiver.code = 200
        self.receiver.open.set()
        if self.receiver._server is None:
            self.receiver.listen()

    def close(self) -> None:
        self.sink.close()
        self.receiver.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.adapters.webhook._FIRST_WAIT_S", 0.02)
    monkeypatch.setattr("controller.adapters.webhook._LONGEST_WAIT_S", 0.1)


@pytest.fixture
def real() -> Iterator[Real]:
    made = Real()
    yield made
    made.close()


@pytest.fixture(params=["fake", "webhook"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    made: Place = Fake() if request.param == "fake" else Real()
    yield made
    made.close()


def until_taken(place: Place, due: Sequence[Alarm]) -> list[Alarm]:
    """Ticks that tell the same again and again, until all were taken."""
    taken: list[Alarm] = []

    def told() -> bool:
        left = [item for item in due if item.key not in {known.key for known in taken}]
        taken.extend(place.tell(left).taken)
        return len(taken) >= len(due)

    wait_for(told, 20, "all alerts to be taken")
    return taken


def until_trouble(place: Place, due: Sequence[Alarm]) -> str:
    return wait_for(lambda: place.tell(due).trouble, 20, "the trouble to be told")


def test_what_is_told_is_taken_once_and_each_change_is_one(place: Place) -> None:
    first = until_taken(place, [alarm(), alarm(DOWN)])
    assert {(item.finding.name, item.told.standing) for item in first if item.told} == {
        ("StokerLatencyHigh", FIRING),
        ("StokerPoolDown", FIRING),
    }
    assert place.tell([]) == Delivery()
    second = until_taken(place, [alarm(standing=RESOLVED, changed_s=60)])

    assert [item.told.standing for item in second if item.told] == [RESOLVED]
    expected = [("StokerLatencyHigh", "firing"), ("StokerPoolDown", "firing"), ("StokerLatencyHigh", "resolved")]
    assert sorted(place.received()[:2]) == expected[:2]
    assert place.received()[2:] == expected[2:]


@pytest.mark.parametrize("how", ["away", "silent", "500", "404", "429"])
def test_what_is_not_taken_is_told_once_all_is_well(place: Place, how: str) -> None:
    place.fail(how)
    said = until_trouble(place, [alarm()])
    assert said.startswith("The webhook ")
    assert place.received() == []

    place.mend()
    until_taken(place, [alarm()])
    assert place.tell([]).trouble == ""
    assert place.received() == [("StokerLatencyHigh", "firing")]


def test_what_has_changed_meanwhile_is_told_as_it_is_now(place: Place) -> None:
    place.fail("500")
    until_trouble(place, [alarm(), alarm(DOWN)])
    now = [alarm(standing=RESOLVED, changed_s=60)]
    until_trouble(place, now)
    place.settle()
    place.mend()

    until_taken(place, now)
    assert place.received() == [("StokerLatencyHigh", "resolved")]


def test_who_is_closed_tells_nothing_more(place: Place) -> None:
    place.fail("500")
    until_trouble(place, [alarm()])
    place.sink.close()
    place.sink.close()
    place.mend()

    assert place.tell([alarm()]).taken == ()
    assert place.received() == []


def test_a_receiver_that_is_slow_holds_nobody_up_and_gets_it_once(real: Real) -> None:
    real.sink.close()
    patient = Webhook(replace(real.told, timeout=timedelta(seconds=60)), FakeClock(), real.counted.append)
    real.receiver.open.clear()
    for _ in range(3):
        assert patient.tell([alarm()]) == Delivery()
        wait_for(lambda: real.receiver.asked, 10, "a request that is held")
    assert patient.tell([alarm(), alarm(DOWN)]) == Delivery(), "the receiver still holds its answer"
    real.receiver.open.set()

    wait_for(lambda: len(real.received()) == 2, 10, "both to be taken")
    taken = wait_for(lambda: patient.tell([alarm(), alarm(DOWN)]).taken, 10, "the receipts")
    patient.close()
    assert len(taken) == 2
    assert real.received() == [("StokerLatencyHigh", "firing"), ("StokerPoolDown", "firing")]


def test_one_that_cannot_be_taken_does_not_keep_the_others(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that a receiver refuses again and again."""
    post = real.sink._session.post

    def refused_once_it_is_slow(url: str, json: dict[str, object], **more: object) -> object:
        real.receiver.code = 400 if "StokerLatencyHigh" in str(json) else 200
        return post(url, json=json, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(real.sink._session, "post", refused_once_it_is_slow)
    real.tell([alarm(), alarm(DOWN)])
    wait_for(real.received, 10, "the other one to be taken")

    assert real.received() == [("StokerPoolDown", "firing")]
    assert until_trouble(real, [alarm()]) == "The webhook answered 400"


def test_a_redirection_is_not_followed(real: Real) -> None:
    """The headers may be a secret, and are for the one who was named."""
    elsewhere = WebhookReceiver()
    real.receiver.code, real.receiver.location = 307, elsewhere.url

    assert until_trouble(real, [alarm()]) == "The webhook answered 307"
    assert elsewhere.asked == 0
    elsewhere.close()


def test_an_answer_without_end_is_not_read(real: Real) -> None:
    real.receiver.endless = True
    until_taken(real, [alarm()])

    assert real.received() == [("StokerLatencyHigh", "firing")]


def test_many_go_in_messages_of_a_hundred_each_of_one_alert_of_one_pool(real: Real) -> None:
    many = [
        alarm(replace(SLOW, labels=(("pool", pool), ("replica", f"{pool}-{number}"))))
        for number in range(120)
        for pool in ("llama", "qwen")
    ]
    until_taken(real, [*many, alarm(DOWN)])

    sizes = [(body["groupLabels"], len(body["alerts"])) for body in real.receiver.messages]
    slow = [{"alertname": "StokerLatencyHigh", "pool": pool} for pool in ("llama", "qwen")]
    down = {"alertname": "StokerPoolDown", "pool": "llama"}
    assert sizes == [(slow[0], 100), (slow[1], 100), (slow[0], 20), (slow[1], 20), (down, 1)]


def test_each_request_is_counted_and_nothing_of_the_secrets_is_told(real: Real) -> None:
    real.fail("500")
    said = until_trouble(real, [alarm()])
    real.receiver.refuse()
    wait_for(lambda: "could not be reached" in real.tell([alarm()]).trouble, 10, "nobody listens")
    gone = real.tell([alarm()]).trouble
    real.mend()
    until_taken(real, [alarm()])

    assert real.counted[0] == "failed"
    assert real.counted.count("delivered") == 1
    assert real.receiver.headers[0]["Authorization"] == "Bearer hunter2"
    for text in (said, gone, repr(real.told), str(real.told)):
        assert "hunter2" not in text
        assert "/alerts" not in text


def test_the_headers_are_those_of_json(real: Real) -> None:
    until_taken(real, [alarm()])

    assert real.receiver.headers[0]["Content-Type"] == "application/json"
    assert real.receiver.messages[0]["externalURL"] == "http://c/"
