"""The two autoscalers of Kubernetes, in our own words: the HPA (v2) and Knative's KPA.

Both see requests in flight for each replica, and have the pool's floor, ceiling and target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.core.signals import ceil
from controller.simulate.metrics import View


@dataclass(frozen=True, slots=True)
class Bounds:
    """What all peers share."""

    floor: int
    ceiling: int
    target: float  # requests in flight for each replica

    def clip(self, count: int) -> int:
        """The count within floor and ceiling."""
        return max(self.floor, min(count, self.ceiling))


class Hpa:
    """Kubernetes HPA v2 with a pods metric (kubernetes/website, horizontal-pod-autoscale; the controller's
    `replica_calculator.go` and `normalizeDesiredReplicasWithBehaviors`).

    Defaults: every 15 s; tolerance 10 %; up at once, by 4 pods or 100 % per 15 s, whichever is more; down to the
    highest recommendation of 300 s, by up to 100 % per 15 s. A pod without a sample counts as empty when growing and
    as full when shrinking; one that is not ready counts as empty when growing. Without metrics nothing moves.
    """

    name = "hpa"
    interval_s = 15.0
    _tolerance = 0.10
    _down_window_s = 300.0
    _period_s = 15.0
    _up_pods, _up_percent, _down_percent = 4, 100, 100

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._recommended: list[tuple[float, int]] = []
        self._changes: list[tuple[float, int]] = []  # replicas added, or taken where negative

    def decide(self, view: View) -> int:
        wanted = self._raw(view)
        now, current = view.now_s, view.desired
        # An older entry than the window is of no use to it any more.
        self._recommended = [entry for entry in self._recommended if entry[0] > now - self._down_window_s]
        self._recommended.append((now, wanted))
        ceiling = max(count for _, count in self._recommended)
        steady = wanted if wanted > current else min(current, ceiling)
        count = self._bounds.clip(self._limit(now, current, steady))
        if count != current:
            self._changes.append((now, count - current))
        return count

    def _raw(self, view: View) -> int:
        """Before windows and limits."""
        if view.numbers is None or view.ready == 0:
            return view.desired
        values = [usage.in_flight for usage in view.numbers.of_replica.values()]
        missing = max(view.ready - len(values), 0)
        if not values:
            return view.desired
        ratio = sum(values) / len(values) / self._bounds.target
        growing = ratio > 1
        if not missing and not (view.starting and growing):
            return view.desired if self._near(ratio) else ceil(ratio * len(values))
        total = float(sum(values)) + (0.0 if growing else missing * self._bounds.target)
        pods = len(values) + missing + (view.starting if growing else 0)
        damped = total / pods / self._bounds.target
        if self._near(damped) or (ratio - 1) * (damped - 1) < 0:
            return view.desired
        count = ceil(damped * pods)
        against = count < view.desired if damped > 1 else count > view.desired
        return view.desired if against else count

    def _near(self, ratio: float) -> bool:
        return abs(1 - ratio) <= self._tolerance

    def _limit(self, now: float, current: int, wanted: int) -> int:
        """No more than the policies allow, counted from the number at the period's start."""
        self._changes = [change for change in self._changes if change[0] > now - self._period_s]
        added = sum(change for _, change in self._changes if change > 0)
        taken = -sum(change for _, change in self._changes if change < 0)
        before_up, before_down = current - added, current + taken
        most = max(before_up + self._up_pods, ceil(before_up * (1 + self._up_percent / 100)))
        least = math.floor(before_down * (1 - self._down_percent / 100))
        return max(min(wanted, max(most, current)), min(least, current))


class Kpa:
    """Knative's KPA (knative.dev, autoscaling/kpa-specific and config-autoscaler; `autoscaler.go`).

    Defaults: every 2 s; the stable window is 60 s, the panic window 6 s, the panic threshold 200 %; up by at most
    1000 times, down to no less than half in a step; no delay downwards. It begins in panic at the size that it finds.
    Without data nothing moves.
    """

    name = "kpa"
    interval_s = 2.0
    _stable_s, _panic_s = 60, 6
    _threshold = 2.0
    _max_up, _max_down = 1000.0, 2.0

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._panic_since: float | None = None
        self._panic_most = 0
        self._begun = False

    def decide(self, view: View) -> int:
        if not self._begun:
            self._begun = True
            if view.ready > 1:
                self._panic_since, self._panic_most = view.now_s, view.ready
        if view.numbers is None:
            return view.desired
        ready = max(1, view.ready)
        stable = view.numbers.mean_in_flight[self._stable_s]
        panic = view.numbers.mean_in_flight[self._panic_s]
        for_stable, for_panic = self._count(stable, ready), self._count(panic, ready)
        self._fold_panic(view.now_s, ceil(panic / self._bounds.target) / ready >= self._threshold)
        wanted = for_stable
        if self._panic_since is not None:
            self._panic_most = max(self._panic_most, for_stable, for_panic)
            wanted = self._panic_most
        return self._bounds.clip(wanted)

    def _fold_panic(self, now: float, over: bool) -> None:
        if over:
            self._panic_since = now
        elif self._panic_since is not None and now - self._panic_since > self._stable_s:
            self._panic_since, self._panic_most = None, 0

    def _count(self, mean: float, ready: int) -> int:
        most, least = ceil(self._max_up * ready), math.floor(ready / self._max_down)
        return max(least, min(ceil(mean / self._bounds.target), most))
