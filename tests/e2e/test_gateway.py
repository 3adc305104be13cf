"""Keys, plans and quotas on the whole stack, with the client that users have."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.stack import Stack, environment, write_steady_config
from tests.waiting import wait_for

pytestmark = pytest.mark.e2e

WAIT_S = 60.0
PLANS = """\
plans:
  - {name: gold, tokens_per_day: 1000000, priority: high}
  - {name: small, tokens_per_minute: 20}
"""
QUESTION: list[Any] = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="st-"))
    config = write_steady_config(folder, 1, PLANS)
    config.write_text(config.read_text().replace("    rollout:", '    "gateway": {access: keys}\n    rollout:'))
    made = Stack(config, folder / "state", environment(None))
    went = made.up("--runtime", "process")
    assert went.returncode == 0, went.stderr
    yield made
    made.stoker("down")
    shutil.rmtree(folder)


def create(stack: Stack, name: str, *options: str) -> dict[str, Any]:
    """A new key; the text of it is in it."""
    went = stack.stoker("keys", "create", name, *options, "--json")
    assert went.returncode == 0, went.stderr
    made: dict[str, Any] = json.loads(went.stdout)
    return made


def client(stack: Stack, key: str) -> openai.OpenAI:
    """To be closed by whoever asks for it."""
    return stack.client().with_options(api_key=key)


def speak(stack: Stack, key: str) -> int:
    """One stream; the tokens that it says it took."""
    with client(stack, key) as asker:
        chunks = asker.chat.completions.create(
            model="smollm2", messages=QUESTION, max_tokens=8, stream=True, stream_options={"include_usage": True}
        )
        return [chunk.usage.total_tokens for chunk in chunks if chunk.usage][-1]


def lets_in(stack: Stack, key: str) -> bool:
    with client(stack, key) as asker:
        try:
            asker.models.retrieve("smollm2")
        except openai.AuthenticationError:
            return False
    return True


def listed(stack: Stack, key_id: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(stack.stoker("keys", "list", "--json").stdout)
    return next(one for one in found if one["id"] == key_id)


def events(stack: Stack, event: str, key_id: str) -> list[dict[str, Any]]:
    return [
        one
        for one in stack.api("/api/v1/events?limit=1000")
        if one["event"] == event and one["subject"] == f"key/{key_id}"
    ]


def test_without_a_key_nobody_is_let_in(stack: Stack) -> None:
    with pytest.raises(openai.AuthenticationError):
        speak(stack, "none")


def test_a_key_is_let_in_and_its_tokens_are_counted(stack: Stack) -> None:
    made = create(stack, "reader", "--plan", "gold", "--model", "smollm2")
    wait_for(lambda: lets_in(stack, made["key"]), WAIT_S, "nginx knows it")

    used = speak(stack, made["key"]) + speak(stack, made["key"])

    assert used > 0
    wait_for(lambda: listed(stack, made["id"])["tokens_today"] == used, WAIT_S, f"{used} tokens")
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.port('edge')}/metrics", timeout=5) as page:
        assert f'key="{made["id"]}"' in page.read().decode()


def test_whose_tokens_are_used_up_comes_again_in_a_minute(stack: Stack) -> None:
    made = create(stack, "small", "--plan", "small")
    wait_for(lambda: lets_in(stack, made["key"]), WAIT_S, "nginx knows it")
    speak(stack, made["key"])

    def refused() -> openai.RateLimitError | None:
        try:
            speak(stack, made["key"])
        except openai.RateLimitError as error:
            return error
        return None

    error = wait_for(refused, WAIT_S, "the quota is used up")
    assert 0 < int(error.response.headers["retry-after"]) <= 62  # a minute, rounded up twice
    assert error.code == "rate_limit_exceeded"
    assert events(stack, "key_blocked", made["id"])
    wait_for(lambda: speak(stack, made["key"]) if not refused() else 0, 2 * WAIT_S, "it is let in again")


def test_a_revoked_key_ends_and_a_rotated_one_is_followed_by_another(stack: Stack) -> None:
    first, second = create(stack, "first"), create(stack, "second")
    wait_for(lambda: lets_in(stack, first["key"]) and lets_in(stack, second["key"]), WAIT_S, "nginx knows both")

    assert stack.stoker("keys", "revoke", first["id"]).returncode == 0
    rotated = json.loads(stack.stoker("keys", "rotate", second["id"], "--grace", "1h", "--json").stdout)

    wait_for(lambda: not lets_in(stack, first["key"]), WAIT_S, "the first is out")
    wait_for(lambda: lets_in(stack, rotated["key"]), WAIT_S, "the new one is in")
    assert lets_in(stack, second["key"])


def test_nginx_that_was_killed_knows_the_keys_without_the_controller(stack: Stack) -> None:
    made = create(stack, "keeper")
    wait_for(lambda: lets_in(stack, made["key"]), WAIT_S, "nginx knows it")
    controller = stack.process("controller.main")
    controller.send_signal(signal.SIGSTOP)
    try:
        master = stack.nginx()
        for process in (master, *master.children()):
            process.send_signal(signal.SIGKILL)
        wait_for(lambda: not master.is_running(), WAIT_S, "its end")

        def answers() -> bool:
            try:
                return lets_in(stack, made["key"]) and speak(stack, made["key"]) > 0
            except openai.APIConnectionError:
                return False

        wait_for(answers, WAIT_S, "an answer")
    finally:
        controller.send_signal(signal.SIGCONT)


def test_a_changed_plan_counts_after_apply(stack: Stack) -> None:
    made = create(stack, "fast", "--plan", "gold")
    wait_for(lambda: lets_in(stack, made["key"]), WAIT_S, "nginx knows it")
    text = stack.config.read_text()
    stack.config.write_text(text.replace("{name: gold,", "{name: gold, requests_per_second: 1,"))

    went = stack.stoker("apply", "--config", str(stack.config))

    assert went.returncode == 0, went.stderr

    def limited() -> bool:
        try:
            for _ in range(3):
                speak(stack, made["key"])
        except openai.RateLimitError:
            return True
        return False

    wait_for(limited, WAIT_S, "the limit")
