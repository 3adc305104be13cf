"""Times as people write them on the command line."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

from controller.stack.trouble import Trouble

_AGO = re.compile(r"-?(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_when(text: str, now: datetime) -> datetime:
    """`2026-01-05T12:00:00Z`, `2026-01-05 12:00` and `12:00` (this machine's time zone), or `10m` for ten minutes ago.

    `now` is in this machine's time zone. A time of day that is still to come today was yesterday's.

    Raises:
        Trouble: it is none of these.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(seconds=float(ago[1]) * _SECONDS[ago[2]])
        if ":" in text and "-" not in text:
            at = datetime.combine(now.date(), time.fromisoformat(text), now.tzinfo)
            return at if at <= now else at - timedelta(days=1)
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise Trouble(f"{text!r} is no time; write 2026-01-05T12:00:00Z, 12:00, or 10m for ten minutes ago") from error
    return at if at.tzinfo is not None else at.replace(tzinfo=now.tzinfo)
