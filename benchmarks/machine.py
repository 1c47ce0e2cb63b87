"""What machine the figures are from; not which one: no name, no address, no path."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import psutil


def describe() -> dict[str, str]:
    """The facts that explain a figure."""
    busy = " / ".join(f"{load:.1f}" for load in os.getloadavg())
    return {
        "CPU": _cpu_model(),
        "cores": f"{os.cpu_count()}",
        "memory": f"{psutil.virtual_memory().total / 1024**3:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "load before": f"{busy} (over 1, 5 and 15 minutes)",
    }


def _cpu_model() -> str:
    facts = Path("/proc/cpuinfo")
    found = (
        re.search(r"^model name\s*:\s*(.+)$", facts.read_text(), re.M) if facts.exists() else None
    )
    return found[1] if found else platform.processor() or platform.machine()
