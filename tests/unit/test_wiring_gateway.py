"""The gateway of a leader that is put together of the real parts: reverts, other machines, tokens."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from controller.adapters.certificate import end_of
from controller.adapters.nginx.revertible import Pin, PinFile, stamp_of
from controller.adapters.telemetry import Telemetry
from controller.core.access import ENTROPY_BYTES, Grant, issue
from controller.core.errors import LostLease
from controller.core.gateways import GatewayReport
from controller.core.quota import TokenLimits
from controller.settings import GatewaySettings
from controller.settings.front import front_of
from controller.stack.gateway_files import revert_file
from controller.wiring import Leader, Place, claim, lead, standing_by
from tests.fakes.clock import START
from tests.unit.adapters.test_certificate import make
from tests.unit.wiring_place import place_in


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_in(tmp_path)


def begin(place: Place) -> Leader:
    return lead(place, claim(place), Telemetry())


def test_other_gateways_are_told_what_a_tick_wants_though_no_nginx_runs_here(place: Place) -> None:
    leader = begin(place)
    now = leader.sources.now
    report = GatewayReport("second", "1.0", metrics="10.0.0.2:9401")
    assert leader.sources.gateways.hear(report, now()) is None
    key = issue(Grant("ci", "gold"), bytes(ENTROPY_BYTES), START)
    leader.sources.keys.add_key(key)
    leader.ticker.run()

    answer = leader.sources.gateways.hear(report, now())
    assert answer is not None
    assert answer.plan is not None
    assert [routes.pool for routes in answer.plan.pools] == ["small"]
    assert answer.settings is not None
    assert answer.settings["plans"][0]["tokens_per_day"] == 1000
    assert answer.keys is not None
    assert list(answer.keys.records) == [key.digest]
    targets = json.loads((place.layout.targets / "edge.json").read_text())
    assert targets == [{"targets": ["10.0.0.2:9401"], "labels": {"gateway": "second"}}]
    leader.close()

    after = begin(place)
    after.ticker.run()
    assert json.loads((place.layout.targets / "edge.json").read_text()) == targets, "until it is heard of again"
    after.close()


def test_settings_that_somebody_went_back_to_hold_for_keys_and_quotas_too(place: Place) -> None:
    settings, installation = place.read()
    gold = settings.plans[0].model_copy(update={"tokens_per_day": 5})
    front = front_of(settings).model_copy(update={"plans": (gold,), "gateway": GatewaySettings(user_header="X-Old")})
    stamp = stamp_of(installation.run, place.layout.config.read_text())
    PinFile(revert_file(place.layout), stamp).write(Pin(3, START, "slow", front))
    leader = begin(place)

    assert leader.sources.offer.plans == {"gold": TokenLimits(per_day=5)}
    access = leader.ticker._parts.access
    assert access is not None
    assert access.limits == {"gold": TokenLimits(per_day=5)}
    assert leader.sources.desk.standing().reverted_to == 3
    leader.sources.desk.undo()
    leader.ticker.run()
    assert (access.limits, leader.sources.desk.standing().reverted_to) == ({"gold": TokenLimits(per_day=1000)}, None)
    assert set(leader.sources.offer.plans) == {"gold", "free"}
    leader.close()


def test_the_next_stoker_up_is_a_newer_word(place: Place) -> None:
    settings, installation = place.read()
    stamp = stamp_of(installation.run, place.layout.config.read_text())
    PinFile(revert_file(place.layout), stamp).write(Pin(3, START + timedelta(1), "slow", front_of(settings)))
    installation.model_copy(update={"run": "another"}).save(place.layout)
    leader = begin(place)

    assert leader.sources.desk.standing().reverted_to is None
    leader.close()


def test_there_is_a_token_for_gateways_once_somebody_leads(place: Place) -> None:
    file = place.layout.root / "gateway.token"
    waiting = standing_by(place, Telemetry(), lambda: "stands by; another leads")
    assert (file.exists(), waiting.gateway_token) == (False, "")
    with pytest.raises(LostLease, match="stands by"):
        waiting.gateways.hear(GatewayReport("a", "1"), START)
    leader = begin(place)

    assert file.read_text().strip() == leader.sources.gateway_token != leader.sources.token
    assert file.stat().st_mode & 0o777 == 0o600
    leader.close()


def test_a_leader_tells_when_certificates_end(place: Place, tmp_path: Path) -> None:
    pem, own = make(tmp_path, "nginx", "-days", "30"), make(tmp_path, "own", "-days", "20")
    tls = f"tls: {{certificate: {tmp_path}/nginx.pem, key: {tmp_path}/nginx.key}}"
    text = place.layout.config.read_text()
    controller = f"controller: {{tls: {{certificate: {tmp_path}/own.pem, key: {tmp_path}/own.key}}}}\n"
    place.layout.config.write_text(text.replace("max_keys: 2000", f"max_keys: 2000, {tls}") + controller)
    place.layout.served_pair.write_text(own)
    telemetry = Telemetry()
    leader = lead(place, claim(place), telemetry)
    leader.ticker.run()
    leader.close()

    told = telemetry.registry.get_sample_value
    assert told("stoker_gateway_certificate_expiry_timestamp_seconds") == end_of(pem).timestamp()
    assert told("stoker_controller_certificate_expiry_timestamp_seconds") == end_of(own).timestamp()


def test_prometheus_is_told_of_the_gpu_exporter_of_this_machine(place: Place) -> None:
    lead(place, claim(place), Telemetry()).close()

    told = json.loads((place.layout.targets / "gpu.json").read_text())
    assert [group["labels"] for group in told] == [{"node": "local"}]
    assert told[0]["targets"][0].startswith("127.0.0.1:")


def test_prometheus_is_told_of_a_leader_at_another_port(place: Place) -> None:
    lead(Place(place.layout, 8010), claim(Place(place.layout, 8010)), Telemetry()).close()
    file = place.layout.targets / "controller.json"
    assert json.loads(file.read_text()) == [{"targets": ["127.0.0.1:8010"], "labels": {}}]

    lead(place, claim(place), Telemetry()).close()
    assert json.loads(file.read_text()) == []
