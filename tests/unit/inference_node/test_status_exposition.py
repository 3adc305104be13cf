"""The same status as JSON and as samples; unknown is null, or no sample."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from inference_node.configuration import from_environment
from inference_node.phases import Phase, PhaseChange
from inference_node.poller import Reading
from inference_node.resources import Usage
from inference_node.stages import Stage, Stages
from inference_node.status import Status, as_json, exposition

AT = datetime(2026, 1, 5, 12, 0, 0, 250000, tzinfo=UTC)
CONFIGURATION = from_environment(
    {
        "STOKER_POOL": "demo",
        "STOKER_REPLICA": "demo-1",
        "STOKER_SPEC_HASH": "abc",
        "STOKER_MODEL": "smollm2",
        "STOKER_ENGINE": "llamacpp",
        "STOKER_CHECKPOINT": "/models/a.gguf",
        "STOKER_SLOTS": "2",
        "STOKER_CONTEXT_TOKENS": "1024",
        "STOKER_THREADS": "1",
        "STOKER_DRAIN_TIMEOUT_S": "30",
    }
)
NOTHING = Usage()


def stages() -> Stages:
    some = Stages()
    some.began_at, some.seconds = AT, {Stage.FETCH: 0.0104, Stage.LOAD: 2.5}
    return some


def status(reading: Reading, detail: str = "") -> Status:
    return Status(CONFIGURATION, Phase.READY, (PhaseChange(Phase.READY, AT),), reading, detail, stages(), AT)


def samples(reading: Reading, usage: Usage = NOTHING) -> dict[tuple[str, str], float]:
    text = exposition(lambda: status(reading), lambda: usage)().decode()
    families = text_string_to_metric_families(text)
    return {(s.name, "".join(s.labels.values())): s.value for family in families for s in family.samples}


def test_the_json_has_exactly_the_keys_that_others_rely_on() -> None:
    assert as_json(status(Reading(True, 1, 2, 3, AT, AT), "All but well.")) == {
        "now": "2026-01-05T12:00:00.250Z",
        "began_at": "2026-01-05T12:00:00.250Z",
        "stages": {"fetch": 0.01, "load": 2.5},
        "phase": "ready",
        "phases": [{"phase": "ready", "at": "2026-01-05T12:00:00.250Z"}],
        "pool": "demo",
        "replica": "demo-1",
        "model": "smollm2",
        "spec_hash": "abc",
        "in_flight": 1,
        "waiting": 2,
        "tokens_total": 3,
        "last_token_at": "2026-01-05T12:00:00.250Z",
        "looked_at": "2026-01-05T12:00:00.250Z",
        "answering": True,
        "detail": "All but well.",
    }


def test_unknown_is_null() -> None:
    answer = as_json(status(Reading()))

    unknown = ("in_flight", "waiting", "tokens_total", "last_token_at", "looked_at")
    assert [answer[key] for key in unknown] == [None] * 5
    assert answer["answering"] is False


def test_the_samples() -> None:
    found = samples(Reading(True, 1, 2, 3, AT), Usage(4.5, 2.0, 600, 1000, 0.25))

    assert found["stoker_launcher_phase", "ready"] == 1
    assert found["stoker_launcher_phase", "draining"] == 0
    assert found["stoker_launcher_phase_timestamp_seconds", "ready"] == AT.timestamp()
    assert found["stoker_launcher_stage_seconds", "load"] == 2.5
    assert ("stoker_launcher_stage_seconds", "warm") not in found, "it has not ended"
    assert {name: value for (name, label), value in found.items() if not label} == {
        "stoker_launcher_requests_in_flight": 1,
        "stoker_launcher_requests_waiting": 2,
        "stoker_launcher_tokens_total": 3,
        "stoker_launcher_last_token_timestamp_seconds": AT.timestamp(),
        "stoker_launcher_engine_answering": 1,
        "stoker_launcher_cpu_seconds_total": 4.5,
        "stoker_launcher_cpu_cores": 2,
        "stoker_launcher_memory_bytes": 600,
        "stoker_launcher_memory_limit_bytes": 1000,
        "stoker_launcher_host_memory_used_ratio": 0.25,
    }


def test_unknown_has_no_sample() -> None:
    found = samples(Reading())

    assert {name: value for (name, label), value in found.items() if not label} == {
        "stoker_launcher_engine_answering": 0
    }
