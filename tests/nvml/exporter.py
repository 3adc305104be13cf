"""The GPU exporter as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType

import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.running_nginx import free_port
from tests.nvml.library import World
from tests.waiting import wait_for

Labels = dict[str, str]


class Page:
    """What one scrape said."""

    def __init__(self, text: str) -> None:
        self.text = text
        # Without the types: a parser that knows that something is a counter gives it a `_total` at its end.
        untyped = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("# TYPE"))
        families = list(text_string_to_metric_families(untyped))
        self.samples = [(sample.name, sample.labels, sample.value) for one in families for sample in one.samples]

    def value(self, name: str, **labels: str | int) -> float | None:
        """Of the one sample that has at least these labels; None: there is none."""
        found = self.all(name, **labels)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def all(self, name: str, **labels: str | int) -> list[tuple[Labels, float]]:
        """Labels and values of those that have at least these labels."""
        wanted = {label: str(value) for label, value in labels.items()}
        return [(had, value) for known, had, value in self.samples if known == name and wanted.items() <= had.items()]

    def names(self) -> set[str]:
        """Of all metrics."""
        return {name for name, _, _ in self.samples}


class RunningExporter:
    """Runs from its construction until the end of the `with`."""

    def __init__(self, folder: Path, world: World | None, *more: str) -> None:
        """`world`: None is a machine without NVML."""
        self.port = free_port()
        self.log = folder / "exporter.log"
        environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
        command = [sys.executable, "-m", "exporters.gpu", "--port", str(self.port), "--node", "gpu-1", *more]
        with self.log.open("wb") as log:
            self.process = psutil.Popen(
                command, env=environment | (world.environment() if world else {}), stdout=log, stderr=log
            )

    def __enter__(self) -> RunningExporter:
        try:
            wait_for(self.answers, 20, "the exporter answers")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def answers(self) -> bool:
        """Whether it gives a page."""
        assert self.process.poll() is None, self.said()
        try:
            return bool(self.page().samples)
        except OSError:
            return False

    def page(self) -> Page:
        """What it says now."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            return Page(answer.read().decode())

    def timed(self) -> tuple[Page, float]:
        """The same, and how long it took in seconds."""
        began = time.monotonic()
        return self.page(), time.monotonic() - began

    def until(self, name: str, wanted: float | None, **labels: str | int) -> Page:
        """The first page on which that sample has this value."""
        last: list[Page] = []

        def agrees() -> bool:
            last[:] = [self.page()]
            return last[0].value(name, **labels) == wanted

        wait_for(agrees, 20, f"{name} {labels} is {wanted}")
        return last[0]

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(encoding="utf-8")

    def _end(self) -> None:
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise
