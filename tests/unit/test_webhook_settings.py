"""`alerting.webhook`: every way to get it wrong, what its files hold, and that nothing of a secret is repeated."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from controller.settings import ConfigError, parse
from controller.settings.webhook import OwnWebhookSettings

POOL = "pools:\n  - {name: small, model: small, checkpoint: small.gguf}\n"
SECRET = "https://hooks.example.org/services/T0/B0/hunter2"


def webhook(text: str) -> OwnWebhookSettings:
    found = parse(f"{POOL}alerting: {{webhook: {{{text}}}}}\n", "c.yaml").alerting.webhook
    assert found is not None
    return found


def secret(folder: Path, text: str, mode: int = 0o600, name: str = "secret") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


def test_without_one_nobody_is_told() -> None:
    assert parse(POOL, "c.yaml").alerting.webhook is None


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_it_goes_with_an_alertmanager_and_without(enabled: str) -> None:
    text = f"{POOL}alerting: {{enabled: {enabled}, webhook: {{url: 'http://127.0.0.1:9/x'}}}}\n"
    found = parse(text, "c.yaml").alerting

    assert found.enabled is (enabled == "true")
    assert found.webhook is not None
    assert found.webhook.address() == "http://127.0.0.1:9/x"
    assert found.webhook.headers() == {}
    assert (found.webhook.repeat_interval, found.webhook.timeout) == (timedelta(hours=4), timedelta(seconds=5))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9099",
        "http://[::1]:9099/",
        "https://alerts.example.org/in?team=ml&token=%20x",
        "https://hooks.example.org/services/T0/B0/a~b@c",
    ],
)
def test_urls_that_are_taken(url: str) -> None:
    assert webhook(f"url: '{url}'").address() == url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("url: 'ftp://h/x'", "is no address to post to; write http://HOST/PATH", id="another scheme"),
        pytest.param("url: '//h/x'", "is no address to post to", id="no scheme"),
        pytest.param("url: 'http://'", "is no address to post to", id="no host"),
        pytest.param("url: 'http://h/a b'", "is no address to post to", id="a blank"),
        pytest.param('url: "http://h/a\\nb"', "is no address to post to", id="a line break"),
        pytest.param("url: 'http://h/x#y'", "is no address to post to", id="a fragment"),
        pytest.param("url: 'http://h\\evil/x'", "is no address to post to", id="a backslash"),
        pytest.param("url: 'http://h:99999/x'", "has no host and port that can be", id="no such port"),
        pytest.param("url: 'http://h:0/x'", "has no host and port that can be", id="port 0"),
        pytest.param("url: 'http://[::1/x'", "has no host and port that can be", id="half an address"),
        pytest.param(f"url: 'http://h/{'x' * 2048}'", "of at most 2048 characters", id="too long"),
        pytest.param("url: 'http://ops:hunter2@h/x'", "give those as an Authorization header", id="a password"),
        pytest.param("url: 7", "should be a valid string", id="a number"),
        pytest.param("timeout: 5s", "give either url, or url_file", id="no URL"),
        pytest.param("url: 'http://h/x', url_file: /run/url", "give either url, or url_file", id="two"),
        pytest.param(f"url_file: '{SECRET}'", "write the URL into a file of mode 0600", id="the URL instead of a file"),
        pytest.param("url_file: url", "is no absolute path", id="a relative path"),
        pytest.param("url: 'http://h/x', repeat_interval: 59s", "repeat_interval", id="repeated all the time"),
        pytest.param("url: 'http://h/x', timeout: 61s", "timeout", id="too patient"),
        pytest.param("url: 'http://h/x', timeout: 5", "is no duration", id="no unit"),
        pytest.param("url: 'http://h/x', headers: {A: b}", "unknown key `alerting.webhook.headers`", id="unknown key"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        webhook(text)

    assert said in str(refused.value)
    assert "alerting.webhook" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_secret_url_and_headers_are_what_their_files_hold(tmp_path: Path) -> None:
    url = secret(tmp_path, SECRET + "\n", 0o400)
    assert webhook(f"url_file: {url}").address() == SECRET

    headers = secret(tmp_path, "Authorization: Bearer hunter2\nX-Team:ml\n\n", name="headers")
    found = webhook(f"url: 'http://h/x', headers_file: {headers}")
    assert found.headers() == {"Authorization": "Bearer hunter2", "X-Team": "ml"}
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        pytest.param(SECRET, 0o644, "others than its owner may use it (mode 0644); chmod 600 it", id="for all"),
        pytest.param("hunter2", 0o600, "the URL in it is no address to post to", id="no URL"),
        pytest.param(f"{SECRET}\n{SECRET}", 0o600, "is no address to post to", id="two"),
        pytest.param("https://a:hunter2@h/x", 0o600, "has a user or a password in it", id="a password"),
        pytest.param("", 0o600, "is no address to post to", id="empty"),
        pytest.param(None, 0o600, "cannot be read (No such file or directory)", id="missing"),
    ],
)
def test_a_file_that_is_not_the_place_of_a_url(tmp_path: Path, text: str | None, mode: int, said: str) -> None:
    file = tmp_path / "secret" if text is None else secret(tmp_path, text, mode)
    with pytest.raises(ConfigError) as refused:
        webhook(f"url_file: {file}").address()

    assert str(refused.value).startswith(f"{file}: ")
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("Authorization Bearer hunter2", ":1: is no header; write NAME: VALUE", id="no colon"),
        pytest.param("A: b\nX-Bad\x00: hunter2", ":2: is no header", id="a NUL"),
        pytest.param("A: b\n: hunter2", ":2: is no header", id="no name"),
        pytest.param("A: schön hunter2", ":1: is no header", id="not ASCII"),
        pytest.param("A:", ":1: is no header", id="no value"),
        pytest.param("Host: hunter2", ":1: Host follows from the message; take it out", id="ours"),
        pytest.param("content-length: 5", ":1: content-length follows from the message", id="ours in small letters"),
    ],
)
def test_headers_that_cannot_be_sent(tmp_path: Path, text: str, said: str) -> None:
    file = secret(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        webhook(f"url: 'http://h/x', headers_file: {file}").headers()

    assert str(refused.value).startswith(f"{file}{said}")
    assert "hunter2" not in str(refused.value)
