"""The machine that measures, in words, and one core of it."""

import os
import platform
from pathlib import Path


def take_core(core: int | None) -> int:
    """Keeps this process and all that it starts on one core: the last one, where none is named."""
    chosen = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {chosen})
    return chosen


def machine() -> dict[str, object]:
    """Processor, cores, memory and system."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "family": _field("/proc/cpuinfo", "cpu family"),
        "l2_cache": _cache(2),
        "l3_cache": _cache(3),
        "cores": os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "system": platform.platform(terse=True),
    }


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _cache(level: int) -> str:
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    for cache in sorted(folder.glob("index*")):
        if (cache / "level").read_text().strip() == str(level):
            return (cache / "size").read_text().strip()
    return ""
