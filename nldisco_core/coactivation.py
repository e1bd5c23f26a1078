"""Which latents are active together, counted block after block of latents."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.latents import LatentSpace
from nldisco_core.row_blocks import row_slices

__all__ = ["LATENTS_AT_ONCE", "active_bins", "active_together", "codes_of", "latent_blocks", "n_active"]

LATENTS_AT_ONCE = 512
ROWS_AT_ONCE = 8192
DENSE_SHARE = 0.05
"""Density from which dense products are the faster ones: their time does not grow with the square of it."""


def codes_of(space: LatentSpace, instance: int, chosen: NDArray[np.bool_]) -> sparse.csr_array:
    """(n_chosen, n_latents) activations of one instance at the deepest level, as rows."""
    return (space.csr(instance) if space.is_sparse else sparse.csr_array(space.dense(instance)))[chosen]


def active_bins(codes: sparse.csr_array) -> sparse.csr_array:
    """(n_rows, n_latents) ones where an activation is not zero."""
    return sparse.csr_array((np.ones(codes.nnz), codes.indices, codes.indptr), shape=codes.shape)


def n_active(codes: sparse.csr_array) -> NDArray[np.int64]:
    """(n_latents,) rows in which each latent is active."""
    return np.bincount(codes.indices, minlength=codes.shape[1]).astype(np.int64)


def active_together(
    codes: sparse.csr_array, *, n_first: int | None = None
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Block after block of latents, the (n_block, n_latents) rows in which each is active together with each other.

    Parameters
    ----------
    n_first : go through the first so many latents only; None for all
    """
    n_rows, n_latents = codes.shape
    parts = latent_blocks(n_latents if n_first is None else n_first)
    active = active_bins(codes)
    if active.nnz > DENSE_SHARE * n_rows * n_latents:
        yield from ((part, _dense_product(active, part)) for part in parts)
        return
    by_latent = active.tocsc()
    for part in parts:
        yield part, np.asarray((by_latent[:, part].T @ active).toarray())


def _dense_product(active: sparse.csr_array, part: slice) -> NDArray[np.float64]:
    """(n_block, n_latents) rows in which both are active, by dense products; counts of a block of rows are exact."""
    both = np.zeros((part.stop - part.start, active.shape[1]))
    for rows in row_slices(active.shape[0], ROWS_AT_ONCE):
        dense = active[rows].astype(np.float32).toarray()
        both += dense[:, part].T @ dense
    return both


def latent_blocks(n_latents: int) -> Iterator[slice]:
    """Slices of at most `LATENTS_AT_ONCE` latents that cover all of them in order."""
    for first in range(0, n_latents, LATENTS_AT_ONCE):
        yield slice(first, min(first + LATENTS_AT_ONCE, n_latents))
