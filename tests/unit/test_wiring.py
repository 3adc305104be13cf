"""The real parts, put together on an installation in a folder: the lease first, and nothing before it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controller.adapters.clock import SystemClock
from controller.adapters.database import FileLock, SqlStore
from controller.adapters.process import ProcessRuntime
from controller.adapters.telemetry import Telemetry
from controller.core.errors import LostLease, RuntimeRejected, TransientError
from controller.core.model import NodeName, PoolName, ReplicaId
from controller.installation import Installation, Layout, NodeParts, PoolParts
from controller.settings import ConfigError
from controller.stack.programs import environment
from controller.stack.specs import spec_of
from controller.wiring import Place, claim, lead, standing_by
from controller.wiring.parts import _runtimes

FILE = "pools:\n  - {name: small, model: small, checkpoint: small.gguf}\n"
SMALL, FIRST = PoolName("small"), ReplicaId("small-1")
PARTS = {"small": PoolParts(image="", checkpoint="/c/small.gguf")}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    layout = Layout(tmp_path)
    layout.config.write_text(FILE)
    Installation(runtime="process", pools=PARTS, run="first").save(layout)
    return Place(layout, 8000)


def files(place: Place) -> set[str]:
    return {path.name for path in place.layout.root.iterdir()}


def test_where_another_leads_nothing_but_the_lock_is_touched(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.adapters.database.lease._LOCK_TIMEOUT_S", 0.2)
    other = FileLock(place.layout.lock)
    other.acquire()
    place.layout.lock.write_text("box:8000 (/srv)")

    with pytest.raises(LostLease, match=r"^box:8000 \(/srv\) leads$"):
        claim(place)
    assert files(place) == {"stoker.yaml", "installation.json", "controller.lock"}

    other.release()
    taken = claim(place)
    assert place.layout.lock.read_text() == place.name
    taken.resources.close()


def test_who_has_it_gives_it_back_at_the_end(place: Place) -> None:
    first = claim(place)
    first.resources.close()
    second = claim(place)

    assert second.term == first.term + 1
    assert second.acquire() == second.term, "the ticker takes no other term than the one that was taken"
    second.release()
    with pytest.raises(LostLease):
        second.renew(second.term)
    second.resources.close()


def test_a_leader_knows_its_specs_and_begins_with_no_tick(place: Place) -> None:
    leader = lead(place, claim(place), Telemetry())
    wanted = spec_of(place.read()[0].pools[0], PARTS["small"])

    assert [policy.spec_hash for policy in leader.sources.policies] == [wanted.hash]
    assert (leader.sources.nodes, leader.sources.lead()) == ((NodeName("local"),), "leads")
    assert leader.sources.latest() is None
    assert len(bytes.fromhex(leader.sources.token)) == 32
    tokens = {leader.sources.token, leader.sources.metrics_token, leader.sources.alerts_token}
    assert len({*tokens, leader.sources.gateway_token}) == 4
    assert leader.sources.people.users() == ()
    leader.close()
    store = SqlStore(place.layout.database)
    assert store.spec(SMALL, wanted.hash) == wanted.body
    store.close()


def test_its_metrics_name_the_models_of_the_pools_that_there_are(place: Place) -> None:
    telemetry = Telemetry()
    telemetry.name_models([("gone", "gone")])
    lead(place, claim(place), telemetry).close()

    (told,) = [metric for metric in telemetry.registry.collect() if metric.name == "stoker_pool_info"]
    settings, _ = place.read()
    assert [sample.labels for sample in told.samples] == [
        {"pool": pool.name, "model": pool.model} for pool in settings.pools
    ]


def test_it_goes_by_the_files_as_they_are_when_it_begins_to_lead(place: Place) -> None:
    """`stoker apply` may have changed them while it stood by."""
    taken = claim(place)
    place.layout.config.write_text(FILE.replace("small.gguf}", "small.gguf, replicas: {floor: 1}}"))

    leader = lead(place, taken, Telemetry())

    assert leader.sources.policies[0].scaling.floor == 1
    leader.close()


def test_a_lead_that_leads_to_nothing_is_given_up(place: Place) -> None:
    taken = claim(place)
    place.layout.config.write_text(FILE.replace("small", "large"))

    with pytest.raises(ConfigError, match="what pool large is made of"):
        lead(place, taken, Telemetry())

    claim(place).resources.close()  # it can be had


def test_the_next_one_may_lead_before_all_is_closed(place: Place) -> None:
    place.layout.config.write_text(FILE.replace("small.gguf}", "small.gguf, replicas: {floor: 0}}"))  # starts nothing
    leader = lead(place, claim(place), Telemetry())
    leader.start()
    leader.close()

    claim(place).resources.close()
    assert not leader.schedule._scheduler.running


def test_what_stands_by_tells_of_the_configuration_and_of_nothing_else(place: Place) -> None:
    sources = standing_by(place, Telemetry(), lambda: "stands by; another leads")

    assert [policy.pool for policy in sources.policies] == [SMALL]
    assert (sources.latest(), sources.healthy(), sources.lead()) == (None, True, "stands by; another leads")
    assert (sources.store.decisions(limit=9), sources.store.events(limit=9), sources.store.orders()) == ((), (), ())
    with pytest.raises(LostLease, match="stands by"):
        sources.store.drop_orders(())
    assert files(place) == {"stoker.yaml", "installation.json", "api.token", "alerts.token", "metrics.token"}


def test_a_database_that_gives_no_answer_is_waited_for(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://stoker:hunter2@127.0.0.1:1/stoker")
    file.chmod(0o600)
    shared = f"controller: {{database: postgresql, database_url_file: {file}, instance: 0123456789ab}}\n"
    place.layout.config.write_text(FILE + shared)

    with pytest.raises(TransientError) as silent:
        claim(place)

    assert "hunter2" not in str(silent.value)


def test_a_secret_that_others_may_read_is_refused(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://stoker:hunter2@127.0.0.1:1/stoker")
    file.chmod(0o644)
    shared = f"controller: {{database: postgresql, database_url_file: {file}, instance: 0123456789ab}}\n"
    place.layout.config.write_text(FILE + shared)

    with pytest.raises(ConfigError, match="chmod 600"):
        claim(place)


def test_each_node_has_a_runtime_of_its_own(place: Place) -> None:
    nodes = (
        NodeParts(name="a", docker_host="unix:///none/a"),
        NodeParts(name="b", docker_host="tcp://127.0.0.1:1", address="127.0.0.1"),
    )

    made = _runtimes(Installation(runtime="docker", nodes=nodes, pools={}), place.layout, SystemClock())

    assert list(made) == ["a", "b"]
    for runtime in made.values():
        runtime.close()


def test_a_spec_that_nobody_remembers_starts_nothing(place: Place) -> None:
    leader = lead(place, claim(place), Telemetry())
    try:
        with pytest.raises(RuntimeRejected, match="nobody remembers"):
            leader.ticker._parts.spec_for(SMALL, FIRST, "ffffffffffff")
    finally:
        leader.close()


def test_two_controllers_of_one_machine_have_two_names(place: Place) -> None:
    assert place.name != Place(place.layout, 8010).name
    assert str(place.layout.root) in place.name
    assert os.uname().nodename in place.name


def test_what_stands_by_says_that_it_does_not_lead(place: Place) -> None:
    telemetry = Telemetry()
    telemetry.take_role(stands_by=True)
    page = standing_by(place, telemetry, lambda: "stands by; another leads").metrics().decode()

    assert "stoker_controller_leader 0.0" in page.splitlines()
    assert "stoker_controller_stands_by 1.0" in page.splitlines()


def test_no_program_and_no_replica_inherits_the_token_of_a_person(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOKER_TOKEN", "st_of_an_admin")
    monkeypatch.setenv("HF_HOME", "/models")
    (process,) = _runtimes(Installation(runtime="process", pools={}), place.layout, SystemClock()).values()

    assert isinstance(process, ProcessRuntime)
    for told in (process._node.environment, environment(place.layout, os.environ)):
        assert ("STOKER_TOKEN" in told, told["HF_HOME"]) == (False, "/models")
