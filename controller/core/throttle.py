"""How long somebody waits after logins that failed. Pure; times are seconds by any clock that only goes forward.

Failures are counted four ways, and a login waits for the longest:

- of a name from one place: who guesses at one person from one place;
- of a place, whatever the name: who tries one password on many people;
- of a site likewise, where the place is a part of one: who has many places;
- of a name, whatever the place: who guesses at one person from many places.

A place is an IPv4 address, or the 64 first bits of an IPv6 one: below them whoever has one address has all. A site is
the 48 first bits: so much is given to one customer, with 65,536 places in it. Some providers share it out to 256
customers, so a site is let guess as often as three places, and then still once a minute.

A browser in which that person has logged in before shows so, and is counted by itself and by nothing else: else whoever
wants to keep somebody out would only have to fail in that name, from anywhere. The third stays short, as it hits the
person, too, who is at a new browser: at 30 s for each guess, a password of twelve characters is safe for longer than
anybody guesses.

A guess counts as failed from its beginning, so that many at once are no more than one after the other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

FORGOTTEN_S = 3600.0
MOST = 10_000  # keys of each kind; whoever fails from more places than that pushes out the oldest
_PLACE_BITS, _SITE_BITS = 64, 48  # of an IPv6 address


def place_of(address: str) -> str:
    """What is counted as one place; an address that is none is one of its own."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(known, IPv6Address):
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ip_network((known, _PLACE_BITS), strict=False))


def site_of(address: str) -> str:
    """The larger place around it; the place itself, where that is an IPv4 address."""
    place = place_of(address)
    within, _, bits = place.partition("/")
    return str(ip_network((within, _SITE_BITS), strict=False)) if bits else place


@dataclass(frozen=True, slots=True)
class Rule:
    """After `free` failures each next one doubles the wait, from 1 s to `longest_s`."""

    free: int
    longest_s: float

    def wait_s(self, failures: int) -> float:
        """After so many failures, from the last one on."""
        over = failures - self.free
        return 0.0 if over < 0 else min(self.longest_s, 2.0 ** min(over, 30))


PAIR, PLACE, SITE, NAME = Rule(5, 300.0), Rule(20, 300.0), Rule(60, 60.0), Rule(20, 30.0)


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

    def add(self, key: Hashable, now: float) -> float:
        """One more. When the one before it was, for `take_back`."""
        known = self._known.pop(key, None)
        if known is None or now - known.last > FORGOTTEN_S:
            known = _Failed(0, now)
        self._known[key] = _Failed(known.times + 1, now)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return known.last

    def take_back(self, key: Hashable, at: float, before: float) -> None:
        """The one of that time did not fail after all; `before` is what `add` gave for it."""
        known = self._known.get(key)
        if known is None:
            return
        if known.times <= 1:
            del self._known[key]
        else:
            self._known[key] = _Failed(known.times - 1, before if known.last == at else known.last)

    def forget(self, key: Hashable) -> None:
        """A login succeeded."""
        self._known.pop(key, None)

    def __len__(self) -> int:
        return len(self._known)


@dataclass(frozen=True, slots=True)
class Who:
    """Who tries to log in: the name that is given, the address, and the mark of a browser where that person has logged
    in before; empty for any other."""

    name: str
    address: str
    browser: str = ""


@dataclass(frozen=True, slots=True)
class Guess:
    """One that has begun, and when those before it were, of each kind that it counts for."""

    who: Who
    at: float
    before: tuple[float, ...]


class Throttle:
    """All four kinds."""

    def __init__(self) -> None:
        self._pairs, self._places, self._names = Failures(PAIR), Failures(PLACE), Failures(NAME)
        self._sites = Failures(SITE)

    def begin(self, who: Who, now: float) -> tuple[float, Guess | None]:
        """How long the login must wait, or, where that is 0, the guess, which counts as failed for now."""
        counted = self._counted(who)
        left = max(kind.left_s(key, now) for kind, key in counted)
        if left > 0:
            return left, None
        return 0.0, Guess(who, now, tuple(kind.add(key, now) for kind, key in counted))

    def withdraw(self, guess: Guess) -> None:
        """It was never looked at: nobody learnt anything by it."""
        for (kind, key), before in zip(self._counted(guess.who), guess.before, strict=True):
            kind.take_back(key, guess.at, before)

    def succeeded(self, guess: Guess) -> None:
        """It was that person, who may have mistyped before. Others of the place go on being counted."""
        for (kind, key), before in zip(self._counted(guess.who), guess.before, strict=True):
            if kind in (self._places, self._sites):
                kind.take_back(key, guess.at, before)
            else:
                kind.forget(key)

    def _counted(self, who: Who) -> list[tuple[Failures, Hashable]]:
        if who.browser:
            return [(self._pairs, (who.name, "browser", who.browser))]
        place, site = place_of(who.address), site_of(who.address)
        wider: list[tuple[Failures, Hashable]] = [] if site == place else [(self._sites, site)]
        return [(self._pairs, (who.name, place)), (self._places, place), *wider, (self._names, who.name)]
