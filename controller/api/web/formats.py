"""Numbers and times as people read them. Pure; filters of the templates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

NOTHING = "–"  # what is not known
_KIB = 1024.0
_NEXT = 999.5  # from here on it takes the next unit: three digits would be four


def number(value: float | None, digits: int = 0) -> str:
    """1234.5 -> 1,235; what is small keeps two digits that say something."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if digits == 0 and 0 < abs(value) < 10 and value != round(value):
        return f"{value:.2g}"
    return f"{value:,.{digits}f}"


def short(value: float | None) -> str:
    """12345 -> 12.3k."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if abs(value) < 1e4:
        return number(value)
    for unit in ("k", "M", "G"):
        value /= 1e3
        if abs(value) < _NEXT:
            return f"{value:.3g}{unit}"
    return f"{value / 1e3:,.3f}".rstrip("0").rstrip(".") + "T"


def percent(ratio: float | None) -> str:
    """0.0123 -> 1.2 %; a share that is not zero does not look like it."""
    if ratio is None or not math.isfinite(ratio):
        return NOTHING
    value = ratio * 100
    if 0 < value < 0.05:
        return "< 0.1 %"
    return f"{value:.1f} %" if 0 < value < 10 else f"{value:.0f} %"


def seconds(value: float | None) -> str:
    """How long something takes: 0.034 -> 34 ms, 3.21 -> 3.2 s, 192 -> 3 min 12 s, 90061 -> 1 d 1 h."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 59.5:
        return f"{value:.1f} s" if value < 9.95 else f"{value:.0f} s"
    whole = round(value)
    parts = ((whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    first = next(index for index, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def size(value: float | None) -> str:
    """Bytes: 24696061952 -> 23 GiB."""
    if value is None or not math.isfinite(value):
        return NOTHING
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < _NEXT or unit == "TiB":
            break
        value /= _KIB
    return f"{value:.0f} {unit}" if unit == "B" or abs(value) >= _NEXT else f"{value:.3g} {unit}"


def money(value: float | None, currency: str = "") -> str:
    """2.5, USD -> 2.50 USD."""
    return NOTHING if value is None else f"{value:,.2f} {currency}".strip()


def moment(at: datetime | None, kind: str = "time") -> Markup:
    """A <time>, which the page's script puts into the reader's zone. `kind`: time, day (with the date), or ago."""
    if at is None:
        return Markup(NOTHING)
    utc = at.astimezone(UTC)
    text = utc.strftime("%H:%M:%S UTC") if kind == "time" else utc.strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<time datetime="{}" data-as="{}">{}</time>').format(
        utc.isoformat(timespec="milliseconds"), kind, text
    )


def day(at: datetime | None) -> Markup:
    """With its date."""
    return moment(at, "day")


def ago(at: datetime | None) -> Markup:
    """How long ago; the page's script lets it go on."""
    return moment(at, "ago")


@dataclass(frozen=True, slots=True)
class Line:
    """A sparkline of 120 x 28: its path, where its threshold lies, and whether the newest value is above that."""

    path: str
    limit: float | None = None
    over: bool = False


def line(values: Sequence[float | None], limit: float | None = None) -> Line:
    """None is a gap. The scale begins at 0 and holds the threshold, so that calm looks calm."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    top = max([*known, (limit or 0) * 1.25, 1e-9])
    if len(values) < 2 or not known:
        return Line("")
    steps, pen = [], "M"
    for index, value in enumerate(values):
        if value is None or not math.isfinite(value):
            pen = "M"
            continue
        steps.append(f"{pen}{index * 120 / (len(values) - 1):.0f} {27 - 26 * max(value, 0) / top:.0f}")
        pen = "L"
    return Line(
        "".join(steps),
        None if not limit else round(27 - 26 * limit / top, 1),
        limit is not None and known[-1] > limit and values[-1] is not None,
    )


@dataclass(frozen=True, slots=True)
class Slots:
    """A bar of replicas: `paths` by state, where the floor ends, and how wide all of it is. 10 units high."""

    width: float
    paths: tuple[tuple[str, str], ...]
    floor: float | None


_MOST_SLOTS, _SLOT, _WIDE = 20, 9, 180


def slots(counts: Sequence[tuple[str, int]], floor: int, ceiling: int) -> Slots:
    """A square for each replica, in this order, and a faint one for each that may come; stretches where there are too
    many for squares."""
    used = sum(count for _, count in counts)
    total = max(used, ceiling, 1)
    each = _SLOT if total <= _MOST_SLOTS else _WIDE / total
    paths, at = [], 0
    for state, count in (*counts, ("free", total - used)):
        if count:
            paths.append((state, _squares(at, count) if each == _SLOT else _stretch(at * each, count * each)))
            at += count
    return Slots(round(total * each, 1), tuple(paths), round(floor * each - 1, 1) if floor else None)


def _squares(at: int, count: int) -> str:
    return "".join(f"M{(at + index) * _SLOT + 1} 1h6v8h-6z" for index in range(count))


def _stretch(at: float, width: float) -> str:
    return f"M{at + 0.5:.1f} 1h{max(width - 1, 1):.1f}v8h{-max(width - 1, 1):.1f}z"


def iso(at: datetime) -> str:
    """As it stands in an address: of UTC, with a Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def filters() -> Mapping[str, Callable[..., Any]]:
    """By the names that templates use."""
    return {
        "number": number,
        "short": short,
        "percent": percent,
        "seconds": seconds,
        "size": size,
        "money": money,
        "time": moment,
        "day": day,
        "ago": ago,
        "line": line,
        "slots": slots,
    }
