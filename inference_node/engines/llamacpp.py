"""llama.cpp as the launcher sees it: how it is started, how its counters are read. It runs in `llamacpp_server`."""

from __future__ import annotations

import json
import sys
from typing import Any

from inference_node.engines.contract import Counters, Engine, EngineSilent, Get


def parse_metrics(text: str) -> dict[str, float]:
    """The samples of /metrics by name; llama.cpp's carry no labels. Lines that are none are left out."""
    samples: dict[str, float] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name.startswith("llamacpp:"):
            try:
                samples[name] = float(value)
            except ValueError:
                continue
    return samples


def tokens_under_way(slots: object) -> int:
    """Tokens that running requests have made so far, from the parsed answer of /slots."""
    if not isinstance(slots, list):
        raise EngineSilent("/slots is no list")
    return sum(_decoded(slot) for slot in slots if isinstance(slot, dict) and slot.get("is_processing"))


def read_counters(get: Get) -> Counters:
    """Two requests while the engine computes, one while it is idle. Raises `EngineSilent`."""
    samples = parse_metrics(get("/metrics"))
    try:
        in_flight = int(samples["llamacpp:requests_processing"])
        waiting = int(samples["llamacpp:requests_deferred"])
        ended = int(samples["llamacpp:tokens_predicted_total"])
    except KeyError as error:
        raise EngineSilent(f"/metrics has no {error.args[0]}") from error
    # /metrics counts a request's tokens when it ends. Reading it before /slots can miss a request that ends in
    # between, for one poll; the other order would count it twice.
    under_way = tokens_under_way(_parse_json(get("/slots"))) if in_flight else 0
    steps = samples.get("llamacpp:n_decode_total")  # the name is newer than the others
    return Counters(in_flight, waiting, ended + under_way, None if steps is None else int(steps))


def _parse_json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise EngineSilent("/slots is no JSON") from error


def _decoded(slot: dict[str, Any]) -> int:
    """0 for a slot that still reads its prompt: `next_token` is then missing or empty."""
    states = slot.get("next_token")
    counts = [state.get("n_decoded") for state in states if isinstance(state, dict)] if isinstance(states, list) else []
    return sum(count for count in counts if isinstance(count, int))


ENGINE = Engine(
    command=(sys.executable, "-m", "inference_node.engines.llamacpp_server"),
    health_path="/health",
    read_counters=read_counters,
)
