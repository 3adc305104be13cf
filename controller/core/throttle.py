"""How long somebody waits after logins that failed. Pure; times are seconds by any clock that only goes forward.

Failures are counted three ways, and a login waits for the longest:

- of a name from one address: who guesses at one person from one place;
- of an address, whatever the name: who tries one password on many people;
- of a name, whatever the address: who guesses at one person from many places.

Only the first holds for an address from which that person has a session: else whoever wants to keep somebody out
would only have to fail in that name, from anywhere. The third stays short, as it hits the person, too, who is in a new
place: at 30 s for each guess, a password of twelve characters is safe for longer than anybody guesses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace

FORGOTTEN_S = 3600.0
MOST = 10_000  # keys of each kind; whoever fails from more places than that pushes out the oldest


@dataclass(frozen=True, slots=True)
class Rule:
    """After `free` failures each next one doubles the wait, from 1 s to `longest_s`."""

    free: int
    longest_s: float

    def wait_s(self, failures: int) -> float:
        """After so many failures, from the last one on."""
        over = failures - self.free
        return 0.0 if over < 0 else min(self.longest_s, 2.0 ** min(over, 30))


PAIR, ADDRESS, NAME = Rule(5, 300.0), Rule(20, 300.0), Rule(20, 30.0)


@dataclass(frozen=True, slots=True)
class _Failed:
    times: int
    last: float


class Failures:
    """Those of one kind. Bounded."""

    def __init__(self, rule: Rule, most: int = MOST) -> None:
        self._rule, self._most = rule, most
        self._known: OrderedDict[Hashable, _Failed] = OrderedDict()

    def left_s(self, key: Hashable, now: float) -> float:
        """How long that one still has to wait; 0 where it need not."""
        known = self._known.get(key)
        if known is None or not 0.0 <= now - known.last <= FORGOTTEN_S:  # before it: the clock was set back
            return 0.0
        return max(0.0, known.last + self._rule.wait_s(known.times) - now)

    def add(self, key: Hashable, now: float) -> None:
        """One more."""
        known = self._known.pop(key, None)
        if known is None or now - known.last > FORGOTTEN_S:
            known = _Failed(0, now)
        self._known[key] = replace(known, times=known.times + 1, last=now)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """A login succeeded."""
        self._known.pop(key, None)

    def __len__(self) -> int:
        return len(self._known)


class Throttle:
    """All three kinds."""

    def __init__(self) -> None:
        self._pairs, self._addresses, self._names = Failures(PAIR), Failures(ADDRESS), Failures(NAME)

    def left_s(self, name: str, address: str, now: float, *, at_home: bool = False) -> float:
        """How long a login must wait. `at_home`: that person has a session from that address."""
        pair = self._pairs.left_s((name, address), now)
        if at_home:
            return pair
        return max(pair, self._addresses.left_s(address, now), self._names.left_s(name, now))

    def failed(self, name: str, address: str, now: float) -> None:
        """A login failed."""
        self._pairs.add((name, address), now)
        self._addresses.add(address, now)
        self._names.add(name, now)

    def succeeded(self, name: str, address: str) -> None:
        """A login succeeded: it was that person, who had mistyped. The address goes on being counted."""
        self._pairs.forget((name, address))
        self._names.forget(name)
