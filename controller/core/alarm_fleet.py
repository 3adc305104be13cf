"""Alarms of what pools share: nodes, GPUs, nginx here and on other machines, certificates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from controller.core.alarm import Finding
from controller.core.alarm_table import Words, find
from controller.core.decision import Plan
from controller.core.gateways import LAGS_AFTER, GatewayStatus
from controller.core.model import Snapshot

_SOON, _VERY_SOON = timedelta(days=14), timedelta(days=2)


def of_nodes(snapshot: Snapshot) -> Iterator[Finding]:
    """Those whose container engines give no answer."""
    for node in snapshot.nodes:
        if node.silent_since is not None:
            silent_s = (snapshot.at - node.silent_since).total_seconds()
            text = f"Its container engine has been silent for {silent_s:.0f} s."
            yield find("StokerNodeDown", {"node": node.name}, Words(f"Node {node.name} gives no answer.", text))


def of_gpus(plan: Plan) -> Iterator[Finding]:
    """Those that the controller cordoned."""
    for uuid, known in plan.memory.gpus.items():
        if known.cordon is not None:
            fault = f"the controller cordoned it ({known.cordon.code})"
            told = "; ".join(filter(None, (known.cordon.why, known.cordon.advice)))
            words = Words(f"GPU {uuid} of node {known.node} is broken.", f"What is the matter: {told}.")
            yield find("StokerGpuFault", {"node": known.node, "UUID": uuid, "fault": fault}, words)


def of_gateway(refused: bool) -> Iterator[Finding]:
    """nginx here: whether it takes what it should run."""
    if refused:
        summary = "nginx does not take its new configuration, and runs an older one."
        text = (
            "For 15 s it has refused what it should run, or not taken it in time; replicas that started since get no "
            "requests. What it said is in `stoker gateway history` and in the event gateway_failed."
        )
        yield find("StokerGatewayRefused", {}, Words(summary, text))


def of_certificates(ends: Mapping[str, datetime], now: datetime) -> Iterator[Finding]:
    """Those that are good for a few days only, by whose they are."""
    for name, end in ends.items():
        left = end - now
        if left < _SOON:
            good = f"It is good for another {left / timedelta(days=1):.1f} days"
            text = f"{good if left > timedelta(0) else 'It has expired, and clients refuse it'}."
            words = Words(f"The {name}'s certificate expires soon.", text)
            which = "critical" if left < _VERY_SOON else "warning"
            yield find("StokerCertificateExpiring", {"certificate": name}, words, which=which)


def of_gateways(gateways: Sequence[GatewayStatus], now: datetime) -> Iterator[Finding]:
    """Those of other machines that have not taken what they should."""
    for status in gateways:
        lag, name = status.lag(now), status.report.name
        if lag > LAGS_AFTER:
            text = f"It has not taken what it should for {lag.total_seconds():.0f} s, more than 10 s."
            words = Words(f"Gateway {name} runs an old configuration.", text)
            yield find("StokerGatewayLagging", {"gateway": name}, words)
