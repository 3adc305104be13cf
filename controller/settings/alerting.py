"""`alerting`: whether Prometheus's alerts go through an Alertmanager of ours, and which people it tells."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from controller.settings.secrets import SecretUrl, read_secret
from controller.settings.values import AbsolutePath, Duration, DurationOrNone, Listed, Name, Section, matching
from controller.settings.webhook import OwnWebhookSettings

# No braces in any value: Alertmanager takes {{ for its own language.
_ADDRESS = re.compile(r"https?://[^\s{}\"'\\<>]{1,1000}")
_CHANNEL = matching(r"[#@]?[A-Za-z0-9._-]{1,80}", "is no channel; write one such as #operations")
_MAIL = matching(
    r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}", "is no e-mail address; write one such as ops@example.org"
)
_SMARTHOST = matching(
    r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):[0-9]{1,5}", "is no mail server; write HOST:PORT such as mail:587"
)
_USER = matching(r"[A-Za-z0-9._%+@-]{1,254}", "is no user name; use letters, digits and . _ % + @ -")
_SLACK_URL = SecretUrl(
    key="slack.url_file",
    whose="a Slack webhook's",
    pattern=re.compile(r"https?://\S+"),
    like="https://hooks.slack.com/services/...",
)
_WEBHOOK_URL = SecretUrl(
    key="webhook.url_file", whose="the webhook's", pattern=re.compile(r"https?://\S+"), like="https://HOST/PATH"
)


def _address(value: str) -> str:
    """Who repeats it may tell a password, so the refusals do not."""
    if "@" in value:
        raise ValueError(f"a user or password in it would be told to everybody; {_WEBHOOK_URL.advice}")
    if _ADDRESS.fullmatch(value) is None:
        raise ValueError("it is no address to post to; write http://HOST/PATH or https://HOST/PATH")
    return value


Severity = Literal["critical", "warning", "info"]


class WebhookSettings(Section):
    """A service that takes Alertmanager's own JSON. A URL that is a secret stands in a file of mode 0600."""

    url: Annotated[str, AfterValidator(_address)] | None = None
    url_file: Annotated[AbsolutePath, BeforeValidator(_WEBHOOK_URL.no_url())] | None = None
    token_file: AbsolutePath | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> WebhookSettings:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give either url, or url_file where the URL is a secret")
        return self


class SlackSettings(Section):
    """An incoming webhook of Slack, or of what speaks like it."""

    url_file: Annotated[AbsolutePath, BeforeValidator(_SLACK_URL.no_url())]
    channel: Annotated[str, _CHANNEL] | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, data: Any) -> Any:
        if isinstance(data, dict) and "url" in data:
            raise ValueError(_SLACK_URL.advice)
        return data


class EmailSettings(Section):
    """Mail through a server that takes it."""

    smarthost: Annotated[str, _SMARTHOST]
    sender: Annotated[str, _MAIL] = Field(alias="from")
    to: Annotated[tuple[Annotated[str, _MAIL], ...], Listed, Field(min_length=1, max_length=50)]
    username: Annotated[str, _USER] | None = None
    password_file: AbsolutePath | None = None
    tls: bool = True

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, data: Any) -> Any:
        if isinstance(data, dict) and "password" in data:
            raise ValueError(
                "this file is copied, shown and kept in repositories; write the password into a file of mode 0600 and "
                "give that file's path as password_file"
            )
        return data

    @model_validator(mode="after")
    def _possible(self) -> EmailSettings:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together; give both, or none")
        if self.password_file is not None and not self.tls:
            raise ValueError("without tls everybody on the way would read the password; say tls: true")
        return self


class ReceiverSettings(Section):
    """Somebody who is told."""

    name: Name
    severities: Annotated[tuple[Severity, ...], Listed, Field(min_length=1)] = ("critical", "warning")
    webhook: WebhookSettings | None = None
    slack: SlackSettings | None = None
    email: EmailSettings | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> ReceiverSettings:
        if [self.webhook, self.slack, self.email].count(None) != 2:
            raise ValueError(f"the receiver {self.name} needs one of webhook, slack, email, and no more than one")
        return self

    def secrets(self) -> None:
        """Read its secrets, to refuse early what Alertmanager could not use later.

        Raises:
            ConfigError: a file cannot be read, others may use it, or it holds something else. Nothing of it is told.
        """
        if self.webhook is not None and self.webhook.url_file is not None:
            _WEBHOOK_URL.read(Path(self.webhook.url_file))
        if self.webhook is not None and self.webhook.token_file is not None:
            read_secret(Path(self.webhook.token_file), "webhook.token_file", "the token of a webhook")
        if self.slack is not None:
            _SLACK_URL.read(Path(self.slack.url_file))
        if self.email is not None and self.email.password_file is not None:
            read_secret(Path(self.email.password_file), "email.password_file", "the password of a mail server")


class AlertingSettings(Section):
    """Alertmanager. The three times are those of people's receivers; the controller is told at once."""

    enabled: bool = True
    group_wait: DurationOrNone = timedelta(seconds=10)
    group_interval: Duration = timedelta(minutes=1)
    repeat_interval: Duration = timedelta(hours=4)
    receivers: Annotated[tuple[ReceiverSettings, ...], Listed] = ()
    webhook: OwnWebhookSettings | None = None  # of the controller's own evaluation, which needs no Alertmanager

    @model_validator(mode="after")
    def _possible(self) -> AlertingSettings:
        names = [receiver.name for receiver in self.receivers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two receivers have the name {name!r}; give each its own")
        if self.repeat_interval < self.group_interval:
            raise ValueError(
                f"repeat_interval of {self.repeat_interval.total_seconds():g} s is shorter than group_interval, "
                f"{self.group_interval.total_seconds():g} s, and would never come sooner than that"
            )
        if self.receivers and not self.enabled:
            raise ValueError("receivers are told by Alertmanager, which enabled: false switches off; take one out")
        return self
