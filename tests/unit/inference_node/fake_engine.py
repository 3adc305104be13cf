"""An engine process without a model: speaks the contract, and a test sets its counters over HTTP.

    POST /control {"in_flight": 1, "waiting": 0, "ended": 7, "decoded": 3}   sets what is named
    GET  /pid                                                              whom to signal

Its first argument is what to do: `serve`, `refuse` (fails with a sentence), `mute` (makes no tokens).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from inference_node.engines.child import Reports, die_with_parent

STATE = {"in_flight": 0, "waiting": 0, "ended": 0, "decoded": 0}
MODE = sys.argv[1]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/metrics":
            self.answer(
                f"llamacpp:requests_processing {STATE['in_flight']}\n"
                f"llamacpp:requests_deferred {STATE['waiting']}\n"
                f"llamacpp:tokens_predicted_total {STATE['ended']}\n"
            )
        elif self.path == "/slots":
            self.answer(json.dumps([{"id": 0, "is_processing": True, "next_token": [{"n_decoded": STATE["decoded"]}]}]))
        else:
            self.answer(str(os.getpid()) if self.path == "/pid" else "ok")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/control":
            STATE.update(body)
            self.answer("ok")
        else:
            made = 0 if MODE == "mute" else 1
            STATE["ended"] += made
            self.answer(json.dumps({"usage": {"completion_tokens": made}}))

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    die_with_parent(os.environ)
    reports = Reports()
    if MODE == "refuse":
        reports.send(failed="There is no room for the model.")
        sys.exit(5)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    reports.send(listening=server.server_port)
    signal.sigwait({signal.SIGTERM})
    reports.send(draining=server.server_port)
    while STATE["in_flight"]:
        time.sleep(0.01)
    os._exit(0)


main()
