"""Activations that another toolkit saved, read as latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from nldisco_core.errors import DatasetUnavailable, InvalidRecording
from nldisco_core.exporting import ACTIVATIONS, COLUMNS, MASKS
from nldisco_core.latents import Latents, LatentSpace

__all__ = ["read_activations"]


def read_activations(path: Path) -> Latents:
    """Latents of a file with one row per bin.

    Parameters
    ----------
    path : ``.npy`` with (n_bins, n_latents) or (n_instances, n_bins, n_latents) numbers, ``.npz`` of one
        `scipy.sparse` matrix (n_bins, n_latents), or a folder as `nldisco_core.exporting.write_activations` fills it.
        No pickled objects are read.

    Raises
    ------
    DatasetUnavailable
        The file does not exist.
    InvalidRecording
        It holds something else, or values that are not finite.
    """
    if path.is_dir():
        return _listed(path)
    if not path.is_file():
        raise DatasetUnavailable(f"{path} does not exist; expected a .npy or .npz file or a folder of activations")
    try:
        values = _without_zeros(sparse.load_npz(path)) if path.suffix == ".npz" else np.load(path, allow_pickle=False)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidRecording(f"{path} cannot be read as activations: {error}") from error
    if isinstance(values, np.ndarray):
        values = values[None] if values.ndim == 2 else values
        if values.ndim != 3 or not values.size or not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
            raise InvalidRecording(
                f"{path} holds {values.dtype} of shape {values.shape}; expected numbers, bins x latents"
            )
    if not isinstance(values, np.ndarray) and 0 in values.shape:
        raise InvalidRecording(f"{path} holds a matrix of shape {values.shape}; expected bins x latents")
    data = values.data if isinstance(values, sparse.csc_array) else values
    if not np.isfinite(data).all():
        raise InvalidRecording(f"{path} holds NaN or infinity; activations must be finite")
    n_rows = values.shape[-2]
    return Latents.of(
        LatentSpace(
            codes=values.astype(np.float32) if isinstance(values, np.ndarray) else (values.astype(np.float32),),
            session_ids=("saved",),
            row_offsets=np.array([0, n_rows], dtype=np.int64),
            code_kind="nonnegative" if data.size == 0 or data.min() >= 0 else "signed",
        )
    )


def _listed(folder: Path) -> Latents:
    """Latents of a folder with one row for each activation, and masks that say how many bins there are."""
    try:
        table = pq.read_table(folder / ACTIVATIONS)
        n_rows = len(np.load(folder / MASKS["train"], allow_pickle=False))
        row, instance, latent, value = (table[name].to_numpy() for name in table.schema.names[:4])
    except FileNotFoundError as error:
        raise DatasetUnavailable(f"{error.filename} is missing; expected {ACTIVATIONS} and {MASKS['train']}") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InvalidRecording(f"{folder} cannot be read as activations: {error}") from error
    if table.schema.names[:4] != COLUMNS:
        raise InvalidRecording(f"{folder / ACTIVATIONS} has columns {table.schema.names}; expected {COLUMNS}")
    if not len(row) or min(row.min(), instance.min(), latent.min()) < 0 or row.max() >= n_rows:
        raise InvalidRecording(f"{folder / ACTIVATIONS} holds no activations, or some beyond the {n_rows} bins")
    if not np.isfinite(value).all():
        raise InvalidRecording(f"{folder / ACTIVATIONS} holds NaN or infinity; activations must be finite")
    shape = (n_rows, int(latent.max()) + 1)
    codes = []
    for index in range(int(instance.max()) + 1):
        own = instance == index
        codes.append(_without_zeros(sparse.coo_array((value[own], (row[own], latent[own])), shape=shape)))
    return Latents.of(
        LatentSpace(
            codes=tuple(codes),
            session_ids=("saved",),
            row_offsets=np.array([0, n_rows], dtype=np.int64),
            code_kind="nonnegative" if value.min() >= 0 else "signed",
        )
    )


def _without_zeros(matrix: Any) -> sparse.csc_array:
    """The matrix by latent, without stored zeros: what is stored is active."""
    stored = sparse.csc_array(matrix)
    stored.eliminate_zeros()
    return stored
