"""What the exporter says to people, each a sentence. Pure."""

from __future__ import annotations

OTHER_GPUS = "there are other GPUs than before"

_ADVICE = {
    "library_not_found": (
        "this machine has no NVML (libnvidia-ml.so.1): it tells CPU, memory and load only. On a GPU node install the "
        "driver; in a container run it with the NVIDIA runtime (--gpus all)"
    ),
    "unknown": (
        "NVML cannot be initialised: Unknown Error. In a container that had its GPUs before, the host took them from "
        "its cgroup (`systemctl daemon-reload` does): start the container anew, and to keep it from happening give it "
        "every /dev/nvidia* with --device, or set Docker's native.cgroupdriver to cgroupfs"
    ),
    "driver_not_loaded": "NVML finds no driver in the kernel; load it with `modprobe nvidia`",
    "lib_rm_version_mismatch": (
        "NVML and the driver in the kernel are of different versions, as after an upgrade; load the kernel modules "
        "anew or reboot, then start the exporter anew"
    ),
    "no_permission": (
        "NVML may not open the GPUs; run the exporter as somebody who may open /dev/nvidiactl and each /dev/nvidia*"
    ),
    "gpu_is_lost": (
        "NVML cannot be initialised while a GPU is lost; `dmesg | grep Xid` tells which, and a reset or a reboot helps"
    ),
}


def no_nvml(fault: str) -> str:
    """Why there is no NVML, and what helps."""
    return f"{_ADVICE.get(fault, f'NVML cannot be initialised: {fault}')}; it is tried again"


def nvml_is_up(gpus: int, driver: str) -> str:
    """It is initialised."""
    return f"NVML is up: {gpus} GPU{'' if gpus == 1 else 's'}, driver {driver}"


def nvml_is_over(fault: str) -> str:
    """It has to be initialised anew."""
    return f"NVML is initialised anew: {fault}"


def lost(uuid: str, index: int) -> str:
    """A GPU that was there is not."""
    return f"GPU {index} ({uuid}) is lost: it has fallen off the bus or was taken away; `dmesg | grep Xid` tells more"


def back(uuid: str, index: int) -> str:
    """It is there again."""
    return f"GPU {index} ({uuid}) is back"


def hangs(index: int, uuid: str) -> str:
    """A call about it has not come back in time."""
    return f"GPU {index} ({uuid or 'not yet known'}) does not answer; its values are left out until it does"


def no_processes(index: int) -> str:
    """The driver hides them."""
    return f"GPU {index} does not show this user its processes, so nobody knows whose it is; run the exporter as root"
