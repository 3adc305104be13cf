"""What `stoker keys` asks of the controller, and what it says of the answer."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from controller.stack.api_client import Client, Row
from controller.stack.trouble import Trouble

LISTED = 1000
_KEYS = "/api/v1/keys"
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. Its text is shown once."""

    row: Row
    url: str  # of the gateway

    def as_json(self) -> Row:
        """For `--json`: the API's own object."""
        return self.row

    def print(self) -> None:
        """The key alone on standard output, for a script; the rest on standard error."""
        print(self.row["key"], flush=True)
        of = f"{self.row['id']} ({self.row['name']})"
        lines = [
            f"{of} is shown this once; keep it where only its user sees it. To use it:",
            f"    export OPENAI_BASE_URL={self.url} OPENAI_API_KEY=sk-stoker-...",
        ]
        if "replaces" in self.row:
            lines.append(f"The old one, {self.row['replaces']}, ends {minute(self.row['replaced_expires_at'])}.")
        sys.stderr.write("".join(f"{line}\n" for line in lines))


@dataclass(frozen=True, slots=True)
class Revoked:
    """A key that is good for nothing any more."""

    row: Row

    def as_json(self) -> Row:
        """For `--json`: the API's own object."""
        return self.row

    def print(self) -> None:
        """One sentence."""
        print(f"{self.row['id']} ({self.row['name']}) is revoked; nginx refuses it within seconds.")


def minute(at: str) -> str:
    """A time of the API, for people."""
    return f"{at[:16].replace('T', ' ')} UTC"


def seconds(option: str, text: str) -> float:
    """`30d`, `12h`, `90m`, `45s`. Raises `Trouble`."""
    match = _SPAN.fullmatch(text)
    found = float(match[1]) * _SECONDS[match[2]] if match else None
    if found is None:
        raise Trouble(f"{option}: {text!r} is no time; write a number with its unit, one of s, m, h, d, such as 30d")
    if found > _LONGEST_DAYS * _SECONDS["d"]:
        raise Trouble(f"{option}: {text!r} is longer than a hundred years; leave it out for no end at all")
    return found


class KeysClient:
    """The routes of the keys. Every method blocks for a few seconds at most, and raises `Trouble`."""

    def __init__(self, state_dir: Path) -> None:
        self._api = Client.of(state_dir)

    def create(self, wanted: dict[str, Any]) -> NewKey:
        """Make one."""
        return NewKey(self._api.ask(_KEYS, wanted), self._gateway())

    def newest(self) -> list[Row]:
        """The newest `LISTED`, newest first."""
        found: list[Row] = self._api.ask(f"{_KEYS}?limit={LISTED}")
        return found

    def revoke(self, name: str, why: str = "") -> Revoked:
        """By id or name."""
        return Revoked(self._api.ask(f"{_KEYS}/{self._one(name)}/revoke", {"why": why}))

    def rotate(self, name: str, grace_s: float, why: str = "") -> NewKey:
        """By id or name."""
        wanted = {"grace_s": grace_s, "why": why}
        return NewKey(self._api.ask(f"{_KEYS}/{self._one(name)}/rotate", wanted), self._gateway())

    def _one(self, name: str) -> str:
        """The id of the one key that is meant: of several with a name the one that can be used."""
        rows: list[Row] = self._api.ask(f"{_KEYS}?{urlencode({'key': name})}")
        if not rows:
            raise Trouble(f"there is no key {name}; `stoker keys list` shows what there is")
        usable = [row for row in rows if row["state"] in ("usable", "blocked")]
        living = [row for row in usable if row["replaced_by"] is None] or usable
        found = rows if len(rows) == 1 else living
        if not found:
            raise Trouble(f"every key {name} is revoked or has expired; `stoker keys list` shows them")
        if len(found) > 1:
            names = " or ".join(row["id"] for row in found)
            raise Trouble(f"{name} is the name of several keys; write {names}")
        return quote(found[0]["id"], safe="")

    def _gateway(self) -> str:
        gateway = self._api.settings.gateway
        host = "127.0.0.1" if gateway.host in ("0.0.0.0", "::") else gateway.host  # noqa: S104 - no one listens
        scheme = "http" if gateway.tls is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._api.settings.ports.gateway}/v1"
