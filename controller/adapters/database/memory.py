"""The memory in its rows, and the row that fences."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlmodel import Session, col, delete, select

from controller.adapters.database.rows import (
    gpu_row,
    iso,
    lasting_of_gpu,
    lasting_of_pool,
    lasting_of_replica,
    pool_row,
    read_gpu,
    read_pool,
    read_replica,
    replica_row,
)
from controller.adapters.database.tables import GpuRow, LeadRow, OrderRow, PoolRow, ReplicaRow
from controller.core.decision import Memory
from controller.core.errors import LostLease
from controller.core.model import GpuMemory, Order, PoolMemory, PoolName, ReplicaId, ReplicaMemory, Term


def fence(session: Session, term: Term | None, *, lock: bool = True) -> None:
    """The lead, nobody else's to change until the end of the transaction.

    Raises:
        LostLease: the newest term is another one. None: whoever writes has no term, and none is asked for.
    """
    # SQLite has no such lock: there the transaction itself is one.
    row = session.get(LeadRow, 1, with_for_update=lock)
    if row is None:
        row = LeadRow()
        session.add(row)
    if term is not None and row.term != term:
        raise LostLease(f"term {term} is over, {row.term} is the newest: a newer controller leads")
    session.info["lead"] = row


def lead_row(session: Session) -> LeadRow:
    """What `fence` locked in this transaction."""
    row: LeadRow = session.info["lead"]
    return row


def read_memory(session: Session) -> Memory:
    """All that is remembered."""
    return Memory(
        {PoolName(row.pool): read_pool(row) for row in session.exec(select(PoolRow))},
        {ReplicaId(row.replica): read_replica(row) for row in session.exec(select(ReplicaRow))},
        {row.uuid: read_gpu(row) for row in session.exec(select(GpuRow))},
    )


def differs(before: Memory, after: Memory) -> bool:
    """Whether there is anything to write."""
    pools, replicas = changed_pools(before, after), changed_replicas(before, after)
    gone = (before.pools.keys() - after.pools, before.replicas.keys() - after.replicas, before.gpus.keys() - after.gpus)
    return bool(pools or replicas or changed_gpus(before, after) or any(gone))


def write_memory(session: Session, before: Memory, after: Memory) -> None:
    """Make the rows of `before` those of `after`: two statements for each table, whatever the number of rows."""
    pools, replicas = changed_pools(before, after), changed_replicas(before, after)
    _replace_pools(session, pools, before.pools.keys() - after.pools)
    names = [*replicas, *(before.replicas.keys() - after.replicas)]
    if names:
        session.exec(delete(ReplicaRow).where(col(ReplicaRow.replica).in_(names)))
        session.add_all([replica_row(known) for known in replicas.values()])
    gpus = changed_gpus(before, after)
    if uuids := [*gpus, *(before.gpus.keys() - after.gpus)]:
        session.exec(delete(GpuRow).where(col(GpuRow.uuid).in_(uuids)))
        session.add_all([gpu_row(known) for known in gpus.values()])


def _replace_pools(session: Session, pools: Mapping[PoolName, PoolMemory], gone: Collection[PoolName] = ()) -> None:
    if names := [*pools, *gone]:
        session.exec(delete(PoolRow).where(col(PoolRow.pool).in_(names)))
        session.add_all([pool_row(pool) for pool in pools.values()])


def changed_pools(before: Memory, after: Memory) -> Mapping[PoolName, PoolMemory]:
    """Those whose rows are others; equal values are not looked at twice."""
    return {
        name: pool
        for name, pool in after.pools.items()
        if (old := before.pools.get(name)) != pool and (old is None or lasting_of_pool(old) != lasting_of_pool(pool))
    }


def changed_replicas(before: Memory, after: Memory) -> Mapping[ReplicaId, ReplicaMemory]:
    """Those whose rows are others."""
    return {
        name: known
        for name, known in after.replicas.items()
        if (old := before.replicas.get(name)) != known
        and (old is None or lasting_of_replica(old) != lasting_of_replica(known))
    }


def changed_gpus(before: Memory, after: Memory) -> Mapping[str, GpuMemory]:
    """Those whose rows are others."""
    return {
        uuid: known
        for uuid, known in after.gpus.items()
        if (old := before.gpus.get(uuid)) != known and (old is None or lasting_of_gpu(old) != lasting_of_gpu(known))
    }


def forget(session: Session) -> None:
    """All but what is true whoever serves: the numbers given out, what was learned of cold starts, and of GPUs."""
    kept = {
        name: PoolMemory(name, 0, pool.next_ordinal, cold_start_s=pool.cold_start_s, cold_starts=pool.cold_starts)
        for name, pool in read_memory(session).pools.items()
    }
    session.expunge_all()
    _replace_pools(session, kept)
    session.exec(delete(ReplicaRow))
    session.exec(delete(OrderRow).where(col(OrderRow.subject).like("replica/%")))


def specs_in_use(memory: Memory, pool: PoolName) -> set[str]:
    """Hashes of what a pool's replicas are made of, and of what it can go back to."""
    mine = {known.spec_hash for known in memory.replicas.values() if known.pool == pool}
    return mine | {memory.pools[pool].good_spec} if pool in memory.pools else mine


def drop(session: Session, orders: Collection[Order], *, whenever: bool) -> None:
    """Delete them. `whenever`: also one of the same kind and subject that was given at another time."""
    for order in orders:
        same = (col(OrderRow.kind) == order.kind.value) & (col(OrderRow.subject) == order.subject)
        session.exec(delete(OrderRow).where(same if whenever else same & (col(OrderRow.at) == iso(order.at))))
