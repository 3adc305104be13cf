"""Alerts on a real Prometheus and a real Alertmanager: who is told, of what, and what is silenced by what."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import pytest

from controller.stack import prometheus
from tests.integration.watching import PATIENCE_S, Watching
from tests.waiting import wait_for

RULES = """\
groups:
  - name: test
    rules:
      - alert: StokerLatencyHigh
        expr: test_slow == 1
        labels: {severity: warning}
        annotations: {summary: "slow: {{ $value }}"}
      - {alert: StokerPoolDown, expr: test_down == 1, labels: {severity: critical}}
      - {alert: StokerNodeDown, expr: test_node_down == 1, labels: {severity: critical}}
      - {alert: StokerReplicaFlapping, expr: test_flapping == 1, labels: {severity: warning}}
      - {alert: StokerErrorsHigh, expr: test_errors == 1, labels: {severity: warning}}
      - {alert: StokerErrorsHigh, expr: test_errors == 2, labels: {severity: critical}}
      - {alert: StokerGpuFault, expr: test_gpu == 1, labels: {severity: warning}}
"""


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watching]:
    folder = tmp_path_factory.mktemp("watching")
    rules = folder / "rules"
    rules.mkdir()
    (rules / "test.yml").write_text(RULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prometheus, "RULES", rules)
        running = Watching(folder)
    yield running
    running.close()


def test_an_alert_reaches_people_and_wakes_the_controller_and_so_does_its_end(watching: Watching) -> None:
    watching.expose('test_slow{pool="one"} 1')
    fired = watching.wait_known("firing", pool="one")
    wait_for(lambda: watching.told(pool="one"), PATIENCE_S, "people to be told")
    woken = watching.woken
    watching.expose()
    ended = watching.wait_known("resolved", pool="one")
    wait_for(lambda: watching.told(pool="one")[-1]["status"] == "resolved", PATIENCE_S, "people to hear of its end")

    assert (fired["alert"], fired["severity"], fired["summary"]) == ("StokerLatencyHigh", "warning", "slow: 1")
    assert ended["fingerprint"] == fired["fingerprint"]
    assert 0 < woken < watching.woken
    assert {headers["Authorization"] for headers in watching.people.headers} == {"Bearer for-the-team"}


def test_alerts_of_one_name_and_pool_are_one_message(watching: Watching) -> None:
    replicas = [f'test_flapping{{pool="{pool}", replica="{pool}-{number}"}} 1' for pool in "ab" for number in (1, 2, 3)]
    watching.expose(*replicas)
    for pool in "ab":
        wait_for(lambda pool=pool: watching.told(pool=pool), PATIENCE_S, "people to be told")  # type: ignore[misc]

    for pool in "ab":
        first = watching.told(pool=pool)[0]
        assert first["groupLabels"] == {"alertname": "StokerReplicaFlapping", "pool": pool}
        assert {alert["labels"]["replica"] for alert in first["alerts"]} == {f"{pool}-{number}" for number in (1, 2, 3)}
    watching.expose()


def silenced(watching: Watching, cause: dict[str, str], causes: str, effect: dict[str, str], effects: str) -> None:
    """`causes` begins, `effects` follows: nobody hears of the effect, until the cause is over."""
    watching.expose(causes)
    watching.wait_known("firing", **cause)
    watching.expose(causes, effects, 'test_gpu{node="marker"} 1')
    wait_for(lambda: watching.suppressed(**effect), PATIENCE_S, f"{effect} to be silenced")
    watching.wait_known("firing", node="marker")  # it came no sooner, and is heard of
    assert watching.known(**effect) == []
    assert watching.told(**effect) == []
    watching.expose(effects)
    watching.wait_known("firing", **effect)
    watching.expose()
    watching.wait_known("resolved", **effect)
    watching.wait_known("resolved", node="marker")


def test_a_pool_that_is_down_silences_its_latency_and_no_other_pools(watching: Watching) -> None:
    watching.expose('test_down{pool="c"} 1')
    watching.wait_known("firing", alertname="StokerPoolDown", pool="c")
    watching.expose('test_down{pool="c"} 1', 'test_slow{pool="c"} 1', 'test_slow{pool="d"} 1')
    wait_for(lambda: watching.suppressed(alertname="StokerLatencyHigh", pool="c"), PATIENCE_S, "its silence")
    watching.wait_known("firing", alertname="StokerLatencyHigh", pool="d")

    assert watching.known(alertname="StokerLatencyHigh", pool="c") == []
    watching.expose()


def test_a_node_that_is_down_silences_its_replicas(watching: Watching) -> None:
    silenced(
        watching,
        {"alertname": "StokerNodeDown", "node": "n1"},
        'test_node_down{node="n1"} 1',
        {"replica": "e-1"},
        'test_flapping{pool="e", replica="e-1", node="n1"} 1',
    )
    watching.expose('test_node_down{node="n1"} 1', 'test_flapping{pool="e", replica="e-2", node="n2"} 1')
    watching.wait_known("firing", replica="e-2")
    watching.expose()


def test_what_is_critical_silences_the_warning_of_the_same_name_and_pool(watching: Watching) -> None:
    silenced(
        watching,
        {"severity": "critical", "pool": "f"},
        'test_errors{pool="f", gateway="a"} 2',
        {"severity": "warning", "pool": "f"},
        'test_errors{pool="f", gateway="b"} 1',
    )


@pytest.mark.parametrize("count", [1, 1000, 10_000])
def test_many_at_once_are_answered(watching: Watching, count: int) -> None:
    messages = [watching.message(count, number) for number in range(9)]

    took_ms = [watching.post(body) for body in messages]

    print(f"{count} alerts, {len(messages[0])} bytes: median {median(took_ms):.1f} ms, most {max(took_ms):.1f} ms")
    assert 0 < len(watching.known(alertname="StokerFlood")) <= 1000
    assert watching.counted[-1].left_out >= count - 1000


def test_nothing_was_refused_on_the_way(watching: Watching) -> None:
    log = (watching.layout.alertmanager / "alertmanager.log").read_text()

    assert "level=error" not in log
    assert watching.layout.alerts_token.read_text().strip() not in log
