"""alertmanager.yml: who is told of which alerts, which ones are silenced by others, and the controller."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import yaml

from controller.installation import Layout
from controller.settings import Settings
from controller.settings.alerting import EmailSettings, ReceiverSettings, SlackSettings, WebhookSettings
from controller.stack import serving

# What a pool that is down brings with it.
_OF_A_POOL_THAT_IS_DOWN = (
    "StokerLatencyHigh",
    "StokerErrorsHigh",
    "StokerGpuUtilizationHigh",
    "StokerMemoryHigh",
    "StokerPoolBelowFloor",
    "StokerReplicaFlapping",
    "StokerColdStartSlow",
    "StokerErrorBudgetBurnFast",
    "StokerErrorBudgetBurnSlow",
)


def render(settings: Settings, layout: Layout) -> str:
    """The text of alertmanager.yml; equal settings give equal bytes, and no secret is in it."""
    alerting = settings.alerting
    document = {
        "route": {
            "receiver": "nobody",  # whom no route below takes
            "group_by": ["alertname", "pool"],
            "group_wait": _duration(alerting.group_wait),
            "group_interval": _duration(alerting.group_interval),
            "repeat_interval": _duration(alerting.repeat_interval),
            "routes": [_controller_route(), *(_route(receiver) for receiver in alerting.receivers)],
        },
        "inhibit_rules": _inhibitions(),
        "receivers": [
            {"name": "nobody"},
            {"name": "controller", "webhook_configs": [_controller(settings, layout)]},
            *(_receiver(receiver) for receiver in alerting.receivers),
        ],
        "templates": [str(layout.alertmanager / "templates" / "*.tmpl")],
    }
    return "# Written by `stoker up`. Edits are overwritten.\n" + yaml.safe_dump(document, sort_keys=False)


def _controller_route() -> dict[str, Any]:
    """At once, and every minute while it fires: a controller that was started anew knows it again by then."""
    times = {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "1m"}
    return {"receiver": "controller", "continue": True, **times}


def _controller(settings: Settings, layout: Layout) -> dict[str, Any]:
    token = {"type": "Bearer", "credentials_file": str(layout.alerts_token)}
    return {
        "url": f"{settings.controller.scheme}://{settings.controller.reach}:{settings.ports.controller}/api/v1/alerts",
        "send_resolved": True,
        "max_alerts": 1000,  # as many as the controller keeps
        "http_config": {"authorization": token, "follow_redirects": False, **serving.trust(settings, layout)},
    }


def _route(receiver: ReceiverSettings) -> dict[str, Any]:
    severities = f'severity=~"{"|".join(receiver.severities)}"'
    return {"receiver": _name(receiver), "matchers": [severities], "continue": True}


def _name(receiver: ReceiverSettings) -> str:
    return f"people-{receiver.name}"  # none can be called nobody or controller


def _inhibitions() -> list[dict[str, Any]]:
    """What follows from something else that fires is not told beside it."""
    of_pool = f'alertname=~"{"|".join(_OF_A_POOL_THAT_IS_DOWN)}"'
    return [
        _silences(['alertname="StokerNodeDown"'], ['alertname!="StokerNodeDown"', 'node=~".+"'], ["node"]),
        _silences(['alertname="StokerPoolDown"'], [of_pool], ["pool"]),
        _silences(['alertname="StokerErrorBudgetBurnFast"'], ['alertname="StokerErrorBudgetBurnSlow"'], ["pool"]),
        _silences(['severity="critical"', 'pool=~".+"'], ['severity=~"warning|info"'], ["alertname", "pool"]),
    ]


def _silences(source: Sequence[str], target: Sequence[str], equal: Sequence[str]) -> dict[str, Any]:
    return {"source_matchers": [*source], "target_matchers": [*target], "equal": [*equal]}


def _receiver(receiver: ReceiverSettings) -> dict[str, Any]:
    told: dict[str, Any] = {"name": _name(receiver)}
    if receiver.webhook is not None:
        told["webhook_configs"] = [_webhook(receiver.webhook)]
    if receiver.slack is not None:
        told["slack_configs"] = [_slack(receiver.slack)]
    if receiver.email is not None:
        told["email_configs"] = [_email(receiver.email)]
    return told


def _webhook(given: WebhookSettings) -> dict[str, Any]:
    where = {"url": given.url} if given.url is not None else {"url_file": given.url_file}
    told: dict[str, Any] = {**where, "send_resolved": True}
    if given.token_file is not None:
        token = {"type": "Bearer", "credentials_file": given.token_file}
        told["http_config"] = {"authorization": token, "follow_redirects": False}
    return told


def _slack(given: SlackSettings) -> dict[str, Any]:
    return {
        "api_url_file": given.url_file,
        **({} if given.channel is None else {"channel": given.channel}),
        "send_resolved": True,
        "username": "Stoker",
        "color": '{{ template "stoker.color" . }}',
        "title": '{{ template "stoker.title" . }}',
        "title_link": "",
        "text": '{{ template "stoker.slack.text" . }}',
        "fallback": '{{ template "stoker.title" . }}',
    }


def _email(given: EmailSettings) -> dict[str, Any]:
    login = {"auth_username": given.username, "auth_password_file": given.password_file}
    return {
        "smarthost": given.smarthost,
        "from": given.sender,
        "to": ", ".join(given.to),
        **({} if given.username is None else login),
        "require_tls": given.tls,
        "send_resolved": True,
        "headers": {"Subject": '{{ template "stoker.title" . }}'},
        "html": "",
        "text": '{{ template "stoker.mail.text" . }}',
    }


def _duration(value: timedelta) -> str:
    return f"{round(value / timedelta(milliseconds=1))}ms"
