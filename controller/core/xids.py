"""NVIDIA's XIDs: what each error of the driver means, and what is to be done about the GPU that it came from.

After NVIDIA's catalog of XIDs (docs.nvidia.com/deploy/xid-errors). What a program can cause by itself never cordons the
GPU that it ran on. What needs a reset or a new GPU does. A code that is not in the table is told, and nothing is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What follows from an XID.

    ignore: it is the program's fault, or needs nothing. watch: a person should know. cordon: nothing new starts on the
    GPU, and its replicas are replaced. dead: that, and whatever runs on it is dead at once.
    """

    IGNORE = "ignore"
    WATCH = "watch"
    CORDON = "cordon"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Xid:
    """What a code means, what follows, and what a person is to do."""

    meaning: str
    verdict: Verdict
    advice: str = ""


_RESET = "stop what runs on it and reset it (`nvidia-smi --gpu-reset`), or reboot the node"
_REPLACE = f"{_RESET}; if it comes back, have the GPU replaced"
_LINK = f"check the NVLink bridges and the fabric manager, then {_RESET}"
_BUS = "reboot the node; if it comes back, check the seat, the power and the cooling of the GPU, or have it replaced"
_PROGRAM = "look at the program: its replica is judged by its probes"
_LOOK = "watch it; `dmesg` on its node has the whole line"

_IGNORED: Mapping[str, tuple[int, ...]] = {
    "its graphics engine met a bad instruction or access": (13, 25, 44, 69),
    "a program accessed memory that it does not have": (31,),
    "a program sent a broken command": (8, 11, 32, 80),
    "a program was stopped": (43,),
    "a program was cleared away after an earlier error": (45,),
    "one of its copy engines met an error": (39, 40, 41, *range(70, 73), *range(75, 78), 85, *range(126, 136)),
    "one of its video or image engines met an error": (68, 82, 83, 84, 86, 88, 89, *range(96, 106), 139),
    "a switch between programs took too long": (109,),
    "its driver told something that needs nothing": (14, 37, 38, 60, 66, 67, 93, 106, 107, 121, 137, 141, 152, 153),
}
_WATCHED: Mapping[int, str] = {
    61: "its power unit stopped at a breakpoint",
    63: "a broken row or page of its memory is to be replaced by a spare one",
    92: "its memory needs correcting more often than usual",
    94: "an uncorrectable error of its memory was contained: only the program that met it ended",
    151: "a key of its confidential computing could not be renewed",
    154: "its driver says that it needs another kind of recovery than before",
    157: "a broken part of it could not be retired",
    159: "its link to the processor met an error",
    161: "a channel of it could not be retired",
}
_CORDONED: Mapping[int, tuple[str, str]] = {
    46: ("it stopped processing", _RESET),
    48: ("its memory had an error that could not be corrected", _REPLACE),
    62: ("its power unit halted", _REPLACE),
    64: ("a broken row or page of its memory could not be replaced by a spare one", _REPLACE),
    74: ("its NVLink met an error", _LINK),
    95: ("an uncorrectable error of its memory was not contained: everything on it is suspect", _REPLACE),
    110: ("it met a fault of its security engine", _REPLACE),
    119: ("its system processor gave no answer", _REPLACE),
    120: ("its system processor failed", _REPLACE),
    136: ("its NVLink could not be trained", _LINK),
    140: ("its memory had an error that could not be corrected and escaped", _REPLACE),
    143: ("it could not be initialised", _REPLACE),
    **dict.fromkeys(range(144, 151), ("its NVLink met an error", _LINK)),
    155: ("its NVLink met an error", _LINK),
    156: ("a broken part of it is to be retired at the next reset", _RESET),
    158: ("it timed out for good", _REPLACE),
    160: ("a channel of its memory is to be retired at the next reboot", "reboot the node"),
}
TABLE: Mapping[int, Xid] = {
    **{code: Xid(text, Verdict.IGNORE, _PROGRAM) for text, codes in _IGNORED.items() for code in codes},
    **{code: Xid(text, Verdict.WATCH, _LOOK) for code, text in _WATCHED.items()},
    **{code: Xid(text, Verdict.CORDON, advice) for code, (text, advice) in _CORDONED.items()},
    79: Xid("it has fallen off the bus", Verdict.DEAD, _BUS),
}
LOST = Xid("its driver cannot reach it any more", Verdict.DEAD, _BUS)
DOUBLE_BIT = Xid("its memory had errors that could not be corrected", Verdict.CORDON, _REPLACE)
REMAP_FAILED = Xid(
    "a broken row of its memory could not be replaced by a spare one", Verdict.CORDON, "have it replaced"
)
REMAP_PENDING = Xid(
    "a broken row of its memory is to be replaced by a spare one at the next reset", Verdict.CORDON, _RESET
)
HOT = Xid(
    "its heat slows it down", Verdict.CORDON, "check the cooling of its node; it is released when it has been cool"
)


def of_code(code: int) -> Xid:
    """What is known of it."""
    unknown = Xid("its driver told an error that this version does not know", Verdict.WATCH, _LOOK)
    return TABLE.get(code, unknown)
