"""Plain nginx, as a sensible person puts it in front of model servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from controller.core.model import Address
from tests.bench.gateway_peers.contender import Contender, Running, spawned
from tests.bench.gateway_peers.engines import nginx_command, user_line
from tests.bench.temp_paths import temp_paths
from tests.e2e.stack import free_ports

_WHAT = (
    "the same nginx as a plain proxy: least_conn, 64 idle connections kept to the engines, no buffering of answers, "
    "the usual access log to a file"
)

_CONFIGURATION = """\
worker_processes auto;
{user}
pid nginx.pid;
events {{
    worker_connections 8192;
}}
http {{
    access_log {folder}/access.log;
    upstream engines {{
        zone engines 256k;
        least_conn;
{servers}
        keepalive 64;
    }}
    client_max_body_size 8m;
{temp_paths}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://engines;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 300s;
        }}
    }}
}}
"""


def contender() -> Contender:
    """Needs nothing but the nginx that Stoker has."""
    return Contender("nginx", _WHAT, _run)


def configuration(port: int, engines: Sequence[Address], folder: Path) -> str:
    """Its nginx.conf. `folder` is for what nginx writes."""
    servers = "\n".join(f"        server {address};" for address in engines)
    return _CONFIGURATION.format(
        user=user_line(), folder=folder, temp_paths=temp_paths(folder), servers=servers, port=port
    )


@contextmanager
def _run(engines: Sequence[Address], folder: Path) -> Iterator[Running]:
    (port,) = free_ports(1)
    (folder / "nginx.conf").write_text(configuration(port, engines, folder))
    with spawned(nginx_command(folder), port, folder) as running:
        yield running
