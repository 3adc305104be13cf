"""A provider of OpenID Connect: the authorisation code with PKCE, and the ID token that it is exchanged for.

Authlib speaks OAuth, joserfc verifies the signature. Nothing is asked before somebody logs in, and what the provider
says of itself is kept for an hour. Proxies of the environment are used: the provider may be in the outside world.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import KeySet

from controller.core.errors import LoginRefused, TransientError
from controller.ports import Clock
from controller.settings.access import OidcSettings, on_loopback

_TIMEOUT_S = 5.0  # of each request; a login has up to four
_AT_ONCE = 4
_FRESH = timedelta(hours=1)
_KEYS_AGAIN = timedelta(seconds=30)  # a token with an unknown key makes us look for new ones, but not each time
_LEEWAY_S = 60  # between the provider's clock and ours
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")  # never a shared secret
_BASIC, _POST = "client_secret_basic", "client_secret_post"


class ProviderUnavailable(TransientError):
    """It did not answer in time, or with something that is no answer."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the provider says of itself, and since when that is known."""

    at: datetime
    about: Mapping[str, Any]
    keys: KeySet


class OpenIdProvider:
    """See above. For several threads. Every method blocks for 20 s at most."""

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._lock, self._places = threading.Lock(), threading.BoundedSemaphore(_AT_ONCE)
        self._known: _Known | None = None

    def begin(self, back: str, state: str, nonce: str, verifier: str) -> str:
        """Where to send the browser, so that it comes back to `back`. Raises `ProviderUnavailable`."""
        with self._place():
            about = self._look().about
        with self._session(about, back, secret="") as session:
            url, _ = session.create_authorization_url(
                about["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
            )
        return str(url)

    def finish(self, back: str, code: str, nonce: str, verifier: str, wanted: Collection[str]) -> Mapping[str, Any]:
        """What the provider says of who logged in: the claims of the ID token, and where it lacks one of `wanted` those
        of the provider's page about people.

        Raises:
            ProviderUnavailable: it gives no answer.
            LoginRefused: it does not take the code, or its token is not for this login.
            ConfigError: the secret of this client cannot be read.
        """
        with self._place():
            known = self._look()
            with self._session(known.about, back, self._settings.secret()) as session:
                token = self._exchange(session, known.about["token_endpoint"], code, verifier)
                claims = self._claims(known, token, nonce)
                about_people = known.about.get("userinfo_endpoint")
                if about_people and not all(name in claims for name in wanted):
                    claims = {**self._people(session, str(about_people), claims["sub"]), **claims}
        return claims

    @contextmanager
    def _place(self) -> Iterator[None]:
        """A provider that hangs must not take every thread that answers requests."""
        if not self._places.acquire(blocking=False):
            raise ProviderUnavailable(f"more than {_AT_ONCE} logins wait for {self._settings.called}; try again soon")
        try:
            yield
        finally:
            self._places.release()

    def _session(self, about: Mapping[str, Any], back: str, secret: str) -> OAuth2Session:
        known = about.get("token_endpoint_auth_methods_supported", [_BASIC])
        method = (_POST if _POST in known and _BASIC not in known else _BASIC) if secret else "none"
        session = OAuth2Session(
            client_id=self._settings.client_id,
            client_secret=secret or None,
            token_endpoint_auth_method=method,
            scope=" ".join(self._settings.scopes),
            redirect_uri=back,
            code_challenge_method="S256",
            default_timeout=_TIMEOUT_S,
        )
        session.verify = self._settings.ca_file or True
        return session

    def _exchange(self, session: OAuth2Session, url: str, code: str, verifier: str) -> Mapping[str, Any]:
        try:
            token: Mapping[str, Any] = session.fetch_token(
                url, grant_type="authorization_code", code=code, code_verifier=verifier, allow_redirects=False
            )
        except AuthlibBaseError as error:
            raise LoginRefused(f"{self._settings.called} does not take this login: {error.error}") from error
        except (requests.RequestException, ValueError) as error:
            raise self._silent(error) from error
        return token

    def _claims(self, known: _Known, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Of an ID token that is signed by the provider, for us, for this login and of now."""
        own, text = self._settings, str(token.get("id_token", ""))
        try:
            try:
                found = jwt.decode(text, known.keys, _ALGORITHMS)
            except (JoseError, ValueError):
                found = jwt.decode(text, self._newer(known).keys, _ALGORITHMS)
            for_us = {"iss": own.issuer, "aud": own.client_id}
            wanted = {name: {"essential": True, "value": value} for name, value in for_us.items()}
            params = {"nonce": nonce, "client_id": own.client_id, "access_token": token.get("access_token")}
            claims = CodeIDToken(found.claims, found.header, wanted, params)
            claims.validate(now=int(self._clock.now().timestamp()), leeway=_LEEWAY_S)
        except ExpiredTokenError as error:
            raise LoginRefused(f"what {own.called} says of this login has expired; are both clocks right?") from error
        except (JoseError, ValueError, TypeError) as error:
            told = getattr(error, "description", "") or type(error).__name__
            raise LoginRefused(f"what {own.called} says of this login cannot be believed: {told}") from error
        return dict(claims)

    def _people(self, session: OAuth2Session, url: str, subject: str) -> dict[str, Any]:
        """More about who logged in. Of somebody else it is worth nothing."""
        about = self._get(session, url)
        return about if about.get("sub") == subject else {}

    def _look(self) -> _Known:
        """What is known of the provider, asked for anew where that is old."""
        with self._lock:
            now, known = self._clock.now(), self._known
            if known is None or not timedelta() <= now - known.at < _FRESH:
                self._known = known = self._ask()
            return known

    def _newer(self, known: _Known) -> _Known:
        """It may sign with other keys by now."""
        with self._lock:
            now = self._clock.now()
            if self._known is known and not timedelta() <= now - known.at < _KEYS_AGAIN:
                self._known = self._ask()
            return self._known or known

    def _ask(self) -> _Known:
        own = self._settings
        with requests.Session() as session:
            session.verify = own.ca_file or True
            about = self._get(session, f"{own.issuer.rstrip('/')}/.well-known/openid-configuration")
            if about.get("issuer") != own.issuer:
                raise ProviderUnavailable(
                    f"{own.issuer} calls itself {str(about.get('issuer'))[:200]!r}; oidc.issuer is to be the same"
                )
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                self._require_safe(about.get(name), name)
            if about.get("userinfo_endpoint"):  # not every provider has one; it gets the token, and may tell the groups
                self._require_safe(about["userinfo_endpoint"], "userinfo_endpoint")
            try:
                keys = KeySet.import_key_set(self._get(session, about["jwks_uri"]))  # type: ignore[arg-type]  # or not
            except (JoseError, ValueError, LookupError, TypeError, AttributeError) as error:
                raise ProviderUnavailable(f"the keys of {own.called} cannot be read: {type(error).__name__}") from error
        return _Known(self._clock.now(), about, keys)

    def _require_safe(self, url: object, name: str) -> None:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        if parts.scheme != "https" and not (parts.scheme == "http" and on_loopback(parts.hostname or "")):
            raise ProviderUnavailable(f"{self._settings.called} gives no https:// URL as its {name}")

    def _get(self, session: requests.Session, url: str) -> dict[str, Any]:
        try:
            with session.get(url, timeout=_TIMEOUT_S, allow_redirects=False) as answer:
                answer.raise_for_status()
                found = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise self._silent(error) from error
        if not isinstance(found, dict):
            raise ProviderUnavailable(f"what {self._settings.called} answers is not of OpenID Connect")
        return found

    def _silent(self, error: Exception) -> ProviderUnavailable:
        return ProviderUnavailable(f"{self._settings.called} gives no answer ({type(error).__name__}); try again soon")
