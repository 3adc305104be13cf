"""What the exporters say of the GPUs, and that Prometheus can be asked for it: promtool evaluates the question."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from controller.core.decision import GpuChange
from controller.core.model import Cordon, GpuMemory, GpuReport, Node, NodeName, Order, OrderKind, Snapshot
from controller.core.planner import plan
from controller.core.reason import Reason, ReasonCode
from controller.ports import Sample, TickReport
from controller.reconcile.answers import read
from controller.reconcile.gpu_answers import at_home
from controller.reconcile.gpu_report import with_gpus
from controller.reconcile.narrate import of_gpu
from controller.reconcile.queries import GPU_FREE, GPU_FREE_AT, GPU_SERIES, GPU_TOLD_AT, question
from tests.fakes.clock import START
from tests.unit.core.build import order

MIB = 1024**2
A = {"UUID": "GPU-a", "node": "local", "Hostname": "box", "modelName": "NVIDIA H200"}


def sample(name: str, value: float, **labels: str) -> Sample:
    """A series by its own name; one that is asked for directly by its signal."""
    key = "signal" if name in (GPU_FREE, GPU_FREE_AT, GPU_TOLD_AT) else "__name__"
    return Sample({key: name, **A, **labels}, value, START)


def told(*samples: Sample) -> dict[str, GpuReport]:
    return dict(read(samples, {}).reports)


SEEN = sample(GPU_TOLD_AT, START.timestamp() - 1)
AT = START - timedelta(seconds=1)
NOTHING = GpuReport(NodeName("local"), "GPU-a", AT)
CASES = [
    pytest.param([], {}, id="nothing but that it is there"),
    pytest.param([sample("DCGM_FI_DEV_FB_USED", 10)], {"used_bytes": 10 * MIB}, id="used memory"),
    pytest.param([sample("DCGM_FI_DEV_FB_TOTAL", 40)], {"total_bytes": 40 * MIB}, id="all memory"),
    pytest.param([sample("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", 2)], {"double_bit": 2}, id="double-bit errors"),
    pytest.param([sample("DCGM_FI_DEV_ROW_REMAP_FAILURE", 1)], {"remap_failed": True}, id="a failed remapping"),
    pytest.param([sample("DCGM_FI_DEV_ROW_REMAP_PENDING", 0)], {"remap_pending": False}, id="none is pending"),
    pytest.param([sample("stoker_gpu_lost", 1)], {"lost": True}, id="lost"),
    pytest.param([sample("stoker_gpu_thermal_throttled", 1)], {"throttled": True}, id="hot"),
    pytest.param(
        [sample("stoker_gpu_xid_events_total", 3, xid="31"), sample("stoker_gpu_xid_events_total", 1, xid="79")],
        {"xids": {31: 3, 79: 1}},
        id="XIDs by their counts",
    ),
    pytest.param([sample("DCGM_FI_DEV_XID_ERRORS", 48)], {"xids": {48: 1}}, id="the last XID of another exporter"),
    pytest.param([sample("DCGM_FI_DEV_XID_ERRORS", 0)], {}, id="none"),
    pytest.param(
        [sample("DCGM_FI_DEV_XID_ERRORS", 31), sample("stoker_gpu_xid_events_total", 3, xid="31")],
        {"xids": {31: 3}},
        id="both",
    ),
    pytest.param([sample("stoker_gpu_xid_events_total", 0, xid="48")], {}, id="counted, and never came"),
    pytest.param([sample("stoker_gpu_xid_events_total", 1, xid="what")], {}, id="no code at all"),
    pytest.param(
        [sample("stoker_gpu_lost", 1), sample("stoker_gpu_lost", 0, Hostname="box-2")], {"lost": True}, id="the worse"
    ),
]


@pytest.mark.parametrize(("samples", "want"), CASES)
def test_a_report(samples: list[Sample], want: dict[str, object]) -> None:
    model = "NVIDIA H200" if samples else ""
    expected = {**{name: getattr(NOTHING, name) for name in ("xids", "lost")}, "model": model, **want}

    found = told(SEEN, *samples)["GPU-a"]
    assert {name: getattr(found, name) for name in expected} == expected
    assert (found.node, found.uuid, found.at) == ("local", "GPU-a", AT)


def test_what_nobody_says_how_old_it_is_is_not_known() -> None:
    assert told(sample("stoker_gpu_lost", 1)) == {}
    free_at = sample(GPU_FREE_AT, START.timestamp() - 2)
    assert told(free_at, sample("stoker_gpu_lost", 1))["GPU-a"].at == START - timedelta(seconds=2)
    assert told(free_at, SEEN)["GPU-a"].at == AT, "the newest counts"


def test_a_gpu_of_the_only_node_is_at_home_there() -> None:
    one, two = (Node(NodeName("local")),), (Node(NodeName("a")), Node(NodeName("b")))

    assert at_home(NodeName("box"), one) == "local"
    assert at_home(NodeName("local"), one) == "local"
    assert at_home(NodeName("box"), two) == "box"
    assert at_home(NodeName("b"), two) == "b"


def test_prometheus_answers_the_whole_question(tmp_path: Path) -> None:
    """Several GPUs, several XIDs, and one that is lost: no two series of the answer are alike."""
    a = '{UUID="a", node="x", gpu="0"}'
    b = '{UUID="b", node="x", gpu="1"}'
    events = '{UUID="a", node="x", gpu="0", xid="%s"}'
    series = {
        f"DCGM_FI_DEV_FB_FREE{a}": "10x9",
        f"DCGM_FI_DEV_FB_USED{a}": "30x9",
        f"DCGM_FI_DEV_XID_ERRORS{a}": "79x9",
        f"stoker_gpu_xid_events_total{events % 79}": "1x9",
        f"stoker_gpu_xid_events_total{events % 31}": "4x9",
        f"stoker_gpu_lost{a}": "0x9",
        f"stoker_gpu_lost{b}": "1x9",
    }
    direct = [
        ('{UUID="a", node="x", signal="gpu_free"}', 10),
        ('{UUID="a", node="x", signal="gpu_free_at"}', 5),
        ('{UUID="a", node="x", signal="gpu_told_at"}', 5),
        ('{UUID="b", node="x", signal="gpu_told_at"}', 5),
    ]
    raw = [(name, float(text.partition("x")[0])) for name, text in series.items() if "FB_FREE" not in name]
    samples = [{"labels": labels, "value": value} for labels, value in [*direct, *raw]]
    test = {
        "interval": "1s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": question(["kv_cache"]), "eval_time": "5s", "exp_samples": samples}],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"evaluation_interval": "1s", "tests": [test]}))
    promtool = shutil.which("promtool")
    assert promtool, "apt-get install prometheus"

    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(name in question([]) for name in GPU_SERIES)


def test_the_event_of_a_cordon_says_whose_and_what_to_do() -> None:
    reason = Reason(ReasonCode.GPU_FAULT, "XID 48: its memory had an error that could not be corrected: reset it")
    event = of_gpu(GpuChange("GPU-a", NodeName("a"), "gpu_cordoned", reason), START)

    assert event.line().startswith("ts=2026-01-05T12:00:00.000Z event=gpu_cordoned subject=gpu/GPU-a reason=GpuFault")
    assert event.message == "Of node a: XID 48: its memory had an error that could not be corrected: reset it."


def test_the_report_names_each_cordon_once() -> None:
    fault, heat = (Cordon(START, code, "it is") for code in ("GpuFault", "GpuHot"))
    known = {
        "GPU-a": GpuMemory("GPU-a", NodeName("a"), fault),
        "GPU-b": GpuMemory("GPU-b", NodeName("b"), heat),
        "GPU-c": GpuMemory("GPU-c", NodeName("b")),
        "GPU-d": GpuMemory("GPU-d", NodeName("b")),
    }
    ordered: list[Order] = [order(OrderKind.CORDON, f"gpu/GPU-{name}") for name in ("a", "d", "e")]
    snapshot = Snapshot(START, 1, (), {}, {}, orders=tuple(ordered), gpu_memory=known)

    found = with_gpus(TickReport(START, 0.1, False, (), False), snapshot, plan(snapshot, ()))
    assert found.cordoned == {
        ("a", "GPU-a", "GpuFault"),
        ("b", "GPU-b", "GpuHot"),
        ("b", "GPU-d", "Ordered"),
        ("", "GPU-e", "Ordered"),
    }
