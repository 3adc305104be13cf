"""What a changed file changes, and what of it needs more than the controller."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.installation import Installation, NodeParts, PoolParts
from controller.settings import Settings, parse
from controller.stack.differences import Difference, InForce, Kind, PoolChange, beyond_the_controller, compare

POOL = "  - name: {name}\n    model: {name}\n    checkpoint: {name}.gguf\n"
FILE = "pools:\n" + POOL.format(name="small")
PARTS = PoolParts(image="stoker/llamacpp:1", checkpoint="/c/1.gguf")


def read(text: str) -> Settings:
    return parse(text, "c.yaml")


def in_force(text: str = FILE, parts: PoolParts = PARTS, nodes: tuple[NodeParts, ...] = ()) -> InForce:
    settings = read(text)
    pools = {pool.name: parts for pool in settings.pools}
    return InForce(settings, Installation(runtime="docker", docker_host="unix:///d", nodes=nodes, pools=pools))


@pytest.mark.parametrize(
    ("text", "kind", "keys"),
    [
        pytest.param("    health: {failures: 5}\n", Kind.POLICY, ("health.failures: 3 -> 5",), id="health"),
        pytest.param("    rollout: {bake: 1m}\n", Kind.POLICY, ("rollout.bake: 10s -> 60s",), id="rollout"),
        pytest.param(
            "    scaling: {latency: {for: 20s}}\n", Kind.POLICY, ("scaling.latency.for: 15s -> 20s",), id="an alias"
        ),
        pytest.param(
            "    resources: {gpu_memory: 1GiB}\n", Kind.POLICY, ("resources.gpu_memory: none -> 1073741824",), id="none"
        ),
        pytest.param("    engine: {slots: 4}\n", Kind.SPEC, ("engine.slots: 2 -> 4",), id="engine"),
        pytest.param("    health: {drain_timeout: 9s}\n", Kind.SPEC, ("health.drain_timeout: 30s -> 9s",), id="drain"),
    ],
)
def test_a_policy_is_in_force_at_once_and_another_spec_is_rolled_out(text: str, kind: Kind, keys: tuple[str]) -> None:
    found = compare(in_force(), in_force(FILE + text))

    assert found == Difference((PoolChange("small", kind, keys),))


def test_what_was_found_out_anew_is_another_spec_of_the_same_file() -> None:
    parts = PoolParts(image="stoker/llamacpp:2", checkpoint="/c/2.gguf")

    (change,) = compare(in_force(), in_force(parts=parts)).pools

    assert change.kind is Kind.SPEC
    assert change.keys == (
        "image found: stoker/llamacpp:1 -> stoker/llamacpp:2",
        "checkpoint found: /c/1.gguf -> /c/2.gguf",
    )


def test_pools_come_and_go() -> None:
    found = compare(in_force(), in_force("pools:\n" + POOL.format(name="large")))

    assert found.pools == (PoolChange("large", Kind.NEW), PoolChange("small", Kind.REMOVED))
    assert found.lines() == [
        "large: a new pool",
        "small: no longer configured, so its replicas are drained and removed",
    ]


def test_the_same_again_is_no_difference_whatever_else_the_text_says() -> None:
    again = in_force("# a remark\n" + FILE + "    replicas: {floor: 3}\n")

    assert not compare(in_force(), again)
    assert compare(in_force(), again).as_json() == {"changed": False, "pools": [], "nodes": [], "controller": []}


def test_nodes_come_go_and_move() -> None:
    first, second = NodeParts(name="a", docker_host="unix:///a"), NodeParts(name="b", docker_host="unix:///b")
    moved = second.model_copy(update={"address": "10.0.0.2"})

    found = compare(in_force(nodes=(first, second)), in_force(nodes=(moved, first.model_copy(update={"name": "c"}))))

    assert found.nodes == ("node b: address: none -> 10.0.0.2", "node c: new", "node a: gone")


def test_a_node_whose_exporter_is_named_is_another_node() -> None:
    node = NodeParts(name="a", docker_host="unix:///a")
    told = node.model_copy(update={"gpu_exporter": "10.0.0.2:9400"})

    assert compare(in_force(nodes=(node,)), in_force(nodes=(told,))).nodes == (
        "node a: gpu_exporter: none -> 10.0.0.2:9400",
    )


def test_what_is_the_controllers_alone_is_taken_in() -> None:
    text = FILE + "controller: {tick_interval: 1s, node_grace: 20s, lease_ttl: 20s}\n"

    assert beyond_the_controller(read(FILE), read(text)) == []
    assert compare(in_force(), in_force(text)).controller == (
        "controller.tick_interval: 2s -> 1s",
        "controller.node_grace: 15s -> 20s",
        "controller.lease_ttl: 10s -> 20s",
    )


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ports: {gateway: 8082}\n", ["ports.gateway: 8080 -> 8082"]),
        ("gateway: {host: 0.0.0.0}\n", ["gateway.host: 127.0.0.1 -> 0.0.0.0"]),
        ("controller: {host: '::1'}\n", ["controller.host: 127.0.0.1 -> ::1"]),
        ("controller: {monitoring_host: 0.0.0.0}\n", ["controller.monitoring_host: 127.0.0.1 -> 0.0.0.0"]),
        (
            "controller: {tls: {certificate: /c, key: /k}}\n",
            ["controller.tls.certificate: none -> /c", "controller.tls.key: none -> /k"],
        ),
        ("controller: {scrape_interval: 500ms}\n", ["controller.scrape_interval: 1s -> 0.5s"]),
        ("controller: {instance: 0123456789ab}\n", ["controller.instance: none -> 0123456789ab"]),
        (
            "ports: {edge: 9403, controller: 8001}\n",
            ["ports.controller: 8000 -> 8001", "ports.edge: 9401 -> 9403"],
        ),
    ],
)
def test_what_other_programs_run_with_is_told_key_by_key(text: str, keys: list[str]) -> None:
    told = beyond_the_controller(read(FILE), read(FILE + text))

    assert told == [f"{key}: other programs run with it; `stoker down` and `stoker up` take it in" for key in keys]


def test_who_may_come_in_how_is_the_controllers_alone() -> None:
    text = "controller: {trusted_proxies: [10.0.0.9], public_url: 'https://a.example'}\n"

    assert beyond_the_controller(read(FILE), read(FILE + text)) == []


def test_what_nginx_takes_in_while_it_runs_is_told_and_let_pass() -> None:
    text = "gateway: {read_timeout: 10s}\nplans: [{name: gold, priority: high}]\n"

    assert beyond_the_controller(read(FILE), read(FILE + text)) == []
    lines = compare(in_force(FILE), in_force(FILE + text)).lines()
    assert "gateway.read_timeout: 300s -> 10s" in lines
    assert "plans.gold.priority: none -> high" in lines


def test_every_key_of_the_file_is_compared() -> None:
    """A section that is added later must not be overlooked."""
    compared = {"pools", "nodes", "plans", "ports", "gateway", "controller", "alerting", "costs"}

    assert set(Settings.model_fields) == compared


def test_the_shipped_configuration_is_compared_with_itself() -> None:
    text = (Path(__file__).parents[3] / "stoker.yaml").read_text()

    assert compare(in_force(text), in_force(text)).lines() == []
