"""`stoker cordon|drain|release --gpu`, and the GPUs of `stoker status`."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from controller.installation import Layout
from controller.stack import gpu_view
from controller.stack.order import Given, Named, give
from controller.stack.trouble import Trouble

GIB = 1024**3
CONFIG = """
pools: [{{name: small, model: small, checkpoint: /m.gguf}}]
ports: {{controller: {port}}}
"""
CARDS = [
    {"uuid": "GPU-1a2b3c4d-0000", "node": "a"},
    {"uuid": "GPU-1a2b3c4d-1111", "node": "b"},
    {"uuid": "GPU-9f8e7d6c-0000", "node": "b"},
]


@dataclass
class Api:
    """A controller that has these GPUs and takes every order."""

    folder: Path
    taken: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    told = Api(tmp_path)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(CARDS if self.path == "/api/v1/gpus" else [])

        def do_POST(self) -> None:
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.taken.append(wanted)
            self._say({**wanted, "at": "2026-01-05T12:00:00Z"})

        def _say(self, what: object) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(what).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    layout = Layout(tmp_path)
    layout.config.parent.mkdir(parents=True, exist_ok=True)
    layout.config.write_text(CONFIG.format(port=server.server_address[1]))
    layout.api_token.write_text("secret")
    yield told
    server.shutdown()
    server.server_close()


NAMES = [
    pytest.param(Named(gpu="GPU-9f"), "GPU-9f8e7d6c-0000", id="the beginning of one"),
    pytest.param(Named(gpu="GPU-1a2b3c4d-1111"), "GPU-1a2b3c4d-1111", id="all of it"),
    pytest.param(Named(gpu="GPU-1a2b", node="a"), "GPU-1a2b3c4d-0000", id="with its node"),
]


@pytest.mark.parametrize(("named", "uuid"), NAMES)
def test_a_gpu_by_the_beginning_of_its_uuid(api: Api, named: Named, uuid: str) -> None:
    give(api.folder, "cordon", named, "hot")

    assert api.taken == [{"kind": "cordon", "subject": f"gpu/{uuid}", "why": "hot"}]


TROUBLES = [
    (
        Named(gpu="GPU-1a2b"),
        "GPU-1a2b is the beginning of several UUIDs; write GPU-1a2b3c4d-0000 of a or GPU-1a2b3c4d-1111 of b",
    ),
    (Named(gpu="GPU-5"), "there is no GPU GPU-5; `stoker status` shows those that there are"),
    (Named(gpu="GPU-9f", node="a"), "there is no GPU GPU-9f on a; `stoker status` shows those that there are"),
    (Named(), "`stoker cordon` is given a name, or --gpu UUID with perhaps --node NAME"),
    (Named("small", "GPU-9f"), "`stoker cordon` is given a name, or --gpu UUID with perhaps --node NAME"),
    (Named("small", node="a"), "`stoker cordon` is given a name, or --gpu UUID with perhaps --node NAME"),
]


@pytest.mark.parametrize(("named", "why"), TROUBLES)
def test_what_names_none_is_refused_in_a_sentence(api: Api, named: Named, why: str) -> None:
    with pytest.raises(Trouble) as refused:
        give(api.folder, "cordon", named, "")

    assert str(refused.value) == why
    assert api.taken == []


@pytest.mark.parametrize(
    ("kind", "subject", "said"),
    [
        ("cordon", "gpu/GPU-9f", "Nothing new starts on GPU-9f; `stoker release --gpu GPU-9f` ends that."),
        ("cordon", "node/a", "Nothing new starts on a; `stoker release a` ends that."),
        (
            "drain",
            "gpu/GPU-9f",
            "What runs on GPU-9f is replaced elsewhere; nothing new starts there until `stoker release --gpu GPU-9f`.",
        ),
        ("release", "gpu/GPU-9f", "GPU-9f is released."),
    ],
)
def test_what_follows_is_said(capsys: pytest.CaptureFixture[str], kind: str, subject: str, said: str) -> None:
    Given({"kind": kind, "subject": subject}).print()

    assert capsys.readouterr().out == f"{said}\n"


ROW = {
    "uuid": "GPU-1a2b3c4d-0000",
    "node": "a",
    "model": "NVIDIA H200",
    "memory_used_bytes": 30 * GIB,
    "memory_total_bytes": 141 * GIB,
    "memory_free_bytes": 111 * GIB,
    "replicas": ["small-1", "small-2"],
    "cordon": None,
}
CORDON = {"at": "2026-01-05T12:00:00Z", "reason": "GpuFault", "why": "XID 48: it is broken", "advice": "reset it"}
CELLS = [
    pytest.param(
        ROW, ("GPU-1a2b3c4d", "a", "NVIDIA H200", "30 GiB of 141 GiB", "small-1, small-2", ""), id="all is known"
    ),
    pytest.param(
        {**ROW, "model": None, "memory_total_bytes": None, "replicas": []},
        ("GPU-1a2b3c4d", "a", "?", "111 GiB free", "-", ""),
        id="another exporter",
    ),
    pytest.param(
        {**ROW, "memory_total_bytes": None, "memory_free_bytes": None, "cordon": CORDON},
        ("GPU-1a2b3c4d", "a", "NVIDIA H200", "?", "small-1, small-2", "XID 48: it is broken; reset it"),
        id="lost",
    ),
    pytest.param(
        {**ROW, "cordon": {**CORDON, "advice": ""}},
        ("GPU-1a2b3c4d", "a", "NVIDIA H200", "30 GiB of 141 GiB", "small-1, small-2", "XID 48: it is broken"),
        id="no advice",
    ),
]


@pytest.mark.parametrize(("row", "cells"), CELLS)
def test_a_row_of_the_table(row: dict[str, Any], cells: tuple[str, ...]) -> None:
    assert gpu_view.gpu_cells(row) == cells


def test_the_table_holds_every_gpu() -> None:
    console = Console(width=150)
    with console.capture() as drawn:
        console.print(gpu_view.table([ROW, {**ROW, "uuid": "GPU-9f8e7d6c-0000", "cordon": CORDON}]))

    lines = drawn.get().splitlines()
    assert lines[0].strip() == "GPUs"
    assert [line.split()[0] for line in lines[1:]] == ["gpu", "GPU-1a2b3c4d", "GPU-9f8e7d6c"]
    assert lines[-1].rstrip().endswith("XID 48: it is broken; reset it")
