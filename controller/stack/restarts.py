"""Tells a program that died once from one that cannot live."""

from __future__ import annotations

from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble

_PATIENCE = 3


class Restarts:
    """Counts, while somebody waits, how often each program was started."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._pids: dict[str, set[int]] = {}

    def look(self) -> None:
        """Count anew. Blocks for a moment.

        Raises:
            Trouble: one was started for the fourth time; the last line of its log is in the text. Or nothing runs.
        """
        states = self._supervisor.states()
        if not states and not self._supervisor.running():
            raise Trouble("the process supervisor is gone: somebody stopped everything meanwhile")
        for program in states:
            seen = self._pids.setdefault(program.name, set())
            if program.pid:  # 0: it does not run just now
                seen.add(program.pid)
            if len(seen) > _PATIENCE:
                raise Trouble(f"{program.name} ends again and again: {self._supervisor.last_words(program.name)}")
