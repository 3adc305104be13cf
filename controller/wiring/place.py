"""Where a controller works."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from controller.installation import Installation, Layout
from controller.settings import Settings, load
from controller.stack.standby import holder


@dataclass(frozen=True, slots=True)
class Place:
    """Where this controller works, and the port of its API."""

    layout: Layout
    port: int

    @property
    def name(self) -> str:
        """What others call it while it leads."""
        return holder(self.layout, self.port)

    def read(self) -> tuple[Settings, Installation]:
        """The configuration in force and what was found out for it.

        Raises:
            ConfigError: it is refused.
            FileNotFoundError: nothing is installed here.
        """
        return load(self.layout.config), Installation.load(self.layout)


def complain(sentence: str) -> None:
    """A line in the log of the supervisor, or on the terminal."""
    sys.stderr.write(f"controller: {sentence}\n")
