"""Mock engines, far faster than what stands in front of them: nginx for whole answers, one process for streams."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.adapters.nginx.config import nginx_binary
from controller.core.model import Address
from tests.bench.gateway_peers.contender import Running, spawned
from tests.bench.gateway_peers.workload import MODEL, TOKENS_PER_S
from tests.bench.temp_paths import temp_paths
from tests.e2e.stack import free_ports

COUNT = 4

# $request_id is nginx's own: an answer out of a cache has an id that was seen before.
_ANSWER = json.dumps(
    {
        "id": "chatcmpl-$request_id",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "The replica answered every request of these seconds; the lines show no failure. Look "
                    "at its queue first, and at the time to the first token.",
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 214, "completion_tokens": 31, "total_tokens": 245},
    }
)

# A client of such an engine keeps its connection for as long as it likes.
_CONFIGURATION = """\
worker_processes 1;
{user}
pid nginx.pid;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    keepalive_requests 1000000000;
    default_type application/json;
{temp_paths}
    server {{
{listens}
        location / {{
            return 200 '{{"status":"ok"}}';
        }}
        location = /v1/models {{
            return 200 '{{"object":"list","data":[{{"id":"{model}","object":"model","owned_by":"bench"}}]}}';
        }}
        location = /v1/chat/completions {{
            return 200 '{answer}';
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Engines:
    """Engines that run, all in one process or under one."""

    addresses: tuple[Address, ...]
    running: Running  # asked by itself it is the first of them


@contextmanager
def whole_answers(folder: Path) -> Iterator[Engines]:
    """Each answers at once, with a whole chat completion."""
    ports = free_ports(COUNT)
    listens = "\n".join(f"        listen 127.0.0.1:{port} backlog=4096;" for port in ports)
    text = _CONFIGURATION.format(
        user=user_line(), temp_paths=temp_paths(folder), listens=listens, model=MODEL, answer=_ANSWER
    )
    (folder / "nginx.conf").write_text(text)
    with spawned(nginx_command(folder), ports[0], folder) as running:
        yield Engines(_addresses(ports), running)


@contextmanager
def streams(folder: Path, lifetime_s: float) -> Iterator[Engines]:
    """Each streams a token every 20 ms to everybody who asks. They end by themselves after `lifetime_s`."""
    ports = free_ports(COUNT)
    options = ["--pace", str(TOKENS_PER_S), "--lifetime", str(lifetime_s)]
    command = [sys.executable, "-m", "tests.bench.gateway_peers.stream_engine", *map(str, ports), *options]
    with spawned(command, ports[0], folder) as running:
        yield Engines(_addresses(ports), running)


def nginx_command(folder: Path) -> list[str]:
    """An nginx in the foreground, on the nginx.conf of the folder."""
    return [str(nginx_binary()), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]


def user_line() -> str:
    """The line with which root's workers stay root: they write into a folder that nobody else can enter."""
    return "user root;" if os.geteuid() == 0 else ""


def _addresses(ports: Sequence[int]) -> tuple[Address, ...]:
    return tuple(Address("127.0.0.1", port) for port in ports)
