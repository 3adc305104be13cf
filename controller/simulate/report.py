"""The report of a simulation: one HTML file that needs nothing else, no script and no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import TypeAdapter

from controller.simulate import charts, figures, frontier, verdict
from controller.simulate.contest import Contest
from controller.simulate.setup import Setup
from controller.simulate.traces import Trace

_SETUP = TypeAdapter(Setup)
_FOLDED_FROM = 40  # decisions: a longer list is folded away
_pages = Environment(
    loader=PackageLoader("controller.simulate"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_pages.filters.update(
    clock=figures.clock,
    counted=figures.counted,
    percent=figures.percent,
    span=figures.span,
    unbroken=lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%"),  # no line begins with a sign
)


@dataclass(frozen=True, slots=True)
class About:
    """What a reader must know besides the runs."""

    pool: str
    engine: str  # whose numbers the engine model has
    notes: tuple[str, ...] = ()


def facts(contest: Contest) -> dict[str, Any]:
    """What was played, for JSON."""
    trace, requests = contest.trace, contest.results[0].requests
    return {
        "name": trace.name,
        "requests": requests,
        "duration_s": trace.duration_s,
        "mean_rps": requests / contest.results[0].duration_s,
        "mean_prompt_tokens": trace.mean_prompt_tokens,
        "mean_output_tokens": trace.mean_output_tokens,
        "outages_s": [list(outage) for outage in trace.outages],
        "malformed_count": trace.malformed_count if isinstance(trace, Trace) else 0,
        "malformed": [{"line": line, "why": why} for line, why in _malformed(contest)],
    }


def setup_of(setup: Setup) -> dict[str, Any]:
    """Everything that was given besides the trace, for JSON; durations as in the ledger's evidence."""
    found: dict[str, Any] = _SETUP.dump_python(setup, mode="json")
    return found


def html(contest: Contest, about: About) -> str:
    """The whole file."""
    setup, results = contest.setup, contest.results
    return _pages.get_template("report.html").render(
        contest=contest,
        setup=setup,
        about=about,
        trace=facts(contest),
        verdict=verdict.sentence(results),
        served=figures.SERVED,
        spent=figures.SPENT,
        charts=charts.draw(results, contest.trace, setup.slo_first_token_s),
        frontier=frontier.draw(results),
        plot=frontier,
        engine=asdict(setup.engine),
        policy=list(_flat(_SETUP.dump_python(setup)["policy"])),
        folded=len(contest.changes.kept) > _FOLDED_FROM,
    )


def _malformed(contest: Contest) -> Sequence[tuple[int, str]]:
    return contest.trace.malformed if isinstance(contest.trace, Trace) else ()


def _flat(found: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested keys with dots, as the configuration's documentation has them."""
    for key, value in found.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", _told(value)


def _told(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case timedelta():
            return figures.span(value.total_seconds())
        case float():
            return f"{value:g}"
        case tuple() | list():
            return "; ".join(", ".join(f"{key} {text}" for key, text in _flat(item)) for item in value) or "none"
        case _:
            return str(value)
