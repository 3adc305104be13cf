"""nginx.conf changed, emptied or deleted by hand: it is put back, so that nginx never starts with something else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.adapters.nginx import NginxGateway
from controller.core.errors import GatewayUnavailable
from controller.core.model import GatewayPlan
from tests.fakes.clock import FakeClock
from tests.fakes.engine import FakeEngine
from tests.fakes.running_nginx import RunningNginx, parts_in, plan
from tests.waiting import wait_for


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    made = FakeEngine()
    yield made
    made.close()


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[RunningNginx]:
    clock = FakeClock()
    made = RunningNginx(parts_in(tmp_path, clock), clock)
    yield made
    made.stop()


@pytest.mark.parametrize("spoilt", ["this is no configuration {", "", None], ids=["garbage", "empty", "deleted"])
@pytest.mark.parametrize("same", [True, False], ids=["the same controller", "a new one"])
def test_a_configuration_that_somebody_spoilt_is_put_back(
    nginx: RunningNginx, engine: FakeEngine, spoilt: str | None, same: bool
) -> None:
    wanted = plan(engine.address)
    nginx.apply(wanted)
    conf = nginx.parts.folder / "nginx.conf"
    good = conf.read_text()
    if spoilt is None:
        conf.unlink()
    else:
        conf.write_text(spoilt)
    gateway = nginx.gateway if same else NginxGateway(nginx.parts)
    nginx.kill()  # it could not start with that
    with pytest.raises(GatewayUnavailable):
        gateway.apply(wanted)
    assert conf.read_text() == good

    nginx.start()
    nginx.clock.advance(60)
    assert gateway.apply(wanted).applied == wanted
    assert nginx.post()[0] == 200


def test_a_configuration_that_somebody_changed_and_loaded_is_put_back(nginx: RunningNginx, engine: FakeEngine) -> None:
    wanted = plan(engine.address)
    nginx.apply(wanted)
    conf = nginx.parts.folder / "nginx.conf"
    good = conf.read_text()
    conf.write_text(good.replace('return 200 "ok', 'return 200 "changed'))
    os.kill(nginx.pid, signal.SIGHUP)
    wait_for(lambda: nginx.ask("GET", "/healthz")[2] == b"changed\n", 10, "nginx serves the changed one")

    nginx.gateway.apply(wanted)
    assert conf.read_text() == good
    assert nginx.ask("GET", "/healthz")[2] == b"ok\n"


@pytest.mark.parametrize(
    "spoilt",
    [b"this is no configuration {", b"", b"\xff\xfe", None, b"# Generation 0123456789abcdef.\nevents {\n"],
    ids=["garbage", "empty", "no text", "deleted", "another's"],
)
@pytest.mark.parametrize("known", [True, False], ids=["its plan is known", "no plan is known"])
def test_a_controller_that_finds_it_spoilt_writes_a_new_one(
    nginx: RunningNginx, engine: FakeEngine, spoilt: bytes | None, known: bool
) -> None:
    """While nginx serves on. There is nothing in such a file that nginx could be waited for to take."""
    before, wanted = plan(engine.address), plan()
    nginx.apply(before)
    conf = nginx.parts.folder / "nginx.conf"
    if spoilt is None:
        conf.unlink()
    else:
        conf.write_bytes(spoilt)
    if not known:
        (nginx.parts.folder / "plan.json").write_text("{")

    gateway = NginxGateway(nginx.parts)
    assert gateway.running() is None
    assert gateway.state().applied == (before if known else GatewayPlan())
    assert gateway.apply(wanted).applied == wanted
    assert NginxGateway(nginx.parts).state().applied == wanted, "the next controller knows it, too"
    assert nginx.post()[0] == 503
