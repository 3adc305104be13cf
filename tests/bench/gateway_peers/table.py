"""The figures of a run for people: a table per section on the terminal, Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from tests.bench.gateway_peers import figures, workload
from tests.bench.gateway_peers.figures import DIRECT, KEPT_OPEN, STOKER, Report
from tests.bench.gateway_peers.workload import CONNECTIONS, EXPONENT, PROMPTS, STREAMS, TOKENS_PER_S, ZIPF_REQUESTS

_ABSENT = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a section. `to`: it is compared with that contender's, by `how`, each round within itself."""

    title: str
    key: str
    form: str
    to: str = ""
    how: Callable[..., float | None] = figures.ratio


@dataclass(frozen=True, slots=True)
class Section:
    """What one kind of measurement is called, and what is told of it."""

    key: str
    title: str
    columns: tuple[Column, ...]


def _cost(what: str) -> tuple[Column, Column]:
    title = f"CPU s per 1,000 {what}"
    return Column(title, "cpu_s_per_1000", "{:.3f}"), Column("/ Stoker's", "cpu_s_per_1000", "{:.2f}", to=STOKER)


SECTIONS = (
    Section(
        "requests",
        f"Whole answers, {CONNECTIONS} connections",
        (
            Column("requests/s", "per_s", "{:,.0f}"),
            Column("/ Stoker's", "per_s", "{:.2f}", to=STOKER),
            Column("p50", "p50_ms", "{:.1f} ms"),
            Column("p99", "p99_ms", "{:.1f} ms"),
            *_cost("requests"),
        ),
    ),
    Section(
        "latency",
        "Whole answers, 1 connection",
        (
            Column("median latency", "p50_ms", "{:.3f} ms"),
            Column("added by it", "p50_ms", "{:.3f} ms", to=DIRECT, how=figures.difference),
        ),
    ),
    Section(
        "streams",
        f"{STREAMS} streams of {TOKENS_PER_S} tokens/s each",
        (
            Column("tokens/s", "tokens_per_s", "{:,.0f}"),
            Column("between tokens, p50", "gap_p50_ms", "{:.1f} ms"),
            Column("p99", "gap_p99_ms", "{:.1f} ms"),
            *_cost("tokens"),
        ),
    ),
    Section(
        "keys",
        f"Keys of clients, {CONNECTIONS} connections",
        (
            Column("requests/s", "per_s", "{:,.0f}"),
            Column("/ without keys", "per_s", "{:.2f}", to=STOKER),
            *_cost("requests"),
            Column("reload", "reload_s", "{:.2f} s"),
        ),
    ),
    Section(
        "cache",
        f"Cached answers: {ZIPF_REQUESTS:,} requests for {PROMPTS:,} prompts of Zipf's law (s = {EXPONENT:g})",
        (
            Column("requests/s", "per_s", "{:,.0f}"),
            Column("answered from the cache", "repeated", "{:.1%}"),
            *_cost("requests"),
        ),
    ),
)


def rows(report: Report, section: Section) -> list[list[str]]:
    """One per contender: its name and its figures. What could not be measured says so."""
    known = report.measured(section.key)
    missing = dict.fromkeys(gap.contender for gap in report.gaps if gap.section == section.key)
    blank = [_ABSENT] * (len(section.columns) - 1)
    return [
        *([name, *(_cell(report, section.key, name, column) for column in section.columns)] for name in known),
        *([name, "not measured", *blank] for name in missing if name not in known),
    ]


def _cell(report: Report, section: str, name: str, column: Column) -> str:
    if name == DIRECT and (column.to or column.key == "cpu_s_per_1000"):
        return _ABSENT  # there is no gateway
    if column.to:
        value = column.how(report.samples, section, (name, column.to), column.key)
    else:
        value = figures.median(report.samples, section, name, column.key)
    return _ABSENT if value is None else column.form.format(value)


def tables(report: Report) -> list[Table]:
    """For a terminal; sections without samples are left out."""
    made = []
    for section in SECTIONS:
        found = rows(report, section)
        if found:
            table = Table("gateway", *(column.title for column in section.columns), title=section.title)
            for row in found:
                table.add_row(*row)
            made.append(table)
    return made


_COMPARED = (
    ("requests", "per_s", "answers {:.2f} times as many requests a second", True),
    ("requests", "cpu_s_per_1000", "takes {:.2f} times the CPU time for a request", False),
    ("streams", "cpu_s_per_1000", "takes {:.2f} times the CPU time for a streamed token", False),
)


def remarks(report: Report) -> list[str]:
    """Stoker beside each peer, where it loses first; then what makes figures doubtful."""
    lost: list[str] = []
    won: list[str] = []
    for section, key, words, more_is_better in _COMPARED:
        known = report.measured(section)
        for ours in (STOKER, KEPT_OPEN):
            for name in known:
                found = figures.ratio(report.samples, section, (ours, name), key)
                if name not in (STOKER, KEPT_OPEN, DIRECT) and found is not None:
                    who = ours.capitalize()
                    (won if (found >= 1) == more_is_better else lost).append(
                        f"Beside {name} {who} {words.format(found)}."
                    )
    return [*lost, *won, *_cached(report), *_failures(report), *_gaps(report)]


def _cached(report: Report) -> list[str]:
    if not report.measured("cache"):
        return []
    asked = workload.zipf(workload.PROMPTS, workload.ZIPF_REQUESTS)
    return [f"A cache that forgot nothing would answer {1 - len(set(asked)) / len(asked):.1%} of those requests."]


def _failures(report: Report) -> list[str]:
    said = []
    for section in SECTIONS:
        for name in report.measured(section.key):
            failed = figures.total(report.samples, section.key, name, "errors")
            if failed:
                asked = figures.total(report.samples, section.key, name, "requests")
                said.append(f"{section.title}: {failed:,.0f} of {asked:,.0f} requests failed through {name}.")
    return said


def _gaps(report: Report) -> list[str]:
    """One that is missing everywhere for the same reason is told once."""
    found: dict[tuple[str, str], list[str]] = {}
    for gap in report.gaps:
        found.setdefault((gap.contender, gap.why), []).append(gap.section)
    return [f"{name} was not measured ({', '.join(where)}): {why}." for (name, why), where in found.items()]


def markdown(report: Report) -> str:
    """A section for a page of docs/."""
    about = "; ".join(f"{name}: {what}" for name, what in report.about.items())
    lines = [
        "## Gateways",
        "",
        f"Written by `make bench-gateway` ({about}). Medians of the rounds. All stand in front of the same mock "
        "engines and take turns within a round; a ratio or a difference is taken within each round, and its median is "
        "told. Clients, gateways and engines share the cores, so CPU time for the same work is the fairest figure, and "
        "ratios say more than rates.",
        "",
        *(f"- **{name}**: {what}" for name, what in report.contenders.items()),
    ]
    for section in SECTIONS:
        found = rows(report, section)
        if found:
            head = ["gateway", *(column.title for column in section.columns)]
            lines += ["", f"{section.title}:", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
            lines += [f"| {' | '.join(row)} |" for row in found]
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in remarks(report))]) + "\n"
