"""With what a leader keeps alarms: the store, and the webhook where one is given."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from controller.adapters.database import SqlStore
from controller.adapters.database.alarms import SqlAlarms
from controller.adapters.telemetry import Telemetry
from controller.adapters.webhook import Receiver, Webhook
from controller.ports import Clock
from controller.reconcile.parts import AlarmParts
from controller.settings import ConfigError, Settings
from controller.stack import api_client


def require(settings: Settings) -> None:
    """Refuse early what nobody could be told with. Raises `ConfigError`; nothing of a secret is told."""
    if settings.alerting.webhook is not None:
        settings.alerting.webhook.address()
        settings.alerting.webhook.headers()


def alarm_parts(
    settings: Settings,
    store: SqlStore,
    clock: Clock,
    telemetry: Telemetry,
    complain: Callable[[str], None],
    stack: contextlib.ExitStack,
) -> AlarmParts:
    """The webhook is closed when `stack` is. Where its secrets cannot be read, which is complained about, nobody is
    told of alerts: that must not keep replicas from healing."""
    rows, asked = SqlAlarms(store), settings.alerting.webhook
    if asked is None:
        return AlarmParts(rows)
    link = f"{api_client.dashboard(settings)}/"
    try:
        receiver = Receiver(asked.address(), asked.headers(), asked.timeout, link)
    except ConfigError as error:
        complain(f"nobody is told of alerts: {error}")
        return AlarmParts(rows)
    sink = Webhook(receiver, clock, telemetry.count_delivery)
    stack.callback(sink.close)
    return AlarmParts(rows, sink, asked.repeat_interval)
