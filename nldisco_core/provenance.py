"""What is needed to repeat a run: versions, data fingerprint, device, threads and source revision."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from nldisco_core.binned import Binned
from nldisco_core.plugins import Listed

__all__ = ["environment", "fingerprint", "provider_record"]


def fingerprint(data: Binned) -> str:
    """SHA-256 over sessions, unit ids, bin times, activity, observed entries, splits and variables of binned data."""
    digest = hashlib.sha256()
    for session in data.sessions:
        digest.update(session.session_id.encode())
        digest.update("\0".join(session.units["id"].astype(str)).encode())
        arrays = [session.activity, session.start_ns, session.trial, session.split]
        if session.observed is not None:
            arrays.append(session.observed)
        for name in sorted(session.covariates):
            digest.update(name.encode())
            arrays.append(session.covariates[name].values)
        for array in arrays:
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def provider_record(listed: Listed, settings: dict[str, Any]) -> dict[str, Any]:
    """Who provided something, and how it was configured."""
    return {
        "provider": listed.name,
        "plugin": listed.plugin.name,
        "distribution": listed.plugin.distribution,
        "version": listed.plugin.version,
        "config": settings,
    }


def environment() -> dict[str, Any]:
    """Python, platform, package versions, threads and the revision of the source, as far as it is known."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _versions(),
        "git_commit": _git_commit(),
        "device": _device(),
        "threads": _threads(),
        "n_cpus": os.cpu_count(),
    }


def _versions() -> dict[str, str]:
    own = importlib.metadata.distribution("nldisco-core")
    names = {re.split(r"[^A-Za-z0-9_.-]", need, maxsplit=1)[0] for need in own.requires or () if "extra ==" not in need}
    names.update(point.dist.name for point in importlib.metadata.entry_points(group="nldisco") if point.dist)
    found = {}
    for name in sorted(names | {"nldisco-core"}):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _threads() -> dict[str, int | str | None]:
    torch = sys.modules.get("torch")
    return {
        "torch": None if torch is None else torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


def _device() -> dict[str, str | None]:
    """The accelerator torch could use, and the CUDA it was built for; None for the CPU alone."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {"cuda_device": None, "cuda": None}
    return {"cuda_device": torch.cuda.get_device_name(), "cuda": torch.version.cuda}


def _git_commit() -> str | None:
    """Revision of the source this code runs from, ``-dirty`` where files differ; None outside a checkout of it."""
    if not _git("ls-files", "--error-unmatch", Path(__file__).name):
        return None
    commit = _git("rev-parse", "HEAD")
    return f"{commit}-dirty" if commit and _git("status", "--porcelain", "--untracked-files=no", ":/") else commit


def _git(*words: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
