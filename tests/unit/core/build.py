"""Short ways to write down the facts of a test."""

from __future__ import annotations

from datetime import datetime, timedelta

from controller.core.model import (
    Address,
    Container,
    ContainerState,
    LauncherPhase,
    NodeName,
    PoolName,
    ProbeHistory,
    Reading,
    Replica,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
)
from tests.fakes.clock import START

POOL = PoolName("llama")
PORTS = {f"llama-{number}": 20000 + number for number in range(1, 400)}


def container(name: str, state: ContainerState = ContainerState.RUNNING, **more: object) -> Container:
    """A container of the pool `llama`, made at START."""
    known = {"detail": "Exited (137)", "exit_code": 137} if state is ContainerState.EXITED else {}
    port = PORTS.get(name, 30000)
    return Container(
        replica=ReplicaId(name),
        pool=POOL,
        node=NodeName("local"),
        spec_hash="abc",
        state=state,
        created_at=START,
        engine=Address("127.0.0.1", port),
        launcher=Address("127.0.0.1", port + 1),
        **(known | more),  # type: ignore[arg-type]
    )


def memory(name: str, state: ReplicaState, since: datetime = START, **more: object) -> ReplicaMemory:
    """A remembered replica, made at START; one that is past STARTING was ready two seconds later."""
    ready_at = None if state is ReplicaState.STARTING else START + timedelta(seconds=2)
    values = {"ready_at": ready_at} | more
    return ReplicaMemory(ReplicaId(name), POOL, state, since, START, **values)  # type: ignore[arg-type]


def probe(ok: bool, in_a_row: int = 1, at: datetime = START, **more: object) -> ProbeHistory:
    """A probe's result; a pass comes from a ready launcher."""
    known: dict[str, object] = (
        {"phase": LauncherPhase.READY, "in_flight": 0, "waiting": 0} if ok else {"detail": "no answer"}
    )
    return ProbeHistory(at, ok, in_a_row, **(known | more))  # type: ignore[arg-type]


def replica(
    name: str,
    state: ReplicaState | None = ReplicaState.READY,
    result: ProbeHistory | None = None,
    *,
    runs: ContainerState = ContainerState.RUNNING,
    routed: bool | None = None,
    **more: object,
) -> Replica:
    """A replica as a tick sees it. `state` is the remembered one (None: never seen before)."""
    known = None if state is None else memory(name, state, **more)
    serves = state is ReplicaState.READY if routed is None else routed
    return Replica(container(name, runs), result, known, serves)


def reading(value: float, age_s: float = 1.0, now: datetime = START) -> Reading:
    """A number measured `age_s` before `now`."""
    return Reading.of(value, now - timedelta(seconds=age_s))
