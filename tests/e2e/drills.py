"""A drill as a user runs it, and whether it kept what it promises."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.stack import Stack


def drilled(stack: Stack, fault: str) -> dict[str, Any]:
    """What a drill told, with 6 clients. It kept what it promises.

    That of a time is that it came at all: how soon is for `make bench-failover`, as the machine has more to do here.
    """
    ran = stack.stoker("drill", "--fault", fault, "--load", "6", "--json")
    assert ran.returncode in (0, 1), ran.stdout[-6000:] + ran.stderr
    (told,) = json.loads(ran.stdout)["drills"]
    late = [one for one in told["promises"] if not one["kept"]]
    assert [one for one in late if one["measured"] is None or not one["name"].endswith("_s")] == [], ran.stdout[-6000:]
    assert told["promises"]
    assert (told["outcome"], ran.returncode) == (("failed", 1) if late else ("passed", 0))
    return dict(told)
