"""What `stoker calibrate` prints. Pure but for drawing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from controller.simulate.calibrate import Calibration
from controller.simulate.estimates import Spread

_QUIET = "dim"
_WIDTH = 200  # where there is no terminal


def show(url: str, model: str, found: Calibration, output: Path) -> None:
    """Everything, on stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    for part in parts(url, model, found, output):
        console.print(part)


def parts(url: str, model: str, found: Calibration, output: Path) -> Iterator[RenderableType]:
    """Each figure with its spread, what is assumed, and how to use the file."""
    yield Text(f"{model} at {url}", "bold")
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=_QUIET)
    for title in ("measured", "median", "from", "to", "times"):
        drawn.add_column(title, justify="left" if title == "measured" else "right", no_wrap=title != "measured")
    for name, spread, shown in _figures(found):
        cells = sorted((spread.low, spread.high), key=shown)
        drawn.add_row(name, *(shown_text(shown(value)) for value in (spread.median, *cells)), str(spread.count))
    yield drawn
    yield from (Text(line, _QUIET) for line in _notes(found))
    yield Text(f"Written to {output}. To use it: stoker simulate --engine {output} --trace ...")


def shown_text(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _figures(found: Calibration) -> Iterator[tuple[str, Spread, Callable[[float], float]]]:
    count = found.together
    yield "prefill, tokens/s", found.prefill_tokens_per_s, lambda value: value
    yield "decode of one answer alone, tokens/s", found.decode_step_s, lambda step_s: 1 / step_s
    yield f"decode of {count} answers at once, tokens/s each", found.together_step_s, lambda step_s: 1 / step_s
    if found.share_during_prefill is not None:
        yield "decode while a prompt is read, % of alone", found.share_during_prefill, lambda share: 100 * share


def _notes(found: Calibration) -> Iterator[str]:
    slots = found.model.slots
    if found.slots_at_least and slots == found.together:
        yield f"slots: {slots}, but perhaps more: all streams ran at once; give a higher --streams to find out"
    else:
        yield f"slots: {slots}"
    if found.share_during_prefill is None:
        share = 100 * found.model.decode_share_during_prefill
        yield f"decode while a prompt is read could not be measured; {share:g} % of alone is assumed"
    yield f"KV cache: {found.model.kv_cache_tokens:,} tokens are assumed; it cannot be measured from outside"
