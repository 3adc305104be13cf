"""The peers' arithmetic against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from controller.simulate import baselines
from controller.simulate.errors import SimulateError
from controller.simulate.metrics import Numbers
from controller.simulate.peers_kubernetes import Bounds, Hpa, Kpa
from controller.simulate.peers_serving import Dstack, Ray, SkyServe, Static
from controller.simulate.scaler import CountPolicy
from controller.simulate.setup import Setup
from controller.simulate.synthetic import Kind, Synthetic
from tests.unit.simulate.build import numbers, view

BOUNDS = Bounds(floor=1, ceiling=100, target=4.0)


def follow(
    policy: CountPolicy, desired: int, seen: Callable[[float], Numbers | None], until_s: float
) -> dict[int, int]:
    """Ask at every interval, with everything ready at once; the counts by the times at which they changed."""
    changes: dict[int, int] = {}
    for tick in range(int(until_s / policy.interval_s) + 1):
        now = tick * policy.interval_s
        count = policy.decide(view(now, desired, seen(now)))
        if count != desired:
            changes[int(now)] = desired = count
    return changes


@pytest.mark.parametrize(
    ("held", "desired", "ready", "starting", "want"),
    [
        pytest.param([4, 4, 4], 3, 3, 0, 3, id="on target"),
        pytest.param([4, 4, 5], 3, 3, 0, 3, id="8 % over is inside the tolerance"),
        pytest.param([4, 5, 5], 3, 3, 0, 4, id="17 % over"),
        pytest.param([8, 8, 8], 3, 3, 0, 6, id="twice the target"),
        pytest.param([1, 1, 1], 3, 3, 0, 1, id="a quarter of it"),
        pytest.param([0, 0, 0], 3, 3, 0, 1, id="nothing: the floor"),
        pytest.param([40] * 3, 3, 3, 0, 7, id="ten times: 4 pods or 100 % in 15 s, whichever is more"),
        pytest.param([40] * 10, 10, 10, 0, 20, id="100 % is more than 4"),
        pytest.param([8, 8], 4, 2, 2, 4, id="those that start count as empty: (8+8)/4 is on target"),
        pytest.param([9, 9], 4, 2, 2, 5, id="and 18 over 4 are 4.5"),
        pytest.param([7, 7], 4, 2, 2, 4, id="growing with them, shrinking without: no change"),
        pytest.param([1, 1], 4, 2, 2, 1, id="shrinking leaves them out"),
        pytest.param([8, 8], 3, 3, 0, 4, id="without a sample and growing: empty; 16/3 of 4 are 4 replicas"),
        pytest.param([1, 1], 3, 3, 0, 2, id="without a sample and shrinking: full; (1+1+4)/4 are 2"),
        pytest.param([], 3, 3, 0, 3, id="no sample at all"),
        pytest.param([], 3, 0, 3, 3, id="none is ready"),
    ],
)
def test_hpa_counts(held: list[int], desired: int, ready: int, starting: int, want: int) -> None:
    assert Hpa(BOUNDS).decide(view(0, desired, numbers(held), ready=ready, starting=starting)) == want


def test_hpa_shrinks_to_the_peak_of_five_minutes() -> None:
    # 6 replicas have 24 in flight until 30 s, then 8.
    assert follow(Hpa(BOUNDS), 6, lambda now: numbers([4] * 6 if now <= 30 else [1] * 8), 400) == {330: 2}


def test_hpa_grows_by_no_more_than_100_percent_or_4_in_15_seconds() -> None:
    assert follow(Hpa(BOUNDS), 1, lambda now: numbers([400]), 60) == {0: 5, 15: 10, 30: 20, 45: 40, 60: 80}


def test_hpa_holds_without_metrics() -> None:
    assert follow(Hpa(BOUNDS), 5, lambda now: None, 1000) == {}


@pytest.mark.parametrize(
    ("stable", "panic", "ready", "want"),
    [
        pytest.param(16.0, 16.0, 4, 4, id="on target"),
        pytest.param(17.0, 17.0, 4, 5, id="there is no tolerance"),
        pytest.param(16.0, 31.0, 4, 8, id="8 for 4 is twice: panic"),
        pytest.param(16.0, 24.0, 4, 4, id="6 for 4 is no panic"),
        pytest.param(0.5, 0.5, 8, 4, id="half at a time"),
        pytest.param(0.0, 0.0, 1, 1, id="the floor"),
        pytest.param(4000.0, 4000.0, 1, 100, id="the ceiling"),
    ],
)
def test_kpa_counts(stable: float, panic: float, ready: int, want: int) -> None:
    kpa = Kpa(BOUNDS)
    kpa.decide(view(0, 1, numbers(), ready=1))  # alone it does not begin in panic

    seen = numbers(mean_in_flight={6: panic, 30: 0.0, 60: stable})
    assert kpa.decide(view(100, ready, seen, ready=ready)) == want


def test_kpa_begins_in_panic_and_keeps_its_size_for_the_stable_window() -> None:
    assert follow(Kpa(BOUNDS), 4, lambda now: numbers([1]), 100) == {62: 2, 64: 1}


def test_kpa_never_shrinks_while_it_panics() -> None:
    load = {0: 4.0, 10: 40.0, 20: 20.0}  # in flight from then on

    def seen(now: float) -> Numbers:
        return numbers(mean=load[max(at for at in load if at <= now)])

    # 10 at once. The panic is entered again at 10 s only (8 would be twice 4, 20 in flight are 5 for 10 ready).
    assert follow(Kpa(BOUNDS), 1, seen, 100) == {10: 10, 72: 5}


def test_kpa_holds_without_data() -> None:
    assert follow(Kpa(BOUNDS), 4, lambda now: None, 1000) == {}


@pytest.mark.parametrize(
    ("load", "desired", "until", "want"),
    [
        pytest.param(12.0, 3, 700, {}, id="on target"),
        pytest.param(12.1, 3, 100, {30: 4}, id="up after 30 s"),
        pytest.param(2.0, 3, 700, {600: 1}, id="down after 600 s"),
        pytest.param(400.0, 1, 60, {30: 100}, id="straight to the target"),
    ],
)
def test_ray(load: float, desired: int, until: float, want: dict[int, int]) -> None:
    assert follow(Ray(BOUNDS), desired, lambda now: numbers(mean=load), until) == want


def test_ray_waits_anew_when_the_direction_changes() -> None:
    assert follow(Ray(BOUNDS), 2, lambda now: numbers(mean=8.0 if now == 20 else 12.0), 80) == {60: 3}


def test_ray_counts_on_what_runs() -> None:
    # 12 in flight on 2 that run: an error of 1.5, so 3; 5 are wanted already.
    ray = Ray(BOUNDS)
    for now in (0, 300, 590):
        assert ray.decide(view(now, 5, numbers(mean=12.0), ready=2, starting=3)) == 5
    assert ray.decide(view(600, 5, numbers(mean=12.0), ready=2, starting=3)) == 3


def test_ray_without_replicas_starts_one_at_once() -> None:
    assert Ray(BOUNDS).decide(view(0, 0, numbers(mean=2.0), ready=0)) == 1
    assert Ray(BOUNDS).decide(view(0, 0, numbers(), ready=0)) == 0
    assert Ray(BOUNDS).decide(view(0, 3, None)) == 3


def test_skyserve_moves_after_fifteen_and_sixty_ticks_in_a_row() -> None:
    rising = SkyServe(BOUNDS, target_rps=2.0)
    assert follow(rising, 1, lambda now: numbers(arrivals=600), 400) == {280: 5}  # 10/s, the 15th tick

    falling = SkyServe(BOUNDS, target_rps=2.0)
    assert follow(falling, 5, lambda now: numbers(arrivals=60), 2000) == {1180: 1}  # the 60th


def test_skyserve_counts_anew_after_a_tick_that_does_not_ask() -> None:
    def seen(now: float) -> Numbers:
        return numbers(arrivals=120 if now == 200 else 600)

    assert follow(SkyServe(BOUNDS, 2.0), 1, seen, 600) == {500: 5}


def test_skyserve_holds_without_data() -> None:
    assert follow(SkyServe(BOUNDS, 2.0), 5, lambda now: None, 3000) == {}
    assert SkyServe(Bounds(0, 10, 4.0), 2.0).decide(view(0, 0, numbers(arrivals=600))) == 5


def test_dstack_moves_at_once_after_a_quiet_time_and_waits_then() -> None:
    load = {0: 600, 15: 900, 400: 60}  # ended within 60 s, from then on

    def seen(now: float) -> Numbers:
        return numbers(ended=load[max(at for at in load if at <= now)])

    assert follow(Dstack(BOUNDS, 2.0), 1, seen, 1500) == {0: 5, 300: 8, 900: 1}


def test_dstack_holds_without_numbers() -> None:
    assert follow(Dstack(BOUNDS, 2.0), 5, lambda now: None, 3000) == {}


def test_static_stays() -> None:
    assert follow(Static(3), 3, lambda now: numbers([100]), 1000) == {}


@pytest.mark.parametrize("name", baselines.NAMES)
def test_every_name_is_known(name: str) -> None:
    scaler = baselines.scaler(name, Setup(), Synthetic(Kind.FLAT))

    assert scaler.name.partition(":")[0] == name
    assert scaler.desired == (6 if name == "static" else 3)  # the ceiling, and the floor


def test_static_takes_a_number() -> None:
    assert baselines.scaler("static:12", Setup(), Synthetic(Kind.FLAT)).desired == 12


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("best", "there is no autoscaler 'best'; choose among stoker, static, hpa, kpa, ray, skyserve, dstack and"),
        ("hpa:3", "there is no autoscaler 'hpa:3'"),
        ("static:", "'static:' names no number of replicas; write static:N with N from 1 to 10000"),
        ("static:0", "'static:0' names no number"),
        ("static:-1", "'static:-1' names no number"),
        ("static:99999", "'static:99999' names no number"),
    ],
)
def test_an_unknown_autoscaler_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(SimulateError) as refused:
        baselines.scaler(name, Setup(), Synthetic(Kind.FLAT))

    assert sentence in str(refused.value)


def test_requests_per_second_follow_from_the_engine() -> None:
    setup, trace = Setup(), Synthetic(Kind.FLAT, prompt=10_000, output=1)

    # A prompt takes one second: one request per second at most, 70 % of it wanted.
    assert baselines.target_rps(setup, trace) == pytest.approx(0.7)
