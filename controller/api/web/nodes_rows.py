"""Nodes and GPUs as their pages show them: equal facts give equal rows. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.api.deps import Seen
from controller.api.gpus import Gauges, GpuOut, gpus_of
from controller.api.placement import PlacementOut, has_no_place, placement_of
from controller.api.schemas import NodeOut
from controller.api.views import nodes_of
from controller.api.web.overview import ACT, BUSY, CALM, level_of
from controller.core.capacity import short
from controller.core.model import NodeName, OrderKind, ReplicaMemory, ReplicaState
from controller.core.orders import GPU, REPLICA
from controller.core.policy import PoolPolicy
from controller.core.reason import ReasonCode
from controller.core.xids import Verdict

PAUSED, UNKNOWN = "paused", "unknown"
_NEVER_CUT = 12  # letters of a replica's name: so many fit into the narrowest cell
_CORDONS = {  # what it was cordoned for: how bad that is, and the word for it
    ReasonCode.GPU_LOST.value: (ACT, "gpu_lost"),
    ReasonCode.GPU_FAULT.value: (ACT, "gpu_fault"),
    ReasonCode.GPU_HOT.value: (BUSY, "gpu_hot"),
}


@dataclass(frozen=True, slots=True)
class OnIt:
    """A replica on a node or a GPU. `order`: what somebody wants of it."""

    known: ReplicaMemory
    level: str
    order: str = ""

    @property
    def name(self) -> str:
        """Its own."""
        return self.known.replica

    @property
    def stem(self) -> str:
        """How the name begins, which may be cut off where there is no room."""
        return self.name.removesuffix(self.tail)

    @property
    def tail(self) -> str:
        """The number, which tells it from its like, and before it the last word of the pool's name, which tells the
        pool from others of the same model; of a long one its end."""
        _, *words = self.name.split("-")
        return "".join(f"-{word}" for word in words[-2:])[-_NEVER_CUT:]


@dataclass(frozen=True, slots=True)
class GpuCell:
    """One GPU. `used` and `promised` are shares of its memory; None: nobody tells. No `word`: all is well."""

    gpu: GpuOut
    name: str
    level: str
    word: str
    replicas: tuple[OnIt, ...]
    total: int | None
    used: float | None
    promised: float
    watched: tuple[int, ...]  # XIDs that a person should know of


@dataclass(frozen=True, slots=True)
class NodeCard:
    """One node: its GPUs, and the replicas that were given none."""

    node: NodeOut
    level: str
    word: str
    gpus: tuple[GpuCell, ...]
    others: tuple[OnIt, ...]

    @property
    def takes(self) -> bool:
        """Whether something may start on it."""
        return self.node.answering and not self.node.cordoned

    @property
    def replicas(self) -> tuple[OnIt, ...]:
        """All on it, by name."""
        found = [*self.others, *(one for gpu in self.gpus for one in gpu.replicas)]
        return tuple(sorted(found, key=lambda one: (one.known.pool, len(one.name), one.name)))

    @property
    def words(self) -> str:
        """What it is found by, beside the words of its state."""
        gpus = (word for cell in self.gpus for word in (cell.gpu.uuid, cell.gpu.model or ""))
        return " ".join(dict.fromkeys((self.node.node, *gpus, *(one.name for one in self.replicas))))


@dataclass(frozen=True, slots=True)
class Lack:
    """Why some places take nothing: how many of each cause. `text` is that of one of them."""

    code: str
    count: int
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Pools of which something found no place, all for the same causes. `told`: what the tick said of the first."""

    pools: tuple[str, ...]
    needed_bytes: int
    lacks: tuple[Lack, ...]
    told: str


def cards_of(seen: Seen | None, nodes: Sequence[NodeName], gauges: Gauges) -> list[NodeCard]:
    """Every node, by name, as it is configured."""
    on = _replicas(seen)
    cells: dict[str, list[GpuCell]] = defaultdict(list)
    for gpu in gpus_of(seen, gauges):
        cells[gpu.node].append(_cell(gpu, on.pop(gpu.uuid, ()), _ordered(seen, gpu.uuid)))
    others: dict[str, list[OnIt]] = defaultdict(list)
    for one in (one for rest in on.values() for one in rest):  # on no GPU, or on one that nobody tells of
        others[one.known.node].append(one)
    return [_card(node, cells[node.node], others[node.node]) for node in nodes_of(seen, nodes)]


def refused_of(seen: Seen | None, policies: Iterable[PoolPolicy]) -> list[Refused]:
    """The pools of which a replica found no place in the last tick, and what spoke against all places."""
    if seen is None:
        return []
    alike: dict[tuple[int, tuple[Lack, ...]], list[PlacementOut]] = defaultdict(list)
    for placement in (placement_of(seen, policy) for policy in policies if has_no_place(seen, policy.pool)):
        alike[placement.needed_bytes, _lacks(placement)].append(placement)
    return [
        Refused(tuple(one.pool for one in same), needed, lacks, same[0].reasons[0].text)
        for (needed, lacks), same in alike.items()
    ]


def _lacks(placement: PlacementOut) -> tuple[Lack, ...]:
    counts = Counter(place.lacks for place in placement.places)
    texts = {place.lacks: place.text for place in reversed(placement.places)}
    return tuple(Lack(code, count, texts[code]) for code, count in counts.most_common() if code)


def _replicas(seen: Seen | None) -> dict[str, tuple[OnIt, ...]]:
    """Those that are there, by the GPU that they were given."""
    found: dict[str, list[OnIt]] = defaultdict(list)
    wanted = {order.subject: order.kind.value for order in seen.snapshot.orders} if seen else {}
    for known in seen.plan.memory.replicas.values() if seen else ():
        if known.state is not ReplicaState.STOPPED:
            level, order = level_of(known.state), wanted.get(f"{REPLICA}{known.replica}", "")
            found[known.gpu].append(OnIt(known, level, order))
    return {gpu: tuple(sorted(there, key=lambda one: (len(one.name), one.name))) for gpu, there in found.items()}


def _ordered(seen: Seen | None, uuid: str) -> str:
    """What somebody wants of the GPU; a drain is a cordon, too."""
    kinds = {order.kind for order in seen.snapshot.orders if order.subject == f"{GPU}{uuid}"} if seen else set()
    return OrderKind.DRAIN.value if OrderKind.DRAIN in kinds else OrderKind.CORDON.value


def _cell(gpu: GpuOut, replicas: tuple[OnIt, ...], order: str) -> GpuCell:
    used, free, total = gpu.memory_used_bytes, gpu.memory_free_bytes, gpu.memory_total_bytes
    if total is None and used is not None and free is not None:
        total = used + free
    level, word = _state(gpu, order)
    return GpuCell(
        gpu=gpu,
        name=short(gpu.uuid) if gpu.index is None else f"GPU {gpu.index}",
        level=level,
        word=word,
        replicas=replicas,
        total=total,
        used=used / total if used is not None and total else None,
        promised=gpu.memory_promised_bytes / total if total else 0.0,
        watched=tuple(xid.code for xid in gpu.xids if xid.verdict == Verdict.WATCH),
    )


def _state(gpu: GpuOut, order: str) -> tuple[str, str]:
    if gpu.cordon is not None:
        ordered = (PAUSED, "gpu_draining" if order == OrderKind.DRAIN.value else "gpu_cordoned")
        return _CORDONS.get(gpu.cordon.reason, ordered)
    if gpu.memory_free_bytes is None and gpu.memory_used_bytes is None:
        return UNKNOWN, "gpu_untold"
    return CALM, ""


def states_of(seen: Seen | None) -> dict[str, tuple[str, str]]:
    """Of each GPU that takes nothing new, by UUID: how bad that is, and the word that its node's page has for it."""
    return {gpu.uuid: _state(gpu, _ordered(seen, gpu.uuid)) for gpu in gpus_of(seen) if gpu.cordon is not None}


def _card(node: NodeOut, gpus: Sequence[GpuCell], others: Sequence[OnIt]) -> NodeCard:
    level, word = CALM, "answers"
    if not node.answering:
        level, word = (ACT, "silent") if node.silent_since else (UNKNOWN, "not_seen")
    elif node.order == OrderKind.DRAIN.value:
        level, word = (BUSY, "draining") if node.replicas else (PAUSED, "drained")
    elif node.cordoned:
        level, word = PAUSED, "cordoned"
    return NodeCard(node, level, word, tuple(gpus), tuple(others))


@dataclass(frozen=True, slots=True)
class Totals:
    """Of all nodes. `used` is the share of the memory of those GPUs that tell of it."""

    nodes: int
    silent: int
    gpus: int
    taking: int
    untold: int
    used: float | None
    trouble: tuple[tuple[NodeCard, GpuCell | None], ...]  # a person must act


def totals_of(cards: Sequence[NodeCard]) -> Totals:
    """What is said on top."""
    cells = [cell for card in cards for cell in card.gpus]
    known = [cell for cell in cells if cell.used is not None and cell.total]
    total = sum(cell.total or 0 for cell in known)
    trouble: list[tuple[NodeCard, GpuCell | None]] = [(card, None) for card in cards if card.level == ACT]
    trouble += [(card, cell) for card in cards for cell in card.gpus if cell.level == ACT]
    return Totals(
        nodes=len(cards),
        silent=sum(1 for card in cards if not card.node.answering),
        gpus=len(cells),
        taking=sum(1 for card in cards if card.takes for cell in card.gpus if cell.gpu.cordon is None),
        untold=sum(1 for cell in cells if cell.used is None),
        used=sum((cell.used or 0) * (cell.total or 0) for cell in known) / total if total else None,
        trouble=tuple(trouble),
    )


def find(cards: Sequence[NodeCard], name: str) -> NodeCard | None:
    """The one of that name."""
    return next((card for card in cards if card.node.node == name), None)


def models_of(cells: Sequence[GpuCell]) -> Mapping[str, int]:
    """How many GPUs of each model."""
    return Counter(cell.gpu.model for cell in cells if cell.gpu.model)
