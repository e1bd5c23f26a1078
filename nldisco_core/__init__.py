"""Latents of neural populations: learn them, relate them to behaviour with honest statistics, explore them.

>>> import nldisco_core
>>> "head-direction" in [listed.name for listed in nldisco_core.registry().providers("dataset")]
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nldisco_core.hookspecs import hookimpl
from nldisco_core.plugins import get, make, registry
from nldisco_core.providers import Preset, Provider

if TYPE_CHECKING:
    from nldisco_core.binned import Binned
    from nldisco_core.latents import Latents, LatentSpace
    from nldisco_core.mapping import MapperResult
    from nldisco_core.pipeline import map_run, run
    from nldisco_core.runs import Run, find_run, list_runs
    from nldisco_core.selection import Selection
    from nldisco_core.session import Session, Signal

__all__ = [
    "Binned",
    "LatentSpace",
    "Latents",
    "MapperResult",
    "Preset",
    "Provider",
    "Run",
    "Selection",
    "Session",
    "Signal",
    "find_run",
    "get",
    "hookimpl",
    "list_runs",
    "make",
    "map_run",
    "registry",
    "run",
]

_HOME = {
    "Binned": "binned",
    "LatentSpace": "latents",
    "Latents": "latents",
    "MapperResult": "mapping",
    "Run": "runs",
    "Selection": "selection",
    "Session": "session",
    "Signal": "session",
    "find_run": "runs",
    "list_runs": "runs",
    "map_run": "pipeline",
    "run": "pipeline",
}


def __getattr__(name: str) -> Any:
    """Values and actions are imported when first used: they bring numpy, pandas and torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"nldisco_core.{_HOME[name]}"), name)
