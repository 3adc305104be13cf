"""What a pool's replicas are made of, its hash, and the way back from a hash to a spec."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from controller.core.errors import RuntimeRejected
from controller.core.model import PoolName, ReplicaId
from controller.installation import Installation, PoolParts
from controller.settings import ConfigError, PoolSettings, Settings
from controller.stack.specs import Spec, Specs, rebuild, spec_of, specs_of
from tests.fakes.store import FakeStore

POOL = PoolSettings(name="small", model="small", checkpoint="small.gguf")
PARTS = PoolParts(image="stoker/llamacpp:1", checkpoint="/c/small-1.gguf")
SMALL, FIRST = PoolName("small"), ReplicaId("small-1")


class Remembering(FakeStore):
    """A ledger that remembers specs, whatever else the fake does."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: dict[tuple[str, str], str] = {}

    def keep_spec(self, pool: PoolName, spec_hash: str, body: str) -> None:
        self.bodies[(pool, spec_hash)] = body

    def spec(self, pool: PoolName, spec_hash: str) -> str | None:
        return self.bodies.get((pool, spec_hash))


def changed(**update: object) -> PoolSettings:
    return POOL.model_copy(update=update)


def test_a_hash_is_the_same_in_every_process() -> None:
    assert spec_of(POOL, PARTS).hash == "2ef88c799da1", "a new hash replaces every replica of everybody who upgrades"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(spec_of(changed(model="other"), PARTS), id="model"),
        pytest.param(spec_of(changed(engine=POOL.engine.model_copy(update={"slots": 3})), PARTS), id="slots"),
        pytest.param(spec_of(changed(engine=POOL.engine.model_copy(update={"threads": 3})), PARTS), id="threads"),
        pytest.param(
            spec_of(changed(health=POOL.health.model_copy(update={"drain_timeout": timedelta(seconds=9)})), PARTS),
            id="how long a launcher drains",
        ),
        pytest.param(spec_of(POOL, PARTS.model_copy(update={"image": "stoker/llamacpp:2"})), id="image"),
        pytest.param(spec_of(POOL, PARTS.model_copy(update={"checkpoint": "/c/small-2.gguf"})), id="checkpoint"),
    ],
)
def test_what_a_replica_is_made_of_changes_the_hash(other: Spec) -> None:
    assert other.hash != spec_of(POOL, PARTS).hash


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(changed(replicas=POOL.replicas.model_copy(update={"floor": 1})), id="floor"),
        pytest.param(changed(health=POOL.health.model_copy(update={"failures": 9})), id="probes"),
        pytest.param(changed(scaling=POOL.scaling.model_copy(update={"surge": 1})), id="scaling"),
        pytest.param(changed(mode="paused"), id="mode"),
    ],
)
def test_a_policy_does_not(other: PoolSettings) -> None:
    assert spec_of(other, PARTS).hash == spec_of(POOL, PARTS).hash


def test_the_wanted_spec_is_made_for_each_replica_and_remembered() -> None:
    wanted, store = spec_of(POOL, PARTS), Remembering()
    specs = Specs({SMALL: wanted}, store)
    specs.keep()

    made = specs(SMALL, FIRST, wanted.hash)

    assert (made.replica, made.pool, made.spec_hash) == (FIRST, SMALL, wanted.hash)
    assert (made.model, made.image, made.checkpoint) == ("small", PARTS.image, PARTS.checkpoint)
    assert specs(SMALL, FIRST, "") == made
    assert specs.hashes == {"small": wanted.hash}
    assert store.bodies == {("small", wanted.hash): wanted.body}


def test_an_older_spec_is_what_it_was() -> None:
    store, old = Remembering(), spec_of(POOL, PARTS)
    Specs({SMALL: old}, store).keep()
    later = Specs({SMALL: spec_of(changed(model="other"), PARTS)}, store)

    made = later(SMALL, ReplicaId("small-9"), old.hash)

    assert (made.replica, made.model, made.spec_hash) == ("small-9", "small", old.hash)


def test_a_hash_that_nobody_remembers_is_refused() -> None:
    specs = Specs({SMALL: spec_of(POOL, PARTS)}, Remembering())

    with pytest.raises(RuntimeRejected, match="nobody remembers what spec abc of pool small stands for"):
        specs(SMALL, FIRST, "abc")
    with pytest.raises(RuntimeRejected, match="spec without a hash of pool gone"):
        specs(PoolName("gone"), FIRST, "")


@pytest.mark.parametrize("body", ["{}", "no JSON", "[]", json.dumps({"pool": "small", "colour": "red"})])
def test_a_body_of_another_version_is_refused(body: str) -> None:
    with pytest.raises(RuntimeRejected, match="another version of Stoker"):
        rebuild(FIRST, "abc", body)


def test_a_pool_that_was_never_found_out_is_named() -> None:
    with pytest.raises(ConfigError, match="pool small is made of: a `stoker apply` was cut off"):
        specs_of(Settings(pools=(POOL,)), Installation(runtime="process", pools={}))
