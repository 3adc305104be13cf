"""`make soak`: users for minutes, something broken every few seconds, and what must hold nevertheless.

Exit code 1 where an invariant is broken, 2 where the soak could not be run. Needs root, as the faults do.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from controller.stack.progress import Progress
from controller.stack.trouble import Trouble
from tests.bench.written import read
from tests.soak import table
from tests.soak.faults import KINDS
from tests.soak.figures import Report
from tests.soak.run import Order, carry_out

_BROKEN, _TROUBLE, _INTERRUPTED = 1, 2, 130


def main() -> int:
    """Soak and print, or print what came of an earlier one."""
    given = _options()
    if given.render is not None:
        print(table.markdown(read(given.render, Report.of)), end="")
        return 0
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = random.randrange(10**6) if given.seed is None else given.seed
    order = Order(given.minutes, given.every, given.clients, seed, tuple(given.faults))
    try:
        report = carry_out(order, Progress(console))
    except (Trouble, ValueError) as error:
        print(f"{error}.", file=sys.stderr)
        return _TROUBLE
    except KeyboardInterrupt:
        console.print("Interrupted, and everything was ended.")
        return _INTERRUPTED
    command = f"make soak ARGS={shlex.quote(' '.join(sys.argv[1:]))}"
    report = replace(report, about={"command": command, **report.about})
    if given.json is not None:
        given.json.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    _print(report)
    return _BROKEN if report.broken else 0


def _print(report: Report) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)
    for part in table.terminal(report):
        console.print(part)
    for sentence in report.excused:
        print(f"- {sentence}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of faults, after the start (10)")
    parser.add_argument("--every", type=float, default=10.0, help="seconds from one fault to the next (10)")
    parser.add_argument("--clients", type=int, default=20, help="clients, every second one streaming (20)")
    parser.add_argument("--seed", type=int, help="the same faults in the same order as the run that told this seed")
    parser.add_argument("--faults", nargs="+", choices=tuple(KINDS), default=list(KINDS), help="only these")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    parser.add_argument("--render", type=Path, metavar="FILE", help="run nothing: print Markdown of such a file")
    given = parser.parse_args()
    if given.minutes <= 0 or given.every < 1 or given.clients < 1:
        parser.error("--minutes is above 0, --every and --clients are 1 or more")
    return given


if __name__ == "__main__":
    sys.exit(main())
