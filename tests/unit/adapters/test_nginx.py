"""The text of nginx.conf, held against golden files; `UPDATE_GOLDEN=1` writes them anew."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from controller.adapters.nginx import hot
from controller.adapters.nginx.certificate import ServedCertificate
from controller.adapters.nginx.config import (
    HotCache,
    NginxConfig,
    generation_of,
    nginx_binary,
    ordered,
    render,
    scripts,
)
from controller.adapters.nginx.process import NginxProcess
from controller.adapters.nginx.rules import PoolRules, Rules
from controller.core.errors import GatewayRejected
from controller.core.model import Address, GatewayPlan, PoolName, PoolRoutes, ReplicaId, Server
from controller.settings import GatewaySettings, PlanSettings, PortSettings
from tests.fakes.running_nginx import free_port

GOLDEN = Path(__file__).parents[2] / "golden" / "nginx"
CONFIG = NginxConfig(
    listen=Address("127.0.0.1", 8080),
    status_listen=Address("127.0.0.1", 8081),
    edge_log=Address("127.0.0.1", 9402),
    connect_timeout_ms=1000,
    read_timeout_ms=300_000,
    max_body_bytes=8 * 1024 * 1024,
    workers=2,
    connections=8192,
    open_files=20_000,
    user="nobody nogroup",
)


def server(replica: str, host: str, port: int) -> Server:
    return Server(ReplicaId(replica), Address(host, port))


def pool(name: str, *servers: Server, model: str = "") -> PoolRoutes:
    return PoolRoutes(PoolName(name), model or name, servers)


LLAMA = pool("llama", server("llama-1", "2001:DB8:0::7", 8000), model="meta/Llama-3.1:8b")
SMOL = pool("smollm2", server("smollm2-1", "127.0.0.1", 9001), server("smollm2-2", "127.0.0.1", 9002))
PLANS = {
    "no-replicas": GatewayPlan((pool("smollm2"),)),
    "one-pool": GatewayPlan((SMOL,)),
    "two-pools": GatewayPlan((LLAMA, SMOL)),
    "everything": GatewayPlan((LLAMA, SMOL, pool("idle"))),
}
EVERYTHING = replace(
    CONFIG,
    user_header="x_end_user",
    trusted_proxies=("10.0.0.0/8", "2001:db8::/32"),
    certificate="/etc/stoker/gateway.pem",
    certificate_key="/etc/stoker/gateway-key.pem",
    max_keys=1_000_000,
    hot=HotCache(timeout_ms=100, max_answer=1024 * 1024),
    rules=Rules(
        {
            "llama": PoolRules(
                aliases=("gpt-4o", "llama"),
                open=False,
                max_in_flight=24,
                keep_alive=True,
                cache="all",
                cache_s=300,
                share_cache=True,
                open_paths=("/rerank", "/tokenize"),
            ),
            "smollm2": PoolRules(routing="random_two", cache="deterministic", open_paths=("/tokenize",)),
            "idle": PoolRules(routing="least_connections", max_in_flight=8),
        },
        (
            PlanSettings(name="free", requests_per_second=2, concurrent=1, max_body_bytes=65_536, priority="low"),
            PlanSettings(name="gold", requests_per_second=10, burst=20, tokens_per_minute=60_000, priority="high"),
            PlanSettings(name="staff"),
        ),
    ),
)
CONFIGS = {name: EVERYTHING if name == "everything" else CONFIG for name in PLANS}


@pytest.mark.parametrize("name", PLANS)
def test_golden(name: str) -> None:
    golden = GOLDEN / f"{name}.conf"
    text = render(PLANS[name], CONFIGS[name])
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)

    assert text == golden.read_text()


@pytest.mark.parametrize("name", PLANS)
def test_nginx_takes_it(tmp_path: Path, name: str) -> None:
    config = replace(
        CONFIGS[name], listen=Address("127.0.0.1", free_port()), status_listen=Address("127.0.0.1", free_port())
    )
    if config.certificate:
        config = replace(config, certificate=str(tmp_path / "cert.pem"), certificate_key=str(tmp_path / "key.pem"))
        made = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]
        files = ["-keyout", config.certificate_key, "-out", config.certificate, "-subj", "/CN=gateway"]
        subprocess.run([*made, *files], check=True, capture_output=True, timeout=60)
        ServedCertificate(tmp_path).take(config)
    for folder in ("temp", "control"):
        (tmp_path / folder).mkdir()
    hot.make_folder(tmp_path, "")
    for script, text in {**scripts(), "nginx.conf": render(PLANS[name], replace(config, user=""))}.items():
        (tmp_path / script).write_text(text)

    NginxProcess(tmp_path, nginx_binary(), config.status_listen).check("nginx.conf", 30)


def test_without_a_hot_cache_nothing_is_there_for_it() -> None:
    assert "hot" not in render(PLANS["everything"], replace(EVERYTHING, hot=None)).replace("hold", "")


def test_an_ordinary_user_has_no_other_user_to_become() -> None:
    assert "\nuser " not in render(PLANS["one-pool"], replace(CONFIG, user=""))


def test_equal_plans_in_another_order_give_equal_bytes() -> None:
    turned = GatewayPlan((replace(SMOL, servers=SMOL.servers[::-1]), LLAMA))

    assert ordered(turned) == PLANS["two-pools"]
    assert render(turned, CONFIG) == render(PLANS["two-pools"], CONFIG)


def test_the_generation_tells_plans_and_settings_apart() -> None:
    texts = [render(plan, CONFIG) for plan in PLANS.values()]
    texts.append(render(PLANS["one-pool"], replace(CONFIG, read_timeout_ms=1)))

    generations = {generation_of(text) for text in texts}

    assert len(generations) == 5
    assert "" not in generations


def test_a_text_of_somebody_else_has_no_generation() -> None:
    assert generation_of("events {}\n") == ""


def test_an_address_named_twice_keeps_one_replica_in_the_log() -> None:
    twice = GatewayPlan((pool("a", server("a-1", "127.0.0.1", 1), server("a-2", "127.0.0.1", 1)),))

    assert '"127.0.0.1:1" "a-1"' in render(twice, CONFIG)
    assert '"127.0.0.1:1" "a-2"' not in render(twice, CONFIG)


@pytest.mark.parametrize(
    "routes",
    [
        pytest.param(pool("a;b"), id="pool"),
        pytest.param(pool("a", model='x"; return 200;'), id="model"),
        pytest.param(pool("a", server("a\n1", "127.0.0.1", 1)), id="replica"),
        pytest.param(pool("a", server("a-1", "127.0.0.1; down", 1)), id="host"),
        pytest.param(pool("a", server("$a", "127.0.0.1", 1)), id="variable"),
    ],
)
def test_refuses_what_could_change_the_meaning_of_the_file(routes: PoolRoutes) -> None:
    with pytest.raises(GatewayRejected, match=r"has no place in nginx\.conf"):
        render(GatewayPlan((routes,)), CONFIG)


def test_the_machines_limits_are_kept() -> None:
    config = NginxConfig.here(GatewaySettings(), PortSettings())

    assert 1 <= config.workers <= 4
    assert config.connections <= config.open_files
    assert (config.connect_timeout_ms, config.read_timeout_ms) == (1000, 300_000)
