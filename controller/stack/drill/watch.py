"""Looks at the controller ten times a second while a drill runs, and asks it for its events at the end."""

from __future__ import annotations

import http.client
import json
import threading
import time
from types import TracebackType
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from controller.settings import Settings
from controller.stack.drill.facts import Look, Seen
from controller.stack.pinned import connection

_EVERY_S = 0.1
_POOLS_EVERY = 10  # looks
_ANSWER_S = 2.0
_EVENTS = 1000
_RETRIES = "stoker_edge_retries_total"

Row = dict[str, Any]
_UNREADABLE = (OSError, http.client.HTTPException, ValueError, LookupError, TypeError)


class Api:
    """The controller's API and the edge exporter, on connections that are kept. For one thread only."""

    def __init__(self, settings: Settings, token: str) -> None:
        self._headers = {"Authorization": f"Bearer {token}"}
        host = settings.controller.monitoring_reach.strip("[]")
        self._controller = connection(settings, _ANSWER_S)
        self._edge = http.client.HTTPConnection(host, settings.ports.edge, timeout=_ANSWER_S)

    def rows(self, path: str) -> list[Row] | None:
        """An answer that is a list; None where there is none now."""
        try:
            found = json.loads(_get(self._controller, f"/api/v1/{path}", self._headers))
        except _UNREADABLE:
            return None
        return found if isinstance(found, list) else None

    def events(self) -> list[Row]:
        """The newest events, oldest first; none where it does not answer."""
        return list(reversed(self.rows(f"events?limit={_EVENTS}") or []))

    def retries(self, pool: str) -> int | None:
        """Replicas that nginx has tried in vain for this pool so far; None where the exporter does not say."""
        try:
            return retries_in(_get(self._edge, "/metrics", {}).decode(), pool)
        except _UNREADABLE:
            return None

    def close(self) -> None:
        """Let go of both connections. Idempotent."""
        self._controller.close()
        self._edge.close()


class Watch:
    """The looks of one pool, while the body of the `with` runs. Times are on the monotonic clock."""

    def __init__(self, settings: Settings, pool: str, token: str) -> None:
        self._settings, self._name, self._token = settings, pool, token
        self._stop = threading.Event()
        self._looks: list[Look] = []
        self._desired: int | None = None
        self._thread = threading.Thread(target=self._follow, name="drill-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def looks(self) -> list[Look]:
        """All so far."""
        return list(self._looks)

    def latest(self) -> Look | None:
        """The newest one."""
        return self._looks[-1] if self._looks else None

    def _follow(self) -> None:
        api, turn = Api(self._settings, self._token), 0
        try:
            while not self._stop.wait(_EVERY_S):
                if turn % _POOLS_EVERY == 0 or self._desired is None:
                    self._desired = desired_in(api.rows("pools"), self._name)
                turn += 1
                at_s = time.monotonic()  # before the question: what the answer shows held then, or later
                rows = api.rows("replicas")
                if rows is not None:
                    self._looks.append(Look(at_s, seen_in(rows, self._name), self._desired))
        finally:
            api.close()


def seen_in(rows: list[Row], pool: str) -> tuple[Seen, ...]:
    """The pool's replicas."""
    return tuple(Seen(row["replica"], row["state"], bool(row["routed"])) for row in rows if row["pool"] == pool)


def desired_in(rows: list[Row] | None, pool: str) -> int | None:
    """How many the pool is to have."""
    return next((int(row["desired"]) for row in rows or () if row["pool"] == pool), None)


def retries_in(text: str, pool: str) -> int:
    """The sum over the pool's replicas in a text of metrics."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return int(sum(one.value for one in samples if one.name == _RETRIES and one.labels.get("pool") == pool))


def _get(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> bytes:
    """The body of a good answer. A kept connection may have been closed meanwhile: then a new one is tried."""
    kept = connection.sock is not None
    try:
        return _ask(connection, path, headers)
    except (OSError, http.client.HTTPException):
        connection.close()
        if not kept:
            raise
    return _ask(connection, path, headers)


def _ask(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> bytes:
    connection.request("GET", path, headers=headers)
    with connection.getresponse() as answer:
        body = answer.read()
        if answer.status != http.client.OK:
            raise ValueError(f"{path} is answered with {answer.status}")
        return body
