"""What every `Gateway` promises, held against the fake and against nginx."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from controller.adapters.nginx import NginxGateway
from controller.core.errors import GatewayRejected, GatewayUnavailable
from controller.core.model import Address, GatewayPlan, PoolRoutes
from controller.ports import Gateway
from tests.fakes.clock import FakeClock
from tests.fakes.gateway import FakeGateway
from tests.fakes.running_nginx import POOL, RunningNginx, parts_in, plan

A, B = Address("127.0.0.1", 9), Address("127.0.0.1", 10)
EMPTY = GatewayPlan((POOL,))
IMPOSSIBLE = plan(Address("127.0.0.1", 99999))


@dataclass
class Subject:
    """A gateway under test, with the ways to disturb it."""

    gateway: Gateway
    clock: FakeClock
    take_down: Callable[[], None]
    bring_back: Callable[[], None]
    restarted: Callable[[], Gateway]  # the gateway that a new controller would have


def _fake() -> Subject:
    clock = FakeClock()
    gateway = FakeGateway(clock, EMPTY)

    def switch(down: bool) -> None:
        gateway.down = down

    return Subject(
        gateway,
        clock,
        lambda: switch(True),
        lambda: switch(False),
        lambda: FakeGateway(clock, gateway.state().applied),
    )


@pytest.fixture(params=["fake", "nginx"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "fake":
        yield _fake()
        return
    clock = FakeClock()
    nginx = RunningNginx(parts_in(tmp_path, clock), clock)
    try:
        yield Subject(nginx.gateway, clock, nginx.kill, nginx.start, lambda: NginxGateway(nginx.parts))
    finally:
        nginx.stop()


def test_routes_nothing_at_first(subject: Subject) -> None:
    state = subject.gateway.state()

    assert (state.applied, state.retry_at) == (EMPTY, None)


def test_runs_the_plan_that_was_applied(subject: Subject) -> None:
    state = subject.gateway.apply(plan(A))

    assert (state.applied, state.retry_at) == (plan(A), None)
    assert subject.gateway.state() == state


def test_a_change_sooner_than_the_interval_waits(subject: Subject) -> None:
    start = subject.clock.now()
    subject.gateway.apply(plan(A))
    subject.clock.advance(1.9)

    early = subject.gateway.apply(plan(A, B))

    assert (early.applied, early.retry_at) == (plan(A), start + timedelta(seconds=2))
    assert subject.gateway.state().applied == plan(A)
    subject.clock.advance(0.1)
    assert subject.gateway.apply(plan(A, B)).applied == plan(A, B)


def test_an_equal_plan_waits_for_nothing(subject: Subject) -> None:
    subject.gateway.apply(plan(A))

    assert subject.gateway.apply(plan(A)).retry_at is None


def test_the_order_of_servers_does_not_matter(subject: Subject) -> None:
    subject.gateway.apply(plan(A, B))
    routes = plan(A, B).pools[0]
    turned = GatewayPlan((PoolRoutes(routes.pool, routes.model, routes.servers[::-1]),))

    state = subject.gateway.apply(turned)

    assert (state.applied, state.retry_at) == (plan(A, B), None)


def test_a_refused_plan_changes_nothing(subject: Subject) -> None:
    subject.gateway.apply(plan(A))
    subject.clock.advance(2)

    with pytest.raises(GatewayRejected, match="invalid port"):
        subject.gateway.apply(IMPOSSIBLE)

    assert subject.gateway.state().applied == plan(A)
    assert subject.gateway.apply(plan(B)).applied == plan(B)  # a refusal was no reload


def test_a_gateway_that_is_down_says_so_and_keeps_its_plan(subject: Subject) -> None:
    subject.gateway.apply(plan(A))
    subject.clock.advance(2)
    subject.take_down()

    with pytest.raises(GatewayUnavailable):
        subject.gateway.apply(plan(B))

    assert subject.gateway.state().applied == plan(A)
    subject.bring_back()
    subject.clock.advance(2)
    assert subject.gateway.apply(plan(B)).applied == plan(B)


def test_a_new_controller_knows_what_is_routed(subject: Subject) -> None:
    subject.gateway.apply(plan(A, B))

    assert subject.restarted().state().applied == plan(A, B)


def test_an_empty_plan_is_a_plan(subject: Subject) -> None:
    subject.gateway.apply(plan(A))
    subject.clock.advance(2)

    assert subject.gateway.apply(EMPTY).applied == EMPTY
