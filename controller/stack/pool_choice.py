"""Which pool a command is for, where there may be several."""

from __future__ import annotations

from controller.settings import PoolSettings, Settings
from controller.stack.trouble import Trouble


def choose_pool(settings: Settings, name: str | None) -> PoolSettings:
    """The pool of that name, or the only one. Raises `Trouble` where there is none, or several and no name."""
    names = ", ".join(pool.name for pool in settings.pools)
    if name is None and len(settings.pools) > 1:
        raise Trouble(f"the stack has several pools; choose one with --pool: {names}")
    found = next((pool for pool in settings.pools if name in (None, pool.name)), None)
    if found is None:
        raise Trouble(f"the stack has no pool {name!r}; it has {names}")
    return found
