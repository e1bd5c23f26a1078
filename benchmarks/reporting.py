"""How every benchmark prints: the machine first, figures as they come, one summary line last."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable

import torch


def announce(title: str, *, threads: int = 1) -> None:
    """Fix the threads and print what the figures were made on."""
    torch.set_num_threads(threads)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    print(title)
    print(f"device {device}; {os.cpu_count()} processors; {threads} thread(s); Python {platform.python_version()}")


def cpu_seconds(work: Callable[[], object], *, repeats: int = 5) -> float:
    """Median CPU seconds of a call, after one that is not counted."""
    work()
    spent = []
    for _ in range(repeats):
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return sorted(spent)[len(spent) // 2]


def peak_memory_mb() -> float:
    """Largest memory this process has held (MB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def conclude(kept: dict[str, bool]) -> None:
    """Print the one summary line and exit non-zero where a promise was missed."""
    missed = [promise for promise, held in kept.items() if not held]
    print(
        f"SUMMARY {len(kept) - len(missed)} of {len(kept)} promises kept"
        + (f"; missed: {'; '.join(missed)}" if missed else "")
    )
    sys.exit(bool(missed))
