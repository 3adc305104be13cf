"""What can be played, by what is written on a command line: a file's name, or `synthetic:KIND?...`."""

from __future__ import annotations

from pathlib import Path

from controller.simulate import synthetic, traces
from controller.simulate.traces import BytesRead, Workload


def workload(text: str, progress: BytesRead | None = None) -> Workload:
    """Read the file, or get ready to make the requests.

    Raises:
        TraceError: it cannot be played.
    """
    return synthetic.parse(text) if text.startswith(synthetic.PREFIX) else traces.load(Path(text), progress)
