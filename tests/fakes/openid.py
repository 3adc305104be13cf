"""An OpenID Connect provider on loopback: real HTTP, real signatures, and a person who has always just agreed."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT, SECRET = "stoker", "s3cret"


@dataclass
class Says:
    """What it will say. Tests change it."""

    claims: dict[str, Any] = field(default_factory=lambda: {"preferred_username": "Ada", "groups": ["sre"]})
    people: dict[str, Any] = field(default_factory=dict)  # on its page about people
    over: dict[str, Any] = field(default_factory=dict)  # in place of what the ID token should have
    header: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    signs_with: RSAKey | None = None  # none: its own key
    broken: bool = False


class FakeProvider:
    """Runs until `close`."""

    def __init__(self, now: int) -> None:
        self.says, self.now = Says(), now
        self.keys = [key_of("first")]
        self.asked: list[str] = []
        self.begun: dict[str, dict[str, str]] = {}  # by code
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._get(self)

            def do_POST(self) -> None:
                provider._post(self)

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """It answers no more."""
        self._server.shutdown()
        self._server.server_close()

    def rotate(self, name: str) -> None:
        """It signs with another key, and knows the old one no more."""
        self.keys = [key_of(name)]

    def agree(self, url: str) -> dict[str, str]:
        """The person has logged in there: what comes back with the browser."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        code = f"code-{len(self.begun)}"
        self.begun[code] = asked
        return {"code": code, "state": asked["state"]}

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        if self.says.broken:
            return _answer(request, 503, {"oh": "no"})
        if request.path == "/.well-known/openid-configuration":
            pages = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "keys"}
            about = {name: f"{self.issuer}/{page}" for name, page in pages.items()}
            return _answer(request, 200, {"issuer": self.issuer, **about, **self.says.about})
        if request.path == "/keys":
            return _answer(request, 200, KeySet(self.keys).as_dict(private=False))  # type: ignore[arg-type]
        good = request.path == "/people" and request.headers.get("Authorization") == "Bearer access"
        return _answer(request, 200 if good else 401, self.says.people if good else {})

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        length = int(request.headers["Content-Length"])
        sent = {name: values[0] for name, values in parse_qs(request.rfile.read(length).decode()).items()}
        begun = self.begun.pop(sent.get("code", ""), None)
        if not _is_client(request, sent):
            return _answer(request, 401, {"error": "invalid_client"})
        if begun is None or _challenge(sent["code_verifier"]) != begun["code_challenge"]:
            return _answer(request, 400, {"error": "invalid_grant"})
        if sent["redirect_uri"] != begun["redirect_uri"]:
            return _answer(request, 400, {"error": "invalid_grant"})
        token = {"access_token": "access", "token_type": "Bearer", "id_token": self._token(begun)}
        return _answer(request, 200, token)

    def _token(self, begun: dict[str, str]) -> str:
        says = self.says
        claims = {
            "iss": self.issuer,
            "sub": "1001",
            "aud": CLIENT,
            "iat": self.now,
            "exp": self.now + 300,
            "nonce": begun["nonce"],
            **says.claims,
            **says.over,
        }
        key = says.signs_with or self.keys[0]
        told = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": key.kid, **says.header}, told, key, ["RS256", "HS256"])


@cache
def key_of(name: str, whose: str = "the provider") -> RSAKey:
    """One takes a while to find, so each is found once. Two of a name may be of two owners."""
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"}, private=True)


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _is_client(request: BaseHTTPRequestHandler, sent: dict[str, str]) -> bool:
    """By HTTP's own way, by the form, or a public one."""
    shown = request.headers.get("Authorization", "")
    if shown:
        return base64.b64decode(shown.removeprefix("Basic ")).decode() == f"{CLIENT}:{SECRET}"
    return sent.get("client_id") == CLIENT and sent.get("client_secret") in (SECRET, None)


def _answer(request: BaseHTTPRequestHandler, status: int, body: object) -> None:
    text = json.dumps(body).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(text)))
    request.end_headers()
    request.wfile.write(text)
