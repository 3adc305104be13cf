"""How many more replicas the GPUs hold, and why not more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from controller.core.model import Gpu, Known
from controller.core.signals import fresh

GIB = 1024**3
_MOST_TOLD = 8  # GPUs that a sentence tells of


def room(gpus: Iterable[Gpu], needed_bytes: int, starting: int, now: datetime, max_age: timedelta) -> int | None:
    """Replicas that still fit, each on one GPU; None where none is needed or nothing is known of any GPU.

    A replica that starts has not taken its memory yet. It is counted as if it had not begun to: as promised where it
    is known on which GPU it starts; `starting` are the others.
    """
    known = [gpu for gpu in gpus if fresh(gpu.free_bytes, now, max_age).known is not Known.UNKNOWN]
    if not needed_bytes or not known:
        return None
    return max(sum(holds(gpu, needed_bytes) for gpu in known) - starting, 0)


def holds(gpu: Gpu, needed_bytes: int) -> int:
    """Replicas that still fit on this one, whose free memory is known."""
    return 0 if gpu.barred else max(int((gpu.free_bytes.value - gpu.promised_bytes) // needed_bytes), 0)


def short(uuid: str) -> str:
    """As people are told of a GPU: the first eight digits tell them apart."""
    return uuid[:12] if uuid.startswith("GPU-") else uuid[:8]


def no_room(needed_bytes: int, gpus: Sequence[Gpu] = ()) -> str:
    """The sentence for a pool that cannot grow: why each GPU takes none."""
    text = f"cannot scale: no GPU with {gib(needed_bytes)} free"
    told = [_why_not(gpu) for gpu in gpus if gpu.barred or holds(gpu, needed_bytes) == 0][:_MOST_TOLD]
    more = f"; and {len(gpus) - len(told)} more" if len(gpus) > _MOST_TOLD else ""
    return f"{text} ({'; '.join(told)}{more})" if told else text


def _why_not(gpu: Gpu) -> str:
    name = f"{short(gpu.uuid)} of {gpu.node}"
    if gpu.barred:
        return f"{name} {gpu.barred}"
    if gpu.free_bytes.known is Known.UNKNOWN:
        return f"the free memory of {name} is not known"
    promised = f", of which {gib(gpu.promised_bytes)} are promised" if gpu.promised_bytes else ""
    return f"{name} has {gib(gpu.free_bytes.value)}{promised}"


def gib(count: float) -> str:
    """Bytes as people write them."""
    return f"{count / GIB:.4g} GiB"
