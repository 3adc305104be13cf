"""Alertmanager's webhook, version 4, and what the routes of alerts answer. Times are ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from controller.core.alerts import Alert
from controller.core.printable import printable

MOST_BYTES = 10 * 1024 * 1024
_MOST_READ = 1000  # alerts of one message, as many as can be kept
_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,12})?(Z|[+-]\d\d:\d\d)$"
_WORDS = {"model_type": "Input should be an object", "string_pattern_mismatch": "Input has another form"}
_EARLIEST, _AHEAD = datetime(2000, 1, 1, tzinfo=UTC), timedelta(days=1)  # of what an alert began
_MOST_LABELS, _LONGEST_NAME, _LONGEST = 32, 128, 1024


class AlertIn(BaseModel):
    """One alert. Whatever else Alertmanager says of it is of no use here."""

    model_config = ConfigDict(strict=True)

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default={})
    startsAt: Annotated[str, Field(pattern=_TIME)]
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{1,64}$")]


class WebhookIn(BaseModel):
    """The message. Its alerts are looked at one by one."""

    model_config = ConfigDict(strict=True)

    version: str
    alerts: list[Any]
    truncatedAlerts: int = Field(default=0, ge=0)


class HeardOut(BaseModel):
    """What came of a message."""

    news: int = Field(description="Alerts that began or ended: a tick comes at once.")
    repeated: int = Field(description="Those that were known to be as they are.")
    left_out: int = Field(description="More than 1000 are neither read nor kept.")


class FollowedOut(BaseModel):
    """What the ledger has of the alert's pool or node: a decision, or else an event."""

    at: datetime
    kind: str = Field(description="Of a decision, or the name of an event.")
    subject: str
    text: str
    before: bool = Field(default=False, description="It was decided in the minute before the alert fired.")


class AlertOut(BaseModel):
    """An alert that fires, or that ended within the last hour."""

    fingerprint: str
    status: Literal["firing", "resolved"]
    alert: str
    severity: str
    pool: str | None
    since: datetime = Field(description="When it began, by Prometheus's clock; where that told no time, as `came_at`.")
    came_at: datetime = Field(description="When the controller heard of it.")
    resolved_at: datetime | None = Field(description="When the controller heard of its end.")
    heard_at: datetime
    summary: str
    labels: dict[str, str]
    annotations: dict[str, str]
    followed: FollowedOut | None


class BadMessage(Exception):
    """What came is no such message. The text is one sentence that repeats nothing of it."""


_ALERTS = TypeAdapter(Annotated[list[AlertIn], FailFast()])


def read(body: bytes, now: datetime) -> tuple[list[Alert], int]:
    """The alerts, and how many were left out. A message of 10,000 takes about 20 ms. Raises `BadMessage`."""
    try:
        message = WebhookIn.model_validate(from_json(body, allow_inf_nan=False))
    except ValidationError as error:
        raise BadMessage(_sentence(error)) from error
    except ValueError as error:
        raise BadMessage("this is no JSON; Alertmanager's webhook of version 4 is expected") from error
    if message.version != "4":
        raise BadMessage("this is another version of Alertmanager's webhook; version 4 is understood here")
    try:
        read = _ALERTS.validate_python(message.alerts[:_MOST_READ])
    except ValidationError as error:
        raise BadMessage(_sentence(error, "alerts")) from error
    return [_alert(item, now) for item in read], len(message.alerts) - len(read) + message.truncatedAlerts


def _alert(item: AlertIn, now: datetime) -> Alert:
    """A start that cannot be meant, such as the year 1 of a program that left it out, is now."""
    try:
        starts_at = datetime.fromisoformat(item.startsAt).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadMessage("the startsAt of an alert is no time") from error
    meant = _EARLIEST <= starts_at <= now + _AHEAD
    return Alert(
        fingerprint=item.fingerprint,
        firing=item.status == "firing",
        starts_at=starts_at if meant else now,
        labels=_bounded(item.labels),
        annotations=_bounded(item.annotations),
        presumed=not meant,
    )


def _bounded(texts: Mapping[str, str]) -> dict[str, str]:
    """They are shown to people, and come from outside: printable, and no more than people read."""
    first = list(texts.items())[:_MOST_LABELS]
    return {_cut(name, _LONGEST_NAME): _cut(text, _LONGEST) for name, text in first}


def _cut(text: str, most: int) -> str:
    return printable(text if len(text) <= most else f"{text[: most - 1]}…")


def _sentence(error: ValidationError, under: str = "") -> str:
    """The first fault, without the value: it is whatever somebody sent."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join([*([under] if under else []), *(str(part)[:40] for part in fault["loc"])])
    words = _WORDS.get(fault["type"], fault["msg"])
    return f"this is not Alertmanager's webhook of version 4: {place or 'all of it'}: {words}"
