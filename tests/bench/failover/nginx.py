"""The nginx of the peers: how people configure it in front of model servers."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.temp_paths import temp_paths

WHAT = (
    "nginx with passive checks (max_fails=1 fail_timeout=10s, shared by the workers), proxy_next_upstream {retry}, "
    "proxy_connect_timeout 1s, its default proxy_read_timeout of 60 s, least_conn, no buffering, one connection to a "
    "replica per request"
)
RETRY = "error timeout"  # nginx's default: a POST that was sent is not sent again

_TEXT = """\
worker_processes auto;
user root;
pid nginx.pid;
error_log {folder}/error.log warn;
events {{
    worker_connections 1024;
}}
http {{
    access_log off;
    {resolver}
    upstream replicas {{
        zone replicas 256k;
        least_conn;
        keepalive 0;
{servers}
    }}
{temp_paths}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://replicas;
            proxy_http_version 1.1;
            proxy_set_header Connection close;
            proxy_buffering off;
            proxy_connect_timeout 1s;
            proxy_next_upstream {retry};
        }}
    }}
}}
"""


def configuration(listen: str, servers: Sequence[str], folder: str, *, retry: str = RETRY, resolver: str = "") -> str:
    """nginx.conf. `servers` are what comes after the word; `folder` is for what nginx writes."""
    lines = "\n".join(f"        server {server} max_fails=1 fail_timeout=10s;" for server in servers)
    paths = temp_paths(folder)
    return _TEXT.format(listen=listen, servers=lines, folder=folder, temp_paths=paths, retry=retry, resolver=resolver)
