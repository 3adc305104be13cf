"""Where the controller listens: beyond this machine only where somebody could log in."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.adapters.database import SqlStore, anybody
from controller.adapters.database.people import SqlPeople
from controller.core.people import Role, User
from controller.faults import ConfigError
from controller.installation import Layout
from controller.settings import Settings, parse
from controller.stack import binding
from controller.stack.trouble import Trouble
from tests.fakes.certificates import made
from tests.fakes.clock import START

POOL = "pools: [{name: small, model: small, checkpoint: small.gguf}]\n"
PROXIED = "trusted_proxies: [10.0.0.9]"


@dataclass
class World:
    layout: Layout
    complaints: list[str] = field(default_factory=list)

    def settings(self, controller: str) -> Settings:
        return parse(f"{POOL}controller: {{{controller}}}\n", "c.yaml")

    def let_in(self) -> None:
        with closing(SqlStore(self.layout.database)) as store:
            SqlPeople(store).save_user(User("ada", Role.ADMIN, START))

    def bound(self, controller: str) -> binding.Bound:
        return binding.bound(self.settings(controller), self.layout, self.complaints.append)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Layout(tmp_path))


def test_beyond_this_machine_without_a_user_is_refused_and_says_what_to_do(world: World) -> None:
    settings = world.settings(f"host: 0.0.0.0, {PROXIED}")
    with pytest.raises(Trouble) as refused:
        binding.prepare(settings, world.layout)
    assert "controller.host is 0.0.0.0, beyond this machine, and there is no user yet" in str(refused.value)
    assert "`stoker users invite NAME --role admin` first" in str(refused.value)
    world.let_in()
    binding.prepare(settings, world.layout)


def test_on_this_machine_nobody_is_needed(world: World) -> None:
    binding.prepare(world.settings(""), world.layout)
    assert world.bound("").host == "127.0.0.1"
    assert not world.complaints


@pytest.mark.parametrize("damage", ["no database", "pages", "version"])
def test_over_a_database_that_will_be_put_aside_nothing_is_open(world: World, damage: str) -> None:
    world.let_in()
    if damage == "no database":
        world.layout.database.write_text("this is no database, and never was one")
    elif damage == "pages":  # those of the users are whole
        with world.layout.database.open("r+b") as file:
            file.seek(-4096, 2)
            file.write(b"x" * 4096)
    else:
        with closing(sqlite3.connect(world.layout.database)) as database:
            database.execute("PRAGMA user_version = 99")
    settings = world.settings(f"host: 0.0.0.0, {PROXIED}")
    with pytest.raises(Trouble, match="beyond this machine, and the database does not say who its users are"):
        binding.require_somebody(settings, world.layout)

    assert binding.host_to_bind(settings, world.layout, world.complaints.append) == "127.0.0.1"
    assert "the database does not say who its users are" in world.complaints[0]
    with closing(SqlStore(world.layout.database)) as store:
        assert store.put_aside is not None
        assert SqlPeople(store).users() == ()


def test_a_database_that_is_busy_leaves_it_at_what_is_configured(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.let_in()
    monkeypatch.setattr(anybody, "_BUSY_S", 0.1)
    settings = world.settings(f"host: 0.0.0.0, {PROXIED}")
    with closing(sqlite3.connect(world.layout.database, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("CREATE TABLE busy (it)")
        with pytest.raises(Trouble, match="beyond this machine, and the database does not say who its users are"):
            binding.require_somebody(settings, world.layout)
        assert binding.host_to_bind(settings, world.layout, world.complaints.append) == "0.0.0.0"
    assert not world.complaints


@pytest.mark.parametrize(("host", "bound"), [("0.0.0.0", "127.0.0.1"), ("'::'", "::1"), ("192.0.2.7", "127.0.0.1")])
def test_a_controller_started_by_hand_stays_on_loopback_until_somebody_could_log_in(
    world: World, host: str, bound: str
) -> None:
    assert world.bound(f"host: {host}, {PROXIED}").host == bound
    assert world.complaints[0].endswith(f"until it is started anew it listens on {bound}")
    world.let_in()
    assert world.bound(f"host: {host}, {PROXIED}").host == host.strip("'")
    assert len(world.complaints) == 1


def test_the_doors_follow_from_the_settings(world: World) -> None:
    world.let_in()
    open_door = world.bound(f"host: gpu-1, {PROXIED}, public_url: 'https://stoker.example.org:8443'").doors
    assert (open_door.trusted, open_door.local_only) == (("10.0.0.9/32",), True)
    assert open_door.names == ("gpu-1", "stoker.example.org")
    assert not world.bound(PROXIED).doors.local_only
    assert world.bound("").uvicorn() == {"host": "127.0.0.1", "proxy_headers": False, "server_header": False}


def test_with_tls_it_is_open_and_its_pair_is_kept(world: World, tmp_path: Path) -> None:
    world.let_in()
    pair = made(tmp_path)
    settings = f"host: 0.0.0.0, tls: {{certificate: {pair.certificate}, key: {pair.key}}}"
    binding.prepare(world.settings(settings), world.layout)
    assert world.layout.served_certificate.exists()
    served = world.bound(settings)
    assert not served.doors.local_only
    assert "ssl_context_factory" in served.uvicorn()
    pair.key.write_text("none")
    with pytest.raises(ConfigError, match="cannot be served with"):
        binding.prepare(world.settings(settings), world.layout)


def test_a_secret_that_others_may_read_is_refused_before_anything_starts(world: World, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret")
    file.chmod(0o644)
    oidc = f"{{issuer: 'https://id.example', client_id: a, client_secret_file: {file}, default_role: viewer}}"
    with pytest.raises(ConfigError, match="others than its owner may use it"):
        binding.prepare(world.settings(f"oidc: {oidc}"), world.layout)
