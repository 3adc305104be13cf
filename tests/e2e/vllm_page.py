"""What a vLLM of a replica would tell Prometheus, under vLLM's own names; no GPU is needed for a page."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PAGE = """\
vllm:num_requests_running{{model_name="big"}} 3
vllm:num_requests_waiting{{model_name="big"}} 1
vllm:kv_cache_usage_perc{{model_name="big"}} 0.42
vllm:generation_tokens_total{{model_name="big"}} {tokens}
vllm:prefix_cache_queries_total{{model_name="big"}} {tokens}
vllm:prefix_cache_hits_total{{model_name="big"}} {hits}
vllm:time_to_first_token_seconds_bucket{{model_name="big",le="0.25"}} {hits}
vllm:time_to_first_token_seconds_bucket{{model_name="big",le="+Inf"}} {tokens}
"""


class _Page(BaseHTTPRequestHandler):
    """100 tokens in a second, of prompts of which it has half."""

    def do_GET(self) -> None:
        made = int(time.time() * 100)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(_PAGE.format(tokens=made, hits=made // 2).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def served() -> Iterator[int]:
    """The port of this machine that it is on."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
