"""What the GPU exporter remembers between two collections, without NVML."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporters.gpu.collect import MAX_GPUS, Gpus, Known
from exporters.gpu.facts import Identity, Look, Reading

HUNG = "GPU 0 (GPU-1) does not"
ONE, TWO = Identity(0, "GPU-1"), Identity(1, "GPU-2")
GOOD, LOST, HANGS = Reading({"GPU_UTIL": 1}), Reading(faults=("gpu_is_lost",)), None


def looks(**readings: Reading | None) -> list[Look]:
    return [Look({"one": ONE, "two": TWO}[name], reading) for name, reading in readings.items()]


def known(gpus: Gpus, uuid: str) -> Known:
    return next(each for each in gpus.known() if each.identity.uuid == uuid)


def lost(gpus: Gpus) -> dict[str, bool]:
    return {each.identity.uuid or f"index {each.identity.index}": each.lost for each in gpus.known()}


def faults(one: Known, now: float = 100.0) -> dict[str, int]:
    """Once they are no longer new."""
    list(one.faults.tell(0.0))
    return {name: count for (name,), count in one.faults.tell(now)}


def test_lost_silent_gone_and_back() -> None:
    gpus = Gpus()
    timeline = [
        #   what is seen                        lost                              said
        (looks(one=GOOD, two=GOOD), {"GPU-1": False, "GPU-2": False}, []),
        (looks(one=GOOD, two=LOST), {"GPU-1": False, "GPU-2": True}, ["GPU 1 (GPU-2) is lost"]),
        (looks(one=GOOD, two=LOST), {"GPU-1": False, "GPU-2": True}, []),
        (looks(one=HANGS, two=GOOD), {"GPU-1": False, "GPU-2": False}, [HUNG, "GPU 1 (GPU-2) is back"]),
        (looks(one=HANGS, two=GOOD), {"GPU-1": False, "GPU-2": False}, []),
        (looks(one=GOOD), {"GPU-1": False, "GPU-2": True}, ["GPU 1 (GPU-2) is lost"]),
        (looks(one=GOOD), {"GPU-1": False, "GPU-2": True}, []),
        (looks(one=HANGS, two=GOOD), {"GPU-1": False, "GPU-2": False}, [HUNG, "GPU 1 (GPU-2) is back"]),
    ]  # fmt: skip
    for step, (seen, want, begins) in enumerate(timeline):
        said = gpus.take(seen, float(step))

        assert lost(gpus) == want, f"step {step}"
        assert [sentence[: len(begin)] for sentence, begin in zip(said, begins, strict=True)] == begins, f"step {step}"
    assert known(gpus, "GPU-1").succeeded_at == 6.0
    assert faults(known(gpus, "GPU-1")) == {"deadline": 3}
    assert faults(known(gpus, "GPU-2")) == {"gpu_is_lost": 2}


def test_an_xid_is_remembered_until_the_gpu_comes_back() -> None:
    gpus = Gpus()
    gpus.xid(ONE, 31)
    gpus.xid(ONE, 79)
    gpus.take(looks(one=LOST), 1.0)
    assert known(gpus, "GPU-1").xid == 79
    gpus.take(looks(one=GOOD), 2.0)

    assert known(gpus, "GPU-1").xid == 0
    list(known(gpus, "GPU-1").xids.tell(0.0))
    assert dict(known(gpus, "GPU-1").xids.tell(10.0)) == {("31",): 1, ("79",): 1}, "what was counted stays counted"


@pytest.mark.parametrize("fault", ["unknown", "uninitialized", "timeout"])
def test_a_gpu_that_tells_nothing_has_not_succeeded(fault: str) -> None:
    gpus = Gpus()
    gpus.take(looks(one=GOOD), 1.0)
    gpus.take(looks(one=Reading(faults=(fault,))), 2.0)

    assert known(gpus, "GPU-1").succeeded_at == 1.0
    assert not known(gpus, "GPU-1").lost


def test_one_that_was_lost_before_anybody_knew_who_it_is() -> None:
    gpus = Gpus()
    nameless = Look(Identity(1), LOST)
    said = gpus.take([*looks(one=GOOD), nameless], 1.0)
    assert lost(gpus) == {"GPU-1": False, "index 1": True}
    assert [sentence.partition(" is ")[0] for sentence in said] == ["GPU 1 ()"]

    gpus.take(looks(one=GOOD, two=GOOD), 2.0)
    assert lost(gpus) == {"GPU-1": False, "GPU-2": False}, "now it has told"

    gpus.take([*looks(one=GOOD), nameless], 3.0)
    assert lost(gpus) == {"GPU-1": False, "index 1": False, "GPU-2": True}, "it is told once, by its UUID"


@pytest.mark.parametrize("answer", [Reading(faults=("unknown",)), HANGS], ids=["a fault", "no answer"])
def test_nobody_is_lost_while_one_does_not_tell_who_it_is(answer: Reading | None) -> None:
    """As at a session's beginning, when each is asked for its UUID anew."""
    gpus = Gpus()
    gpus.take(looks(one=GOOD, two=GOOD), 1.0)
    said = gpus.take([*looks(one=GOOD), Look(Identity(1), answer)], 2.0)
    assert not any("lost" in sentence for sentence in said)
    assert lost(gpus) == {"GPU-1": False, "GPU-2": False, "index 1": False}

    assert gpus.take(looks(one=GOOD, two=GOOD), 3.0) == [], "it has never been away"
    gpus.take(looks(one=GOOD), 4.0)
    assert lost(gpus) == {"GPU-1": False, "GPU-2": True}, "all that are there have told"


def test_a_gpu_keeps_what_is_known_of_it_at_another_index() -> None:
    gpus = Gpus()
    gpus.take(looks(one=GOOD, two=GOOD), 1.0)
    gpus.xid(TWO, 13)
    gpus.take([Look(replace(TWO, index=0), GOOD)], 2.0)

    assert known(gpus, "GPU-2").identity.index == 0
    assert known(gpus, "GPU-2").xid == 13
    assert known(gpus, "GPU-1").lost


def test_those_that_are_gone_for_longest_are_forgotten() -> None:
    gpus = Gpus()
    for number in range(MAX_GPUS + 10):
        gpus.take([*looks(one=GOOD), Look(Identity(1, f"GPU-x{number}"), GOOD)], float(number))

    here = [each.identity.uuid for each in gpus.known()]
    assert len(here) == MAX_GPUS
    assert {"GPU-1", f"GPU-x{MAX_GPUS + 9}"} <= set(here)
    assert "GPU-x0" not in here
