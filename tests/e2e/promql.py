"""What a test asks the Prometheus of a stack."""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.e2e.stack import Stack


class Refused(Exception):
    """Prometheus does not like the question, or has something to say about its answer."""


def get(stack: Stack, path: str, given: Mapping[str, str]) -> Any:
    """The data of an answer. Raises `Refused`."""
    url = f"http://127.0.0.1:{stack.port('prometheus')}/api/v1/{path}?{urllib.parse.urlencode(given)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        raise Refused(json.load(error).get("error", error.reason)) from error
    if found["status"] != "success" or found.get("warnings"):
        raise Refused(f"{found.get('error')} {found.get('warnings')}")
    return found["data"]


def now(stack: Stack, query: str, *labels: str) -> dict[str, float]:
    """The values as they are now, by these labels, `/` between them; NaN is left out."""
    series = get(stack, "query", {"query": query})["result"]
    told = {"/".join(one["metric"].get(label, "") for label in labels): float(one["value"][1]) for one in series}
    return {name: value for name, value in told.items() if not math.isnan(value)}


def lately(stack: Stack, query: str, seconds: float = 120.0, step: str = "5s") -> list[list[float]]:
    """The values of each series over that time; NaN and series without anything else are left out."""
    end = time.time()
    given = {"query": query, "start": f"{end - seconds:.3f}", "end": f"{end:.3f}", "step": step}
    series = get(stack, "query_range", given)["result"]
    known = [[float(value) for _, value in one["values"] if not math.isnan(float(value))] for one in series]
    return [values for values in known if values]
