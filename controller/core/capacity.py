"""How many more replicas the GPUs hold."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from controller.core.model import Gpu, Known
from controller.core.signals import fresh

GIB = 1024**3


def room(gpus: Iterable[Gpu], needed_bytes: int, starting: int, now: datetime, max_age: timedelta) -> int | None:
    """Replicas that still fit, each on one GPU; None where none is needed or nothing is known of any GPU.

    A replica that starts has not taken its memory yet: it is counted as if it had not begun to.
    """
    known = [reading for gpu in gpus if (reading := fresh(gpu.free_bytes, now, max_age)).known is not Known.UNKNOWN]
    if not needed_bytes or not known:
        return None
    return max(sum(int(reading.value // needed_bytes) for reading in known) - starting, 0)
