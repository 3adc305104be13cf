"""The simulator's page, over a desk that plays nothing: what it shows, in both languages, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from controller.api.app import create_app
from controller.api.simulation_schemas import (
    LinesOut,
    ResultOut,
    RunOut,
    StepOut,
    StepsOut,
    SyntheticKind,
    TraceOut,
    VersusOut,
    WhyOut,
)
from controller.api.web.simulator import PEERS, SHAPES
from controller.api.web.texts import catalogs
from controller.core.model import PoolName
from controller.core.policy import PoolPolicy
from controller.simulate.baselines import NAMES
from controller.stack.simulations.knobs import KNOBS
from tests.fakes.simulations import FakeSimulations, sources_of

EVIL = "<script>alert(1)</script>"
LINES = LinesOut(ready=[1], desired=[1], in_flight=[0], waiting=[0], first_token_p95_s=[None])
LIVE = RunOut(
    name="live",
    slo_share=0.99,
    slo_first_token_share=1,
    slo_duration_share=0.99,
    failed=1,
    cut=1,
    first_token_p50_s=0.2,
    first_token_p95_s=0.4,
    replica_hours=10,
    cost=None,
    changes=1,
    flips=0,
    peak_replicas=3,
    worst_queue=7,
    lines=LINES,
)
STEP = StepOut(at_s=3723, before=1, after=3, reasons=[WhyOut(code="AboveTarget", text=EVIL)])


def result(service: str = "same", hours_percent: float | None = -12.4, name: str = "day.csv") -> ResultOut:
    changed = LIVE.model_copy(update={"name": "changed", "replica_hours": 8.76})
    return ResultOut(
        trace=TraceOut(name=name, requests=10, duration_s=60, mean_rps=1, mean_prompt_tokens=1, mean_output_tokens=1),
        axis_s=[0],
        demand_rps=[1],
        runs=[LIVE, changed, LIVE.model_copy(update={"name": "static:6", "replica_hours": 20})],
        steps={"live": StepsOut(count=400, first=[STEP]), "changed": StepsOut(count=0, first=[])},
        versus=VersusOut.model_validate(
            {"service": service, "slo_live": 0.99, "slo_changed": 0.992, "hours_percent": hours_percent}
            | {"failed": 0, "sentence": "-"}
        ),
    )


@pytest.fixture
def desk() -> FakeSimulations:
    live = PoolPolicy(PoolName("small"), "small").scaling
    return FakeSimulations(knobs=[knob.out(live) for knob in KNOBS], result=result())


@pytest.fixture
def client(desk: FakeSimulations) -> Iterator[TestClient]:
    with TestClient(create_app(sources_of(desk, "small", "other")), headers={"Authorization": "Bearer secret"}) as made:
        yield made


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_value_and_every_kind_of_traffic_can_be_chosen(client: TestClient, language: str) -> None:
    page = client.get("/simulator?pool=other", headers={"Cookie": f"lang={language}"}).text

    assert [knob.name for knob in KNOBS if f'data-knob="{knob.name}" data-live=' not in page] == []
    assert [kind for kind in SHAPES if f'name="trace" value="{kind}"' not in page] == []
    assert 'data-pool="other"' in page
    assert 'name="scale_down_window_s" value="300"' in page
    assert 'value="history"' not in page  # the desk has none


def test_a_pool_that_is_gone_is_told(client: TestClient) -> None:
    page = client.get(f"/simulator?pool={EVIL}").text

    assert EVIL not in page
    assert "There is no pool &lt;script&gt;alert(1)&lt;/script&gt;; this is small." in page


def test_the_outcome(client: TestClient) -> None:
    part = client.get("/simulator/runs/one").text

    assert "<h2>The same service, 12 % fewer replica-hours.</h2>" in part
    assert "12 % fewer</small>" in part
    assert "Always 6" in part
    assert "100 % more</small>" in part
    assert "Live: 400 changes" in part
    assert "The first 1 are listed." in part
    assert "1:02:03" in part
    assert EVIL not in part
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in part
    assert "replicas:\n  floor: 2\n</pre>" in part


@pytest.mark.parametrize(
    ("service", "hours", "words"),
    [
        ("better", 30.0, "Better service, 30 % more replica-hours: 99.2 % of the requests were in time, not 99.0 %."),
        ("worse", 0.0, "Worse service, as many replica-hours: 99.2 % of the requests were in time, not 99.0 %."),
        ("same", None, "The same service, with replica-hours where the live policy had none."),
    ],
)
def test_the_outcome_in_words(
    client: TestClient, desk: FakeSimulations, service: str, hours: float | None, words: str
) -> None:
    desk.result = result(service, hours)

    assert f"<h2>{words}</h2>" in client.get("/simulator/runs/one").text


def test_one_without_an_outcome(client: TestClient, desk: FakeSimulations) -> None:
    desk.result = None
    assert client.get("/simulator/runs/one").status_code == 409
    desk.fault = KeyError("there is no such simulation")
    assert client.get("/simulator/runs/one").status_code == 404


def test_a_controller_that_stands_by_sends_to_the_one_that_leads(desk: FakeSimulations) -> None:
    sources = replace(sources_of(desk, "small", "other"), lead=lambda: "stands by; 10.0.0.7:8000 leads")
    with TestClient(create_app(sources), headers={"Authorization": "Bearer secret"}) as client:
        answer = client.get("/simulator")

    assert (answer.status_code, "10.0.0.7:8000" in answer.text, desk.asked) == (503, True, [])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_everything_that_the_api_may_name_has_words(language: str) -> None:
    words = catalogs()[language].words
    needed = [
        *(f"knob_{knob.name}" for knob in KNOBS),
        *(f"unit_{knob.unit}" for knob in KNOBS),
        *(f"trace_{kind}" for kind in SyntheticKind.__args__),  # type: ignore[attr-defined]
        *(f"peer_{name}" for name in PEERS),
        *(f"run_{name}" for name in (*PEERS, "live", "changed")),
    ]

    assert [key for key in needed if f"simulator.{key}" not in words] == []
    assert set(SHAPES) == set(SyntheticKind.__args__)  # type: ignore[attr-defined]
    assert set(PEERS) == set(NAMES) - {"stoker"}
