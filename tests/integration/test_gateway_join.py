"""nginx on another machine: it follows the controller, serves without it, and lets in only whom it should."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest

from controller.core.access import KeyId
from controller.core.quota import Block, QuotaKind
from controller.settings import GatewaySettings, PoolGatewaySettings, PoolSettings, Settings
from controller.settings.gateway import CertificateSettings
from tests.fakes.engine import FakeEngine
from tests.fakes.joined_gateway import TOKEN, ControllerApi, JoinedGateway
from tests.fakes.running_nginx import free_port, plan
from tests.integration.gateway_access import digest, key, record
from tests.waiting import wait_for


def settings(access: str = "open", **gateway: Any) -> Settings:
    entry = PoolGatewaySettings.model_validate({"access": access, "cache": "off"})
    pool = PoolSettings(name="smollm2", model="smollm2", checkpoint="elsewhere.gguf", gateway=entry)
    return Settings(pools=(pool,), gateway=GatewaySettings(**gateway))


OPEN, KEYS = settings(), settings("keys")


@pytest.fixture
def engines() -> Iterator[list[FakeEngine]]:
    made = [FakeEngine(), FakeEngine()]
    yield made
    for one in made:
        one.close()


@pytest.fixture
def controller() -> Iterator[ControllerApi]:
    api = ControllerApi(free_port())
    api.start()
    yield api
    api.stop()


@pytest.fixture
def gateway(work: Path, tmp_path: Path, controller: ControllerApi) -> Iterator[JoinedGateway]:
    # The path of a unix socket has 108 bytes, and those of pytest are long.
    joined = JoinedGateway(work / tmp_path.name[-12:], controller.url)
    yield joined
    joined.stop()


def joined(gateway: JoinedGateway, controller: ControllerApi) -> JoinedGateway:
    """Started, and serving what the controller wants."""
    gateway.start()
    wait_for(lambda: controller.heard(gateway.name).get("plan_version"), 20, "it has taken a plan")
    return gateway


def test_what_the_controller_wants_arrives_again_and_again(
    gateway: JoinedGateway, controller: ControllerApi, engines: list[FakeEngine]
) -> None:
    first, second = engines
    controller.want(plan(first.address), OPEN)
    joined(gateway, controller)
    assert gateway.ask()[0] == 200
    assert (len(first.seen), len(second.seen)) == (1, 0)
    before = controller.heard("second")
    assert (before["version"], before["error"], before["lags"]) == (version("stoker"), "", False)
    assert before["metrics"] == f"127.0.0.1:{gateway.ports.edge}"

    controller.want(plan(second.address), OPEN)
    wait_for(lambda: controller.heard("second")["plan_version"] != before["plan_version"], 10, "the next one")
    assert gateway.ask()[0] == 200
    assert (len(first.seen), len(second.seen)) == (1, 1)
    assert controller.heard("second")["applied"] != before["applied"]

    changed = settings(user_header="X-Session")
    controller.want(plan(second.address), changed)
    conf = gateway.state / "gateway/nginx.conf"
    wait_for(lambda: "http_x_session" in conf.read_text(), 10, "other settings of the same plan")
    wait_for(lambda: "stoker_edge_requests_in_flight" in gateway.metrics(), 10, "its exporter tells")
    assert gateway.end() == 0
    assert gateway.ask()[0] == 0, "and nothing is left of it"
    assert not psutil.pid_exists(gateway.nginx_pid() or 2**22 + 1)


def test_a_revoked_key_is_good_for_nothing_within_three_seconds(
    gateway: JoinedGateway, controller: ControllerApi, engines: list[FakeEngine]
) -> None:
    controller.want(plan(engines[0].address), KEYS)
    controller.want_keys({digest(key(1)): record(1), digest(key(2)): record(2)})
    joined(gateway, controller)
    wait_for(lambda: controller.heard("second")["keys_version"], 10, "it knows the keys")
    assert gateway.ask()[0] == 401
    assert gateway.ask(key(1))[0] == 200

    controller.want_keys({digest(key(2)): record(2)})
    wait_for(lambda: gateway.ask(key(1))[0] == 401, 3, "the revoked key is refused")
    assert gateway.ask(key(2))[0] == 200

    until = datetime.now(UTC) + timedelta(hours=1)
    controller.want_keys({digest(key(2)): record(2)}, {KeyId(f"key_{2:012x}"): Block(until, QuotaKind.DAY)})
    wait_for(lambda: gateway.ask(key(2))[0] == 429, 3, "the blocked one, too")
    controller.want_keys({digest(key(number)): record(number) for number in range(2, 6)})
    wait_for(lambda: gateway.ask(key(5))[0] == 200, 3, "a new one is let in")
    assert gateway.ask(key(2))[0] == 200


def test_it_serves_without_a_controller_also_after_a_restart(
    gateway: JoinedGateway, controller: ControllerApi, engines: list[FakeEngine]
) -> None:
    controller.want(plan(engines[0].address), KEYS)
    controller.want_keys({digest(key(1)): record(1)})
    joined(gateway, controller)
    wait_for(lambda: gateway.ask(key(1))[0] == 200, 10, "it serves")
    controller.stop()
    wait_for(lambda: "goes on with what it has" in gateway.log(), 10, "it notices")
    assert gateway.ask(key(1))[0] == 200

    before = gateway.nginx_pid()
    gateway.kill()
    assert gateway.ask(key(1))[0] == 200, "nginx needs nobody"
    gateway.start()
    wait_for(lambda: gateway.log().count("goes on with what it has") == 2, 20, "it is back")
    assert gateway.nginx_pid() == before, "and has left nginx alone"
    assert gateway.ask(key(1))[0] == 200

    assert gateway.end() == 0
    assert gateway.ask(key(1))[0] == 0
    gateway.start()
    wait_for(lambda: gateway.ask(key(1))[0] == 200, 20, "it serves what it was told last")
    assert gateway.ask(key(2))[0] == 401

    controller.start()
    controller.want(plan(engines[1].address), KEYS)
    controller.want_keys({digest(key(2)): record(2)})
    wait_for(lambda: gateway.ask(key(2))[0] == 200, 15, "it follows again")
    assert gateway.ask(key(1))[0] == 401
    wait_for(lambda: controller.heard("second").get("error") == "", 10, "and nothing is wrong")


def test_an_nginx_that_is_killed_is_started_again(
    gateway: JoinedGateway, controller: ControllerApi, engines: list[FakeEngine]
) -> None:
    controller.want(plan(engines[0].address), OPEN)
    joined(gateway, controller)
    before = gateway.nginx_pid()
    for process in (psutil.Process(before), *psutil.Process(before).children()):
        process.kill()

    wait_for(lambda: gateway.ask()[0] == 200, 15, "it serves again")
    assert gateway.nginx_pid() != before


def test_settings_that_its_nginx_refuses_keep_no_dead_replica_in_it(
    gateway: JoinedGateway, controller: ControllerApi, engines: list[FakeEngine]
) -> None:
    controller.want(plan(engines[0].address), OPEN)
    joined(gateway, controller)
    taken = controller.heard("second")["plan_version"]
    tls = CertificateSettings(certificate="/nowhere/certificate.pem", key="/nowhere/key.pem")
    controller.want(plan(engines[1].address), settings(tls=tls))

    wait_for(lambda: "/nowhere/certificate.pem" in controller.heard("second")["error"], 10, "it says so")
    wait_for(lambda: gateway.ask()[0] == 200 and engines[1].seen, 10, "the servers are those of now")
    assert controller.heard("second")["plan_version"] == taken

    controller.want(plan(engines[1].address), OPEN)
    wait_for(lambda: controller.heard("second")["plan_version"] != taken, 10, "what it takes, it takes")
    assert controller.heard("second")["error"] == ""


def test_a_wrong_token_is_refused_and_said(work: Path, tmp_path: Path, controller: ControllerApi) -> None:
    stranger = JoinedGateway(work / tmp_path.name[-12:], controller.url, token="f" * 64)
    stranger.start()

    assert stranger.exit_code() == 2
    assert "gateway.token" in stranger.log()
    assert controller.heard("second") == {}
    stranger.stop()


def test_another_version_is_told_which_one_to_install(controller: ControllerApi) -> None:
    controller.want(plan(), OPEN)
    status, answer = post(controller, {"version": "0.0.1"})

    assert (status, answer["detail"]) == (
        412,
        f"this gateway has stoker 0.0.1; install stoker=={version('stoker')}, as the controller has",
    )
    assert controller.heard("old")["error"] == answer["detail"]


def post(controller: ControllerApi, body: dict[str, Any]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", controller.port, timeout=10)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    try:
        connection.request("POST", "/api/v1/gateways/old", json.dumps(body), headers)
        with connection.getresponse() as answer:
            return answer.status, json.loads(answer.read())
    finally:
        connection.close()
