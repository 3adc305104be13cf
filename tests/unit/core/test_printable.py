"""What may be shown of a text that comes from outside."""

from __future__ import annotations

import pytest

from controller.core.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is: ü 中文 🙂", "as it is: ü 中文 🙂"),
        ("\x1b[2Jgone", " [2Jgone"),
        ("\x9b2Jgone", " 2Jgone"),  # the same order in one character
        ("right \u202eto left", "right  to left"),
        ("half \ud800 a pair", "half   a pair"),
        ("a\nb\tc\r", "a b c "),
    ],
)
def test_what_is_not_printable_is_a_space(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_may_stay() -> None:
    assert printable("a\nb\tc\x07", keep="\n") == "a\nb c "
