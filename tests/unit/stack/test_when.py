"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from controller.stack.trouble import Trouble
from controller.stack.when import parse_when

HERE = timezone(timedelta(hours=2))
NOW = datetime(2026, 1, 5, 12, 30, tzinfo=HERE)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2026-01-05T09:00:00Z", datetime(2026, 1, 5, 9, tzinfo=UTC)),
        ("2026-01-05T09:00:00+01:00", datetime(2026, 1, 5, 8, tzinfo=UTC)),
        ("2026-01-05 09:00", datetime(2026, 1, 5, 7, tzinfo=UTC)),
        ("2026-01-04", datetime(2026, 1, 3, 22, tzinfo=UTC)),
        ("12:00", datetime(2026, 1, 5, 10, tzinfo=UTC)),
        ("12:00:30", datetime(2026, 1, 5, 10, 0, 30, tzinfo=UTC)),
        ("23:00", datetime(2026, 1, 4, 21, tzinfo=UTC)),
        ("10m", datetime(2026, 1, 5, 10, 20, tzinfo=UTC)),
        ("1.5h", datetime(2026, 1, 5, 9, tzinfo=UTC)),
        ("-30s", datetime(2026, 1, 5, 10, 29, 30, tzinfo=UTC)),
        ("2d", datetime(2026, 1, 3, 10, 30, tzinfo=UTC)),
    ],
)
def test_a_time(text: str, want: datetime) -> None:
    assert parse_when(text, NOW) == want


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "10 minutes", "99999999999d", "2026-13-01"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(Trouble, match="is no time; write"):
        parse_when(text, NOW)
