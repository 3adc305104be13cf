"""Measuring: a client that answers as an engine model does must be measured as that model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest

from controller.simulate import estimates
from controller.simulate.calibrate import Effort, measure
from controller.simulate.engine import Engine, EngineModel, Job
from controller.simulate.estimates import Spread
from controller.simulate.streaming import CalibrateError, Timed

MODEL = EngineModel(
    slots=4,
    prefill_tokens_per_s=2000,
    decode_tokens_per_s=25,
    decode_s_per_sequence=0.004,
    decode_share_during_prefill=0.3,
)
EFFORT = Effort(repeats=2, output_tokens=48, streams=4)


class ModelClient:
    """Answers as the model does. A prompt's tokens are its words; `overhead_s` is what each request takes besides.

    The times of the tokens between first and last come from the steps that the engine has made.
    """

    def __init__(self, model: EngineModel, overhead_s: float = 0.0) -> None:
        self._model, self._overhead_s = model, overhead_s
        self.prompts: list[str] = []

    def alone(self, prompt: str, tokens: int) -> Timed:
        return self._play([(prompt, tokens)])[0]

    def at_once(self, prompts: Sequence[str], tokens: int) -> list[Timed]:
        return self._play([(prompt, tokens) for prompt in prompts])

    def beside(self, decoding: str, tokens: int, prompt: str) -> tuple[Timed, Timed]:
        first, second = self._play([(decoding, tokens), (prompt, 1)], second_after_first=True)
        return first, second

    def _play(self, asked: Sequence[tuple[str, int]], second_after_first: bool = False) -> list[Timed]:
        self.prompts += [prompt for prompt, _ in asked]
        engine, jobs = Engine(self._model), [Job(0.0, len(prompt.split()), tokens) for prompt, tokens in asked]
        for job in jobs[:1] if second_after_first else jobs:
            engine.submit(job, 0.0)
        seen: dict[Job, list[float]] = {job: [] for job in jobs}
        sent = dict.fromkeys(jobs, 0.0)
        now = 0.0
        while engine.in_flight:
            now = min(engine.next_at(), now + 0.0005)
            engine.step(now) if now == engine.next_at() else engine.busy_s(now)
            if second_after_first and seen[jobs[0]] and jobs[1].arrived_s == 0.0:
                jobs[1].arrived_s = sent[jobs[1]] = now
                engine.submit(jobs[1], now)
            for job in jobs:
                due = self._made(engine, job)
                seen[job] += [now] * (due - len(seen[job]))
        times = zip(jobs, seen.values(), strict=True)
        return [
            Timed(sent[job] - self._overhead_s, tuple(at), job.prompt_tokens, job.output_tokens) for job, at in times
        ]

    @staticmethod
    def _made(engine: Engine, job: Job) -> int:
        """How many tokens it has by now: its mark lies as many steps ahead as it still lacks."""
        left = next((mark - engine._steps for mark, _, other in engine._decoding if other is job), None)
        if left is not None:
            return job.output_tokens - max(int(left + 0.999), 0)
        return job.output_tokens if job.first_token_s is not None else 0


def test_a_model_is_measured_as_itself() -> None:
    told: list[str] = []
    client = ModelClient(MODEL, overhead_s=0.05)
    found = measure(client, EFFORT, told.append, Random(1))

    model = found.model
    assert model.slots == 4
    assert model.prefill_tokens_per_s == pytest.approx(2000, rel=0.02)
    assert model.decode_tokens_per_s == pytest.approx(25, rel=0.02)
    assert model.decode_s_per_sequence == pytest.approx(0.004, rel=0.1)
    assert model.decode_share_during_prefill == pytest.approx(0.3, abs=0.1)
    assert (found.together, found.slots_at_least) == (4, True)
    assert told[0] == "short prompts, 1 of 2"
    assert len(told) == 10


def test_no_prompt_comes_twice() -> None:
    client = ModelClient(MODEL)
    measure(client, EFFORT, lambda text: None, Random(1))

    assert len(set(client.prompts)) == len(client.prompts)


def test_slots_are_seen_where_streams_wait() -> None:
    found = measure(ModelClient(replace(MODEL, slots=3)), replace(EFFORT, streams=5), lambda text: None, Random(1))

    assert (found.model.slots, found.together, found.slots_at_least) == (3, 3, False)
    assert found.model.decode_s_per_sequence == pytest.approx(0.004, rel=0.15)


def test_known_slots_are_taken() -> None:
    found = measure(ModelClient(MODEL), replace(EFFORT, slots=64), lambda text: None, Random(1))

    assert found.model.slots == 64


def test_with_one_slot_the_rest_has_its_default() -> None:
    model = measure(ModelClient(replace(MODEL, slots=1)), EFFORT, lambda text: None, Random(1)).model

    assert (model.slots, model.decode_s_per_sequence) == (1, EngineModel().decode_s_per_sequence)
    assert model.decode_share_during_prefill == EngineModel().decode_share_during_prefill


def test_what_was_measured_is_plain_data() -> None:
    found = measure(ModelClient(MODEL), EFFORT, lambda text: None, Random(1)).as_dict()

    assert set(found["prefill_tokens_per_s"]) == {"median", "low", "high", "count"}
    assert "model" not in found


def timed(first: float, last: float, tokens: int, prompt: int | None = 100, sent: float = 0.0) -> Timed:
    """Tokens at equal distances."""
    gap = (last - first) / max(tokens - 1, 1)
    return Timed(sent, tuple(first + gap * number for number in range(tokens)), prompt, tokens)


def test_prefill_is_what_longer_prompts_take_more() -> None:
    short = [timed(first, first, 1, 100) for first in (0.3, 0.2, 0.25)]
    long = [timed(first, first, 1, 1100) for first in (0.75, 1.25)]

    assert estimates.prefill_tokens_per_s(short, long) == Spread(1500, 1000, 2000, 2)


def test_a_step_is_the_time_between_tokens() -> None:
    assert estimates.step_s([timed(1.0, 3.0, 11), timed(1.0, 2.0, 11)]) == Spread(pytest.approx(0.15), 0.1, 0.2, 2)


def test_several_tokens_to_a_piece_are_counted_as_such() -> None:
    # 20 tokens in 10 pieces: 19 steps in 1.9 s.
    assert estimates.step_s([Timed(0.0, tuple(timed(1.0, 2.9, 10).token_at_s), 9, 20)]).median == pytest.approx(0.1)


def test_together_counts_where_all_decode() -> None:
    # From 2.0 (the last first token) to 5.0 (the first end): 30 tokens each.
    count, step_s = estimates.together([timed(1.0, 5.0, 41), timed(2.0, 6.0, 41)])

    assert (count, step_s) == (2, pytest.approx(0.1))


def test_share_during_prefill() -> None:
    decoding = timed(1.0, 11.0, 101)  # a token in 0.1 s all along; alone one in 0.05 s
    prompt = timed(5.0, 5.0, 1, 500, sent=3.0)

    assert estimates.share_during_prefill(decoding, prompt, 0.05) == pytest.approx(0.5, abs=0.05)
    assert estimates.share_during_prefill(decoding, replace(prompt, sent_at_s=12.0), 0.05) is None
    assert estimates.share_during_prefill(timed(6.0, 7.0, 11), prompt, 0.05) is None
    assert estimates.share_during_prefill(timed(1.0, 11.0, 2), prompt, 0.05) == 0.001


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            lambda: estimates.prefill_tokens_per_s([timed(0.3, 0.3, 1, 100)], [timed(0.2, 0.2, 1, 500)]),
            "a prompt of 500 tokens takes no longer than one of 100; measure with longer prompts",
        ),
        (
            lambda: estimates.prefill_tokens_per_s([timed(0.3, 0.3, 1, 100)], [timed(0.5, 0.5, 1, 100)]),
            "a prompt of 100 tokens takes no longer than one of 100",
        ),
        (
            lambda: estimates.prefill_tokens_per_s([timed(0.3, 0.3, 1, None)], [timed(0.5, 0.5, 1, 100)]),
            "the server does not tell how many tokens a prompt has",
        ),
        (lambda: estimates.step_s([timed(1.0, 1.0, 1)]), "the model stops after one token"),
        (lambda: estimates.step_s([Timed(0.0, (1.0,), 1, 5)]), "the model stops after one token"),
        (lambda: estimates.together([timed(1.0, 1.0, 1)]), "the streams hardly overlap"),
        (lambda: estimates.together([timed(1.0, 9.0, 2), timed(8.0, 8.0, 1)]), "no token came while all streams ran"),
        (lambda: Effort(repeats=0), "repeats is 0; give 1 to 20"),
        (lambda: Effort(short_words=512), "long_words is 512; give 513 to 100000"),
        (lambda: Effort(streams=1), "streams is 1; give 2 to 256"),
        (lambda: Effort(limit_s=0), "limit_s is 0; give a time up to 3600 s"),
    ],
)
def test_what_cannot_be_measured_is_refused(wrong: Callable[[], object], sentence: str) -> None:
    with pytest.raises(CalibrateError) as refused:
        wrong()

    assert sentence in str(refused.value)
