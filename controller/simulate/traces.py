"""Recorded traces: a file -> requests in the order of their arrival.

Two public formats are read: the Azure LLM inference traces (CSV) and those of Mooncake (JSON lines). A line that makes
no sense is counted and named, and the rest is played; a file of which nothing is left, or whose time goes back, is
refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from controller.simulate.errors import TraceError

BytesRead = Callable[[int], None]  # told now and then how far the reading is

NAMED = 20  # malformed lines that are kept with their reason
MOST_TOKENS = 10_000_000  # of a prompt or an answer: above every model's context
LONGEST_LINE = 4 << 20
_REPORT_EVERY = 4096  # lines
_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_MOONCAKE = ("timestamp", "input_length", "output_length")


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `at_s` counts from the trace's start."""

    at_s: float
    prompt_tokens: int
    output_tokens: int


class Workload(Protocol):
    """What can be played: a recorded trace or a synthetic one. Iterating begins anew each time."""

    @property
    def name(self) -> str: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def mean_prompt_tokens(self) -> float: ...
    @property
    def mean_output_tokens(self) -> float: ...
    @property
    def outages(self) -> tuple[tuple[float, float], ...]:
        """Times from which to which no metric can be read."""
        ...

    def __iter__(self) -> Iterator[Request]: ...


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded trace. `malformed` names the first lines that were left out, of `malformed_count` in all."""

    name: str
    requests: tuple[Request, ...]
    malformed: tuple[tuple[int, str], ...] = ()
    malformed_count: int = 0
    outages: tuple[tuple[float, float], ...] = ()

    @property
    def duration_s(self) -> float:
        """From the start to the last arrival."""
        return self.requests[-1].at_s

    @property
    def mean_prompt_tokens(self) -> float:
        """Over all requests."""
        return math.fsum(request.prompt_tokens for request in self.requests) / len(self.requests)

    @property
    def mean_output_tokens(self) -> float:
        """Over all requests."""
        return math.fsum(request.output_tokens for request in self.requests) / len(self.requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests)


class _Malformed(ValueError):
    """Why one line is left out."""


Parse = Callable[[str], tuple[float, int, int]]  # a line -> seconds on the trace's own clock, prompt, answer


@dataclass(slots=True)
class _Reading:
    """A trace that is being read."""

    path: Path
    requests: list[Request] = field(default_factory=list)
    malformed: list[tuple[int, str]] = field(default_factory=list)
    malformed_count: int = 0
    start: float | None = None

    def take(self, number: int, line: str, parse: Parse) -> None:
        """Add one line."""
        try:
            at, prompt, output = parse(line)
        except _Malformed as error:
            self.malformed_count += 1
            if len(self.malformed) < NAMED:
                self.malformed.append((number, str(error)))
            return
        if self.start is None:
            self.start = at
        at_s = at - self.start
        if self.requests and at_s < self.requests[-1].at_s:
            back = self.requests[-1].at_s - at_s
            raise TraceError(
                f"{self.path}, line {number}: the time goes back by {back:g} s; sort the lines by their time"
            )
        self.requests.append(Request(at_s, prompt, output))

    def trace(self) -> Trace:
        """What was read."""
        if self.requests:
            return Trace(self.path.name, tuple(self.requests), tuple(self.malformed), self.malformed_count)
        if self.malformed:
            number, why = self.malformed[0]
            raise TraceError(f"{self.path} has no usable line: line {number}: {why}")
        raise TraceError(f"{self.path} has no request in it; a trace has one line for each request")


def load(path: Path, progress: BytesRead | None = None) -> Trace:
    """Read a trace; the format is seen from its first line.

    A request without an answer (0 output tokens) counts as malformed: it was cancelled or refused where the trace was
    recorded, and has no time to the first token that could be met or missed.

    Raises:
        TraceError: it cannot be read, is of no known format, has no usable line, or its time goes back.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file, progress)
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror or error}; give a file that exists") from error


def _read(path: Path, file: BinaryIO, progress: BytesRead | None) -> Trace:
    reading, parse, done = _Reading(path), None, 0
    number = 0
    for number, raw in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
        done += len(raw)
        if progress is not None and number % _REPORT_EVERY == 0:
            progress(done)
        line = _text(path, number, raw)
        if not line:
            continue
        if parse is None:
            parse, is_header = _format(path, number, line)
            if is_header:
                continue
        reading.take(number, line, parse)
    if progress is not None:
        progress(done)
    return reading.trace()


def _text(path: Path, number: int, raw: bytes) -> str:
    if len(raw) == LONGEST_LINE:
        raise TraceError(f"{path}, line {number} is longer than {LONGEST_LINE >> 20} MiB; a trace has short lines")
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}, line {number} is not UTF-8 text; give a CSV or JSON lines file") from error


def _format(path: Path, number: int, line: str) -> tuple[Parse, bool]:
    """How to parse, and whether this first line is only a header."""
    if line.startswith("{") or path.suffix == ".jsonl":
        return _mooncake, False
    columns = [column.strip() for column in line.split(",")]
    missing = [name for name in _AZURE if name not in columns]
    if not missing:
        return _azure([columns.index(name) for name in _AZURE], len(columns)), True
    if len(missing) < len(_AZURE) or path.suffix == ".csv":
        raise TraceError(
            f"{path}, line {number}: the header lacks {' and '.join(missing)}; it must have {','.join(_AZURE)}"
        )
    raise TraceError(
        f"{path}, line {number}: unknown format; give a CSV file with the columns {','.join(_AZURE)}, "
        f"or JSON lines with {', '.join(_MOONCAKE)}"
    )


def _azure(places: list[int], columns: int) -> Parse:
    """A parser of lines such as `2023-11-16 18:17:03.9799600,4808,10`."""
    at_column, prompt_column, output_column = places

    def parse(line: str) -> tuple[float, int, int]:
        cells = line.split(",")
        if len(cells) != columns:
            raise _Malformed(f"{len(cells)} columns where the header has {columns}")
        return (
            _moment(cells[at_column]),
            _tokens(cells[prompt_column], "ContextTokens"),
            _tokens(cells[output_column], "GeneratedTokens"),
        )

    return parse


def _moment(text: str) -> float:
    """Seconds since the epoch; without a zone it is UTC. Digits below the microsecond are dropped."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _Malformed(f"TIMESTAMP {_short(text)} is no date and time") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _mooncake(line: str) -> tuple[float, int, int]:
    """A line such as `{"timestamp": 40, "input_length": 23769, "output_length": 3}`, in milliseconds."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise _Malformed(f"{_short(line)} is no JSON object") from None
    if not isinstance(row, dict):
        raise _Malformed(f"{_short(line)} is no JSON object")
    missing = [name for name in _MOONCAKE if name not in row]
    if missing:
        raise _Malformed(f"it lacks {' and '.join(missing)}")
    at, prompt, output = (row[name] for name in _MOONCAKE)
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < 1e15:
        raise _Malformed(f"timestamp {_short(at)} is no time in milliseconds")
    return at / 1000, _tokens(prompt, "input_length"), _tokens(output, "output_length")


def _tokens(value: object, name: str) -> int:
    """A count of tokens; from CSV it is still text."""
    count = int(value) if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20 else value
    if isinstance(count, bool) or not isinstance(count, int):
        raise _Malformed(f"{name} {_short(value)} is no count of tokens")
    if not 1 <= count <= MOST_TOKENS:
        raise _Malformed(f"{name} {_short(count)} is not between 1 and {MOST_TOKENS}")
    return count


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
