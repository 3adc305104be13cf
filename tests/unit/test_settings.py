"""Every way to get stoker.yaml wrong: the line it is on, and what would be right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller.core.cron import FloorWindow
from controller.core.model import PoolName
from controller.core.policy import (
    ErrorsPolicy,
    ForecastPolicy,
    HealthPolicy,
    LatencyPolicy,
    Measure,
    MemoryOf,
    MemoryPolicy,
    Mode,
    PanicPolicy,
    RateLimit,
    RolloutPolicy,
    ScalingPolicy,
    Source,
    TargetPolicy,
    UtilizationPolicy,
)
from controller.settings import ConfigError, ControllerSettings, load, parse

POOL = "pools:\n  - name: small\n    model: small\n    checkpoint: small.gguf\n"
SHARED = "controller: {database: postgresql, database_url_file: /run/url, instance: 0123456789ab}\n"
URL = "postgresql://stoker:hunter2@db/stoker"


@dataclass(frozen=True)
class Bad:
    name: str
    text: str
    said: tuple[str, ...]  # in this order, one per line of the message


CASES = [
    Bad("unknown key", POOL + "    replica: {floor: 3}\n", ("c.yaml:5: unknown key", "did you mean `replicas`?")),
    Bad("unknown key, nothing like it", POOL + "    zebra: 1\n", ("c.yaml:5: unknown key", "known here: name, model")),
    Bad(
        "unknown key inside",
        POOL + "    scaling:\n      serge: 2\n",
        ("c.yaml:6:", "`pools.0.scaling.serge`", "`surge`"),
    ),
    Bad("unknown key at the top", POOL + "port:\n  gateway: 1\n", ("c.yaml:5: unknown key `port`", "`ports`")),
    Bad("no unit", POOL + "    scaling:\n      scale_down_window: 300\n", ("c.yaml:6:", "300 is no duration", "300s")),
    Bad("wrong unit", POOL + "    health:\n      probe_timeout: 1 sec\n", ("c.yaml:6:", "'1 sec'", "ms, s, m, h")),
    Bad("no time at all", POOL + "    health:\n      probe_timeout: 0s\n", ("c.yaml:6:", "must be above 0")),
    Bad(
        "aeons", POOL + "    health:\n      probe_timeout: 99999999999999999h\n", ("c.yaml:6:", "is longer than a year")
    ),
    Bad(
        "floor above ceiling",
        POOL + "    replicas:\n      floor: 7\n      ceiling: 6\n",
        ("c.yaml:5:", "floor 7 is above ceiling 6; make the floor at most the ceiling"),
    ),
    Bad("floor above the usual ceiling", POOL + "    replicas:\n      floor: 9\n", ("c.yaml:5:", "above ceiling 6")),
    Bad(
        "less than nothing",
        POOL + "    replicas:\n      floor: -1\n",
        ("c.yaml:6:", "greater than or equal to 0", "not -1"),
    ),
    Bad(
        "a target of nothing",
        POOL + "    scaling:\n      utilization: {target: 0}\n",
        ("c.yaml:6:", "utilization.target", "greater than 0", "not 0"),
    ),
    Bad(
        "a threshold below its target",
        POOL + "    scaling:\n      utilization: {target: 0.9}\n",
        ("c.yaml:6:", "threshold is 0.85; it must be at least the target 0.9"),
    ),
    Bad(
        "a window shorter than the scrape",
        POOL + "    scaling:\n      scale_down_window: 4s\ncontroller: {scrape_interval: 5s}\n",
        ("c.yaml:5:", "scale_down_window of 4 s is shorter than the time between two scrapes, 5 s"),
    ),
    Bad(
        "a threshold's time shorter than the scrape",
        POOL + "    scaling:\n      latency: {for: 500ms}\n",
        ("c.yaml:5:", "latency.for of 0.5 s is shorter than the time between two scrapes, 1 s"),
    ),
    Bad(
        "no signal at all",
        POOL + "    scaling:\n      in_flight: {enabled: false}\n      utilization: {enabled: false}\n"
        "      latency: {enabled: false}\n",
        ("c.yaml:5:", "no signal is enabled, so that nothing could ever scale the pool"),
    ),
    Bad(
        "an unknown signal's key",
        POOL + "    scaling:\n      latency: {treshold: 1s}\n",
        ("c.yaml:6:", "unknown key", "did you mean `threshold`?"),
    ),
    Bad(
        "the target in flight twice",
        POOL + "    scaling:\n      target_in_flight: 4\n      in_flight: {target: 4}\n",
        ("c.yaml:5:", "target_in_flight and in_flight.target say the same; keep one"),
    ),
    Bad(
        "no cron",
        POOL + "    scaling:\n      schedule:\n        - {start: 8 o'clock, for: 1h, floor: 4}\n",
        ("c.yaml:7:", "has 2 fields; write minute, hour, day of month, month, day of week"),
    ),
    Bad(
        "no time zone",
        POOL + "    scaling:\n      schedule:\n        - {start: 0 8 * * *, for: 1h, floor: 4, timezone: Mars}\n",
        ("c.yaml:7:", "'Mars' is no time zone here"),
    ),
    Bad(
        "a scheduled floor above the ceiling",
        POOL + "    scaling:\n      schedule:\n        - {start: 0 8 * * *, for: 1h, floor: 9}\n",
        ("c.yaml:2:", "a scheduled floor 9 is above ceiling 6"),
    ),
    Bad(
        "a size beyond all",
        POOL + f"    resources: {{gpu_memory: {'9' * 400}GiB}}\n",
        ("c.yaml:5:", "is larger than a million TiB"),
    ),
    Bad("no size", POOL + "    resources: {gpu_memory: 18GB}\n", ("c.yaml:5:", "'18GB' is no size", "18GiB")),
    Bad("shadow without a policy", POOL + "    mode: shadow\n", ("c.yaml:2:", "needs the second policy under shadow")),
    Bad(
        "a policy without shadow",
        POOL + "    shadow: {target_in_flight: 8}\n",
        ("c.yaml:2:", "needs the second policy under shadow, and only such a pool has one"),
    ),
    Bad(
        "a fault in the second policy",
        POOL + "    mode: shadow\n    shadow: {tolerance: 2}\n",
        ("c.yaml:6:", "shadow.tolerance", "less than 1, not 2"),
    ),
    Bad("a word for a number", POOL + "    replicas:\n      floor: three\n", ("c.yaml:6:", "integer", "not 'three'")),
    Bad("a number in quotes", POOL + "    replicas:\n      floor: '3'\n", ("c.yaml:6:", "integer", "not '3'")),
    Bad(
        "an engine that is not there", POOL + "    engine: {name: magic}\n", ("c.yaml:5:", "'llamacpp'", "not 'magic'")
    ),
    Bad("a name that nginx cannot have", POOL.replace("name: small", "name: Small_1"), ("c.yaml:2:", "lower-case")),
    Bad("a model with a space", POOL.replace("model: small", "model: a b"), ("c.yaml:3:", "'a b' is no model name")),
    Bad(
        "no checkpoint",
        POOL.replace("    checkpoint: small.gguf\n", ""),
        ("c.yaml:2:", "`pools.0.checkpoint` is missing"),
    ),
    Bad("an empty checkpoint", POOL.replace("small.gguf", "''"), ("c.yaml:4:", "at least 1 character")),
    Bad("the same key twice", POOL + "    model: other\n", ("c.yaml:5:", "the key `model` stands here twice")),
    Bad("two pools of a name", POOL + POOL.removeprefix("pools:\n"), ("c.yaml:1:", "two pools have the name 'small'")),
    Bad("no pool", "pools: []\n", ("c.yaml:1:", "name at least one pool")),
    Bad("no pools", "ports: {gateway: 1}\n", ("c.yaml:1:", "`pools` is missing")),
    Bad("ports alike", POOL + "ports:\n  gateway: 9090\n", ("c.yaml:5:", "prometheus and gateway are both 9090")),
    Bad("a port beyond all ports", POOL + "ports:\n  gateway: 80800\n", ("c.yaml:6:", "65535", "not 80800")),
    Bad("a tab", "pools:\n\t- name: small\n", ("c.yaml:2: is not YAML",)),
    Bad("a list", "- name: small\n", ("c.yaml:1: must be a mapping",)),
    Bad("empty", "", ("c.yaml:1: must be a mapping",)),
    Bad(
        "a share of nothing",
        POOL + "    health:\n      panic_threshold: 0\n",
        ("c.yaml:6:", "health.panic_threshold", "greater than 0", "not 0"),
    ),
    Bad(
        "all of a pool is no share",
        POOL + "    health:\n      suspect_errors: 1.0\n",
        ("c.yaml:6:", "health.suspect_errors", "less than 1", "not 1.0"),
    ),
    Bad("no probe at all", POOL + "    health: {passes: 0}\n", ("c.yaml:5:", "health.passes", "equal to 1", "not 0")),
    Bad(
        "a budget of nothing",
        POOL + "    health:\n      budget: {actions: 0, per: 10m}\n",
        ("c.yaml:6:", "health.budget.actions", "equal to 1", "not 0"),
    ),
    Bad(
        "a budget's key that is not there",
        POOL + "    health:\n      budget: {action: 3}\n",
        ("c.yaml:6:", "unknown key `pools.0.health.budget.action`; did you mean `actions`?"),
    ),
    Bad(
        "stalled between two probes",
        POOL + "    health: {stall_timeout: 2s}\n",
        ("c.yaml:5:", "stall_timeout of 2 s is not longer than probe_interval and probe_timeout together, 2 s"),
    ),
    Bad(
        "quarantined before it is rolled back",
        POOL + "    rollout: {failed_starts: 6}\n",
        ("c.yaml:2:", "rollout.failed_starts 6 is above health.quarantine_after 5"),
    ),
    Bad("a bake without a unit", POOL + "    rollout:\n      bake: 10\n", ("c.yaml:6:", "10 is no duration", "300s")),
    Bad(
        "a node with no engine",
        POOL + "nodes:\n  - name: a\n    docker: /var/run/docker.sock\n",
        ("c.yaml:7: nodes.0.docker: '/var/run/docker.sock' is no Docker engine", "unix:///PATH or tcp://HOST:PORT"),
    ),
    Bad(
        "an engine without a port",
        POOL + "nodes:\n  - {name: a, docker: 'tcp://10.0.0.2', insecure: true}\n",
        ("c.yaml:6:", "'tcp://10.0.0.2' is no Docker engine"),
    ),
    Bad(
        "an engine that anybody may use",
        POOL + "nodes:\n  - {name: a, docker: 'tcp://10.0.0.2:2375'}\n",
        ("c.yaml:6: nodes.0: whoever reaches tcp://10.0.0.2:2375 is root", "give tls", "insecure: true"),
    ),
    Bad(
        "tls and not",
        POOL + "nodes:\n  - name: a\n    docker: tcp://10.0.0.2:2376\n    insecure: true\n"
        "    tls: {ca: /t/ca.pem, cert: /t/cert.pem, key: /t/key.pem}\n",
        ("c.yaml:6:", "tls and insecure exclude each other"),
    ),
    Bad(
        "tls for a socket",
        POOL + "nodes:\n  - {name: a, docker: 'unix:///run/docker.sock', insecure: true}\n",
        ("c.yaml:6:", "tls and insecure are for tcp://"),
    ),
    Bad(
        "tls of a folder that nobody knows",
        POOL + "nodes:\n  - name: a\n    docker: tcp://10.0.0.2:2376\n"
        "    tls: {ca: ca.pem, cert: /t/cert.pem, key: /t/key.pem}\n",
        ("c.yaml:8: nodes.0.tls.ca: 'ca.pem' is no absolute path",),
    ),
    Bad(
        "a host for an address",
        POOL + "nodes:\n  - {name: a, docker: 'tcp://gpu-1:2375', insecure: true}\n",
        ("c.yaml:6:", "tcp://gpu-1:2375 names a host", "give address: its IP address"),
    ),
    Bad(
        "everywhere is no address",
        POOL + "nodes:\n  - {name: a, docker: 'tcp://gpu-1:2375', insecure: true, address: 0.0.0.0}\n",
        ("c.yaml:6:", "'0.0.0.0' is no address that replicas can be reached at"),
    ),
    Bad(
        "two nodes of a name",
        POOL + "nodes:\n  - {name: a, docker: 'unix:///a'}\n  - {name: a, docker: 'unix:///b'}\n",
        ("c.yaml:1:", "two nodes have the name 'a'"),
    ),
    Bad(
        "one engine under two names",
        POOL + "nodes:\n  - {name: a, docker: 'unix:///a'}\n  - {name: b, docker: 'unix:///a'}\n",
        ("c.yaml:1:", "two nodes have the docker 'unix:///a'"),
    ),
    *(
        Bad(
            f"{exporter} for an exporter",
            POOL + f"nodes:\n  - {{name: a, docker: 'unix:///a', gpu_exporter: '{exporter}'}}\n",
            ("c.yaml:6:", f"'{exporter}' is no address of an exporter", "HOST:PORT, such as 10.0.0.2:9400"),
        )
        for exporter in (
            "gpu-2",
            "http://gpu-2:9400",
            "gpu-2:0",
            "gpu-2:65536",
            "[fe80:9400",
            "[::g]:9400",
            "a b:1",
            "-a:1",
        )
    ),
    Bad(
        "one exporter for two nodes",
        POOL + "nodes:\n"
        "  - {name: a, docker: 'unix:///a', gpu_exporter: 'gpu-2:9400'}\n"
        "  - {name: b, docker: 'unix:///b', gpu_exporter: 'gpu-2:9400'}\n",
        ("c.yaml:1:", "two nodes have the gpu_exporter 'gpu-2:9400'"),
    ),
    Bad(
        "a node's grace within one tick",
        POOL + "controller: {tick_interval: 15s}\n",
        ("c.yaml:5:", "node_grace of 15 s is not longer than tick_interval, 15 s"),
    ),
    Bad(
        "a database that there is not",
        POOL + "controller: {database: mysql}\n",
        ("c.yaml:5:", "'sqlite' or 'postgresql'", "not 'mysql'"),
    ),
    Bad("no database's file", POOL + SHARED.replace("database_url_file: /run/url, ", ""), ("needs database_url_file",)),
    Bad("no common instance", POOL + SHARED.replace(", instance: 0123456789ab", ""), ("needs instance, 12 hex",)),
    Bad("no instance", POOL + SHARED.replace("0123456789ab", "stoker"), ("'stoker' is no instance", "openssl rand")),
    Bad("a relative file", POOL + SHARED.replace("/run/url", "url"), ("c.yaml:5:", "'url' is no absolute path")),
    Bad(
        "a file for nothing",
        POOL + "controller: {database_url_file: /run/url}\n",
        ("c.yaml:5:", "database_url_file is for database: postgresql"),
    ),
    Bad(
        "a lease that one late tick loses",
        POOL + SHARED.replace("}", ", lease_ttl: 5s}"),
        ("c.yaml:5:", "lease_ttl of 5 s is shorter than 3 ticks of 2 s"),
    ),
    Bad(
        "several faults at once",
        POOL + "    replica: 3\n    scaling:\n      tolerance: 2\n",
        ("c.yaml:7:", "less than 1", "\n", "c.yaml:5:", "`replicas`"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_with_its_line_and_what_would_be_right(case: Bad) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(case.text, "c.yaml")

    message, begin = str(refused.value), 0
    for words in case.said:
        assert words in message[begin:], message
        begin = message.index(words, begin) + len(words)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read \(No such file or directory\)"):
        load(tmp_path / "none.yaml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"pools: \xff\xfe")

    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(tmp_path / "c.yaml")


def test_units_and_defaults_become_a_policy() -> None:
    settings = parse(POOL + "    scaling:\n      scale_down_window: 1.5m\n      target_in_flight: 8\n", "c.yaml")

    (policy,) = settings.policies()
    assert policy.pool == PoolName("small")
    assert (policy.scaling.floor, policy.scaling.ceiling, policy.scaling.in_flight.target) == (3, 6, 8.0)
    assert policy.scaling.scale_down_window == timedelta(seconds=90)
    assert policy.scaling.max_reading_age == timedelta(seconds=3)


def test_the_shipped_configuration_is_good() -> None:
    shipped = Path(__file__).parents[2] / "stoker.yaml"

    assert [pool.name for pool in load(shipped).pools] == ["smollm2"]


EVERY_KEY = """\
    mode: shadow
    resources: {gpu_memory: 18GiB}
    replicas: {floor: 0, ceiling: 12}
    shadow:
      latency: {threshold: 2s}
      surge: 6
    scaling:
      in_flight: {enabled: true, target: 6}
      utilization: {target: 0.6, threshold: 0.9, for: 30s}
      kv_cache: {target: 0.75}
      tokens_per_second: {enabled: false, target: 400}
      latency: {enabled: false, threshold: 800ms, for: 20s, measure: duration, statistic: mean}
      errors: {threshold: 0.05, for: 1m}
      memory: {of: gpu, threshold: 0.95, for: 2m}
      scale_up_window: 10s
      rate_up: {replicas: 2, percent: 50, per: 30s}
      rate_down: {replicas: 2, per: 1m}
      panic: {factor: 3, after: 5s, hold: 2m}
      forecast: {enabled: true, window: 3m}
      schedule:
        - {start: "0 8 * * mon-fri", for: 10h, floor: 5, timezone: Europe/Berlin}
      zero_after: 20m
      recycle_interval: 10m
"""


def test_every_key_of_scaling_reaches_the_policy() -> None:
    (policy,) = parse(POOL + EVERY_KEY, "c.yaml").policies()
    scaling = policy.scaling

    assert (policy.mode, scaling.floor, scaling.ceiling, scaling.gpu_memory_bytes) == (Mode.SHADOW, 0, 12, 18 * 1024**3)
    assert scaling.in_flight == TargetPolicy(6.0)
    assert scaling.utilization == UtilizationPolicy(0.6, 0.9, timedelta(seconds=30), Source.GPU)
    assert scaling.kv_cache == TargetPolicy(0.75), "a signal that is given a target is used"
    assert scaling.tokens == TargetPolicy(400.0, enabled=False)
    assert scaling.latency == LatencyPolicy(0.8, timedelta(seconds=20), Measure.DURATION, None, enabled=False)
    assert scaling.errors == ErrorsPolicy(0.05, timedelta(minutes=1))
    assert scaling.memory == MemoryPolicy(0.95, timedelta(minutes=2), MemoryOf.GPU)
    assert scaling.scale_up_window == timedelta(seconds=10)
    assert scaling.rate_up == RateLimit(2, 50, timedelta(seconds=30))
    assert scaling.rate_down == RateLimit(2, 0, timedelta(minutes=1))
    assert scaling.panic == PanicPolicy(3, timedelta(seconds=5), timedelta(minutes=2))
    assert scaling.forecast == ForecastPolicy(timedelta(minutes=3), enabled=True)
    assert scaling.schedule == (FloorWindow("0 8 * * mon-fri", timedelta(hours=10), 5, "Europe/Berlin"),)
    assert (scaling.zero_after, scaling.recycle_interval) == (timedelta(minutes=20), timedelta(minutes=10))


def test_the_second_policy_differs_only_where_it_says_so() -> None:
    (policy,) = parse(POOL + EVERY_KEY, "c.yaml").policies()

    latency = replace(policy.scaling.latency, threshold=2.0)
    assert policy.shadow == replace(policy.scaling, latency=latency, surge=6)


def test_how_long_a_gpu_may_be_too_hot() -> None:
    (policy,) = parse(POOL + "    health: {gpu: {thermal_for: 90s}}\n", "c.yaml").policies()
    assert policy.health.thermal_for == timedelta(seconds=90)
    (policy,) = parse(POOL, "c.yaml").policies()
    assert policy.health.thermal_for == timedelta(minutes=5)


def test_a_pool_without_a_gpu_goes_by_its_share_of_the_cpu() -> None:
    (policy,) = parse(POOL, "c.yaml").policies()

    assert policy.scaling.utilization.source is Source.CPU
    assert policy.scaling == ScalingPolicy(), "the file's defaults are the core's"


EVERY_KEY_OF_HEALTH = """\
    health:
      probe_interval: 2s
      probe_timeout: 500ms
      failures: 4
      passes: 2
      cold_start_deadline: 10m
      drain_timeout: 1m
      stall_timeout: 45s
      panic_threshold: 0.6
      suspect_errors: 0.1
      suspect_speed: 0.25
      budget: {actions: 6, per: 5m}
      quarantine_after: 3
    rollout: {bake: 0s, failed_starts: 3}
controller: {node_grace: 30s}
"""


def test_every_key_of_health_and_rollout_reaches_the_policy() -> None:
    (policy,) = parse(POOL + EVERY_KEY_OF_HEALTH, "c.yaml").policies()

    assert policy.health == HealthPolicy(
        failures=4,
        passes=2,
        probe_interval=timedelta(seconds=2),
        probe_timeout=timedelta(seconds=0.5),
        cold_start_deadline=timedelta(minutes=10),
        drain_timeout=timedelta(minutes=1),
        stall_timeout=timedelta(seconds=45),
        panic_threshold=0.6,
        suspect_errors=0.1,
        suspect_speed=0.25,
        budget_actions=6,
        budget_window=timedelta(minutes=5),
        quarantine_after=3,
        node_grace=timedelta(seconds=30),
    )
    assert policy.rollout == RolloutPolicy(timedelta(0), 3)


def test_the_files_defaults_of_health_and_rollout_are_the_cores() -> None:
    (policy,) = parse(POOL, "c.yaml").policies()

    assert (policy.health, policy.rollout, policy.spec_hash) == (HealthPolicy(), RolloutPolicy(), "")


@pytest.mark.parametrize(("ceiling", "actions"), [(6, 12), (4, 12), (20, 40)])
def test_the_loss_of_a_whole_host_is_within_the_budget(ceiling: int, actions: int) -> None:
    (policy,) = parse(POOL + f"    replicas: {{ceiling: {ceiling}}}\n", "c.yaml").policies()

    assert policy.health.budget_actions == actions


def test_each_pool_gets_the_hash_of_its_own_spec() -> None:
    other = POOL.removeprefix("pools:\n").replace("small", "other")
    settings = parse(POOL + other, "c.yaml")

    hashes = {policy.pool: policy.spec_hash for policy in settings.policies({"other": "abc"})}
    assert hashes == {"small": "", "other": "abc"}


def test_nodes_and_where_their_replicas_are_reached() -> None:
    tls = "tls: {ca: /t/ca.pem, cert: /t/cert.pem, key: /t/key.pem}"
    entries = ("docker: unix:///run/docker.sock", f"docker: 'tcp://10.0.0.2:2376', {tls}", "docker: tcp://localhost:1")
    text = "nodes:\n" + "".join(f"  - {{name: n{number}, {entry}}}\n" for number, entry in enumerate(entries))
    text = text.replace("localhost:1", "localhost:1, address: 127.0.0.1")
    text += "  - {name: six, docker: 'tcp://[fd00::1]:2375', insecure: true}\n"

    nodes = parse(POOL + text, "c.yaml").nodes

    reached = [("n0", None), ("n1", "10.0.0.2"), ("n2", "127.0.0.1"), ("six", "fd00::1")]
    assert [(node.name, node.reach) for node in nodes] == reached
    assert nodes[1].tls is not None
    assert nodes[1].tls.key == "/t/key.pem"


@pytest.mark.parametrize("exporter", ["gpu-2:9400", "10.0.0.2:1", "[fd00::2]:65535", "gpu.example.org:9400"])
def test_a_node_names_its_gpu_exporter(exporter: str) -> None:
    (node,) = parse(
        POOL + f"nodes:\n  - {{name: a, docker: 'unix:///a', gpu_exporter: '{exporter}'}}\n", "c.yaml"
    ).nodes

    assert node.gpu_exporter == exporter


def test_without_nodes_there_are_none() -> None:
    assert parse(POOL, "c.yaml").nodes == ()


@pytest.mark.parametrize(
    "text",
    [f"database: '{URL}'", f"database_url: '{URL}'", f"database: postgresql, database_url_file: '{URL}'"],
)
def test_a_secret_in_the_file_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigError, match=r"holds its password.*mode 0600") as refused:
        parse(POOL + f"controller: {{{text}}}\n", "c.yaml")

    assert "hunter2" not in str(refused.value)


def settings_with(file: Path) -> ControllerSettings:
    return parse(POOL + SHARED.replace("/run/url", str(file)), "c.yaml").controller


def test_the_databases_url_is_what_its_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(URL + "\n")
    file.chmod(0o400)

    assert settings_with(file).database_url() == URL


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        pytest.param(URL, 0o640, "others than its owner may use it (mode 0640); chmod 600 it", id="for a group"),
        pytest.param("mysql://stoker:hunter2@db/x", 0o600, "holds no URL postgresql://", id="another database"),
        pytest.param(f"{URL}\n{URL}", 0o600, "alone on one line", id="two lines"),
        pytest.param("", 0o600, "holds no URL", id="empty"),
        pytest.param(None, 0o600, "cannot be read (No such file or directory)", id="missing"),
    ],
)
def test_a_file_that_cannot_be_the_secrets_place(tmp_path: Path, text: str | None, mode: int, said: str) -> None:
    file = tmp_path / "url"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)

    with pytest.raises(ConfigError) as refused:
        settings_with(file).database_url()

    assert said in str(refused.value)
    assert str(refused.value).startswith(f"{file}: ")
    assert "hunter2" not in str(refused.value)
