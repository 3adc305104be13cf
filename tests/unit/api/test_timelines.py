"""A pool over time, the last hour of all pools, and the gateway's traffic, from what Prometheus and the ledger tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from fastapi.testclient import TestClient

from controller.api.app import create_app
from controller.api.deps import Offer, Sources
from controller.api.history_promql import COLUMN, NUMBERS
from controller.api.kept_history import KeptHistory
from controller.api.marks import MOST
from controller.core.access import ApiKey, KeyId
from controller.core.costs import Costs, Prices
from controller.core.decision import Memory, Plan, Reason, ReasonCode, ScalePool, StartReplica
from controller.core.event import Event
from controller.core.model import GatewayPlan, NodeName, PoolName, ReplicaId
from controller.core.people import Role
from controller.core.policy import LatencyPolicy, Measure, PoolPolicy, ScalingPolicy
from controller.core.quota import Block, DayUsage, KeyUsage, QuotaKind, QuotaMemory, TokenLimits
from controller.ports import AccessState
from tests.fakes.clock import START, FakeClock
from tests.fakes.history import FakeHistory, Value
from tests.fakes.people import FakePeople
from tests.fakes.store import FakeKeys, FakeStore
from tests.unit.api.callers import TOKEN, as_admin, as_role

POOL, OTHER = PoolName("llama"), PoolName("qwen")
POLICIES = (
    PoolPolicy(POOL, "llama"),
    PoolPolicy(OTHER, "qwen", ScalingPolicy(latency=LatencyPolicy(measure=Measure.DURATION, quantile=0.5))),
)
NOW = START + timedelta(hours=1)
REASONS = (Reason(ReasonCode.ABOVE_TARGET, "20 in flight, target 4"),)


@dataclass
class Given:
    """What the sources say."""

    metrics: FakeHistory = field(default_factory=FakeHistory)
    store: FakeStore = field(default_factory=FakeStore)
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOW))
    keys: FakeKeys = field(default_factory=FakeKeys)
    access: AccessState = field(default_factory=AccessState)
    people: FakePeople = field(default_factory=FakePeople)

    def columns(self, **columns: Value | float) -> None:
        """What Prometheus says of numbers of the pool."""
        self.metrics.says["label_replace"] = {
            (("pool", POOL), (COLUMN, name)): _value(value) for name, value in columns.items()
        }

    def decide(self, at: datetime, *decisions: ScalePool | StartReplica) -> None:
        self.store.save(Plan(decisions, GatewayPlan(()), Memory(), ()), tick=1, term=self.store.take_term(), at=at)

    def happened(self, at: datetime, event: str, subject: str, message: str = "It is so.") -> None:
        self.store.append([Event(at, event, subject, "Reason", message)])


def _value(value: Value | float) -> Value:
    return value if callable(value) else lambda at: float(value)


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def client(given: Given) -> Iterator[TestClient]:
    history = KeptHistory(given.metrics, given.clock.now)
    sources = Sources(
        policies=POLICIES,
        nodes=(NodeName("local"),),
        store=given.store,
        latest=lambda: None,
        healthy=lambda: True,
        metrics=lambda: b"",
        now=given.clock.now,
        token=TOKEN,
        keys=given.keys,
        access=lambda: given.access,
        offer=Offer({"gold": TokenLimits(per_minute=100, per_day=1000)}),
        history=history,
        costs=Costs(Prices(2.0, 0.5), currency="EUR"),
        people=given.people,
    )
    with TestClient(create_app(sources)) as made:
        yield as_admin(made)
    history.close()


Ask = Callable[..., Any]


@pytest.fixture
def ask(given: Given, client: TestClient) -> Ask:
    def get(path: str, role: Role = Role.OPERATOR, **query: Any) -> Any:
        as_role(client, given.people, role)
        answer = client.get(f"/api/v1/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return get


def test_columns_on_one_axis(given: Given, ask: Ask) -> None:
    given.columns(demand=lambda at: at % 7, ready=3, held=4, gpus=2, tokens_per_second=100)
    told = ask("pools/llama/timeline")

    assert (told["step_s"], told["of_minutes"], len(told["at"])) == (5, False, 180)
    assert told["at"][-1] == round(NOW.timestamp())
    assert told["columns"]["demand"] == [at % 7 for at in told["at"]]
    assert told["columns"]["queue"] == [None] * 180, "not known"
    assert set(told["columns"]) == NUMBERS.keys() - {"held", "gpus"}
    assert told["since"] == told["at"][0]
    assert told["latency"] == {"measure": "first_byte", "statistic": "p95", "enabled": True}
    assert told["as_of"] == NOW.isoformat().replace("+00:00", "Z")
    assert told["stale_since"] is None


def test_what_it_used_and_what_that_costs(given: Given, ask: Ask) -> None:
    given.columns(held=4, gpus=2, tokens_per_second=100)

    totals = ask("pools/llama/timeline")["totals"]
    # The last moment is now: of the 180 spans of 5 s the last one has not begun.
    assert totals == {
        "replica_hours": pytest.approx(4 * 895 / 3600, abs=1e-4),
        "gpu_hours": pytest.approx(2 * 895 / 3600, abs=1e-4),
        "tokens": 89500,
        "cost": pytest.approx((4 * 0.5 + 2 * 2.0) * 895 / 3600, abs=1e-4),
        "cost_per_million_tokens": pytest.approx(6.0 * 895 / 3600 / 0.0895, abs=1e-3),
        "currency": "EUR",
    }


@pytest.mark.parametrize(
    ("query", "step", "points"),
    [
        ({"from": NOW - timedelta(days=30)}, 7200, 360),
        ({"from": NOW - timedelta(hours=3), "to": NOW - timedelta(hours=2)}, 10, 360),
        ({"from": NOW - timedelta(hours=1), "step": 60}, 60, 60),
        ({"from": NOW - timedelta(hours=3, seconds=1), "to": NOW - timedelta(hours=2, seconds=1)}, 10, 361),
        (
            {"from": NOW - timedelta(minutes=31, seconds=1), "to": NOW - timedelta(minutes=1, seconds=1), "step": 5},
            5,
            361,
        ),
    ],
)
def test_a_range_and_a_step(ask: Ask, query: dict[str, Any], step: int, points: int) -> None:
    told = ask("pools/llama/timeline", **query)

    assert (told["step_s"], len(told["at"])) == (step, points)
    assert told["at"][-1] <= query.get("to", NOW).timestamp() <= told["at"][-1] + step


@pytest.mark.parametrize(
    ("pool", "query", "status", "sentence"),
    [
        ("nope", {}, 404, "there is no pool 'nope'; there is llama, qwen"),
        ("llama", {"from": NOW - timedelta(minutes=5)}, 422, "15 minutes to 31 days"),
        ("llama", {"from": NOW - timedelta(days=40)}, 422, "15 minutes to 31 days"),
        ("llama", {"from": NOW + timedelta(hours=1)}, 422, "15 minutes to 31 days"),
        ("llama", {"from": NOW - timedelta(hours=6), "step": 10}, 422, "a step of 10 s does not fit; one of 60, 120"),
        ("llama", {"from": NOW - timedelta(hours=1), "step": 11}, 422, "a step of 11 s does not fit; one of 10, 15"),
    ],
)
def test_what_cannot_be_drawn(client: TestClient, pool: str, query: dict[str, Any], status: int, sentence: str) -> None:
    answer = client.get(f"/api/v1/pools/{pool}/timeline", params=query)

    assert answer.status_code == status
    assert sentence in answer.json()["detail"]


def test_a_time_that_was_asked_for_is_told_from_end_to_end(given: Given, ask: Ask) -> None:
    """10:00:30 to 11:00:30: with whole minutes at both ends, and with what happened and was used within."""
    given.columns(held=4, gpus=2, tokens_per_second=100)
    begin, end = NOW - timedelta(hours=2, seconds=30), NOW - timedelta(hours=1, seconds=30)
    second = timedelta(seconds=1)
    for at, count in ((begin - second, 3), (begin + second, 4), (end - second, 5), (end + second, 6)):
        given.decide(at, ScalePool(POOL, 2, count, REASONS))

    told = ask("pools/llama/timeline", **{"from": begin, "to": end, "step": 60})

    assert told["at"] == list(range(round(begin.timestamp()) - 30, round(end.timestamp()) + 30, 60))
    assert [mark["text"][:11] for mark in told["marks"]] == ["From 2 to 4", "From 2 to 5"]
    assert (told["totals"]["replica_hours"], told["totals"]["tokens"]) == (4.0, 360_000)


def test_a_time_that_goes_on_into_what_is_to_come_is_summed_up_to_now(given: Given, ask: Ask) -> None:
    given.columns(held=4)
    asked = {"from": NOW - timedelta(hours=1), "to": NOW + timedelta(hours=1), "step": 60}

    assert ask("pools/llama/timeline", **asked)["totals"]["replica_hours"] == 4.0


def test_marks_of_decisions_events_and_alerts(given: Given, ask: Ask) -> None:
    """Of the pool, and of what is any pool's; each with the page that explains it."""
    at = NOW - timedelta(minutes=10)
    given.decide(at, ScalePool(POOL, 3, 5, REASONS), ScalePool(OTHER, 1, 2, REASONS))
    given.decide(at + timedelta(minutes=1), StartReplica(POOL, ReplicaId("llama-4"), REASONS))
    given.decide(NOW - timedelta(minutes=20), ScalePool(POOL, 2, 3, REASONS))
    for minute, (name, subject, message) in enumerate(
        (
            ("drill_started", "pool/llama", "Drill 1."),
            ("replica_unready", "replica/llama-1", "Was ready, is unready: its probes fail."),
            ("replica_stopped", "replica/llama-2", "Was ready, is stopped: it exited."),
            ("replica_stopped", "replica/llama-3", "Was draining, is stopped: it exited."),
            ("replica_ready", "replica/llama-4", "Was starting, is ready: a probe passed."),
            ("replica_unready", "replica/qwen-1", "Was ready, is unready: its probes fail."),
            ("source_lost", "source/metrics", "Gave no answer."),
            ("fuse_blown", "pool/llama", "The budget is spent."),
            ("pool_paused", "pool/llama", "By ada."),
        )
    ):
        given.happened(at + timedelta(seconds=90 + minute), name, subject, message)
    begun, ended = round(NOW.timestamp()) - 300, round(NOW.timestamp()) - 200
    alert = (("alertname", "StokerPoolDown"), ("severity", "critical"))
    still = (("alertname", "StokerLatencyHigh"), ("severity", "warning"))
    given.metrics.says["ALERTS"] = {
        alert: lambda at: 1.0 if begun <= at <= ended else None,
        still: lambda at: 1.0 if at > ended else None,
    }
    told = ask("pools/llama/timeline")

    assert [(mark["kind"], mark["what"], mark["severity"], mark["href"]) for mark in told["marks"]] == [
        ("decision", "scale_pool", "info", "/decisions/1"),
        ("decision", "start_replica", "info", "/decisions/3"),
        ("drill", "drill_started", "info", "/activity?event=1"),
        ("failure", "replica_unready", "warning", "/activity?event=2"),
        ("failure", "replica_stopped", "warning", "/activity?event=3"),
        ("failure", "source_lost", "warning", "/activity?event=7"),
        ("failure", "fuse_blown", "critical", "/activity?event=8"),
        ("person", "pool_paused", "info", "/activity?event=9"),
        ("alert", "StokerPoolDown", "critical", "/alerts?pool=llama&name=StokerPoolDown&ended=24h"),
        ("alert", "StokerLatencyHigh", "warning", "/alerts?pool=llama&name=StokerLatencyHigh&ended=24h"),
    ]
    first, second, *_, over, fires = told["marks"]
    assert (first["id"], first["at"], first["text"]) == (
        "decision/1",
        at.timestamp(),
        "From 3 to 5: 20 in flight, target 4.",
    )
    assert (second["subject"], second["text"]) == ("replica/llama-4", "20 in flight, target 4.")
    assert (over["at"], over["until"], over["text"]) == (begun, ended + 5, "StokerPoolDown fired.")
    assert (fires["at"], fires["until"], fires["text"]) == (ended + 5, None, "StokerLatencyHigh fires.")


def test_an_alert_of_days_ago_leads_to_what_happened_then(given: Given, ask: Ask) -> None:
    begun = (NOW - timedelta(days=3)).timestamp()
    given.metrics.says["ALERTS"] = {
        (("alertname", "StokerPoolDown"), ("severity", "critical")): lambda at: (
            1.0 if begun <= at < begun + 6 * 3600 else None
        )
    }
    (mark,) = ask("pools/llama/timeline", **{"from": (NOW - timedelta(days=7)).isoformat()})["marks"]
    later = {"from": (NOW - timedelta(days=5)).isoformat(), "to": (NOW - timedelta(days=2.9)).isoformat()}
    (still,) = ask("pools/llama/timeline", **later)["marks"]  # it fires to the end of what is shown
    assert still["href"].startswith("/activity?")
    before = {"from": (NOW - timedelta(days=5)).isoformat(), "to": (NOW - timedelta(days=4)).isoformat()}
    assert ask("pools/llama/timeline", **before)["marks"] == []
    where, _, asked = mark["href"].partition("?")
    times = dict(parse_qsl(asked))

    assert (where, times["pool"]) == ("/activity", "llama")
    assert datetime.fromisoformat(times["from"]).timestamp() < begun < datetime.fromisoformat(times["to"]).timestamp()


def test_a_decision_that_failed_is_a_warning(given: Given, ask: Ask) -> None:
    given.decide(NOW - timedelta(minutes=1), ScalePool(POOL, 3, 5, REASONS))
    given.store.finish({1: "no engine answers"}, Memory(), term=given.store.take_term())

    (mark,) = ask("pools/llama/timeline")["marks"]
    assert mark["severity"] == "warning"


def test_too_many_marks_of_a_kind_leave_room_for_the_others(given: Given, ask: Ask) -> None:
    given.happened(NOW - timedelta(minutes=14), "drill_started", "pool/llama")
    for second in range(MOST + 30):
        given.happened(NOW - timedelta(seconds=300 - second), "replica_unready", "replica/llama-1")
    told = ask("pools/llama/timeline")

    assert told["left_out"] == {"failure": 30}
    assert len(told["marks"]) == MOST + 1
    assert told["marks"][0]["what"] == "drill_started"
    assert told["marks"][1]["at"] == (NOW - timedelta(seconds=270)).timestamp(), "the oldest are left out"


def test_while_prometheus_is_away(given: Given, ask: Ask) -> None:
    given.metrics.gone = True
    given.decide(NOW - timedelta(minutes=1), ScalePool(POOL, 3, 5, REASONS))
    told = ask("pools/llama/timeline")
    assert (told["as_of"], told["since"], len(told["marks"])) == (None, None, 1)
    assert told["stale_since"] is not None
    nothing = dict.fromkeys(("replica_hours", "gpu_hours", "tokens", "cost", "cost_per_million_tokens"))
    assert told["totals"] == {**nothing, "currency": "EUR"}, "not known is not 0"

    given.clock.advance(11)
    given.metrics.gone = False
    given.columns(ready=3)
    assert ask("pools/llama/timeline")["columns"]["ready"][-1] == 3
    given.clock.advance(60)
    given.metrics.gone = True
    old = ask("pools/llama/timeline")
    assert old["columns"]["ready"][-1] == 3
    assert old["at"][-1] < given.clock.now().timestamp() - 50, "on the axis that they are of"
    assert old["stale_since"] > old["as_of"]


def test_the_last_hour_of_all_pools(given: Given, ask: Ask) -> None:
    def column(pool: str, name: str) -> tuple[tuple[str, str], ...]:
        return (("pool", pool), (COLUMN, name))

    given.metrics.says["label_replace"] = {
        column("llama", "first_byte_p95"): lambda at: 0.25,
        column("llama", "latency_threshold"): lambda at: 0.5 if at < NOW.timestamp() - 600 else None,
        column("llama", "held"): lambda at: 2.0,
        column("qwen", "duration_p50"): lambda at: 1.5,
        column("qwen", "first_byte_p95"): lambda at: 9.0,
        column("gone", "demand"): lambda at: 1.0,
    }
    told = ask("fleet/history")

    assert (told["step_s"], len(told["at"]), told["of_minutes"]) == (60, 60, True)
    assert told["at"][-1] == round(NOW.timestamp()) - 120, "the last minute that is over, of which all is recorded"
    assert list(told["pools"]) == ["llama", "qwen"], "those that are configured"
    llama, qwen = told["pools"].values()
    assert (llama["shown"], llama["latency_s"][0], llama["latency_threshold_s"]) == ("p95", 0.25, 0.5)
    assert (qwen["shown"], qwen["latency_s"][0]) == ("p50", 1.5)
    assert llama["error_ratio"] == [None] * 60
    assert (llama["totals"]["replica_hours"], llama["totals"]["tokens"]) == (2.0, None)
    assert qwen["totals"]["replica_hours"] is None
    assert len(given.metrics.asked) == 1, "one question for all"


def key(name: str, key_id: str) -> ApiKey:
    return ApiKey(KeyId(key_id), name, f"{key_id:0>64}", "gold", (), START)


def part(name: str, **labels: str) -> tuple[tuple[str, str], ...]:
    return (("part", name), *labels.items())


def test_what_a_rate_leaves_over_is_no_other_key(given: Given, ask: Ask) -> None:
    sums = {
        part("all_keys", code_class="2xx"): 172.8,
        part("keys", key="a", plan="", code_class="2xx"): 136.4,
        part("keys", key="", plan="", code_class="2xx"): 36.4,
    }
    given.metrics.says['"all_keys"'] = {labels: _value(value) for labels, value in sums.items()}
    told = ask("gateway/traffic", range="15m")

    assert [one["requests"] for one in told["keys"]] == [136, 36]
    assert told["keys_left_out"] == {"requests": 0, "by_class": {}}


def test_the_traffic_of_the_gateway(given: Given, ask: Ask) -> None:
    given.keys.add_key(key("ada", "key_000000000001"))
    sums = {
        part("pool", pool="llama"): 100.0,
        part("pool", pool="qwen"): 300.2,
        part("pool_errors", pool="llama"): 3.0,
        part("pool_refused", pool="llama", cause="full"): 7.0,
        part("retries", pool="llama"): 4.0,
        part("attempts", pool="llama"): 5.0,
        part("plan", plan="gold", code_class="2xx"): 380.0,
        part("plan", plan="gold", code_class="4xx"): 20.0,
        part("plan_tokens", plan="gold"): 9000.0,
        part("plan_refused", plan="gold", cause="rate"): 20.0,
        part("cache", layer="nginx", result="hit"): 30.0,
        part("cache", layer="nginx", result="miss"): 90.0,
        part("all_keys", code_class="2xx"): 380.0,
        part("all_keys", code_class="4xx"): 20.0,
        part("keys", key="key_000000000001", plan="gold", code_class="2xx"): 200.0,
        part("keys", key="key_000000000001", plan="gold", code_class="4xx"): 20.0,
        part("keys", key="", plan="", code_class="2xx"): 50.0,
        part("key_tokens", key="key_000000000001", plan="gold"): 8000.0,
    }
    given.metrics.says['"all_keys"'] = {labels: _value(value) for labels, value in sums.items()}
    lines = {part("requests", pool=f"p{number}"): _value(number) for number in range(12)}
    given.metrics.says['"requests"'] = {**lines, part("cache", layer="nginx"): _value(0.25)}
    told = ask("gateway/traffic", range="6h")

    assert (told["step_s"], len(told["at"]), told["keys_of_minutes"]) == (300, 72, 10)
    qwen, llama = told["pools"]
    assert (qwen["pool"], qwen["requests"]) == ("qwen", 300)
    assert llama == {
        "requests": 100,
        "pool": "llama",
        "errors": 3,
        "retries": 4,
        "attempts_failed": 5,
        "refused": {"full": 7},
    }
    assert told["plans"] == [
        {
            "requests": 400,
            "by_class": {"2xx": 380, "4xx": 20},
            "plan": "gold",
            "tokens": 9000,
            "refused": {"rate": 20},
        }
    ]
    ada, nobody = told["keys"]
    assert (ada["name"], ada["requests"], ada["by_class"], ada["tokens"]) == ("ada", 220, {"2xx": 200, "4xx": 20}, 8000)
    assert (nobody["key"], nobody["name"], nobody["requests"]) == ("", None, 50)
    assert told["keys_left_out"] == {"requests": 130, "by_class": {"2xx": 130}}
    seen = ask("gateway/traffic", role=Role.VIEWER, range="6h")
    assert [(one["key"], one["name"], one["plan"], one["requests"]) for one in seen["keys"]] == [
        ("key_000000000001", None, None, 220), ("", None, None, 50)
    ]  # fmt: skip
    assert (told["keys_named"], seen["keys_named"], seen["plans"]) == (True, False, told["plans"])
    (cache,) = told["caches"]
    assert (cache["asked"], cache["hit_ratio"]) == (120, 0.25)
    assert told["requests_per_second"].keys() == {"", *(f"p{number}" for number in range(2, 12))}
    assert told["requests_per_second"][""][0] == 0 + 1, "the least busy ones together"
    assert told["cache_hit_ratio"]["nginx"][0] == 0.25


def test_quotas_of_those_that_are_blocked_and_of_those_that_used_most(given: Given, ask: Ask) -> None:
    today = date(2026, 1, 5)

    def used(key_id: str, tokens: float) -> KeyUsage:
        return KeyUsage(DayUsage(KeyId(key_id), today, tokens, tokens, NOW), ((NOW - timedelta(seconds=30), 40.0),))

    usage = {KeyId(f"key_{number:012x}"): used(f"key_{number:012x}", number) for number in range(40)}
    blocked = KeyId("key_000000000001")
    blocks = {blocked: Block(datetime(2026, 1, 6, tzinfo=UTC), QuotaKind.DAY)}
    given.keys.add_key(key("ada", blocked))
    given.access = AccessState(counted=True, quota=QuotaMemory(usage, blocks))
    assert ask("gateway/traffic", role=Role.VIEWER)["quotas"] == []
    first, second, *others = ask("gateway/traffic")["quotas"]

    assert first == {
        "key": blocked,
        "name": "ada",
        "plan": "gold",
        "tokens_today": 1,
        "per_day": 1000,
        "tokens_last_minute": 40,
        "per_minute": 100,
        "blocked": "day",
    }
    assert (second["key"], second["name"], second["per_day"]) == ("key_000000000027", None, None)
    assert len(others) == 18


@pytest.mark.parametrize("span", ["0m", "5m", "40d", "1w", "1e3h", "h"])
def test_an_impossible_range(client: TestClient, span: str) -> None:
    assert client.get("/api/v1/gateway/traffic", params={"range": span}).status_code == 422
