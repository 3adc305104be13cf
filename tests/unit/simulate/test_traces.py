"""Trace files, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.simulate import traces
from controller.simulate.errors import TraceError
from controller.simulate.traces import Request, load
from controller.simulate.workloads import workload
from tests.unit.simulate.places import AZURE, MOONCAKE, public_trace

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"


def write(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_azure_as_it_is_published(tmp_path: Path) -> None:
    lines = [HEADER, "2023-11-16 18:17:03.9799600,4808,10", "2023-11-16 18:17:04.0319600,3180,8"]
    trace = load(write(tmp_path, "\r\n".join(lines)))

    assert trace.requests == (Request(0.0, 4808, 10), Request(pytest.approx(0.052, abs=1e-6), 3180, 8))
    assert (trace.name, trace.malformed, trace.malformed_count) == ("trace.csv", (), 0)
    assert trace.duration_s == pytest.approx(0.052, abs=1e-6)
    assert (trace.mean_prompt_tokens, trace.mean_output_tokens) == (3994, 9)


@pytest.mark.parametrize(
    ("header", "line"),
    [
        pytest.param("GeneratedTokens,TIMESTAMP,ContextTokens", "8,2024-05-10 00:00:00+00:00,7", id="another order"),
        pytest.param(f"{HEADER},More", "2024-05-10 00:00:00,7,8,x", id="another column"),
        pytest.param("\ufeffTIMESTAMP, ContextTokens ,GeneratedTokens", "2024-05-10T00:00:00.1Z,7, 8", id="spaces"),
    ],
)
def test_azure_in_other_dress(tmp_path: Path, header: str, line: str) -> None:
    assert load(write(tmp_path, f"{header}\n{line}\n")).requests == (Request(0.0, 7, 8),)


def test_mooncake_in_milliseconds_from_its_first_request(tmp_path: Path) -> None:
    rows = [
        '{"timestamp": 1000, "input_length": 40, "output_length": 6, "hash_ids": [0, 1]}',
        "",
        '{"timestamp": 1040.5, "input_length": 23, "output_length": 3}',
    ]
    trace = load(write(tmp_path, "\n".join(rows), "trace.jsonl"))

    assert trace.requests == (Request(0.0, 40, 6), Request(pytest.approx(0.0405), 23, 3))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("2023-11-16 18:17:05,7", "2 columns where the header has 3"),
        ("2023-11-16 18:17:05,7,8,9", "4 columns where the header has 3"),
        ("yesterday,7,8", "TIMESTAMP 'yesterday' is no date and time"),
        ("2023-11-16 18:17:05,seven,8", "ContextTokens 'seven' is no count of tokens"),
        ("2023-11-16 18:17:05,7.5,8", "ContextTokens '7.5' is no count of tokens"),
        ("2023-11-16 18:17:05,-7,8", "ContextTokens '-7' is no count of tokens"),
        ("2023-11-16 18:17:05,7,", "GeneratedTokens '' is no count of tokens"),
        ("2023-11-16 18:17:05,7,0", "GeneratedTokens '0' is not between 1 and 10000000"),
        ("2023-11-16 18:17:05,10000001,8", "ContextTokens '10000001' is not between 1 and 10000000"),
        (f"2023-11-16 18:17:05,{'9' * 60},8", f"ContextTokens '{'9' * 40}...' is no count of tokens"),
    ],
)
def test_a_malformed_azure_line_is_named_and_left_out(tmp_path: Path, line: str, why: str) -> None:
    trace = load(write(tmp_path, f"{HEADER}\n2023-11-16 18:17:04,1,1\n{line}\n2023-11-16 18:17:06,2,2"))

    assert trace.malformed == ((3, why),)
    assert trace.malformed_count == 1
    assert [request.at_s for request in trace] == [0.0, 2.0]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "'{' is no JSON object"),
        ("[" * 100_000, f"'{'[' * 40}...' is no JSON object"),
        ("7", "'7' is no JSON object"),
        ('{"timestamp": 5}', "it lacks input_length and output_length"),
        ('{"timestamp": "5", "input_length": 1, "output_length": 1}', "timestamp '5' is no time in milliseconds"),
        ('{"timestamp": -5, "input_length": 1, "output_length": 1}', "timestamp '-5' is no time in milliseconds"),
        ('{"timestamp": NaN, "input_length": 1, "output_length": 1}', "timestamp 'nan' is no time in milliseconds"),
        ('{"timestamp": true, "input_length": 1, "output_length": 1}', "timestamp 'True' is no time in milliseconds"),
        ('{"timestamp": 5, "input_length": true, "output_length": 1}', "input_length 'True' is no count of tokens"),
        ('{"timestamp": 5, "input_length": 1.5, "output_length": 1}', "input_length '1.5' is no count of tokens"),
        ('{"timestamp": 5, "input_length": null, "output_length": 1}', "input_length 'None' is no count of tokens"),
        (
            '{"timestamp": 5, "input_length": 1, "output_length": -1}',
            "output_length '-1' is not between 1 and 10000000",
        ),
    ],
)
def test_a_malformed_mooncake_line_is_named_and_left_out(tmp_path: Path, line: str, why: str) -> None:
    good = '{"timestamp": 5, "input_length": 1, "output_length": 1}'
    trace = load(write(tmp_path, f"{good}\n{line}\n{good}", "trace.jsonl"))

    assert (trace.malformed, len(trace.requests)) == (((2, why),), 2)


def test_malformed_lines_are_counted_and_the_first_ones_kept(tmp_path: Path) -> None:
    trace = load(write(tmp_path, f"{HEADER}\n2023-11-16 18:17:04,1,1\n" + "nonsense\n" * 1000))

    assert trace.malformed_count == 1000
    assert [number for number, _ in trace.malformed] == list(range(3, 3 + traces.NAMED))


def bad(name: str, text: str | bytes, *words: str, file: str = "trace.csv") -> object:
    return pytest.param(file, text if isinstance(text, bytes) else text.encode(), words, id=name)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        bad("empty", "", "has no request in it", "one line for each request"),
        bad("blank lines only", "\n\n\r\n", "has no request in it"),
        bad("header only", HEADER, "has no request in it"),
        bad("nothing usable", f"{HEADER}\nx,y,z", "no usable line", "line 2", "TIMESTAMP 'x' is no date and time"),
        bad("a column is missing", "TIMESTAMP,ContextTokens\n", "line 1", "the header lacks GeneratedTokens"),
        bad("no header", "2023-11-16 18:17:04,1,1\n", "line 1", "the header lacks TIMESTAMP and ContextTokens"),
        bad("unknown", "hello\n", "line 1", "unknown format", "ContextTokens", "input_length", file="notes.txt"),
        bad(
            "time goes back",
            f"{HEADER}\n2023-11-16 18:17:04,1,1\n2023-11-16 18:17:02.5,1,1\n",
            "line 3",
            "goes back by 1.5 s",
            "sort the lines",
        ),
        bad("not UTF-8", HEADER.encode() + b"\n2023-11-16 18:17:04,1,1\n\xff\xfe\n", "line 3", "not UTF-8"),
        bad("UTF-16", HEADER.encode("utf-16"), "line 1", "not UTF-8"),
        bad("one endless line", "x" * (traces.LONGEST_LINE + 1), "line 1", "longer than 4 MiB"),
        bad("binary", b"\0" * 100, "line 1", "unknown format", file="trace.bin"),
    ],
)
def test_what_cannot_be_played_is_refused(tmp_path: Path, file: str, content: bytes, words: tuple[str, ...]) -> None:
    path = tmp_path / file
    path.write_bytes(content)
    with pytest.raises(TraceError) as refused:
        load(path)

    text = str(refused.value)
    assert [word for word in (str(path), *words) if word not in text] == []
    assert "\n" not in text


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"nowhere\.csv cannot be read: No such file or directory; give a file"):
        load(tmp_path / "nowhere.csv")
    with pytest.raises(TraceError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_the_reading_is_told_in_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEADER}\n" + "2023-11-16 18:17:04,1,1\n" * 10_000)
    told: list[int] = []
    load(path, told.append)

    assert told == sorted(told)
    assert len(told) == 3
    assert told[-1] == path.stat().st_size


def test_the_public_azure_trace() -> None:
    trace = load(public_trace(AZURE))

    assert (len(trace.requests), trace.malformed_count) == (8819, 0)
    assert trace.duration_s == pytest.approx(3436, abs=1)
    assert trace.mean_prompt_tokens == pytest.approx(2048, abs=1)
    assert trace.mean_output_tokens == pytest.approx(27.9, abs=0.1)


def test_the_public_mooncake_trace() -> None:
    trace = load(public_trace(MOONCAKE))

    assert (len(trace.requests), trace.malformed_count) == (3993, 0)
    assert trace.duration_s == pytest.approx(1022, abs=1)


def test_a_workload_is_a_file_or_synthetic(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEADER}\n2023-11-16 18:17:04,1,1\n")

    assert workload(str(path)).name == "trace.csv"
    assert workload("synthetic:flat").name.startswith("synthetic:flat?")
