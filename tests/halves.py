"""`make test`: the suite in two halves beside each other.

What shares the Docker engine, or breaks it, spends most of its time waiting; everything else runs beside it. The output
of the second half is printed when both have ended. Exit code 0 where both passed.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile

_OF_DATABASES = ("anybody", "keys", "ledger_search", "lease", "overrides", "people", "people_kept", "postgres", "store")
DATABASES = tuple(f"tests/contract/test_{name}.py" for name in _OF_DATABASES)
CONTAINERS = "tests/integration/test_memory_kill.py"
# Where something of the first half can be done without an engine, it evens the two out.
ENGINE = ("tests/contract", *(f"--ignore={path}" for path in DATABASES), "tests/e2e", CONTAINERS)
FOLDERS = ("tests/architecture", "tests/unit", "tests/scenarios", "tests/integration")
OTHERS = (*FOLDERS, f"--ignore={CONTAINERS}", *DATABASES)
PYTEST = (sys.executable, "-m", "pytest")


def main() -> int:
    """Blocks for a quarter of an hour. Interrupted, it waits until both have cleaned up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        beside = subprocess.Popen([*PYTEST, "-p", "no:cacheprovider", *OTHERS], stdout=said, stderr=subprocess.STDOUT)
        first = subprocess.Popen([*PYTEST, *ENGINE])
        try:
            codes = [first.wait(), beside.wait()]
        except KeyboardInterrupt:
            for half in (first, beside):
                half.send_signal(signal.SIGINT)
            codes = [first.wait(), beside.wait()]
        said.seek(0)
        print(said.read())
    for half, code in zip(("what needs an engine", "the others"), codes, strict=True):
        print(f"{half}: {'passed' if code == 0 else f'exit code {code}'}")
    return max(codes, key=abs)


if __name__ == "__main__":
    sys.exit(main())
