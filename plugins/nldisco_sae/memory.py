"""Refuse a model that does not fit into memory before anything is allocated."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from nldisco_core.errors import ModelError
from nldisco_sae.config import SparseCodeConfig

__all__ = ["available_bytes", "needed_bytes", "require_memory"]

_FLOAT = 4
_COPIES = 4  # parameters, gradients and two moments of Adam


def needed_bytes(config: SparseCodeConfig, *, n_rows: int, n_units: int) -> int:
    """About what a fit holds at its peak: data, parameters with optimiser state, and one batch with its graph."""
    n_latents, levels = config.level_sizes[-1], len(config.level_sizes)
    n_inputs, n_codes = n_units * config.window, 1 if config.encoder == "linear" else config.window
    per_instance = 2 * n_latents * n_inputs + n_latents + n_inputs
    batch = min(config.batch_size, n_rows) * (n_codes * n_latents * (4 + 2 * levels) + n_inputs * (2 + 3 * levels))
    order = 2 * n_rows
    return _FLOAT * (2 * n_rows * n_units + config.n_instances * (_COPIES * per_instance + batch + order))


def available_bytes(device: torch.device) -> int | None:
    """Memory that can still be had on a device; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    listing = Path("/proc/meminfo")
    if listing.is_file():
        for line in listing.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    names = getattr(os, "sysconf_names", {})
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if "SC_PHYS_PAGES" in names else None


def require_memory(config: SparseCodeConfig, *, n_rows: int, n_units: int, device: torch.device) -> None:
    """Check a fit against the memory there is.

    Raises
    ------
    ModelError
        It needs more; the message gives both numbers.
    """
    needed = needed_bytes(config, n_rows=n_rows, n_units=n_units)
    available = available_bytes(device)
    if available is not None and needed > available:
        raise ModelError(
            f"{config.n_instances} instances of {config.level_sizes[-1]} latents on {n_rows} bins of {n_units} units "
            f"need about {needed / 2**30:.1f} GiB; {available / 2**30:.1f} GiB are available on {device.type}: choose "
            "fewer latents, fewer seeds or a smaller batch_size"
        )
