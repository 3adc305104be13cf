"""Tells the controller of drills: their beginning, what they do, and what came of them.

A drill goes on whether or not it is listened to: the controller may be what it hurts. Only the end is told again and
again, to the controller that comes after that one, too.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from controller.adapters.process import born
from controller.installation import Layout, replace_text
from controller.settings import Settings
from controller.stack import api_client
from controller.stack.api_client import Refused
from controller.stack.drill.facts import Fault
from controller.stack.drill.options import DrillOptions
from controller.stack.drill.pid_file import Runs
from controller.stack.drill.result import Drill, Outcome
from controller.stack.progress import Report
from controller.stack.single import undisturbed
from controller.stack.trouble import Trouble

_PATIENCE_S, _STANDBY_S, _PAUSE_S = 60.0, 15.0, 1.0
_MOST_TROUBLES, _LONGEST = 200, 2000
_STATES = {Outcome.PASSED: "passed", Outcome.FAILED: "failed"}
_CONFLICT, _INVALID, _FAULT_OF_OURS = 409, 422, 500


class Teller:
    """One for each call of `stoker drill`. `asked`: the controller began it, and knows it by its id already."""

    def __init__(self, settings: Settings, layout: Layout, options: DrillOptions, pool: str) -> None:
        self._settings, self._layout, self._options, self.pool = settings, layout, options, pool
        self.asked = options.drill_id
        self._token = ""
        with suppress(OSError):  # the state directory's own, which may tell; without it nobody is told
            self._token = layout.api_token.read_text(encoding="ascii").strip()

    @contextmanager
    def told(self, fault: Fault) -> Iterator[Telling]:
        """In the body is one drill. However it ends, that is told, if its beginning was."""
        telling = Telling(self, self.asked or secrets.token_hex(4), fault)
        try:
            yield telling
        finally:
            error = sys.exception()
            with undisturbed():
                telling.failed(str(error) if isinstance(error, Trouble) else "it was interrupted")
            telling.close()

    def begun(self, name: str) -> None:
        """Others find this process by the id from now on."""
        runs = Runs(name, os.getpid(), born(os.getpid()), asked=bool(self.asked))
        with suppress(OSError):
            replace_text(self._layout.root / "drill.json", runs.dump())

    def killed(self, name: str, told: str) -> None:
        """Tell of another one whose process was killed, where nobody has yet. One try."""
        path = f"/api/v1/drills/{name}"
        with suppress(Trouble):
            known = api_client.ask(self._settings, path, None, self._token) if name and self._token else {}
            if known.get("state") == "running":
                told = told[:_LONGEST]
                self.put(name, {"fault": known["fault"], "pool": known["pool"], "state": "ended", "told": told})

    def put(self, name: str, body: dict[str, Any]) -> None:
        """Tell it once. Raises `Trouble`."""
        if self._token:
            body = {"pool": self.pool, "why": self._options.why, **body}
            api_client.ask(self._settings, f"/api/v1/drills/{name}", body, self._token, method="PUT")

    def put_at_last(self, name: str, body: dict[str, Any]) -> bool:
        """Tell it, again and again for about a minute where the controller gives no answer; whether it was taken."""
        began_s = time.monotonic()
        while True:
            patience_s = _PATIENCE_S
            try:
                self.put(name, body)
            except Refused as error:
                if error.status == _INVALID and body.pop("result", None) is not None:
                    continue  # it is of another version: the end counts more than all that led to it
                if error.status < _FAULT_OF_OURS and error.status != _CONFLICT:
                    return False
                patience_s = _STANDBY_S if error.status == _CONFLICT else _PATIENCE_S
            except Trouble:
                pass
            else:
                return True
            gone = not self._layout.installation.exists()  # `stoker down` came
            if gone or time.monotonic() - began_s > patience_s:
                return False
            threading.Event().wait(_PAUSE_S)


class Telling:
    """One drill. Lines are told from a thread of its own, so that nothing is measured later for that."""

    def __init__(self, teller: Teller, name: str, fault: Fault) -> None:
        self._teller, self.name, self._fault = teller, name, fault
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="drill-telling")
        self._begun = bool(teller.asked)
        self._over = False

    def begin(self) -> None:
        """Nothing stands in its way any more."""
        self._begun = True
        self._teller.begun(self.name)
        self.say("it begins")

    def say(self, text: str) -> None:
        """What it does now. Does not block."""
        with suppress(RuntimeError):
            self._thread.submit(self._once, text)

    def saying(self, report: Report) -> Report:
        """As `report`, and told here, too."""

        def both(text: str) -> None:
            report(text)
            self.say(text)

        return both

    def end(self, drill: Drill) -> Drill:
        """What came of it. Blocks for about a minute where the controller gives no answer."""
        state = _STATES.get(drill.outcome, "ended")
        figures = drill.measured.as_dict() if drill.measured is not None else {}
        victims = list(drill.recording.victims) if drill.recording is not None else []
        self._end(
            {
                "state": state,
                "told": drill.why[:_LONGEST],
                "figures": figures,
                "victims": victims,
                "result": _short(drill.as_dict()),
            }
        )
        return drill

    def failed(self, why: str) -> None:
        """It ended without a verdict, unless it has one."""
        self._end({"state": "ended", "told": why[:_LONGEST]})

    def close(self) -> None:
        """No more lines. Idempotent."""
        self._thread.shutdown(cancel_futures=True)

    def _once(self, text: str) -> None:
        with suppress(Trouble):
            self._teller.put(self.name, {"fault": self._fault.value, "line": text[:300]})

    def _end(self, body: dict[str, Any]) -> None:
        if not self._begun or self._over:
            return
        self._over = True
        self._thread.shutdown()  # its lines first
        self._teller.put_at_last(self.name, {"fault": self._fault.value, **body})


def _short(result: dict[str, Any]) -> dict[str, Any]:
    """With the first requests that did not end well, and how many more there were: there may be thousands."""
    troubles = result.get("troubles") or []
    if len(troubles) <= _MOST_TROUBLES:
        return result
    return {**result, "troubles": troubles[:_MOST_TROUBLES], "troubles_left_out": len(troubles) - _MOST_TROUBLES}
