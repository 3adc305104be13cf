"""`make bench-gateway`: Stoker's gateway beside others in front of the same mock engines. Nothing passes or fails.

All on loopback, in turns, in one run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from controller.stack.progress import Progress
from controller.stack.trouble import Trouble
from tests.bench import simulate
from tests.bench.gateway_peers import engines, load, page, run, table
from tests.bench.gateway_peers.figures import Report
from tests.bench.written import read

_PAGE = Path(__file__).parents[3] / "docs" / "benchmarks.md"
_BUSY = 1.0  # load average before anything was started


def main() -> None:
    """Measure and print, or write into the page what was measured before."""
    given = _options()
    if given.render is not None:
        _render(read(given.render, Report.of))
        return
    console = Console(stderr=True)
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, _interrupt)
    try:
        report = _measure(given, Progress(console))
    except Trouble as error:
        sys.exit(f"{error}.")
    except KeyboardInterrupt:
        kept = f"; what was measured before is in {given.json}" if given.json and given.json.exists() else ""
        console.print(f"Interrupted, and everything was ended{kept}.", soft_wrap=True)
        sys.exit(130)
    wide = Console(width=None if sys.stdout.isatty() else 160)
    for made in table.tables(report):
        wide.print(made)
    print("\n".join(f"- {sentence}" for sentence in table.remarks(report)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-gateway", description=__doc__)
    sections = [section.key for section in table.SECTIONS]
    parser.add_argument("--rounds", type=int, default=5, help="of which the medians are told (5)")
    parser.add_argument("--seconds", type=int, default=5, help="of load on a contender in a round (5)")
    parser.add_argument("--only", nargs="+", choices=sections, default=sections, metavar="SECTION", help=f"{sections}")
    parser.add_argument("--tools", type=Path, help="keep here what is installed for the bench; else it is deleted")
    parser.add_argument("--json", type=Path, help="write the figures to this file, after each sample")
    parser.add_argument(
        "--render", type=Path, metavar="FILE", help="run nothing: write what such a file holds into docs/benchmarks.md"
    )
    given = parser.parse_args()
    if min(given.rounds, given.seconds) < 1:
        parser.error("--rounds and --seconds are 1 or more")
    return given


def _measure(given: argparse.Namespace, progress: Progress) -> Report:
    tools = None if given.tools is None else given.tools.resolve()
    order = run.Order(given.only, given.rounds, given.seconds, tools)
    progress.say(f"This takes about {run.minutes(order):.0f} minutes.")
    if (busy := os.getloadavg()[0]) > _BUSY:
        progress.say(f"The machine is busy already (load {busy:.1f}): every gateway will be slower than it is.")
    report = Report(_about(order), {})

    def keep() -> None:
        if given.json is not None:
            given.json.write_text(json.dumps(report.as_json(), indent=1) + "\n")

    run.carry_out(order, report, run.Tell(progress, keep))
    keep()
    return report


def _about(order: run.Order) -> dict[str, str]:
    cores = f"{len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.machine()}"
    return {
        "sections": ", ".join(order.sections),
        "machine": f"{cores}, shared by clients, gateways and engines",
        "load average of the minute before": f"{os.getloadavg()[0]:.1f}",
        "rounds": f"{order.rounds}, {order.seconds} s of load in each",
        "load": f"{load.asks_with()}, requests of 1 KB, {engines.COUNT} engines",
    }


def _interrupt(kind: int, frame: FrameType | None) -> None:
    """Once: while everything is being ended, a second Ctrl-C must not leave half of it behind."""
    del kind, frame
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _render(report: Report) -> None:
    """In front of the simulator's section, which `make bench` writes to the end of the page."""
    before = _PAGE.read_text(encoding="utf-8")
    try:
        after = page.rewritten(before, table.markdown(report), simulate.HEADING)
    except ValueError as error:
        sys.exit(f"{_PAGE}: {error}.")
    _PAGE.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
