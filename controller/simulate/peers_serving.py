"""The autoscalers of three model-serving systems, in our own words: Ray Serve, SkyServe and dstack.

Ray Serve scales on requests in flight; the other two on requests per second, for which a replica's share must be
known: it is what the engine model sustains at the policy's target of utilisation.
"""

from __future__ import annotations

import math

from controller.core.signals import ceil
from controller.simulate.metrics import View
from controller.simulate.peers_kubernetes import Bounds


class Static:
    """A fixed number of replicas, whatever comes."""

    interval_s = 60.0

    def __init__(self, count: int) -> None:
        self.name, self._count = f"static:{count}", count

    def decide(self, view: View) -> int:
        return self._count


class Ray:
    """Ray Serve (docs.ray.io, `ray.serve.config.AutoscalingConfig`; `autoscaling_policy.py`).

    Defaults: metrics every 10 s, averaged over 30 s; both factors 1.0; a direction must hold for 30 s upwards and for
    600 s downwards, and is waited for anew after each step. Without replicas and with requests it acts at once.
    """

    name = "ray"
    interval_s = 10.0
    _look_back_s = 30
    _up_factor, _down_factor = 1.0, 1.0
    _up_delay_s, _down_delay_s = 30.0, 600.0

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._since: tuple[float, bool] | None = None  # when the direction began, and whether it is up

    def decide(self, view: View) -> int:
        if view.numbers is None:
            return view.desired
        ongoing = view.numbers.mean_in_flight[self._look_back_s]
        if view.ready == 0:
            return max(view.desired, self._bounds.clip(ceil(self._up_factor))) if ongoing > 0 else view.desired
        wanted = self._bounds.clip(self._count(ongoing, view.ready))
        if wanted == view.desired:
            self._since = None
            return view.desired
        up = wanted > view.desired
        if self._since is None or self._since[1] is not up:
            self._since = (view.now_s, up)
        if view.now_s - self._since[0] < (self._up_delay_s if up else self._down_delay_s):
            return view.desired
        self._since = None
        return wanted

    def _count(self, ongoing: float, running: int) -> int:
        error = ongoing / (self._bounds.target * running)
        factor = self._up_factor if error >= 1 else self._down_factor
        count = ceil(running * (1 + (error - 1) * factor))
        stuck = count == running and factor < 1 and ceil(running * error) < running
        return count - 1 if stuck else count


class SkyServe:
    """SkyPilot's SkyServe (`sky/serve/autoscalers.py`, `sky/serve/constants.py`).

    Defaults: every 20 s, on the requests that arrived within 60 s; up after 300 s and down after 1200 s of ticks in a
    row that ask for it, then straight to the target. Without data nothing moves and nothing is counted.
    """

    name = "skyserve"
    interval_s = 20.0
    _window_s = 60
    _up_ticks, _down_ticks = 300 // 20, 1200 // 20

    def __init__(self, bounds: Bounds, target_rps: float) -> None:
        self._bounds, self._target_rps = bounds, target_rps
        self._up = self._down = 0

    def decide(self, view: View) -> int:
        if view.numbers is None:
            return view.desired
        rps = view.numbers.arrivals[self._window_s] / self._window_s
        wanted = self._bounds.clip(ceil(rps / self._target_rps))
        self._up = self._up + 1 if wanted > view.desired else 0
        self._down = self._down + 1 if wanted < view.desired else 0
        if view.desired == 0 or self._up >= self._up_ticks or self._down >= self._down_ticks:
            self._up = self._down = 0
            return wanted
        return view.desired


class Dstack:
    """dstack (`services/services/autoscalers.py`, `ScalingSpec` in `models/configurations.py`).

    Defaults: on the requests that ended within 60 s, as its gateway's access log has them; up at the earliest 300 s
    and down 600 s after the last change. It is asked every 15 s, as often as the gateway's numbers are fetched (from
    memory). Without numbers nothing moves.
    """

    name = "dstack"
    interval_s = 15.0
    _window_s = 60
    _up_delay_s, _down_delay_s = 300.0, 600.0

    def __init__(self, bounds: Bounds, target_rps: float) -> None:
        self._bounds, self._target_rps = bounds, target_rps
        self._last_s: float | None = None  # of the last change; the warm start is long ago

    def decide(self, view: View) -> int:
        if view.numbers is None:
            return view.desired
        rps = view.numbers.ended[self._window_s] / self._window_s
        wanted, current = self._bounds.clip(ceil(rps / self._target_rps)), view.desired
        since_s = math.inf if self._last_s is None else view.now_s - self._last_s
        up = wanted > current and (current == 0 or since_s >= self._up_delay_s)
        down = wanted < current and since_s >= self._down_delay_s
        if not up and not down:
            return current
        self._last_s = view.now_s
        return wanted
