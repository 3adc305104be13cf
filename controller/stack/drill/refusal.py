"""Whether a pool can bear a drill now. Pure: rows of the API in, one sentence out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.stack.api_client import Row
from controller.stack.drill.facts import SERVING

_ANYWAY = "--force does it anyway"


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool as the controller sees it."""

    row: Row
    replicas: tuple[Row, ...]

    @staticmethod
    def of(name: str, pools: Sequence[Row], replicas: Sequence[Row]) -> Pool:
        """The rows of one pool."""
        row = next(row for row in pools if row["pool"] == name)
        return Pool(row, tuple(one for one in replicas if one["pool"] == name))

    @property
    def serving(self) -> tuple[str, ...]:
        """Those that get requests and are fit for them."""
        return tuple(one["replica"] for one in self.replicas if one["routed"] and one["state"] in SERVING)

    @property
    def target(self) -> float | None:
        """Requests in flight for each replica; None where the pool is not scaled by them."""
        return next((float(one["target"]) for one in self.row["signals"] if one["signal"] == "in_flight"), None)


def not_whole(pool: Pool) -> str | None:
    """Why the pool is not in its ordinary state, as a sentence; None where it is."""
    row, name = pool.row, pool.row["pool"]
    if len(pool.serving) < row["desired"]:
        return (
            f"{name} is not whole: {len(pool.serving)} of {row['desired']} replicas serve; wait until all do, "
            "`stoker status` shows it"
        )
    moving = [f"{one['replica']} is {one['state']}" for one in pool.replicas if one["state"] != "ready"]
    if moving:
        return f"{name} is not quiet: {', '.join(moving)}; wait until every replica is ready"
    return None


def refusal(pool: Pool, clients: int, hit: int) -> str | None:
    """Why users would notice a drill that takes `hit` replicas away; None where they should not.

    The sentence says what would be right.
    """
    found = not_whole(pool)
    if found is None and hit and len(pool.serving) <= hit:
        found = (
            f"{pool.row['pool']} has {len(pool.serving)} ready replicas, and with {hit} fewer nobody would answer; "
            "give it a floor of 2 or more"
        )
    found = found or _too_much(pool, clients, hit)
    return None if found is None else f"{found}, or {_ANYWAY}"


def _too_much(pool: Pool, clients: int, hit: int) -> str | None:
    target, present = pool.target, pool.row["in_flight"] or 0
    if target is None:
        return None
    left = len(pool.serving) - hit
    if left * target >= present + clients:
        return None
    room = int(left * target - present)
    right = f"give --load {room} or less" if room >= 1 else "wait for less load, or give the pool a higher floor"
    return (
        f"{left} replicas of {pool.row['pool']} hold {left * target:g} requests at their target of {target:g}, and "
        f"{present:g} in flight with {clients} clients of the drill are more; {right}"
    )
