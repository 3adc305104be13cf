"""`python -m inference_node`: read the environment, run the launcher, exit with its code."""

from __future__ import annotations

import os
import signal
import sys

from inference_node.configuration import ConfigurationError, from_environment
from inference_node.engines import ENGINES
from inference_node.launcher import EXIT_CANNOT_START, Launcher

EXIT_BAD_CONFIGURATION = 78


def main() -> int:
    """Exit codes: 0 drained, 1 engine failed, 2 cannot start, 3 requests were cut, 78 wrong environment."""
    try:
        configuration = from_environment(os.environ)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_BAD_CONFIGURATION
    launcher = Launcher(configuration, ENGINES[configuration.engine])
    # Process 1 of a container has no default handlers: without these, SIGTERM would do nothing.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: launcher.request_stop())
    try:
        return launcher.run()
    except OSError as error:
        sys.stderr.write(
            f"The launcher of {configuration.replica} cannot start: {error.strerror}"
            f" (port {configuration.launcher_port}, endpoints file {configuration.endpoints_file}).\n"
        )
        return EXIT_CANNOT_START


if __name__ == "__main__":
    sys.exit(main())
