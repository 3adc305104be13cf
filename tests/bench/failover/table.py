"""The figures of a run for people: a table on the terminal, Markdown for the documentation."""

from __future__ import annotations

from rich.table import Table

from tests.bench.failover import figures
from tests.bench.failover.figures import Line, Report

HEAD = (
    "fault",
    "side",
    "trials",
    "requests",
    "failed",
    "cut",
    "full strength after",
    "p95",
    "worst",
    "failed / Stoker's",
    "time / Stoker's",
)


def rows(report: Report) -> list[tuple[str, ...]]:
    """One row per fault and side, under `HEAD`."""
    known = figures.lines(report.trials)
    return [_row(line, known, report.window_s) for line in known]


def _row(line: Line, known: list[Line], window_s: float) -> tuple[str, ...]:
    base = figures.reference(line, known)
    full = figures.seconds(line.full_s, window_s)
    if 0 < line.never < line.trials:
        full += f" (never in {line.never} of {line.trials})"
    return (
        line.fault,
        line.side,
        str(line.trials),
        f"{line.requests:g}",
        f"{line.failed:g}",
        f"{line.cut:g}",
        full,
        f"{line.p95_s:.1f} s",
        f"{line.worst_s:.1f} s",
        "" if base is None else figures.failed_ratio(line, base),
        "" if base is None else figures.time_ratio(line, base, window_s),
    )


def terminal(report: Report) -> Table:
    """The rows; medians of the trials, `worst` is the worst of all."""
    table = Table(*HEAD, title=f"the {report.window_s:g} s after a fault, medians of the trials")
    fault = None
    for row in rows(report):
        if fault not in (None, row[0]):
            table.add_section()
        fault = row[0]
        table.add_row(*row)
    return table


def notes(report: Report) -> list[str]:
    """What was compared with what, and how it came out, a sentence each."""
    sides = [f"{name}: {what}" for name, what in report.sides.items()]
    return [*sides, *report.unmeasured, *figures.remarks(figures.lines(report.trials), report.window_s)]


def markdown(report: Report) -> str:
    """A section for a page of docs/, without its heading."""
    about = "; ".join(f"{name}: {what}" for name, what in report.about.items())
    text = [
        f"Written by `make bench-failover` ({about}). Medians of the trials, of the {report.window_s:g} s after each "
        "fault; `worst` is the worst of all trials. A request failed where no byte of an answer came, and was cut "
        "where it broke off later; p95 and worst are of all that were not refused at once. Full "
        "strength: three replicas answer at their own ports and get requests again.",
        "",
        *(f"- **{name}**: {what}" for name, what in report.sides.items()),
        "",
        f"| {' | '.join(HEAD)} |",
        f"|{'---|' * len(HEAD)}",
        *(f"| {' | '.join(row)} |" for row in rows(report)),
        "",
        *(f"- {sentence}" for sentence in figures.remarks(figures.lines(report.trials), report.window_s)),
        *(f"- {sentence}" for sentence in report.unmeasured),
    ]
    return "\n".join(text) + "\n"
