"""The process of the llama.cpp engine: serves OpenAI's API until SIGTERM, then finishes what is in flight.

The only module that imports xllamacpp. Started by the launcher; see `contract` for what the two say to each other.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import Any

from inference_node.configuration import Configuration, from_environment
from inference_node.engines.child import Reports, die_with_parent
from inference_node.engines.listener import connections_to, move_listener
from inference_node.engines.llamacpp import parse_metrics

HTTP_THREADS = 128  # a waiting client holds one; /health must never queue behind them
BATCH_TOKENS = 256  # of a prompt at a time: between two, the engine looks at its queue
DRAIN_CHECK_S = 0.1
QUIET_CHECKS = 10  # an idle kept-alive connection (a scraper's) does not hold the drain up for longer than this


def main() -> None:
    """Serve. Ends the process, never returns."""
    die_with_parent(os.environ)
    reports = Reports()
    # Before the engine's threads exist, so that all of them inherit it and SIGTERM waits for sigwait() below.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the launcher decides
    configuration = from_environment(os.environ)
    server, port = _start(configuration, reports)
    reports.send(listening=port)
    signal.sigwait({signal.SIGTERM})
    reports.send(draining=move_listener(configuration.host, port))
    _wait_until_idle(server, port)
    # Deleting the server can cut streams and hang: leave without it.
    os._exit(0)


def _start(configuration: Configuration, reports: Reports) -> tuple[Any, int]:
    """The server, which answers by now, and its port. Blocks while the checkpoint loads."""
    try:
        socket.create_server((configuration.host, configuration.engine_port)).close()
    except OSError as error:  # llama.cpp itself only says that something failed
        place = f"{configuration.host}:{configuration.engine_port}"
        reports.send(failed=f"The engine's address {place} cannot be had ({error.strerror}); choose a free port.")
        sys.exit(1)
    try:
        import xllamacpp  # here, so that a missing or broken package is told in a sentence too

        server = xllamacpp.Server(_parameters(xllamacpp, configuration))
    except (ImportError, RuntimeError, OSError, ValueError) as error:
        reason = str(error).rstrip(".")
        reports.send(failed=f"llama.cpp could not serve {configuration.checkpoint} ({reason}); its stderr says more.")
        sys.exit(1)
    return server, int(str(server.listening_address).rpartition(":")[2])


def _parameters(xllamacpp: Any, configuration: Configuration) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(configuration.checkpoint)
    parameters.model_alias = {configuration.model}
    parameters.hostnames = [configuration.host]
    parameters.port = configuration.engine_port
    parameters.n_parallel = configuration.slots
    parameters.n_ctx = configuration.slots * configuration.context_tokens
    parameters.n_batch = BATCH_TOKENS
    parameters.cpuparams.n_threads = configuration.threads
    parameters.cpuparams_batch.n_threads = configuration.threads
    parameters.n_threads_http = HTTP_THREADS
    parameters.cache_ram_mib = 0  # its default is a prompt cache of 8 GiB
    parameters.endpoint_metrics = parameters.endpoint_slots = True
    parameters.ui = False
    parameters.verbosity = 1  # warnings and errors: no line per request
    return parameters


def _wait_until_idle(server: Any, port: int) -> None:
    """Return once no request is computed, queued, being read or being sent."""
    quiet = 0
    while quiet < QUIET_CHECKS:
        samples = parse_metrics(server.handle_metrics())
        busy = samples["llamacpp:requests_processing"] + samples["llamacpp:requests_deferred"] > 0
        connections = connections_to(port)
        if not busy and connections.live == 0:
            return
        quiet = 0 if busy or connections.queued else quiet + 1
        time.sleep(DRAIN_CHECK_S)


if __name__ == "__main__":
    main()
