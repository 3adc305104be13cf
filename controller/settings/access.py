"""Who reaches the controller, and how: TLS, proxies, the address that people write, and logins by OpenID Connect."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from controller.core.people import Role
from controller.settings.secrets import read_secret
from controller.settings.values import AbsolutePath, Listed, Section, matching

_NOBODY = "255.255.255.255/32"
_SECRET_KEY = "oidc.client_secret_file"  # noqa: S105 - the name of a key
_WORD = matching(r"[!-~]{1,200}", "is not one word; write it without white space")
_CLAIM = matching(
    r"[A-Za-z0-9_:/-]+(\.[A-Za-z0-9_:/-]+){0,5}", "is no claim; write its name, such as groups or realm_access.roles"
)
_SCOPE = matching(r"[!#-\[\]-~]{1,200}", "is no scope; write one word, such as openid")
_LABEL = matching(r"[^\x00-\x1f\x7f]{1,40}", "is no label; write at most 40 characters on one line")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")


def host(value: str) -> str:
    """An address or a name to listen on. Raises `ValueError`."""
    if _HOST.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no address to listen on; write one such as 127.0.0.1, ::1 or 0.0.0.0")
    return value


def on_loopback(value: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if value == "localhost":
        return True
    try:
        return ipaddress.ip_address(value).is_loopback
    except ValueError:
        return False


def reach_of(value: str) -> str:
    """Where our own processes find what listens there, as it stands in a URL."""
    found = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(value, value)
    return f"[{found}]" if ":" in found else found


def _network(value: str) -> str:
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is no address or network; write one such as 192.0.2.7 or 192.0.2.8/31") from error
    if network.prefixlen == 0 or str(network) == _NOBODY:
        raise ValueError(f"{value} is not the address of a proxy; name those that you trust")
    return str(network)


def _public_url(value: str) -> str:
    fault = f"{value!r} is no address of the dashboard; write https://HOST or https://HOST:PORT, without a path"
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, or half an IPv6 address
        raise ValueError(fault) from None
    if not good or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in value or "\\" in value:
        raise ValueError(fault)
    if _HOST.fullmatch(parts.hostname or "") is None:
        raise ValueError(fault)
    return value.rstrip("/")


def _issuer(value: str) -> str:
    fault = f"{value!r} is no issuer; write the https:// URL that the provider calls itself"
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(fault) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in value:
        raise ValueError(fault)
    if parts.scheme == "http" and not on_loopback(parts.hostname):
        raise ValueError("over http:// anybody on the way could say who logs in; write the provider's https:// URL")
    return value


class ControllerTlsSettings(Section):
    """The files with which the controller speaks TLS (1.2 and 1.3)."""

    certificate: AbsolutePath
    key: AbsolutePath


class OidcSettings(Section):
    """A provider that says who somebody is, and which groups that person is in."""

    issuer: Annotated[str, AfterValidator(_issuer)]
    client_id: Annotated[str, _WORD]
    client_secret_file: AbsolutePath | None = None  # of mode 0600; none: a public client, with PKCE alone
    label: Annotated[str, _LABEL] | None = None  # on the login page; none: the issuer's host
    scopes: Annotated[tuple[Annotated[str, _SCOPE], ...], Listed, Field(max_length=20)] = ("openid", "profile")
    name_claim: Annotated[str, _CLAIM] = "preferred_username"
    role_claim: Annotated[str, _CLAIM] = "groups"
    roles: dict[str, Literal["viewer", "operator", "admin"]] = Field(default_factory=dict)
    default_role: Literal["none", "viewer", "operator", "admin"] = "none"
    ca_file: AbsolutePath | None = None  # who vouches for the provider; none: whom this machine trusts

    @property
    def called(self) -> str:
        """What people know the provider as."""
        return self.label or urlsplit(self.issuer).hostname or self.issuer

    def role_for(self, groups: frozenset[str]) -> Role | None:
        """The highest role of these groups; None: whoever is in no other may not log in."""
        found = [Role(role) for group, role in self.roles.items() if group in groups]
        if self.default_role != "none":
            found.append(Role(self.default_role))
        return next((role for role in reversed(Role) if role in found), None)

    def secret(self) -> str:
        """What `client_secret_file` holds, read now; empty where there is none.

        Raises:
            ConfigError: it cannot be read, others may use it, or it holds no such thing. Nothing of it is told.
        """
        if self.client_secret_file is None:
            return ""
        return read_secret(Path(self.client_secret_file), _SECRET_KEY, "the secret of an OpenID Connect client")

    @model_validator(mode="after")
    def _possible(self) -> OidcSettings:
        if "openid" not in self.scopes:
            raise ValueError("without the scope openid a provider does not say who logs in; add it to scopes")
        if not self.roles and self.default_role == "none":
            raise ValueError("nobody could log in; give roles: {GROUP: viewer|operator|admin}, or a default_role")
        return self


Host = Annotated[str, AfterValidator(host)]
TrustedProxies = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Listed]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
