"""Who is let in: keys on a real nginx."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.adapters.nginx.rules import PoolRules, Rules
from controller.core.model import GatewayPlan, PoolName, PoolRoutes
from controller.settings import PlanSettings
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Exchange, FakeEngine, engines
from tests.fakes.running_nginx import RunningNginx, parts_in, plan
from tests.integration.gateway_access import ask, code_of, control, digest, gateway, give, key, record

OTHER = PoolRoutes(PoolName("other"), "org/Other:1b")
RULES = Rules(
    {"smollm2": PoolRules(open=False, aliases=("gpt-small",)), "other": PoolRules(open=True)},
    (PlanSettings(name="gold", max_body_bytes=1024, priority="high"),),
)


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with engines(Exchange.answer) as (engine,):
        yield engine


@pytest.fixture
def nginx(tmp_path: Path, engine: FakeEngine) -> Iterator[RunningNginx]:
    clock = FakeClock()
    running = RunningNginx(parts_in(tmp_path, clock, RULES), clock)
    running.apply(GatewayPlan((*plan(engine.address, pool=OTHER).pools, *plan(engine.address).pools)))
    yield running
    running.stop()


@pytest.mark.parametrize(
    ("secret", "code"),
    [
        pytest.param(None, "invalid_api_key", id="none"),
        pytest.param("x", "invalid_api_key", id="malformed"),
        pytest.param("", "invalid_api_key", id="empty"),
        pytest.param(key(1) + "x", "invalid_api_key", id="too long"),
        pytest.param(key(2), "invalid_api_key", id="unknown"),
        pytest.param(key(3), "expired_api_key", id="expired"),
    ],
)
def test_without_a_usable_key_nothing_passes(
    nginx: RunningNginx, engine: FakeEngine, secret: str | None, code: str
) -> None:
    give(nginx, {digest(key(1)): record(1), digest(key(3)): record(3, expires=int(time.time()) - 1)})

    answer = ask(nginx, secret)

    assert code_of(answer) == (401, code)
    assert answer[1]["WWW-Authenticate"] == "Bearer"
    assert engine.seen == []
    assert code_of(ask(nginx, secret, {"model": "nobody-knows-it"})) in [(401, code), (404, "model_not_found")]


def test_where_every_pool_needs_a_key_no_body_is_read_without_one(tmp_path: Path, engine: FakeEngine) -> None:
    with gateway(tmp_path, Rules({"smollm2": PoolRules(open=False)})) as nginx:
        nginx.apply(plan(engine.address))
        connection = nginx.connect()
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("Content-Length", "5000000")
        connection.endheaders()  # and nothing more
        with connection.getresponse() as answer:
            assert (answer.status, json.loads(answer.read())["error"]["code"]) == (401, "invalid_api_key")
        connection.close()
        assert nginx.post(b"no JSON")[0] == 401
        assert code_of(ask(nginx, key(1), {"model": "nobody-knows-it"})) == (401, "invalid_api_key")
        give(nginx, {digest(key(1)): record(1)})
        assert ask(nginx, key(1))[0] == 200


def test_a_key_lets_in_and_does_not_reach_the_engine(nginx: RunningNginx, engine: FakeEngine) -> None:
    give(nginx, {digest(key(1)): record(1)})

    assert ask(nginx, key(1))[0] == 200
    assert ask(nginx, key(1), {"model": "gpt-small"})[0] == 200
    assert key(1).encode() not in engine.seen[0].head


def test_a_key_is_for_its_models(nginx: RunningNginx) -> None:
    give(
        nginx, {digest(key(1)): record(1, models="org/Other:1b,elsewhere"), digest(key(2)): record(2, models="smollm2")}
    )

    assert code_of(ask(nginx, key(1))) == (403, "model_not_allowed")
    assert ask(nginx, key(1), {"model": "org/Other:1b"})[0] == 200
    assert ask(nginx, key(2))[0] == 200
    assert code_of(ask(nginx, key(2), {"model": "org/Other:1b"})) == (403, "model_not_allowed")


def test_an_open_pool_takes_everybody(nginx: RunningNginx) -> None:
    for secret in (None, "EMPTY", key(9)):
        assert ask(nginx, secret, {"model": "org/Other:1b"})[0] == 200


def test_the_models_are_those_that_one_may_ask(nginx: RunningNginx) -> None:
    give(nginx, {digest(key(1)): record(1), digest(key(2)): record(2, models="smollm2")})

    def names(secret: str | None) -> set[str]:
        connection = nginx.connect()
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {secret}"} if secret else {})
        found = {one["id"] for one in json.loads(connection.getresponse().read())["data"]}
        connection.close()
        return found

    assert names(None) == {"org/Other:1b"}
    assert names(key(1)) == {"org/Other:1b", "smollm2", "gpt-small"}
    assert names(key(2)) == {"smollm2", "gpt-small"}


def test_a_body_may_be_as_large_as_the_plan_says(nginx: RunningNginx) -> None:
    give(nginx, {digest(key(1)): record(1, plan="gold"), digest(key(2)): record(2, plan="of-yesterday")})
    body = {"prompt": "x" * 2000}

    assert code_of(ask(nginx, key(1), body)) == (413, "request_too_large")
    assert ask(nginx, key(2), body)[0] == 200


def test_a_change_counts_at_once_and_everywhere(nginx: RunningNginx) -> None:
    give(nginx, {digest(key(number)): record(number) for number in range(1, 9)})
    old = nginx.connect()  # a connection to a worker that a reload makes an old one
    old.request("GET", "/healthz")
    old.getresponse().read()
    nginx.apply(GatewayPlan((*plan(pool=OTHER).pools, *nginx.gateway.state().applied.pools[1:])))

    change = {"base": "1", "version": "2", "set": {digest(key(9)): record(9)}, "delete": [digest(key(1))], "last": True}
    assert control(nginx, "POST", "/keys", change)[0] == 200

    for _ in range(4):
        assert ask(nginx, key(1))[0] == 401
        assert ask(nginx, key(9))[0] == 200
    old.request("POST", "/v1/chat/completions", '{"model":"smollm2"}', {"Authorization": f"Bearer {key(1)}"})
    assert old.getresponse().status == 401
    old.close()


def test_a_change_of_something_else_is_refused(nginx: RunningNginx) -> None:
    give(nginx, {digest(key(1)): record(1)})

    change = {"base": "0", "version": "2", "set": {}, "delete": [digest(key(1))], "last": True}
    assert control(nginx, "POST", "/keys", change) == (409, {"version": "1"})
    assert ask(nginx, key(1))[0] == 200


def test_a_full_load_in_pieces_takes_nothing_away_before_its_end(nginx: RunningNginx) -> None:
    give(nginx, {digest(key(1)): record(1), digest(key(2)): record(2)})

    piece = {"base": None, "version": "2", "set": {digest(key(3)): record(3)}, "delete": [], "last": False}
    assert control(nginx, "POST", "/keys", piece) == (200, {"version": ""})
    assert [ask(nginx, key(number))[0] for number in (1, 2, 3)] == [200, 200, 200]
    last = {"base": None, "version": "2", "set": {digest(key(2)): record(2)}, "delete": [], "last": True}
    assert control(nginx, "POST", "/keys", last) == (200, {"version": "2"})
    assert [ask(nginx, key(number))[0] for number in (1, 2, 3)] == [401, 200, 200]


def test_the_same_keys_again_take_away_what_came_between(nginx: RunningNginx) -> None:
    give(nginx, {digest(key(1)): record(1)})
    change = {"base": "1", "version": "2", "set": {digest(key(2)): record(2)}, "delete": [], "last": True}
    assert control(nginx, "POST", "/keys", change)[0] == 200
    give(nginx, {digest(key(1)): record(1)})

    assert [ask(nginx, key(number))[0] for number in (1, 2)] == [200, 401]


@pytest.mark.parametrize(
    "records",
    [
        {"x": record(1)},
        {digest(key(1)): "key_1 - 0 *"},
        {digest(key(1)): record(1, plan="no plan")},
        {digest(key(1)): record(1, models="a;b")},
        {digest(key(1)): record(1) + "\n"},
    ],
)
def test_a_malformed_record_is_refused(nginx: RunningNginx, records: dict[str, str]) -> None:
    body = {"base": None, "version": "2", "set": records, "delete": [], "last": True}

    assert control(nginx, "POST", "/keys", body)[0] == 422
    assert control(nginx, "POST", "/keys", [])[0] == 422


def test_a_started_nginx_reads_what_the_controller_left(nginx: RunningNginx) -> None:
    until = int(time.time()) + 600
    file = {
        "version": "7",
        "keys": {digest(key(1)): record(1), digest(key(2)): record(2)},
        "blocks": {f"key_{2:012x}": f"{until} day"},
    }
    (nginx.parts.folder / "access" / "keys.json").write_text(json.dumps(file))
    nginx.kill()
    nginx.start()

    assert ask(nginx, key(1))[0] == 200
    assert code_of(ask(nginx, key(2))) == (429, "rate_limit_exceeded")
    assert ask(nginx, key(3))[0] == 401
    assert control(nginx, "GET", "/access")[1]["version"] == "7"


@pytest.mark.parametrize("text", ["", "{", '{"version":"1","keys":{"x":"y"},"blocks":{}}', "[]"])
def test_a_spoilt_file_lets_nobody_in_and_is_told(nginx: RunningNginx, text: str) -> None:
    (nginx.parts.folder / "access" / "keys.json").write_text(text)
    nginx.kill()
    nginx.start()

    assert ask(nginx, key(1))[0] == 401
    assert "access/keys.json cannot be used" in nginx.error_log()
    give(nginx, {digest(key(1)): record(1)})
    assert ask(nginx, key(1))[0] == 200


def test_a_key_without_tokens_waits_until_they_come_again(nginx: RunningNginx) -> None:
    give(nginx, {digest(key(1)): record(1), digest(key(2)): record(2)})
    until = int(time.time()) + 100
    blocked = {"version": "b", "blocks": {f"key_{1:012x}": f"{until} minute"}}
    assert control(nginx, "POST", "/blocks", blocked) == (200, {"version": "b"})

    answer = ask(nginx, key(1))
    assert code_of(answer) == (429, "rate_limit_exceeded")
    assert json.loads(answer[2])["error"]["type"] == "tokens"
    assert 90 <= int(answer[1]["Retry-After"]) <= 100
    assert answer[1]["X-RateLimit-Remaining-Tokens"] == "0"
    assert ask(nginx, key(2))[0] == 200
    assert control(nginx, "POST", "/blocks", {"version": "c", "blocks": {}})[0] == 200
    assert ask(nginx, key(1))[0] == 200


def test_only_the_owner_reaches_the_control_socket(nginx: RunningNginx) -> None:
    assert (nginx.parts.folder / "control").stat().st_mode & 0o777 == 0o700
