"""`alerting.webhook`: whom the controller itself tells of alerts, with and without an Alertmanager."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from controller.faults import ConfigError
from controller.settings.secrets import SecretUrl, owners_only
from controller.settings.values import AbsolutePath, Duration, Section

_LIKE = "http://HOST/PATH or https://HOST/PATH"
_CHARACTERS = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~:/?@!$&'()*+,;=%-]*)?")
_LONGEST_URL = 2048
_URL = SecretUrl(key="webhook.url_file", whose="the webhook's", pattern=_CHARACTERS, like=_LIKE)
_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,63}): *([!-~](?:[ -~]{0,1022}[!-~])?)")
_OURS = ("content-length", "content-type", "host", "transfer-encoding", "connection")
_HEADERS_KEY = "webhook.headers_file"


def _fault(url: str) -> str | None:
    """What is wrong with it, without repeating it: it may be a secret."""
    if "@" in url.partition("://")[2].partition("/")[0]:
        return "has a user or a password in it; give those as an Authorization header in headers_file"
    if _CHARACTERS.fullmatch(url) is None or len(url) > _LONGEST_URL:
        return f"is no address to post to; write {_LIKE}, of at most {_LONGEST_URL} characters"
    try:
        parts = urlsplit(url)
        fine = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, or half an IPv6 address
        fine = False
    return None if fine else f"has no host and port that can be; write {_LIKE}"


def _url(value: str) -> str:
    fault = _fault(value)
    if fault is not None:
        raise ValueError(f"the URL {fault}")
    return value


class OwnWebhookSettings(Section):
    """Who takes Alertmanager's JSON from the controller. What is secret stands in files of mode 0600."""

    url: Annotated[str, AfterValidator(_url)] | None = None
    url_file: Annotated[AbsolutePath, BeforeValidator(_URL.no_url())] | None = None
    headers_file: AbsolutePath | None = None
    repeat_interval: Duration = Field(default=timedelta(hours=4), ge=timedelta(minutes=1))
    timeout: Duration = Field(default=timedelta(seconds=5), le=timedelta(minutes=1))

    @model_validator(mode="after")
    def _one_of_them(self) -> OwnWebhookSettings:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give either url, or url_file where the URL is a secret")
        return self

    def address(self) -> str:
        """Where to post, read now.

        Raises:
            ConfigError: the file cannot be read, others may use it, or it holds no such URL. Nothing of it is told.
        """
        if self.url is not None:
            return self.url
        path = Path(self.url_file or "")
        text = owners_only(path, _URL.key, f"{_URL.whose} URL")
        fault = _fault(text)
        if fault is not None:
            raise ConfigError(f"{path}: the URL in it {fault}")
        return text

    def headers(self) -> dict[str, str]:
        """Those that are sent with each message, read now. Raises `ConfigError` like `address`."""
        if self.headers_file is None:
            return {}
        path, found = Path(self.headers_file), {}
        for number, line in enumerate(owners_only(path, _HEADERS_KEY, "headers").splitlines(), start=1):
            match = _HEADER.fullmatch(line.strip())
            if match is None:
                raise ConfigError(f"{path}:{number}: is no header; write NAME: VALUE, one on each line")
            if match[1].lower() in _OURS:
                raise ConfigError(f"{path}:{number}: {match[1]} follows from the message; take it out")
            found[match[1]] = match[2]
        return found
