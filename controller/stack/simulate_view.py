"""What `stoker simulate` prints. Pure but for drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from controller.simulate import figures, verdict
from controller.simulate.changes import Changes
from controller.simulate.contest import CHANGED, Contest
from controller.simulate.figures import Column, clock, counted, span
from controller.simulate.report import About, facts
from controller.simulate.score import Result
from controller.simulate.versus import versus

_QUIET = "dim"
_WIDTH = 200  # where there is no terminal
_ANY = 10_000  # columns, to measure by
_GAP = (0, 2, 0, 0)


def show(contest: Contest, about: About, report: Path | None, *, why: bool) -> None:
    """Everything, on stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    for part in parts(contest, about, console, why=why):
        console.print(part)
    if report is not None:
        console.print(Text(f"The report: {report}"), soft_wrap=True)


def show_changed(contest: Contest, yaml: str) -> None:
    """How the changed policy did beside the configuration's own, and what to write for it."""
    changed = next((result for result in contest.results if result.scaler == CHANGED), None)
    if changed is not None:
        console = Console(highlight=False)
        console.print(Text(f"Changed: {versus(contest.results[0], changed).sentence()}"), soft_wrap=True)
        console.print(Text(yaml), soft_wrap=True)


def parts(contest: Contest, about: About, console: Console, *, why: bool) -> Iterator[RenderableType]:
    """Facts, table, verdict, and the changes where they are asked for."""
    yield from (Text(line, _QUIET) for line in headlines(contest, about))
    yield ""
    yield from tables(contest.results, console)
    yield ""
    yield Text(verdict.sentence(contest.results))
    if why:
        yield ""
        yield from change_parts(contest.changes)


def headlines(contest: Contest, about: About) -> Iterator[str]:
    """What was played, on what, and what counts as well served."""
    trace, setup = facts(contest), contest.setup
    yield (
        f"{trace['name']}: {counted(trace['requests'], 'request')} in {span(trace['duration_s'])} "
        f"({trace['mean_rps']:.3g}/s), "
        f"prompts of {trace['mean_prompt_tokens']:,.0f} and answers of {trace['mean_output_tokens']:,.0f} tokens"
    )
    fails = f", each fails after {span(setup.mtbf_s)} on average" if setup.mtbf_s is not None else ""
    yield (
        f"pool {about.pool}: {setup.policy.floor} to {setup.policy.ceiling} replicas, "
        f"target {setup.policy.in_flight.target:g} in flight for each; cold start {span(setup.cold_start_s)}{fails}"
    )
    yield (
        f"SLO: first token within {span(setup.slo_first_token_s)}, answer within {span(setup.slo_duration_s)}; "
        f"{setup.price_per_hour:.2f} for a replica-hour; engine: {about.engine}"
    )
    yield from about.notes


def tables(results: Sequence[Result], console: Console) -> Iterator[RenderableType]:
    """One table where it fits, else one of how it served and one of what it took."""
    whole = _table(results, figures.SERVED + figures.SPENT)
    if Measurement.get(console, console.options.update(max_width=_ANY), whole).maximum <= console.width:
        yield whole
        return
    yield _table(results, figures.SERVED)
    yield ""
    yield _table(results, figures.SPENT)


def change_parts(changes: Changes) -> Iterator[RenderableType]:
    """Time, count and reasons of each change of Stoker's."""
    if not changes.kept:
        yield Text("Stoker never changed the count.", _QUIET)
        return
    more = f", of which the first {len(changes.kept):,} are listed" if changes.count > len(changes.kept) else ""
    often = "once" if changes.count == 1 else f"{changes.count:,} times"
    yield Text(f"Stoker changed the count {often}{more}:", _QUIET)
    drawn = Table(box=None, padding=_GAP, show_header=False)
    for justify in ("right", "right"):
        drawn.add_column(justify=justify, no_wrap=True)
    drawn.add_column()
    for change in changes.kept:
        why = Text("\n").join(Text.assemble(one.text, (f"  {one.code.value}", _QUIET)) for one in change.reasons)
        drawn.add_row(clock(change.at_s), f"{change.before} -> {change.after}", why)
    yield drawn


def _table(results: Sequence[Result], columns: Sequence[Column]) -> Table:
    drawn = Table(box=None, padding=_GAP, pad_edge=False, header_style=_QUIET)
    drawn.add_column("policy", no_wrap=True, vertical="bottom")
    for column in columns:
        drawn.add_column(column.heading, justify="right", no_wrap=True, vertical="bottom")
    for place, result in enumerate(results):
        cells = [column.text(result) for column in columns]
        drawn.add_row(result.scaler, *cells, style="bold" if place == 0 and len(results) > 1 else "")
    return drawn
