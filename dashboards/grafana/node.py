"""Node: its GPUs under the DCGM exporter's names, and the machine around them.

Labels are those of the official DCGM board (`instance`, `gpu`), so GPUs that NVIDIA's exporter tells of are here, too.
"""

from __future__ import annotations

from dashboards.grafana.frame import Board, Panel, Row, choice
from dashboards.grafana.panels import Query, Steps, Text, bars, grid, lines, number
from dashboards.grafana.queries import CONTROLLER

_NODE = 'node=~"$node"'
_GPU = f'{_NODE}, instance=~"$instance", gpu=~"$gpu"'
_NAME = "{{Hostname}} GPU {{gpu}}"
_WINDOW = "[$__rate_interval]"
_USED, _FREE = f"DCGM_FI_DEV_FB_USED{{{_GPU}}}", f"DCGM_FI_DEV_FB_FREE{{{_GPU}}}"
_LABELS = ("Hostname", "gpu", "modelName", "UUID", "pool", "replica")


def board() -> Board:
    """Stoker / Node and GPU."""
    nodes = 'label_values({__name__=~"DCGM_FI_DEV_GPU_TEMP|node_load1|stoker_launcher_memory_bytes"}, node)'
    return Board(
        "stoker-node",
        "Stoker / Node and GPU",
        "The GPUs of each node, and the machine around them.",
        (
            choice("node", "Node", nodes, all_value=".*"),
            choice("instance", "Exporter", f"label_values(DCGM_FI_DEV_GPU_TEMP{{{_NODE}}}, instance)", all_value=".*"),
            choice(
                "gpu",
                "GPU",
                f'label_values(DCGM_FI_DEV_GPU_TEMP{{{_NODE}, instance=~"$instance"}}, gpu)',
                all_value=".*",
            ),
        ),
        (
            Row("Is the hardware well?", (_gpus(), _lost(), _cordoned(), _throttled(), _stale(), _errors_of_nvml())),
            Row("What do the GPUs do?", (_utilization(), _memory(), _temperature(), _power(), _clocks(), _owners())),
            Row("Faults", (_xids(), _last_xid(), _faults(), _remaps())),
            Row("Host", (_cpu(), _host_memory(), _load(), _replica_memory())),
        ),
    )


def _gpus() -> Panel:
    text = Text("GPUs", "GPUs that an exporter tells of.", "none").sized(4, 4)
    return number(text, Query(f"count(DCGM_FI_DEV_GPU_TEMP{{{_GPU}}})", "GPUs"))


def _lost() -> Panel:
    text = Text("GPUs lost", "GPUs that were there since the exporter began, and are not now.", "none").sized(4, 4)
    return number(text, Query(f"sum(stoker_gpu_lost{{{_GPU}}})", "lost"), steps=Steps(1, 1))


def _cordoned() -> Panel:
    text = Text("GPUs cordoned", "GPUs on which the controller starts nothing, since they are broken.", "none").sized(
        4, 4
    )
    cordoned = f"sum(stoker_gpu_cordoned{{{_NODE}}}) or {CONTROLLER}"
    return number(text, Query(cordoned, "cordoned"), steps=Steps(1, 1))


def _throttled() -> Panel:
    text = Text("GPUs too hot", "GPUs that go slower now because they are too hot.", "none").sized(4, 4)
    return number(text, Query(f"sum(stoker_gpu_thermal_throttled{{{_GPU}}})", "throttled"), steps=Steps(1, 1))


def _stale() -> Panel:
    text = Text("Oldest reading", "How long ago the GPU was read that was read longest ago.", "s").sized(4, 4)
    oldest = f"time() - min(stoker_gpu_last_success_timestamp_seconds{{{_GPU}}})"
    return number(text, Query(oldest, "age"), steps=Steps(10, 30), decimals=1)


def _errors_of_nvml() -> Panel:
    text = Text("Readings that failed", "Calls of NVML that failed in the range.", "none").sized(4, 4)
    failed = f"sum(increase(stoker_gpu_errors_total{{{_NODE}}}[$__range])) or 0 * max(stoker_gpu_nvml_up{{{_NODE}}})"
    return number(text, Query(failed, "failed"), steps=Steps(1, 10), decimals=0)


def _utilization() -> Panel:
    text = Text(
        "How busy are the GPUs?",
        "Share of the time in which at least one kernel ran: one request can fill it.",
        "percent",
    )
    return lines(text, Query(f"DCGM_FI_DEV_GPU_UTIL{{{_GPU}}}", _NAME), most=100)


def _memory() -> Panel:
    text = Text("How full is their memory?", "Share of the frame buffer that is in use.", "percentunit")
    return lines(text, Query(f"{_USED} / ({_USED} + {_FREE})", _NAME), most=1)


def _temperature() -> Panel:
    text = Text("How hot are they?", "Temperature of the GPU, and of its memory where it tells.", "celsius")
    return lines(
        text,
        Query(f"DCGM_FI_DEV_GPU_TEMP{{{_GPU}}}", _NAME),
        Query(f"DCGM_FI_DEV_MEMORY_TEMP{{{_GPU}}}", f"{_NAME} memory"),
    )


def _power() -> Panel:
    text = Text("How much power do they draw?", "Power, and the limit at which a GPU makes itself slower.", "watt")
    return lines(
        text,
        Query(f"DCGM_FI_DEV_POWER_USAGE{{{_GPU}}}", _NAME),
        Query(f"DCGM_FI_DEV_POWER_MGMT_LIMIT{{{_GPU}}}", f"{_NAME} limit", limit=True),
    )


def _clocks() -> Panel:
    text = Text(
        "How fast do they run?",
        "Clock of the processors: it falls when the GPU is idle, too hot, or at its limit.",
        "hertz",
    )
    return lines(text, Query(f"DCGM_FI_DEV_SM_CLOCK{{{_GPU}}} * 1e6", _NAME))


def _owners() -> Panel:
    text = Text(
        "Who uses which GPU?", "The replica that has the GPU for itself; without a name: none, or several.", "none"
    )
    return grid(
        text,
        {"memory in use": Query(f"sum by ({', '.join(_LABELS)}) ({_USED})")},
        {"memory in use": "decmbytes"},
        _LABELS,
    )


def _xids() -> Panel:
    text = Text("Which errors do drivers report?", "XID events of the NVIDIA driver, by their number.", "none")
    events = f"sum by (Hostname, gpu, xid) (increase(stoker_gpu_xid_events_total{{{_GPU}}}{_WINDOW}))"
    return bars(text, Query(events, f"{_NAME} XID {{{{xid}}}}"))


def _last_xid() -> Panel:
    text = Text("Which XID came last?", "The number of the last XID of each GPU; 0 where there was none.", "none")
    return lines(text, Query(f"DCGM_FI_DEV_XID_ERRORS{{{_GPU}}}", _NAME))


def _faults() -> Panel:
    text = Text(
        "Does memory fail, or the bus?", "Double-bit errors since the driver began, and repeats on PCIe.", "none"
    )
    replays = f"increase(DCGM_FI_DEV_PCIE_REPLAY_COUNTER{{{_GPU}}}{_WINDOW})"
    return lines(
        text,
        Query(f"DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{{_GPU}}}", f"{_NAME} double-bit"),
        Query(replays, f"{_NAME} PCIe repeats"),
    )


def _remaps() -> Panel:
    text = Text(
        "Is memory worn out?", "Rows of memory that were replaced by spare ones, and whether that failed.", "none"
    )
    return lines(
        text,
        Query(f"DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS{{{_GPU}}}", f"{_NAME} rows replaced"),
        Query(f"DCGM_FI_DEV_ROW_REMAP_FAILURE{{{_GPU}}}", f"{_NAME} failed"),
    )


def _cpu() -> Panel:
    text = Text("How busy are the processors?", "Share of the time in which they did something.", "percentunit")
    idle = f'avg by (node, instance) (rate(node_cpu_seconds_total{{{_NODE}, mode="idle"}}{_WINDOW}))'
    return lines(text, Query(f"1 - {idle}", "{{node}}"), most=1)


def _host_memory() -> Panel:
    text = Text(
        "How full is the machine's memory?", "Share that the kernel could not give to somebody else.", "percentunit"
    )
    free, all_of_it = (f"node_memory_{name}_bytes{{{_NODE}}}" for name in ("MemAvailable", "MemTotal"))
    return lines(text, Query(f"1 - {free} / {all_of_it}", "{{node}}"), most=1)


def _load() -> Panel:
    text = Text("How many processes want to run?", "Load for each processor: above 1, some wait.", "none")
    processors = f'count by (node, instance) (node_cpu_seconds_total{{{_NODE}, mode="idle"}})'
    return lines(text, Query(f"max by (node, instance) (node_load1{{{_NODE}}}) / {processors}", "{{node}}"))


def _replica_memory() -> Panel:
    text = Text(
        "Which replicas use the memory?", "Memory of each replica's processes; that of its GPUs is above.", "bytes"
    )
    used = f"sum by (node, replica) (stoker_launcher_memory_bytes{{{_NODE}}})"
    return lines(text, Query(used, "{{replica}}"), stacked=True)
