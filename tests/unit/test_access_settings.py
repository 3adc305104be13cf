"""Who reaches the controller: what is refused, and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.core.people import Role
from controller.faults import ConfigError
from controller.settings import ControllerSettings, parse
from controller.settings.access import OidcSettings

POOL = "pools: [{name: small, model: small, checkpoint: small.gguf}]\n"
TLS = "tls: {certificate: /c.pem, key: /k.pem}"
OIDC = "issuer: 'https://id.example', client_id: stoker, roles: {sre: operator}"


def controller(text: str) -> ControllerSettings:
    return parse(f"{POOL}controller: {{{text}}}\n", "c.yaml").controller


def oidc(text: str) -> OidcSettings:
    found = controller(f"oidc: {{{text}}}").oidc
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("host: 0.0.0.0", "c.yaml:2: controller: host: 0.0.0.0 is beyond this machine, and without TLS"),
        ("host: '::'", "give tls: {certificate, key}, or name the proxy that speaks TLS in trusted_proxies"),
        ("host: gpu-1", "is beyond this machine"),
        ("host: 'a b'", "'a b' is no address to listen on"),
        ("tls: {certificate: c.pem, key: /k}", "is no absolute path"),
        ("tls: {certificate: /c.pem}", "`controller.tls.key` is missing"),
        ("trusted_proxies: [proxy]", "'proxy' is no address or network; write one such as 192.0.2.7 or 192.0.2.8/31"),
        ("trusted_proxies: ['0.0.0.0/0']", "is not the address of a proxy"),
        ("trusted_proxies: [10.0.0.1/8]", "is no address or network"),
        ("public_url: stoker.example.org", "write https://HOST or https://HOST:PORT, without a path"),
        ("public_url: 'https://a/path'", "without a path"),
        ("public_url: 'https://a:b'", "without a path"),
        ("public_url: 'https://user:word@a'", "without a path"),
        ("public_url: 'ftp://a'", "without a path"),
        (f"oidc: {{{OIDC.replace('https', 'http')}}}", "over http:// anybody on the way could say who logs in"),
        (f"oidc: {{{OIDC}, scopes: [profile]}}", "without the scope openid"),
        (f"oidc: {{{OIDC.replace('operator', 'root')}}}", "oidc.roles.sre"),
        (f"oidc: {{{OIDC.replace('roles: {sre: operator}', 'scopes: [openid]')}}}", "nobody could log in; give roles"),
        (f"oidc: {{{OIDC}, role_claim: 'a b'}}", "is no claim; write its name"),
        (f"oidc: {{{OIDC}, secret: x}}", "unknown key `controller.oidc.secret`"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        controller(text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "host: localhost",
        "host: 127.1.2.3",
        "host: '::1'",
        f"host: 0.0.0.0, {TLS}",
        "host: 0.0.0.0, trusted_proxies: [10.0.0.9]",
        "monitoring_host: 0.0.0.0",
    ],
)
def test_where_it_may_listen(text: str) -> None:
    assert controller(text).monitoring_host in ("127.0.0.1", "0.0.0.0")


def test_what_asks_nobody_stays_where_it_is_when_the_dashboard_is_opened() -> None:
    own = controller(f"host: '::', {TLS}, public_url: 'https://stoker.example.org:8443/'")
    assert (own.host, own.reach, own.scheme, own.on_loopback) == ("::", "[::1]", "https", False)
    assert (own.monitoring_host, own.monitoring_reach) == ("127.0.0.1", "127.0.0.1")
    assert own.public_url == "https://stoker.example.org:8443"
    assert controller("trusted_proxies: [10.0.0.9, '2001:db8::/32']").trusted_proxies == (
        "10.0.0.9/32",
        "2001:db8::/32",
    )


@pytest.mark.parametrize(
    ("more", "groups", "role"),
    [
        ("", {"sre"}, Role.OPERATOR),
        ("", {"other"}, None),
        ("", set(), None),
        (", default_role: viewer", set(), Role.VIEWER),
        (", default_role: viewer", {"sre"}, Role.OPERATOR),
        (", default_role: admin", {"sre"}, Role.ADMIN),
    ],
)
def test_the_highest_role_of_the_groups(more: str, groups: set[str], role: Role | None) -> None:
    assert oidc(OIDC + more).role_for(frozenset(groups)) is role


def test_a_secret_is_read_from_its_own_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    assert oidc(f"{OIDC}, client_secret_file: {file}").secret() == "s3cret"
    assert oidc(OIDC).secret() == ""
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others than its owner may use it"):
        oidc(f"{OIDC}, client_secret_file: {file}").secret()


def test_how_people_know_the_provider() -> None:
    assert oidc(OIDC).called == "id.example"
    assert oidc(f"{OIDC}, label: Example").called == "Example"
