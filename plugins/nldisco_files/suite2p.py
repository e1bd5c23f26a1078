"""suite2p outputs: fluorescence of the regions of interest that are cells."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording
from nldisco_files.arrays import naming, numbers, read_arrays, reading
from nldisco_files.config import Layout
from nldisco_files.parts import Activity, traced, unit_table
from nldisco_files.source import Source

__all__ = ["frame_rate", "is_suite2p", "suite2p_activity"]

_NEUROPIL_SHARE = 0.7  # suite2p's own default of ops["neucoeff"]
_FILES = {"corrected": "F.npy", "raw": "F.npy", "deconvolved": "spks.npy"}


def is_suite2p(path: Path) -> bool:
    """True for a plane's folder, with ``F.npy`` or ``spks.npy`` beside ``iscell.npy`` or ``ops.npy``."""
    held = {name for name in ("F.npy", "spks.npy", "iscell.npy", "ops.npy") if (path / name).is_file()}
    return bool(held & {"F.npy", "spks.npy"}) and bool(held & {"iscell.npy", "ops.npy"})


def suite2p_activity(source: Source, layout: Layout) -> Activity:
    """Traces of the cells of one plane: neuropil-corrected, raw or deconvolved, as `layout.fluorescence` says.

    Corrected is ``F - neucoeff * Fneu`` (Pachitariu et al. 2017, bioRxiv 061507), with suite2p's coefficient of .7
    where ``ops.npy`` says nothing. Without ``iscell.npy`` all regions are taken.

    Raises
    ------
    InvalidRecording
        A file is missing or damaged, sizes disagree, or nothing states the frame rate.
    """
    folder = source.path
    ops = _options(folder)
    rate_hz = layout.sample_hz or _rate(ops)
    if rate_hz is None:
        raise InvalidRecording(f"{folder.name}: ops.npy states no frame rate fs; set layout.sample_hz")
    fluorescence = _matrix(folder / _FILES[layout.fluorescence])
    if layout.fluorescence == "corrected":
        fluorescence = _corrected(folder, fluorescence, ops)
    cells, warnings = _cells(folder, len(fluorescence))
    with naming(folder):
        ids = [str(roi) for roi in np.flatnonzero(cells)]
        times_s = layout.start_s + np.arange(fluorescence.shape[1]) / rate_hz
        return traced(
            unit_table(ids, {"kind": ["cell"] * len(ids)}, area=layout.area),
            times_s,
            np.ascontiguousarray(fluorescence[cells].T),
            physical_unit=layout.physical_unit,
            warnings=warnings,
        )


def frame_rate(folder: Path) -> float | None:
    """Frames per second as ``ops.npy`` states them, None where it does not."""
    return _rate(_options(folder))


def _rate(ops: dict[str, Any]) -> float | None:
    stated = ops.get("fs")
    return float(stated) if isinstance(stated, int | float | np.number) and float(stated) > 0 else None


def _matrix(path: Path) -> NDArray[np.float32]:
    if not path.is_file():
        raise InvalidRecording(f"{path.parent.name}: has no {path.name}; choose other traces with layout.fluorescence")
    with naming(path):
        (values,) = read_arrays(path).values()
        if values.ndim != 2 or 0 in values.shape:
            raise InvalidRecording(f"has shape {values.shape}; expected regions x frames")
        if values.dtype.kind not in "iuf":
            raise InvalidRecording(f"holds {values.dtype}; expected numbers")
        return np.asarray(values, dtype=np.float32)


def _corrected(folder: Path, raw: NDArray[np.float32], ops: dict[str, Any]) -> NDArray[np.float32]:
    neuropil = _matrix(folder / "Fneu.npy")
    if neuropil.shape != raw.shape:
        raise InvalidRecording(f"{folder.name}: F.npy is {raw.shape}, Fneu.npy {neuropil.shape}; expected the same")
    return raw - np.float32(ops.get("neucoeff", _NEUROPIL_SHARE)) * neuropil


def _cells(folder: Path, n_rois: int) -> tuple[NDArray[np.bool_], list[str]]:
    path = folder / "iscell.npy"
    if not path.is_file():
        return np.ones(n_rois, dtype=bool), ["no iscell.npy; all regions of interest are taken"]
    with naming(path):
        (values,) = read_arrays(path).values()
        said = numbers(values, "the array").reshape(len(values), -1)
        if len(said) != n_rois:
            raise InvalidRecording(f"speaks of {len(said)} regions, the traces of {n_rois}; expected as many")
        cells: NDArray[np.bool_] = said[:, 0] > 0
        if not cells.any():
            raise InvalidRecording("calls no region a cell; nothing to analyse")
        return cells, [f"{n_rois - cells.sum()} of {n_rois} regions are no cells; left out"] if not cells.all() else []


def _options(folder: Path) -> dict[str, Any]:
    path = folder / "ops.npy"
    if not path.is_file():
        return {}
    with reading(path):
        held = _unpickled(path)
    return held if isinstance(held, dict) else {}


def _unpickled(path: Path) -> Any:
    """The one object of a .npy file, its classes replaced by blanks: no code of the file is ever run."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        _, _, dtype = read(file)
        if dtype.kind != "O":
            raise InvalidRecording(f"holds {dtype}; expected suite2p's table of options")
        held = _Harmless(file).load()
    return held.item() if isinstance(held, np.ndarray) and held.ndim == 0 else held


class _Blank:
    """Stands for an object whose class is not opened."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


class _Harmless(pickle.Unpickler):
    """Unpickles numbers, texts, containers and numpy arrays; anything else comes out blank."""

    def find_class(self, module: str, name: str) -> Any:
        """The class of that name if it is one of numpy's plain ones, else a blank."""
        if module.split(".")[0] == "numpy" and name in ("_reconstruct", "scalar", "ndarray", "dtype", "_frombuffer"):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        return _Blank
