"""The environment is checked once, and every fault names its variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_node.configuration import ConfigurationError, from_environment

GOOD = {
    "STOKER_POOL": "demo",
    "STOKER_REPLICA": "demo-1",
    "STOKER_SPEC_HASH": "abc",
    "STOKER_MODEL": "smollm2",
    "STOKER_ENGINE": "llamacpp",
    "STOKER_CHECKPOINT": "/models/a.gguf",
    "STOKER_SLOTS": "2",
    "STOKER_CONTEXT_TOKENS": "1024",
    "STOKER_THREADS": "1",
    "STOKER_DRAIN_TIMEOUT_S": "30.5",
}


def test_defaults_are_loopback_and_free_ports() -> None:
    configuration = from_environment(GOOD)

    assert (configuration.host, configuration.engine_port, configuration.launcher_port) == ("127.0.0.1", 0, 0)
    assert configuration.endpoints_file is None
    assert (configuration.slots, configuration.drain_timeout_s) == (2, 30.5)


def test_every_optional_variable_is_read() -> None:
    given = {
        "STOKER_HOST": "0.0.0.0",
        "STOKER_ENGINE_PORT": "8000",
        "STOKER_LAUNCHER_PORT": "9000",
        "STOKER_ENDPOINTS_FILE": "/run/stoker/demo-1.json",
    }

    configuration = from_environment({**GOOD, **given})

    assert (configuration.host, configuration.engine_port, configuration.launcher_port) == ("0.0.0.0", 8000, 9000)
    assert configuration.endpoints_file == Path("/run/stoker/demo-1.json")


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is missing;"):
        from_environment({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        pytest.param("STOKER_POOL", "  ", "not empty", id="blank text"),
        pytest.param("STOKER_ENGINE", "vllm", "llamacpp", id="unknown engine"),
        pytest.param("STOKER_CHECKPOINT", "a.gguf", "absolute path", id="relative path"),
        pytest.param("STOKER_SLOTS", "0", "from 1 to 256", id="no slots"),
        pytest.param("STOKER_SLOTS", "-1", "from 1 to 256", id="negative"),
        pytest.param("STOKER_SLOTS", "2.0", "whole number", id="a fraction"),
        pytest.param("STOKER_SLOTS", "²", "whole number", id="a digit that is no ASCII"),
        pytest.param("STOKER_CONTEXT_TOKENS", "63", "from 64", id="context too short"),
        pytest.param("STOKER_THREADS", "many", "whole number", id="a word"),
        pytest.param("STOKER_DRAIN_TIMEOUT_S", "30s", "number of seconds", id="a unit"),
        pytest.param("STOKER_DRAIN_TIMEOUT_S", "-1", "0 or more", id="negative seconds"),
        pytest.param("STOKER_DRAIN_TIMEOUT_S", "nan", "number of seconds", id="not a number"),
        pytest.param("STOKER_DRAIN_TIMEOUT_S", "inf", "number of seconds", id="for ever"),
        pytest.param("STOKER_HOST", "localhost", "IPv4 address", id="a host name"),
        pytest.param("STOKER_ENGINE_PORT", "65536", "from 0 to 65535", id="no such port"),
        pytest.param("STOKER_ENDPOINTS_FILE", "here.json", "absolute path", id="relative endpoints file"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(name: str, value: str, right: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is ") as caught:
        from_environment({**GOOD, name: value})

    assert right in str(caught.value)
    assert "\n" not in str(caught.value)
