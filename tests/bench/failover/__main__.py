"""`make bench-failover`: the same faults against Stoker, plain nginx and a Swarm service. Nothing passes or fails.

One after the other, on one Docker engine of the bench's own, with the same image, model and load. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import sys
from pathlib import Path

from rich.console import Console

from controller.stack.progress import Progress
from controller.stack.trouble import Trouble
from tests.bench.failover import faults, table
from tests.bench.failover.figures import Report, Trial
from tests.bench.failover.load import LoadSettings
from tests.bench.failover.run import DEFAULT_SIDES, SIDES, Order, Tell, carry_out, minutes
from tests.bench.failover.side import Side
from tests.bench.written import read

_BUSY = 1.0  # load average before anything was started


def main() -> None:
    """Measure and print, or print what was measured before."""
    given = _options()
    if given.render is not None:
        print(table.markdown(read(given.render, Report.of)), end="")
        return
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = _measure(given, Progress(console))
    except Trouble as error:
        sys.exit(f"{error}.")
    except KeyboardInterrupt:
        kept = f"; what was measured before is in {given.json}" if given.json and given.json.exists() else ""
        console.print(f"Interrupted, and everything was ended{kept}.", soft_wrap=True)
        sys.exit(130)
    wide = None if sys.stdout.isatty() else 160
    Console(width=wide).print(table.terminal(report))
    print("\n".join(f"- {note}" for note in table.notes(report)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-failover", description=__doc__)
    parser.add_argument("--trials", type=int, default=3, help="of each fault on each side (3)")
    parser.add_argument("--window", type=float, default=60.0, help="seconds watched after a fault (60)")
    parser.add_argument("--clients", type=int, default=8, help="clients, every second one streaming (8)")
    parser.add_argument("--faults", nargs="+", choices=tuple(faults.FAULTS), default=list(faults.FAULTS))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(DEFAULT_SIDES))
    parser.add_argument("--swarm-timeout", type=int, default=1, help="seconds that its health check may take (1)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, after each trial")
    parser.add_argument("--render", type=Path, metavar="FILE", help="run nothing: print Markdown of such a file")
    given = parser.parse_args()
    if min(given.trials, given.window, given.clients, given.swarm_timeout) < 1:
        parser.error("--trials, --window, --clients and --swarm-timeout are 1 or more")
    return given


def _measure(given: argparse.Namespace, progress: Progress) -> Report:
    order = Order(
        given.sides, given.faults, given.trials, given.window, LoadSettings(clients=given.clients), given.swarm_timeout
    )
    progress.say(f"This takes about {minutes(order):.0f} minutes.")
    if (busy := os.getloadavg()[0]) > _BUSY:
        progress.say(f"The machine is busy already (load {busy:.1f}): every side will be slower than it is.")
    report = Report(_about(order.load), {}, given.window, [])

    def keep(side: Side, trial: Trial | str) -> None:
        report.sides[side.name] = side.what
        if isinstance(trial, Trial):
            report.trials.append(trial)
        else:
            report.unmeasured.append(trial)
        if given.json is not None:
            given.json.write_text(json.dumps(report.as_json(), indent=1) + "\n")

    carry_out(order, Tell(progress, keep))
    return report


def _about(load: LoadSettings) -> dict[str, str]:
    cores = f"{len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.machine()}"
    asked = f"{load.clients} clients with one request at a time each, every second one streaming"
    return {
        "command": f"make bench-failover ARGS={shlex.quote(' '.join(sys.argv[1:]))}",
        "machine": f"{cores}, shared by clients, gateway, replicas and control plane",
        "load average of the minute before": f"{os.getloadavg()[0]:.1f}",
        "model": "SmolLM2-135M-Instruct on the CPU, one thread and two slots for each of three replicas",
        "load": f"{asked}, {load.tokens} tokens an answer, 20 s at most",
    }


if __name__ == "__main__":
    main()
