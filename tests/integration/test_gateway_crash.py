"""A controller that is killed while it applies a plan: the next one knows what nginx runs, and nginx starts with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.adapters.nginx import NginxGateway
from controller.adapters.nginx.config import generation_of
from controller.core.model import Address, GatewayPlan
from tests.fakes.clock import FakeClock
from tests.fakes.running_nginx import POOL, RunningNginx, parts_in, plan

FIRST, SECOND = plan(Address("127.0.0.1", 9)), plan(Address("127.0.0.1", 10))


@dataclass
class Stage:
    """nginx that runs FIRST, and the files that belong to SECOND."""

    nginx: RunningNginx
    second_conf: Path
    second_plan: Path

    def write_next(self) -> None:
        """Step 1."""
        shutil.copy(self.second_plan, self.nginx.parts.folder / "plan.next.json")

    def write_conf(self) -> None:
        """Step 2, without the signal."""
        shutil.copy(self.second_conf, self.nginx.parts.folder / "nginx.conf")

    def check(self, gateway: NginxGateway, wanted: GatewayPlan) -> None:
        """Said, served, and read at the next start are one and the same."""
        on_disk = generation_of((self.nginx.parts.folder / "nginx.conf").read_text())
        assert gateway.state().applied == wanted
        assert self.nginx.parts.process().generation() == on_disk
        before = self.nginx.workers()
        gateway.apply(wanted)
        assert self.nginx.workers() <= before  # nothing was reloaded
        self.nginx.kill()
        self.nginx.start()
        assert self.nginx.parts.process().generation() == on_disk
        assert NginxGateway(self.nginx.parts).state().applied == wanted


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    clock = FakeClock()
    nginx = RunningNginx(parts_in(tmp_path, clock), clock)
    nginx.apply(SECOND)
    shutil.copy(nginx.parts.folder / "nginx.conf", tmp_path / "second.conf")
    shutil.copy(nginx.parts.folder / "plan.json", tmp_path / "second.json")
    nginx.apply(FIRST)
    yield Stage(nginx, tmp_path / "second.conf", tmp_path / "second.json")
    nginx.stop()


def test_killed_before_the_rename(stage: Stage) -> None:
    stage.write_next()

    stage.check(NginxGateway(stage.nginx.parts), FIRST)


def test_killed_between_rename_and_signal(stage: Stage) -> None:
    stage.write_next()
    stage.write_conf()

    stage.check(NginxGateway(stage.nginx.parts), SECOND)


def test_killed_between_signal_and_record(stage: Stage) -> None:
    stage.write_next()
    stage.write_conf()
    stage.nginx.parts.process().reload(generation_of(stage.second_conf.read_text()), 10)

    stage.check(NginxGateway(stage.nginx.parts), SECOND)


def test_killed_after_the_rename_while_nginx_died_too(stage: Stage) -> None:
    stage.write_next()
    stage.write_conf()
    stage.nginx.kill()
    gateway = NginxGateway(stage.nginx.parts)
    stage.nginx.start()

    assert gateway.state().applied == SECOND
    stage.check(NginxGateway(stage.nginx.parts), SECOND)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"generation":"x","pools":[{}]}'])
def test_lost_records_make_the_next_apply_reload(stage: Stage, damage: str) -> None:
    (stage.nginx.parts.folder / "plan.json").write_text(damage)
    (stage.nginx.parts.folder / "plan.next.json").write_text(damage)
    gateway = NginxGateway(stage.nginx.parts)

    gateway.apply(GatewayPlan((POOL,)))

    stage.check(gateway, GatewayPlan((POOL,)))
