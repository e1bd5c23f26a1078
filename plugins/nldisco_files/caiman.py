"""CaImAn results: the traces of the components in an .hdf5 file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording
from nldisco_files.arrays import Array, naming, numbers, reading
from nldisco_files.config import Layout
from nldisco_files.parts import Activity, traced, unit_table
from nldisco_files.source import Source

__all__ = ["caiman_activity", "caiman_rate", "is_caiman"]

_TRACES = {"corrected": ("F_dff", "C"), "raw": ("C",), "deconvolved": ("S",)}


def is_caiman(path: Path) -> bool:
    """True for an HDF5 file with a group ``estimates`` that holds components; False for what is no HDF5 file."""
    if path.suffix.lower() not in (".hdf5", ".h5") or not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            return isinstance(file.get("estimates"), h5py.Group)
    except OSError:  # truncated: the reader of arrays says so
        return False


def caiman_activity(source: Source, layout: Layout) -> Activity:
    """Traces of the accepted components, as `layout.fluorescence` says.

    Corrected is dF/F (``F_dff``, or the denoised ``C`` where CaImAn did not compute it), raw is ``C`` with its residual
    ``YrA``, deconvolved is ``S`` (Giovannucci et al. 2019, eLife 38173). Without ``idx_components`` all are taken.

    Raises
    ------
    InvalidRecording
        The traces are not there or of the wrong shape, an accepted component does not exist, or nothing states the
        frame rate.
    """
    estimates = source.own()
    rate_hz = layout.sample_hz or _rate(estimates)
    if rate_hz is None:
        raise InvalidRecording(f"{source.path.name}: params/data/fr states no frame rate; set layout.sample_hz")
    with naming(source.path):
        values = _traces(estimates, layout.fluorescence)
        accepted, warnings = _accepted(estimates, len(values))
        times_s = layout.start_s + np.arange(values.shape[1]) / rate_hz
        units = unit_table([str(component) for component in accepted], area=layout.area)
        chosen = np.ascontiguousarray(values[accepted].T)
        unit = layout.physical_unit
        return traced(units, times_s, chosen, physical_unit=unit, warnings=warnings, used=frozenset(estimates))


def caiman_rate(path: Path) -> float | None:
    """Frames per second as the file states them, None where it does not."""
    with reading(path), h5py.File(path, "r") as file:
        return _rate({"params/data/fr": np.asarray(file["params/data/fr"][()])} if "params/data/fr" in file else {})


def _rate(held: Mapping[str, Array]) -> float | None:
    stated = np.ravel(held["params/data/fr"]) if "params/data/fr" in held else np.empty(0)
    return float(stated[0]) if stated.dtype.kind in "iuf" and stated.size == 1 and stated[0] > 0 else None


def _traces(held: Mapping[str, Array], wanted: str) -> NDArray[np.float64]:
    for name in _TRACES[wanted]:
        values = held.get(f"estimates/{name}")
        if values is None or values.dtype.kind not in "iuf":
            continue  # CaImAn writes a text where it computed nothing
        if values.ndim != 2 or 0 in values.shape:
            raise InvalidRecording(f"estimates/{name} has shape {values.shape}; expected components x frames")
        residual = held.get("estimates/YrA")
        if wanted == "raw" and residual is not None and residual.shape == values.shape:
            return np.asarray(values + residual, dtype=np.float64)
        return np.asarray(values, dtype=np.float64)
    raise InvalidRecording(
        f"holds no estimates/{' or estimates/'.join(_TRACES[wanted])}; choose other traces with layout.fluorescence"
    )


def _accepted(held: Mapping[str, Array], n_components: int) -> tuple[NDArray[np.int64], list[str]]:
    stated = held.get("estimates/idx_components")
    if stated is None or stated.dtype.kind not in "iuf":
        return np.arange(n_components), ["components were not evaluated (no idx_components); all are taken"]
    accepted = np.ravel(numbers(stated, "estimates/idx_components")).astype(np.int64)
    if not len(accepted):
        raise InvalidRecording("estimates/idx_components accepts no component; nothing to analyse")
    if accepted.min() < 0 or accepted.max() >= n_components:
        raise InvalidRecording(
            f"estimates/idx_components names component {accepted.max()} of {n_components}; the file does not fit itself"
        )
    left_out = n_components - len(accepted)
    return accepted, [f"{left_out} of {n_components} components were not accepted; left out"] if left_out else []
