"""The example on docs/monitoring.md is a configuration."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from controller.settings import parse

PAGE = Path(__file__).parents[2] / "docs/monitoring.md"
POOL = "pools:\n  - {name: small, model: small, checkpoint: small.gguf}\n"


def test_the_controller_alone() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("### The controller alone\n")[2]
    example = re.search(r"^```yaml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert example is not None
    found = parse(POOL + example[1], "monitoring.md").alerting

    assert found.webhook is not None
    assert not found.enabled
    assert (found.webhook.url_file, found.webhook.headers_file) == (
        "/etc/stoker/webhook.url",
        "/etc/stoker/webhook.headers",
    )
    assert found.webhook.repeat_interval == timedelta(hours=4)
