"""A queueing model of one replica with continuous batching. Pure; time is given, never read.

A request waits, first come first served, for a slot and for room in the KV cache. Prompts are then read one after the
other at `prefill_tokens_per_s`; the end of a prompt is the first token. After that every sequence gets one token per
step, and a step takes longer the more sequences share it. While a prompt is read, decoding goes on at
`decode_share_during_prefill` of its speed (engines mix pieces of the prompt into the steps); prefill is not slowed by
decoding.

No token is ever counted out. A replica has a clock of its own that runs in steps: every sequence sees the same steps,
so the step at which one ends is known when its decoding begins, and a heap of these marks gives the next end. Only the
speed of that clock changes, and only when a sequence or a prompt begins or ends.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, fields

from controller.simulate.errors import ModelError

NEVER = math.inf


@dataclass(frozen=True, slots=True)
class EngineModel:
    """How fast a replica is.

    The defaults are assumptions, not measurements: an 8B model in 16 bit on one GPU with 48 GB and about 860 GB/s.
    Alone a sequence gets 50 tokens/s (16 GB of weights are read for each), 16 together about 580.
    """

    slots: int = 16  # sequences at once; more than these wait
    prefill_tokens_per_s: float = 10_000.0
    decode_tokens_per_s: float = 50.0  # one sequence alone
    decode_s_per_sequence: float = 0.0005  # what each further sequence adds to a step
    decode_share_during_prefill: float = 0.25  # speed of decoding while a prompt is read
    kv_cache_tokens: int = 200_000  # prompts and answers of all sequences together

    def __post_init__(self) -> None:
        for name in ("slots", "kv_cache_tokens"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**9:
                raise ModelError(f"{name} is {value!r}; it must be a whole number between 1 and 1000000000")
        for name in ("prefill_tokens_per_s", "decode_tokens_per_s"):
            self._number(name, "between 0.001 and 10000000", 0.001, 1e7)
        self._number("decode_s_per_sequence", "between 0 and 10", 0, 10)
        self._number("decode_share_during_prefill", "between 0.001 and 1", 0.001, 1)

    def _number(self, name: str, allowed: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ModelError(f"{name} is {value!r}; it must be a number {allowed}")

    def step_s(self, sequences: int) -> float:
        """How long one decoding step takes with so many sequences, at least one."""
        return 1 / self.decode_tokens_per_s + self.decode_s_per_sequence * (sequences - 1)

    def capacity_rps(self, prompt_tokens: float, output_tokens: float) -> float:
        """Requests of this size per second that one replica can just sustain.

        With `r` requests/s, prompts take the share `r * prompt_s` of the time, and decoding gets what its speed in
        both shares gives; solved for `r` with every slot decoding. Prompts alone are the other bound.
        """
        prompt_s = max(prompt_tokens, 1) / self.prefill_tokens_per_s
        held = max(1, min(self.slots, int(self.kv_cache_tokens // max(prompt_tokens + output_tokens, 1))))
        tokens_per_s = held / self.step_s(held)
        per_request = max(output_tokens - 1, 0) + tokens_per_s * prompt_s * (1 - self.decode_share_during_prefill)
        return 1 / prompt_s if per_request <= 0 else min(1 / prompt_s, tokens_per_s / per_request)


FIELDS = tuple(known.name for known in fields(EngineModel))


class Job:
    """A request on its way. It keeps its arrival when a dead replica's work is tried elsewhere."""

    __slots__ = ("arrived_s", "first_token_s", "output_tokens", "prompt_tokens")

    def __init__(self, arrived_s: float, prompt_tokens: int, output_tokens: int) -> None:
        self.arrived_s, self.prompt_tokens, self.output_tokens = arrived_s, prompt_tokens, output_tokens
        self.first_token_s: float | None = None


class Engine:
    """One replica's engine. Calls must come in the order of time."""

    def __init__(self, model: EngineModel, now: float = 0.0) -> None:
        self._model = model
        self._now = now
        self._queue: deque[Job] = deque()  # no slot yet
        self._prompts: deque[Job] = deque()  # in a slot; the first one's prompt is being read
        self._prompt_done_at = NEVER
        self._decoding: list[tuple[float, int, Job]] = []  # heap by the step at which each ends
        self._order = 0
        self._steps = 0.0
        self._steps_per_s = 0.0
        self._kv_tokens = 0
        self._tokens = 0.0
        self._busy_s = 0.0
        self._last_token_s: float | None = None

    @property
    def in_flight(self) -> int:
        """Everything that it holds, computed and waiting."""
        return len(self._queue) + len(self._prompts) + len(self._decoding)

    @property
    def waiting(self) -> int:
        """Without a slot."""
        return len(self._queue)

    @property
    def kv_share(self) -> float:
        """Of the KV cache that is spoken for, 0..1."""
        return min(self._kv_tokens / self._model.kv_cache_tokens, 1.0)

    def busy_s(self, now: float) -> float:
        """Time so far in which it computed anything, as a GPU's utilisation counts: one request is enough."""
        self._advance(now)
        return self._busy_s

    def tokens(self, now: float) -> float:
        """Generated so far."""
        self._advance(now)
        return self._tokens

    def last_token_s(self, now: float) -> float | None:
        """When it last made a token."""
        return now if self._decoding else self._last_token_s

    def submit(self, job: Job, now: float) -> None:
        """Take a request."""
        self._advance(now)
        self._queue.append(job)
        self._admit(now)

    def next_at(self) -> float:
        """When `step` has something to do, unless a request comes first."""
        if not self._decoding:
            return self._prompt_done_at
        return min(self._prompt_done_at, self._now + (self._decoding[0][0] - self._steps) / self._steps_per_s)

    def step(self, now: float) -> list[Job]:
        """Do what is due by `now`; the requests that ended with it."""
        self._advance(now)
        # The mark is reached but for rounding, which grows with the time and with the steps' speed.
        reached = self._steps + 1e-6 + self._steps_per_s * (1e-9 + now * 1e-15)
        ended: list[Job] = []
        while self._decoding and self._decoding[0][0] <= reached:
            ended.append(self._leave(heapq.heappop(self._decoding)[2]))
        if self._prompt_done_at <= now:
            self._first_token(self._prompts.popleft(), now, ended)
            self._read_next(now)
        if ended:
            self._last_token_s = now
        self._admit(now)
        return ended

    def abort(self, now: float) -> list[Job]:
        """It dies: everything that it held, the oldest first."""
        self._advance(now)
        held = [job for _, _, job in sorted(self._decoding)] + [*self._prompts, *self._queue]
        for jobs in (self._decoding, self._prompts, self._queue):
            jobs.clear()
        self._prompt_done_at, self._steps_per_s, self._kv_tokens = NEVER, 0.0, 0
        return held

    def _first_token(self, job: Job, now: float, ended: list[Job]) -> None:
        job.first_token_s = self._last_token_s = now
        self._tokens += 1
        if job.output_tokens == 1:
            ended.append(self._leave(job))
            return
        self._order += 1
        heapq.heappush(self._decoding, (self._steps + job.output_tokens - 1, self._order, job))

    def _leave(self, job: Job) -> Job:
        self._kv_tokens -= job.prompt_tokens + job.output_tokens
        return job

    def _admit(self, now: float) -> None:
        """Give slots to those that wait. The first in the queue holds back the others, as in a real engine.

        One that is too large for the whole cache runs alone: a real engine would refuse it, a trace does not say so.
        """
        model = self._model
        while self._queue and len(self._prompts) + len(self._decoding) < model.slots:
            need = self._queue[0].prompt_tokens + self._queue[0].output_tokens
            if self._kv_tokens and self._kv_tokens + need > model.kv_cache_tokens:
                break
            self._kv_tokens += need
            self._prompts.append(self._queue.popleft())
        if self._prompts and self._prompt_done_at == NEVER:
            self._read_next(now)
        self._set_speed()

    def _read_next(self, now: float) -> None:
        first = self._prompts[0] if self._prompts else None
        self._prompt_done_at = now + first.prompt_tokens / self._model.prefill_tokens_per_s if first else NEVER

    def _set_speed(self) -> None:
        if not self._decoding:
            self._steps, self._steps_per_s = 0.0, 0.0
            return
        share = self._model.decode_share_during_prefill if self._prompts else 1.0
        self._steps_per_s = share / self._model.step_s(len(self._decoding))

    def _advance(self, now: float) -> None:
        passed = now - self._now
        if passed <= 0:
            return
        self._now = now
        if self._decoding:
            steps = passed * self._steps_per_s
            self._steps += steps
            self._tokens += steps * len(self._decoding)
        if self._decoding or self._prompts:
            self._busy_s += passed
