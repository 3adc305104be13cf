"""What is asked: the bodies, and the text of the script with which wrk asks. Pure."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence

MODEL = "smollm2"
PATH = "/v1/chat/completions"
STREAMS, TOKENS_PER_S = 200, 50  # of each stream
CONNECTIONS = 64
PROMPTS, EXPONENT, ZIPF_REQUESTS = 1_000, 1.1, 20_000

_SYSTEM = "You answer questions of operators about a cluster of model servers, briefly and without guessing. "
_QUESTION = (
    "Below are the last lines of a log. Say in two sentences what went wrong, which replica it was, and what an "
    "operator should look at first. If the lines do not tell, say so. "
)
_LINES = "".join(
    f"12:00:{second:02} replica smollm2-{second % 4 + 1:03} answered 200 in 0.{second}12 s. " for second in range(11)
)


def body(question: str = _QUESTION + _LINES, user: int = 0, **others: object) -> bytes:
    """A chat completion, of 1 KB where nothing is given, and one that no cache keeps."""
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": question}]
    asked = {"model": MODEL, "messages": messages, "user": f"user-{user:04}", "temperature": 0.7, "max_tokens": 64}
    return json.dumps({**asked, **others}).encode()


def stream_body(number: int, seconds: float) -> bytes:
    """A stream as long as that, of a user of its own."""
    return body(user=number, stream=True, max_tokens=round(seconds * TOKENS_PER_S))


def zipf(distinct: int, count: int, exponent: float = EXPONENT, seed: int = 1) -> list[int]:
    """Numbers of prompts, as often as Zipf's law has it. Equal arguments give equal lists."""
    weights = list(itertools.accumulate(rank**-exponent for rank in range(1, distinct + 1)))
    return random.Random(seed).choices(range(distinct), cum_weights=weights, k=count)


def wrk_script(keys: Sequence[str] = (), users: int = CONNECTIONS) -> str:
    """Lua: POST a body of one user after the other, with one API key after the other where there are any."""
    return _SCRIPT.format(
        path=PATH,
        bodies=", ".join(f"[==[{body(user=user).decode()}]==]" for user in range(users)),
        keys=", ".join(json.dumps(key) for key in keys),
    )


# The requests are made once: a script that makes them as it goes would be the bottleneck.
_SCRIPT = """\
local bodies, keys = {{{bodies}}}, {{{keys}}}
local requests, at = {{}}, 0
wrk.method, wrk.path = "POST", "{path}"
wrk.headers["Content-Type"] = "application/json"

init = function()
    for i = 1, math.max(#bodies, #keys) do
        if #keys > 0 then
            wrk.headers["Authorization"] = "Bearer " .. keys[(i - 1) % #keys + 1]
        end
        requests[i] = wrk.format(nil, nil, nil, bodies[(i - 1) % #bodies + 1])
    end
end

request = function()
    at = at % #requests + 1
    return requests[at]
end

done = function(summary, latency)
    local e = summary.errors
    io.write(string.format('{{"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"errors":%d}}\\n', summary.requests,
        summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        e.connect + e.read + e.write + e.status + e.timeout))
end
"""
