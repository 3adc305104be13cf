"""What a pool's replicas are made of: its configuration and what `stoker up` found -> ReplicaSpec, its body, its hash.

Two specs of one hash are equal, so that a replica's label tells whether it is what is wanted now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from controller.core.errors import RuntimeRejected
from controller.core.model import PoolName, ReplicaId
from controller.installation import Installation, PoolParts
from controller.ports import ReplicaSpec, StateStore
from controller.settings import ConfigError, PoolSettings, Settings

_OWN = ("replica", "spec_hash", "gpu")  # not of the body: it is made from that, and the others are each replica's


@dataclass(frozen=True, slots=True)
class Spec:
    """What every replica of a pool is made of, its name apart."""

    pool: PoolName
    body: str  # JSON, the same text for the same spec

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits over everything that, changed, needs a new replica."""
        return hashlib.sha256(self.body.encode()).hexdigest()[:12]


def spec_of(pool: PoolSettings, parts: PoolParts) -> Spec:
    """The spec that is wanted of a pool."""
    made = ReplicaSpec(
        replica=ReplicaId(""),
        pool=PoolName(pool.name),
        model=pool.model,
        engine=pool.engine.name,
        image=parts.image,
        checkpoint=parts.checkpoint,
        spec_hash="",
        slots=pool.engine.slots,
        context_tokens=pool.engine.context_tokens,
        threads=pool.engine.threads,
        drain_timeout_s=pool.health.drain_timeout.total_seconds(),
    )
    body = {name: value for name, value in asdict(made).items() if name not in _OWN}
    return Spec(made.pool, json.dumps(body, sort_keys=True))


def specs_of(settings: Settings, installation: Installation) -> dict[PoolName, Spec]:
    """The wanted spec of every pool.

    Raises:
        ConfigError: the installation knows nothing of a pool; the two files are of different runs.
    """
    found: dict[PoolName, Spec] = {}
    for pool in settings.pools:
        parts = installation.pools.get(pool.name)
        if parts is None:
            raise ConfigError(
                f"nobody has found out what pool {pool.name} is made of: a `stoker apply` was cut off; run it again"
            )
        found[PoolName(pool.name)] = spec_of(pool, parts)
    return found


def rebuild(replica: ReplicaId, spec_hash: str, body: str) -> ReplicaSpec:
    """The spec of one replica from the body that was kept of it.

    Raises:
        RuntimeRejected: the body is of another version of Stoker.
    """
    try:
        return ReplicaSpec(replica=replica, spec_hash=spec_hash, **json.loads(body))
    except (TypeError, ValueError) as error:
        raise RuntimeRejected(
            f"what spec {spec_hash} of {replica} stands for was written by another version of Stoker; "
            "`stoker apply` with the configuration that is wanted makes a new one"
        ) from error


class Specs:
    """What a new replica is made of: as wanted, or as an older spec, which the store remembers, has it."""

    def __init__(self, wanted: Mapping[PoolName, Spec], store: StateStore) -> None:
        self._wanted, self._store = wanted, store

    def keep(self) -> None:
        """Have the store remember the wanted ones, for a way back to them. Blocks for up to 5 s each."""
        for pool, spec in self._wanted.items():
            self._store.keep_spec(pool, spec.hash, spec.body)

    @property
    def hashes(self) -> dict[str, str]:
        """The wanted hash of each pool."""
        return {pool: spec.hash for pool, spec in self._wanted.items()}

    def __call__(self, pool: PoolName, replica: ReplicaId, spec_hash: str) -> ReplicaSpec:
        """See `Parts.spec_for`. Without a hash it is the wanted one.

        Raises:
            RuntimeRejected: nobody remembers that hash, or there is no such pool.
        """
        wanted = self._wanted.get(pool)
        if wanted is not None and spec_hash in ("", wanted.hash):
            return rebuild(replica, wanted.hash, wanted.body)
        body = self._store.spec(pool, spec_hash)
        if body is None:
            raise RuntimeRejected(
                f"nobody remembers what spec {spec_hash or 'without a hash'} of pool {pool} stands for; "
                "`stoker apply` with the configuration that is wanted makes it known"
            )
        return rebuild(replica, spec_hash, body)
