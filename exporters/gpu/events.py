"""XIDs, the driver's numbers for what went wrong, as they happen: by NVML's events."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from exporters.gpu import nvml
from exporters.gpu.facts import Identity

_WAIT_MS = 1000
_AGAIN_S = 5.0
_NEVER = frozenset(("not_supported", "function_not_found"))


class Watcher:
    """A thread that waits for the XIDs of one GPU. A thread for each, since one that is lost ends the wait for all."""

    def __init__(
        self,
        index: int,
        driver: str,
        on_xid: Callable[[Identity, int], None],
        on_fault: Callable[[Identity, str], None],
    ) -> None:
        self._index, self._driver = index, driver
        self._on_xid, self._on_fault = on_xid, on_fault
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"xid-{index}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """It ends within about a second, unless a call hangs. Does not block."""
        self._stop.set()

    @property
    def ended(self) -> bool:
        """Whether it is in no call any more."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        told = ""
        while not self._stop.is_set():
            identity = Identity(self._index)
            try:
                handle, identity = nvml.identify(self._index, self._driver)
                self._follow(nvml.XidEvents(handle), identity)
            except nvml.NvmlFault as fault:
                if fault.name in _NEVER:
                    return
                if identity.uuid and fault.name != told:
                    self._on_fault(identity, fault.name)
                told = fault.name
                self._stop.wait(_AGAIN_S)

    def _follow(self, events: nvml.XidEvents, identity: Identity) -> None:
        try:
            while not self._stop.is_set():
                code = events.wait(_WAIT_MS)
                if code is not None:
                    self._on_xid(identity, code)
        finally:
            with contextlib.suppress(nvml.NvmlFault):
                events.close()
