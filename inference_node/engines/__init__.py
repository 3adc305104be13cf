"""The engines that a replica can run, by the name in STOKER_ENGINE."""

from __future__ import annotations

from inference_node.engines import llamacpp
from inference_node.engines.contract import Engine

ENGINES: dict[str, Engine] = {"llamacpp": llamacpp.ENGINE}
