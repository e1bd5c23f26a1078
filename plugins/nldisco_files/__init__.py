"""Recordings in the usual file formats, in memory, and as pynapple objects."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nldisco_files.memory import session_from_arrays
    from nldisco_files.pynapple_objects import latents_to_pynapple, session_from_pynapple
    from nldisco_files.saving import write_recording

__all__ = ["latents_to_pynapple", "session_from_arrays", "session_from_pynapple", "write_recording"]

_HOME = {
    "latents_to_pynapple": "pynapple_objects",
    "session_from_arrays": "memory",
    "session_from_pynapple": "pynapple_objects",
    "write_recording": "saving",
}


def __getattr__(name: str) -> Any:
    """Functions are imported when first used: they bring numpy and pandas."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"nldisco_files.{_HOME[name]}"), name)
