"""Activations that another toolkit saved, read as latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from nldisco_core.errors import DatasetUnavailable, InvalidRecording
from nldisco_core.latents import Latents, LatentSpace

__all__ = ["read_activations"]


def read_activations(path: Path) -> Latents:
    """Latents of a file with one row per bin.

    Parameters
    ----------
    path : ``.npy`` with (n_bins, n_latents) or (n_instances, n_bins, n_latents) numbers, or ``.npz`` of one
        `scipy.sparse` matrix (n_bins, n_latents). No pickled objects are read.

    Raises
    ------
    DatasetUnavailable
        The file does not exist.
    InvalidRecording
        It holds something else, or values that are not finite.
    """
    if not path.is_file():
        raise DatasetUnavailable(f"{path} does not exist; expected a .npy or .npz file of activations")
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


def _without_zeros(matrix: Any) -> sparse.csc_array:
    """The matrix by latent, without stored zeros: what is stored is active."""
    stored = sparse.csc_array(matrix)
    stored.eliminate_zeros()
    return stored
