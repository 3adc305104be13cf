"""What is asked of Prometheus without a recorded series, over several gateways: promtool evaluates it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from controller.reconcile.access import TOKENS
from controller.reconcile.queries import DIRECT, IN_FLIGHT, IN_FLIGHT_AT

HELD = "stoker_edge_requests_in_flight"
SERIES = {
    f'{HELD}{{job="edge", instance="a:1", pool="small"}}': "3x200",
    f'{HELD}{{job="edge", instance="b:1", gateway="b", pool="small"}}': "4x30 stale",
    f'{HELD}{{job="edge", instance="a:1", pool="gone"}}': "1x30 stale",
    'stoker_edge_tokens_total{job="edge", instance="a:1", key="k", pool="p"}': "5x200",
    'stoker_edge_tokens_total{job="edge", instance="b:1", key="k", pool="p"}': "7x200",
    'stoker_edge_log_lines_total{job="edge", instance="a:1"}': "1x200",
    'stoker_edge_log_lines_total{job="edge", instance="b:1"}': "1x200",
}


def expected(text: str, at: int, *samples: tuple[str, float]) -> dict[str, object]:
    told = [{"labels": labels, "value": value} for labels, value in samples]
    return {"expr": text, "eval_time": f"{at}s", "exp_samples": told}


def test_requests_in_flight_over_several_gateways(tmp_path: Path) -> None:
    """One that falls silent holds what it held for a minute; a pool of which nobody tells is unknown at once."""
    small, gone = '{pool="small"}', '{pool="gone"}'
    tests = [
        expected(DIRECT[IN_FLIGHT], 30, (gone, 1), (small, 7)),
        expected(DIRECT[IN_FLIGHT], 31, (small, 7)),
        expected(DIRECT[IN_FLIGHT], 89, (small, 7)),
        expected(DIRECT[IN_FLIGHT], 91, (small, 3)),
        expected(DIRECT[IN_FLIGHT_AT], 80, (small, 80)),
        expected(TOKENS, 80, ('{key="k", instance="a:1"}', 5), ('{key="k", instance="b:1"}', 7), ("{}", 2)),
    ]
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    file = tmp_path / "test.yml"
    test = {"interval": "1s", "input_series": series, "promql_expr_test": tests}
    file.write_text(json.dumps({"evaluation_interval": "1s", "tests": [test]}))
    promtool = shutil.which("promtool")
    assert promtool, "apt-get install prometheus"

    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
