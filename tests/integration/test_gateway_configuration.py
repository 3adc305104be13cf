"""No value of `stoker.yaml` adds a directive to nginx.conf: what the settings take nginx takes, and nothing escapes.

Two examples that differ in their words only must give two files of the same shape, whatever the words are. A few of
them nginx itself reads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pydantic import ValidationError

from controller.adapters.nginx import NginxParts, prepare
from controller.adapters.nginx.config import NginxConfig, render
from controller.adapters.nginx.rules import PoolRules, Rules, rules_of
from controller.core.errors import GatewayRejected
from controller.core.model import Address, GatewayPlan, PoolName, PoolRoutes, ReplicaId, Server
from controller.settings import GatewaySettings, PlanSettings, PortSettings, Settings
from tests.fakes.clock import FakeClock
from tests.fakes.running_nginx import ports
from tests.integration import gateway_conf
from tests.integration.gateway_conf import NotNginx, nasty, shape

PORTS = PortSettings()
Data = dict[str, Any]


def plan_of(settings: Settings) -> GatewayPlan:
    """A replica for every pool."""
    return GatewayPlan(
        tuple(
            PoolRoutes(
                PoolName(pool.name),
                pool.model,
                (Server(ReplicaId(f"{pool.name}-001"), Address("127.0.0.1", 9000 + place)),),
            )
            for place, pool in enumerate(settings.pools)
        )
    )


def text_of(settings: Settings) -> str:
    return render(plan_of(settings), NginxConfig.here(settings.gateway, settings.ports, rules_of(settings)))


def renamed(data: Data) -> Data:
    """The same with words that are beyond doubt. Equal words stay equal."""
    plain, known = copy.deepcopy(data), dict[str, str]()
    for place, pool in enumerate(plain["pools"]):
        gateway = pool["gateway"]
        pool |= {"name": f"pool{place}", "model": f"model{place}"}
        gateway["aliases"] = [f"alias{place}" for _ in gateway["aliases"]]
        gateway["open_paths"] = [known.setdefault(path, f"/path{len(known)}") for path in gateway["open_paths"]]
    for place, plan in enumerate(plain["plans"]):
        plan["name"] = f"plan{place}"
    plain["gateway"] |= {"user_header": "X-User-Id"}
    plain["gateway"]["trusted_proxies"] = ["10.0.0.0/8" for _ in plain["gateway"]["trusted_proxies"]]
    return plain


def accepted(data: Data) -> Settings | None:
    """None: they are refused."""
    try:
        return Settings.model_validate(data)
    except ValidationError:
        return None


PLACES: dict[str, Callable[[Data, str], object]] = {
    "pool": lambda data, text: data["pools"][0].update(name=text),
    "model": lambda data, text: data["pools"][0].update(model=text),
    "alias": lambda data, text: data["pools"][0]["gateway"].update(aliases=[text]),
    "path": lambda data, text: data["pools"][0]["gateway"].update(open_paths=[text]),
    "plan": lambda data, text: data["plans"].insert(0, {"name": text, "requests_per_second": 1}),
    "header": lambda data, text: data["gateway"].update(user_header=text),
    "proxy": lambda data, text: data["gateway"].update(trusted_proxies=[text]),
    "cache_size": lambda data, text: data["gateway"].update(cache_size=text),
    "routing": lambda data, text: data["pools"][0]["gateway"].update(routing=text),
    "connect_timeout": lambda data, text: data["gateway"].update(connect_timeout=text),
}


def test_the_reader_reads_as_nginx_does() -> None:
    text = 'a b "c ; d" ${e}; # f;\nhttp { map $a $b { default \'\'; "x\\"y" z; include w; } } g \'h;i\';'
    assert shape(text) == {
        ("", "a", 3): 1,
        ("", "http", 0): 1,
        ("http", "map", 2): 1,
        ("http/map", "default", 1): 1,
        ("http/map", "key", 1): 1,
        ("http/map", "include", 1): 1,
        ("", "g", 1): 1,
    }
    for broken in ("a", "a {", "}", "a 'b", "a; ;", "a 'b'c;"):
        with pytest.raises(NotNginx):
            shape(broken)


@given(gateway_conf.settings())
@profile(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_words_do_not_change_the_shape_of_the_file(data: Data) -> None:
    assert shape(text_of(Settings.model_validate(data))) == shape(text_of(Settings.model_validate(renamed(data))))


@given(gateway_conf.settings(), st.sampled_from(sorted(PLACES)), nasty)
@profile(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_nasty_word_is_refused_or_stays_a_word(data: Data, place: str, text: str) -> None:
    PLACES[place](data, text)
    settings = accepted(data)
    if settings is not None:
        assert shape(text_of(settings)) == shape(text_of(Settings.model_validate(renamed(data))))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", ['x"; return 200; #', "x; } server { listen 1;", "${request}", "a\nb;", "/a{", "a\\"])
def test_what_could_end_a_word_is_refused(place: str, text: str) -> None:
    data: Data = {
        "pools": [{"name": "a", "model": "a", "checkpoint": "/a", "gateway": {}}],
        "plans": [],
        "gateway": {},
    }
    Settings.model_validate(data)
    PLACES[place](data, text)
    with pytest.raises(ValidationError):
        Settings.model_validate(data)


@given(gateway_conf.settings())
@profile(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_nginx_takes_what_the_settings_take(tmp_path_factory: pytest.TempPathFactory, data: Data) -> None:
    settings = Settings.model_validate(data)
    folder: Path = tmp_path_factory.mktemp("conf")
    parts = NginxParts(folder / "gateway", folder / "logs", settings.gateway, ports(), FakeClock(), rules_of(settings))
    prepare(parts, plan_of(settings).pools)  # nginx -t is its last word

    assert (parts.folder / "nginx.conf").is_file()


CONFIG = NginxConfig.here(GatewaySettings(), PORTS, Rules())
SERVER = Server(ReplicaId("a-001"), Address("127.0.0.1", 9001))


def routes(pool: str = "a", model: str = "a", server: Server = SERVER) -> GatewayPlan:
    return GatewayPlan((PoolRoutes(PoolName(pool), model, (server,)),))


def with_rules(**values: Any) -> NginxConfig:
    return replace(CONFIG, rules=Rules({"a": PoolRules(**values)}))


HOSTILE: dict[str, Callable[[str], tuple[GatewayPlan, NginxConfig]]] = {
    "pool": lambda text: (routes(pool=text), CONFIG),
    "model": lambda text: (routes(model=text), CONFIG),
    "replica": lambda text: (routes(server=Server(ReplicaId(text), SERVER.address)), CONFIG),
    "host": lambda text: (routes(server=Server(SERVER.replica, Address(text, 9001))), CONFIG),
    "alias": lambda text: (routes(), with_rules(aliases=(text,))),
    "path": lambda text: (routes(), with_rules(open_paths=(text,))),
    "header": lambda text: (routes(), replace(CONFIG, user_header=text)),
    "proxy": lambda text: (routes(), replace(CONFIG, trusted_proxies=(text,))),
    "plan": lambda text: (
        routes(),
        replace(CONFIG, rules=Rules({}, (PlanSettings.model_construct(name=text, priority="normal"),))),
    ),
}


def rendered(plan: GatewayPlan, config: NginxConfig) -> str | None:
    """None: it is refused."""
    try:
        return render(plan, config)
    except GatewayRejected:
        return None


PLAIN = {"path": "/a", "proxy": "10.0.0.0/8"}


@pytest.mark.parametrize("place", HOSTILE)
@given(text=nasty)
@profile(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_the_settings_never_saw_is_refused_once_more(place: str, text: str) -> None:
    plain = shape(render(*HOSTILE[place](PLAIN.get(place, "a"))))
    found = rendered(*HOSTILE[place](text))
    assert found is None or shape(found) == plain


@pytest.mark.parametrize("place", HOSTILE)
@pytest.mark.parametrize(
    "text", [*("a;b", "a{", "a}", 'a"', "a'", "a\\", "$a", "a b", "a\n", "#a"), *("", "\0", "\u00e9")]
)
def test_what_could_end_a_word_is_no_word(place: str, text: str) -> None:
    with pytest.raises(GatewayRejected, match="has no place in nginx.conf"):
        render(*HOSTILE[place](text))


# What nginx does not take


def small(gateway: Data | None = None, pool: Data | None = None) -> Data:
    """A file with little in it."""
    pools = [{"name": "a", "model": "a", "checkpoint": "/a", "gateway": pool or {}}]
    return {"pools": pools, "gateway": gateway or {}}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(small({"host": "127.0.0.1:80; deny all"}), id="a host that ends the word"),
        pytest.param(small({"host": "127.0.0.1 default_server"}), id="a host of two words"),
        pytest.param(small({"host": "[::1]"}), id="a host in brackets"),
        pytest.param(small({"tls": {"certificate": "/a b", "key": "/c"}}), id="a file with a space"),
        pytest.param(small({"trusted_proxies": ["255.255.255.255/32"]}), id="everybody's address"),
        pytest.param(small({"max_body_bytes": 10**30}), id="a body beyond all"),
        pytest.param(small(pool={"open_paths": ["/"]}), id="the root"),
        pytest.param(small(pool={"open_paths": ["/_error/404"]}), id="a path of the gateway's own"),
    ],
)
def test_what_nginx_does_not_take_the_settings_refuse(data: Data) -> None:
    Settings.model_validate(small())
    with pytest.raises(ValidationError):
        Settings.model_validate(data)


@pytest.mark.parametrize("text", ["127.0.0.1:80; deny all", "a b", "a\nb"])
def test_where_it_listens_is_checked_once_more(text: str) -> None:
    with pytest.raises(GatewayRejected):
        render(routes(), replace(CONFIG, listen=Address(text, 8080)))
