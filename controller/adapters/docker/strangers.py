"""Which containers with our labels are no replicas: `docker commit` copies labels, `docker rename` leaves them.

Replicas are started, ended and removed by name, so one that has another name than its labels say cannot be acted on:
it would be the genuine one that is killed in its place.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controller.adapters.docker.listing import ENGINE_PORT, LAUNCHER_PORT, REPLICA

_PORT = re.compile(r"\d{1,5}", re.ASCII)


def name_of(instance: str, replica: str) -> str:
    """What a replica's container is called."""
    return f"stoker-{instance}-{replica}"


def to_log(sentence: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"docker: {sentence}\n")


class Strangers:
    """Tells of each once, for as long as it is there. One list at a time."""

    def __init__(self, instance: str, say: Callable[[str], None] = to_log) -> None:
        self._instance, self._say = instance, say
        self._told: frozenset[str] = frozenset()

    def leave_out(self, items: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those elements of the engine's list that are replicas."""
        kept, strange = [], {}
        for item in items:
            why = self._why(item)
            if why is None:
                kept.append(item)
            else:
                strange[item["Id"]] = why
        for container, why in strange.items():
            if why and container not in self._told:
                self._say(f"{why}; it is left alone. Remove it if nobody needs it")
        self._told = frozenset(strange)
        return kept

    def _why(self, item: Mapping[str, Any]) -> str | None:
        """What is wrong with it; None: nothing, "": nothing that is to be told."""
        names = [str(name).removeprefix("/") for name in item["Names"] or ()]
        labels = item["Labels"]
        if not names:
            return ""  # it is just being removed
        wanted = name_of(self._instance, labels.get(REPLICA, ""))
        if wanted not in names:
            return f"the container {names[0]!r} has our labels but is not called {wanted!r}"
        ports = [labels[label] for label in (ENGINE_PORT, LAUNCHER_PORT) if label in labels]
        if not all(_PORT.fullmatch(port) and 0 < int(port) < 65536 for port in ports):
            return f"the container {names[0]!r} has a port in its labels that is none: {ports!r}"
        return None
