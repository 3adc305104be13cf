"""The engine model against numbers worked out by hand, and against a slow simulation that counts every sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.simulate.engine import NEVER, Engine, EngineModel, Job
from controller.simulate.errors import ModelError

# One token in 0.1 s alone, 0.2 s each where two share the steps; half the speed while a prompt is read.
SLOW = EngineModel(
    slots=4,
    prefill_tokens_per_s=1000,
    decode_tokens_per_s=10,
    decode_s_per_sequence=0.1,
    decode_share_during_prefill=0.5,
    kv_cache_tokens=100_000,
)

Times = list[tuple[float | None, float]]


def play(model: EngineModel, arrivals: Sequence[tuple[float, int, int]]) -> tuple[Times, Engine]:
    """First token and end of each request, in the order of arrival."""
    engine, ended = Engine(model), {}
    jobs = [Job(at, prompt, output) for at, prompt, output in arrivals]
    waiting = list(jobs)
    while waiting or engine.next_at() < NEVER:
        due = engine.next_at()
        if waiting and waiting[0].arrived_s <= due:
            job = waiting.pop(0)
            engine.submit(job, job.arrived_s)
            continue
        for job in engine.step(due):
            assert job not in ended
            ended[job] = due
    return [(job.first_token_s, ended[job]) for job in jobs], engine


def test_one_request_alone() -> None:
    times, engine = play(SLOW, [(1.0, 500, 11)])

    assert times == [(pytest.approx(1.5), pytest.approx(2.5))]  # 500 / 1000 s, then 10 steps of 0.1 s
    assert engine.busy_s(10.0) == pytest.approx(1.5)
    assert engine.tokens(10.0) == pytest.approx(11)
    assert engine.last_token_s(10.0) == pytest.approx(2.5)


def test_a_single_token_is_the_end() -> None:
    assert play(SLOW, [(0.0, 100, 1)])[0] == [(pytest.approx(0.1), pytest.approx(0.1))]


def test_two_share_the_steps() -> None:
    """A: first token at 0.1; half speed until B's at 0.2 (0.5 steps); both at 5 steps/s until B ends at 0.4; then A has
    half a step left."""
    times, engine = play(SLOW, [(0.0, 100, 3), (0.0, 100, 2)])

    assert times == [(pytest.approx(0.1), pytest.approx(0.45)), (pytest.approx(0.2), pytest.approx(0.4))]
    assert engine.tokens(1.0) == pytest.approx(5)


def test_prompts_are_read_in_turn() -> None:
    times, _ = play(SLOW, [(0.0, 1000, 1), (0.0, 200, 1), (0.1, 300, 1)])

    assert [first for first, _ in times] == [pytest.approx(1.0), pytest.approx(1.2), pytest.approx(1.5)]


def test_without_a_slot_a_request_waits() -> None:
    engine = Engine(replace(SLOW, slots=1))
    engine.submit(Job(0.0, 100, 3), 0.0)
    engine.submit(Job(0.0, 100, 1), 0.0)
    assert (engine.in_flight, engine.waiting) == (2, 1)

    times, _ = play(replace(SLOW, slots=1), [(0.0, 100, 3), (0.0, 100, 1)])
    assert times == [(pytest.approx(0.1), pytest.approx(0.3)), (pytest.approx(0.4), pytest.approx(0.4))]


def test_without_room_in_the_cache_a_request_waits() -> None:
    model = replace(SLOW, kv_cache_tokens=250)
    engine = Engine(model)
    for _ in range(2):
        engine.submit(Job(0.0, 100, 50), 0.0)

    assert (engine.waiting, engine.kv_share) == (1, 150 / 250)
    times, after = play(model, [(0.0, 100, 3), (0.0, 200, 1), (0.0, 1, 1)])
    # The third would fit and waits all the same: nobody overtakes.
    assert [first for first, _ in times] == [pytest.approx(0.1), pytest.approx(0.5), pytest.approx(0.501)]
    assert after.kv_share == 0


def test_a_request_larger_than_the_cache_runs_alone() -> None:
    times, _ = play(replace(SLOW, kv_cache_tokens=50), [(0.0, 100, 1), (0.0, 10, 1)])

    assert times == [(pytest.approx(0.1), pytest.approx(0.1)), (pytest.approx(0.11), pytest.approx(0.11))]


def test_the_dead_give_back_what_they_held() -> None:
    engine = Engine(replace(SLOW, slots=2))
    jobs = [Job(0.0, 100, 50), Job(0.0, 100, 50), Job(0.0, 100, 50)]
    for job in jobs:
        engine.submit(job, 0.0)
    engine.step(engine.next_at())

    assert engine.abort(0.15) == jobs
    assert [job.first_token_s for job in jobs] == [pytest.approx(0.1), None, None]
    assert (engine.in_flight, engine.next_at(), engine.kv_share) == (0, NEVER, 0)
    assert engine.busy_s(9.0) == pytest.approx(0.15)


def test_the_last_token_is_now_while_it_decodes() -> None:
    engine = Engine(SLOW)
    assert engine.last_token_s(0.0) is None
    engine.submit(Job(0.0, 100, 50), 0.0)
    assert engine.last_token_s(0.05) is None
    engine.step(engine.next_at())

    assert engine.last_token_s(3.0) == 3.0


def test_a_step_takes_longer_with_more_sequences() -> None:
    assert [SLOW.step_s(count) for count in (1, 2, 4)] == [pytest.approx(0.1), pytest.approx(0.2), pytest.approx(0.4)]


def test_capacity_is_what_saturates() -> None:
    # No prompt to speak of: 4 sequences make 4 tokens in 0.4 s; a request needs 10 steps after its first token.
    assert SLOW.capacity_rps(1e-9, 11) == pytest.approx(1.0, rel=0.01)
    # No answer to speak of: the prompts are the bound.
    assert SLOW.capacity_rps(500, 1) == pytest.approx(2.0)
    # Both: with r requests/s a share 0.1 r of the time reads prompts, in which decoding has half its speed.
    rps = SLOW.capacity_rps(100, 11)
    assert 10 * (1 - 0.1 * rps * 0.5) == pytest.approx(10 * rps)
    # A small cache holds few at once.
    assert replace(SLOW, kv_cache_tokens=111).capacity_rps(100, 11) == pytest.approx(1 / (1 + 0.05), rel=0.01)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("slots", 0, "slots is 0; it must be a whole number between 1 and 1000000000"),
        ("slots", 1.5, "slots is 1.5; it must be a whole number"),
        ("slots", True, "slots is True; it must be a whole number"),
        ("kv_cache_tokens", -1, "kv_cache_tokens is -1; it must be a whole number"),
        ("prefill_tokens_per_s", 0, "prefill_tokens_per_s is 0; it must be a number between 0.001 and 10000000"),
        ("prefill_tokens_per_s", float("nan"), "prefill_tokens_per_s is nan; it must be a number"),
        ("decode_tokens_per_s", "fast", "decode_tokens_per_s is 'fast'; it must be a number"),
        ("decode_s_per_sequence", -0.1, "decode_s_per_sequence is -0.1; it must be a number between 0 and 10"),
        ("decode_share_during_prefill", 0, "decode_share_during_prefill is 0; it must be a number between 0.001 and 1"),
    ],
)
def test_an_impossible_engine_is_refused(field: str, value: object, sentence: str) -> None:
    with pytest.raises(ModelError) as refused:
        replace(SLOW, **{field: value})  # type: ignore[arg-type]

    assert sentence in str(refused.value)


def slowly(model: EngineModel, arrivals: Sequence[tuple[float, int, int]]) -> Times:
    """The same rules, with what is left of every sequence counted down at each event."""
    left: dict[int, float] = {}  # of those that decode
    prompts: list[int] = []
    queue: list[int] = []
    first: dict[int, float] = {}
    ends: dict[int, float] = {}
    now, done_at, coming = 0.0, NEVER, list(range(len(arrivals)))
    while len(ends) < len(arrivals):
        speed = (model.decode_share_during_prefill if prompts else 1.0) / model.step_s(max(len(left), 1))
        arrives = arrivals[coming[0]][0] if coming else NEVER
        then = min(arrives, done_at, now + min(left.values(), default=NEVER) / speed)
        left = {name: steps - (then - now) * speed for name, steps in left.items()}
        now = then
        if coming and arrives == now:
            queue.append(coming.pop(0))
        if prompts and done_at == now:
            name = prompts.pop(0)
            first[name], done_at = now, NEVER
            left[name] = arrivals[name][2] - 1
        for name in [name for name, steps in left.items() if steps < 1e-9]:
            del left[name]
            ends[name] = now
        while queue and len(prompts) + len(left) < model.slots:
            prompts.append(queue.pop(0))
        if prompts and done_at == NEVER:
            done_at = now + arrivals[prompts[0]][1] / model.prefill_tokens_per_s
    return [(first[name], ends[name]) for name in range(len(arrivals))]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 900), st.integers(1, 30)), min_size=1, max_size=12),
    st.integers(1, 5),
)
@settings(deadline=None, max_examples=150)
def test_it_agrees_with_the_slow_simulation(load: list[tuple[int, int, int]], slots: int) -> None:
    arrivals = [(at / 10, prompt, output) for at, prompt, output in sorted(load)]
    model = replace(SLOW, slots=slots)

    times, engine = play(model, arrivals)

    for fast, slow in zip(times, slowly(model, arrivals), strict=True):
        assert fast == (pytest.approx(slow[0], abs=1e-6), pytest.approx(slow[1], abs=1e-6))
    assert engine.in_flight == 0
    assert engine.tokens(1e6) == pytest.approx(sum(output for _, _, output in arrivals))
