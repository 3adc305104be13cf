"""`stoker calibrate`: measure a running replica, and write an engine model for `stoker simulate`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import SystemRandom
from typing import Any

from rich.console import Console

from controller.installation import Layout
from controller.settings import load
from controller.simulate.calibrate import Calibration, Effort, measure
from controller.simulate.errors import SimulateError
from controller.simulate.model_file import save_model
from controller.simulate.streaming import HttpClient, Server, first_model, server_at
from controller.stack import api_client, durations
from controller.stack.api_client import Row
from controller.stack.api_token import token_of
from controller.stack.calibrate_options import CalibrateOptions
from controller.stack.pool_choice import choose_pool
from controller.stack.progress import Progress
from controller.stack.trouble import Trouble
from controller.stack.writing import outlet

_USUAL = Effort()


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What was measured, where, and where it was written."""

    url: str
    model: str
    found: Calibration
    output: Path

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "url": self.url,
            "model": self.model,
            "engine": asdict(self.found.model),
            "measured": self.found.as_dict(),
            "output": str(self.output),
        }

    def print(self) -> None:
        """What was measured with its spread, and how to use it."""
        from controller.stack import calibrate_view

        calibrate_view.show(self.url, self.model, self.found, self.output)


@dataclass(frozen=True, slots=True)
class _Target:
    url: str
    effort: Effort


def calibrate(options: CalibrateOptions) -> Calibrated:
    """Measure, and write the model. Blocks for at most the limit and one answer; says on stderr what it does.

    Raises:
        Trouble: there is nothing to measure, it does not answer as it should, or the file cannot be written.
        ConfigError: the running stack's configuration is refused.
    """
    progress = Progress(Console(stderr=True))
    limit_s = durations.seconds("--limit", options.limit)
    try:
        effort = replace(_USUAL, streams=options.streams, limit_s=limit_s)
        target = _Target(options.url, effort) if options.url is not None else _replica(options, effort, progress)
        with outlet(options.output) as file:
            server = _server(target, options.model, limit_s)
            with progress.step(f"measuring {server.model} at {target.url}") as say:
                found = measure(HttpClient(server), target.effort, say, SystemRandom())
            save_model(file.partial, found.model, found.as_dict())
            file.finish()
    except SimulateError as error:
        raise Trouble(str(error)) from error
    return Calibrated(target.url, server.model, found, options.output)


def _server(target: _Target, model: str | None, limit_s: float) -> Server:
    server = server_at(target.url, time.monotonic() + limit_s)
    return replace(server, model=model or first_model(server))


def _replica(options: CalibrateOptions, effort: Effort, progress: Progress) -> _Target:
    """The replica itself and not the gateway, which would spread the streams over all replicas."""
    layout = Layout(options.state_dir)
    if not layout.config.exists():
        raise Trouble(f"nothing runs with the state directory {layout.root}; `stoker up` starts it, or give --url")
    settings = load(layout.config)
    pool = choose_pool(settings, options.pool)
    seen = api_client.look(settings, token_of(layout))
    if seen is None:
        raise Trouble(f"the controller does not answer at {api_client.url(settings)}; is it running? Or give --url")
    row = _idlest(seen.replicas, pool.name)
    if row["in_flight"]:
        progress.say(f"{row['replica']} has {row['in_flight']} in flight: with other load the figures come out too low")
    # Half of a slot's context is left for the answer.
    long_words = max(min(_USUAL.long_words, pool.engine.context_tokens // 2), 16)
    short_words = min(_USUAL.short_words, long_words // 8)
    effort = replace(effort, slots=pool.engine.slots, short_words=short_words, long_words=long_words)
    return _Target(f"http://{row['address']}/v1", effort)


def _idlest(rows: Iterable[Row], pool: str) -> Row:
    ready = [row for row in rows if row["pool"] == pool and row["state"] == "ready" and row["address"]]
    if not ready:
        raise Trouble(f"no replica of {pool} is ready; `stoker status` says why")
    return min(ready, key=lambda row: row["in_flight"] or 0)
