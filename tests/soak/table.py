"""The figures of a soak for people: tables on the terminal, Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from tests.soak import figures
from tests.soak.figures import Bad, Report


def rows(report: Report) -> list[tuple[str, str]]:
    """What was measured, and what came of it."""
    short = report.strength
    return [
        ("duration", f"{report.seconds:.0f} s"),
        ("requests", str(report.requests)),
        ("failed before the first byte", _count(report.failed(nginx=False), report.failed(nginx=True))),
        ("cut answers", _count(report.cut(nginx=False), report.cut(nginx=True))),
        ("latency: mean, p95, p99, worst", ", ".join(f"{value:.2f} s" for value in _latency(report))),
        ("faults", f"{sum(figures.by_kind(report.faults).values())} ({_kinds(report)})"),
        ("postponed, as too few were ready", str(report.postponed)),
        ("faults that could not be done", "; ".join(refusals(report)) or "0"),
        ("below three ready", f"{short.share:.1%} of the time, {short.longest_s:.1f} s at most"),
        ("nobody could say, the controller being away", f"{short.unknown_s:.1f} s"),
        ("reloads of nginx", str(report.reloads)),
        ("replicas started", str(report.replicas_started)),
    ]


def bad_rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Requests that did not end well: how, the error, the faults near, how many. Those outside nginx's deaths first."""
    groups = (
        ("failed", report.failed(nginx=False)),
        ("cut", report.cut(nginx=False)),
        ("failed while nginx was down", report.failed(nginx=True)),
        ("cut while nginx was down", report.cut(nginx=True)),
    )
    return [
        (name, error, near, str(count))
        for name, found in groups
        for (error, near), count in figures.causes(found).items()
    ]


def refusals(report: Report) -> list[str]:
    """Faults that could not be done, and why."""
    return [f"{fault.kind} {fault.victim}".rstrip() + f": {fault.refused}" for fault in report.faults if fault.refused]


def terminal(report: Report) -> Iterator[Table]:
    """All of it, as tables."""
    measured = Table("", "measured", title="soak")
    for row in rows(report):
        measured.add_row(*row)
    yield measured
    if report.bad:
        bad = Table("how", "error", "faults within the 10 s before", "requests", title="requests that did not end well")
        for line in bad_rows(report):
            bad.add_row(*line)
        yield bad
    held = Table("invariant", "", "found", title="invariants")
    for check in report.checks:
        word = Text("kept", "green") if check.kept else Text("broken", "bold red")
        held.add_row(Text(check.what), word, Text(check.found))
    yield held


def markdown(report: Report) -> str:
    """A section for a page of docs/, without its heading."""
    about = "; ".join(f"{name}: {what}" for name, what in report.about.items())
    bad = [f"| {' | '.join(line)} |" for line in bad_rows(report)]
    text = [
        f"Written by `make soak` ({about}).",
        "",
        "| | measured |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows(report)),
        "",
        *(
            [
                "| requests that did not end well | error | faults within the 10 s before | requests |",
                "|---|---|---|---|",
            ]
            if bad
            else []
        ),
        *bad,
        *([""] if bad else []),
        "| invariant | | found |",
        "|---|---|---|",
        *(f"| {check.what} | {'kept' if check.kept else '**broken**'} | {check.found} |" for check in report.checks),
        *([""] if report.excused else []),
        *(f"- {sentence}" for sentence in report.excused),
    ]
    return "\n".join(text) + "\n"


def _count(outside: list[Bad], within: list[Bad]) -> str:
    return f"{len(outside)}, and {len(within)} while nginx itself was down"


def _latency(report: Report) -> tuple[float, ...]:
    return report.mean_s, report.p95_s, report.p99_s, report.worst_s


def _kinds(report: Report) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in figures.by_kind(report.faults).items()) or "none"
