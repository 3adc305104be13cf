"""How much of the audit log is kept. Pure.

What was refused anybody can cause, and what somebody does about nobody else anybody who may come in can repeat for as
long as they like. So both are counted apart, the latter for each person, too: neither pushes out what matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from controller.core.people import AuditEntry

OWN_ACTIONS = ("login", "logout", "password change", "session end", "token create", "token remove")
OWN_TOKEN = "token/"  # how the subject begins where it is one's own; that of somebody else's begins with its owner


@dataclass(frozen=True, slots=True)
class Kept:
    """So much: entries of each kind, the newest, and none that is older than `longest`. Looked after at every
    `look_every`-th entry."""

    longest: timedelta = timedelta(days=366)
    done: int = 100_000
    own: int = 20_000
    own_of_one: int = 1_000  # of each person, of the above: three a day for a year
    refused: int = 20_000
    look_every: int = 500


KEPT = Kept()


def is_own(entry: AuditEntry) -> bool:
    """Whether somebody did it about nobody else."""
    subject = entry.subject == f"user/{entry.name}" or entry.subject.startswith(OWN_TOKEN)
    return not entry.refused and entry.action in OWN_ACTIONS and subject
