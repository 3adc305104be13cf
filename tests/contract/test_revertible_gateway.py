"""The gateway whose settings can be gone back to keeps every promise of `Gateway`, as nginx alone does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.adapters.nginx.revertible import PinFile, RevertibleGateway
from controller.settings import GatewaySettings, PoolGatewaySettings, PoolSettings, Settings
from tests.contract.test_gateway import (  # noqa: F401 - the suite
    Subject,
    test_a_change_sooner_than_the_interval_waits,
    test_a_gateway_that_is_down_says_so_and_keeps_its_plan,
    test_a_new_controller_knows_what_is_routed,
    test_a_refused_plan_changes_nothing,
    test_an_empty_plan_is_a_plan,
    test_an_equal_plan_waits_for_nothing,
    test_routes_nothing_at_first,
    test_runs_the_plan_that_was_applied,
    test_the_order_of_servers_does_not_matter,
)
from tests.fakes.clock import FakeClock
from tests.fakes.running_nginx import RunningNginx, parts_in

ENTRY = PoolGatewaySettings(routing="least_connections", cache="off", max_in_flight=8)
SETTINGS = Settings(pools=(PoolSettings(name="smollm2", model="smollm2", checkpoint="m.gguf", gateway=ENTRY),))


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Subject]:
    clock = FakeClock()
    nginx = RunningNginx(parts_in(tmp_path, clock), clock)
    settings = SETTINGS.model_copy(update={"gateway": GatewaySettings(), "ports": nginx.parts.ports})

    def gateway() -> RevertibleGateway:
        return RevertibleGateway(nginx.parts, settings, PinFile(tmp_path / "reverted.json", "stamp"))

    made = gateway()
    made.apply(made.state().applied)  # nginx was started with other settings
    clock.advance(60)
    try:
        yield Subject(made, clock, nginx.kill, nginx.start, gateway)
    finally:
        nginx.stop()
