"""NVIDIA's error codes: what follows from each."""

from __future__ import annotations

import pytest

from controller.core.xids import TABLE, Verdict, of_code

V = Verdict
VERDICTS = [
    # What a program can cause by itself
    *[(code, V.IGNORE) for code in (8, 11, 13, 25, 31, 32, 43, 44, 45, 68, 69, 109)],
    # What a person should know
    *[(code, V.WATCH) for code in (61, 63, 92, 94, 154)],
    # What needs a reset or another GPU
    *[(code, V.CORDON) for code in (46, 48, 62, 64, 74, 95, 110, 119, 120, 136, 140, 143, 144)],
    *[(code, V.CORDON) for code in (149, 150, 155, 156, 158, 160)],
    (79, V.DEAD),
    # Of another time
    (1, V.WATCH),
    (151, V.WATCH),
    (999, V.WATCH),
]


@pytest.mark.parametrize(("code", "verdict"), VERDICTS)
def test_what_follows(code: int, verdict: Verdict) -> None:
    assert of_code(code).verdict is verdict


def test_every_code_has_a_meaning_and_every_cordon_an_advice() -> None:
    assert all(known.meaning and known.advice for known in TABLE.values())
    told = {code: known.advice for code, known in TABLE.items() if known.verdict in (V.CORDON, V.DEAD)}
    assert all("reset" in text or "reboot" in text for text in told.values()), told


def test_no_code_stands_for_two_things() -> None:
    assert len([code for code in TABLE if TABLE[code].verdict is V.IGNORE]) > 50
    assert not [code for code in TABLE if not 0 < code < 200]
