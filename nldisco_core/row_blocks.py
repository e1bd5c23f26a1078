"""Activity and sparse latents read a block of rows at a time, so that neither has to fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.latents import LatentSpace

__all__ = ["EntryBlock", "entry_blocks", "row_slices", "stacked_activity", "stacked_observed"]


def row_slices(n_rows: int, n_at_once: int) -> Iterator[slice]:
    """Slices of at most so many rows that cover all of them in order."""
    for first in range(0, n_rows, n_at_once):
        yield slice(first, min(first + n_at_once, n_rows))


def stacked_activity(data: Binned, rows: slice) -> NDArray[Any]:
    """(n_rows, n_units) activity of consecutive stacked rows, a view where they lie in one session."""
    return _joined([session.activity[part] for session, part in _session_rows(data, rows)])


def stacked_observed(data: Binned, rows: slice) -> NDArray[np.bool_] | None:
    """(n_rows, n_units) which entries of consecutive stacked rows were observed, None where all were."""
    parts = list(_session_rows(data, rows))
    if all(session.observed is None for session, _ in parts):
        return None
    return _joined(
        [
            np.ones((part.stop - part.start, session.n_units), dtype=bool)
            if session.observed is None
            else session.observed[part]
            for session, part in parts
        ]
    )


def _session_rows(data: Binned, rows: slice) -> Iterator[tuple[BinnedSession, slice]]:
    """Each session that holds some of the stacked rows, and which of its own rows those are."""
    first = 0
    for session in data.sessions:
        part = slice(max(rows.start - first, 0), min(rows.stop - first, session.n_bins))
        if part.start < part.stop:
            yield session, part
        first += session.n_bins


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class EntryBlock:
    """The activations of consecutive rows that are not zero, latent after latent.

    Attributes
    ----------
    rows : the stacked rows
    row, latent, value : (n_entries,) row counted from the first of `rows`, latent, activation
    level_mask : (n_entries,) as `LatentSpace.level_masks`; None where levels are nested
    level_sizes : latents of each level
    """

    rows: slice
    row: NDArray[np.int32]
    latent: NDArray[np.int32]
    value: NDArray[np.float32]
    level_mask: NDArray[np.uint8] | None
    level_sizes: tuple[int, ...]

    @property
    def n_rows(self) -> int:
        """Rows of the block."""
        return int(self.rows.stop - self.rows.start)

    def at_level(self, level: int) -> NDArray[np.bool_] | slice:
        """Which entries are active at a level."""
        end = int(np.searchsorted(self.latent, self.level_sizes[level]))  # latents ascend
        if self.level_mask is None:
            return slice(0, end)
        active = ((self.level_mask >> level) & 1).astype(bool)
        active[end:] = False
        return active

    def csr(self, level: int = -1) -> sparse.csr_array:
        """(n_rows, n_latents) activations at a level, the deepest by default."""
        chosen = self.at_level(range(len(self.level_sizes))[level])
        latent = self.latent[chosen]
        starts = np.searchsorted(latent, np.arange(self.level_sizes[-1] + 1)).astype(np.int32)
        shape = (self.n_rows, self.level_sizes[-1])
        return sparse.csc_array((self.value[chosen], self.row[chosen], starts), shape=shape).tocsr()


def entry_blocks(space: LatentSpace, instance: int, n_at_once: int, *, before: int = 0) -> Iterator[EntryBlock]:
    """Activations of one instance, in the order of rows.

    Parameters
    ----------
    n_at_once : rows of a block
    before : rows before a block's first, as far as there are any, that it holds in addition
    """
    sizes = space.level_sizes or (space.n_latents,)
    blocks = [slice(max(rows.start - before, 0), rows.stop) for rows in row_slices(space.n_rows, n_at_once)]
    if isinstance(space.codes, np.ndarray):
        for rows in blocks:
            latent, row = np.nonzero(space.codes[instance, rows].T)
            value = space.codes[instance, rows][row, latent]
            yield _block(rows, row, latent, value, None, sizes)
        return
    code, masks = space.codes[instance], space.level_masks
    starts = _edges(code, [rows.start for rows in blocks])
    stops = _edges(code, [rows.stop for rows in blocks])
    for rows, start, stop in zip(blocks, starts, stops, strict=True):
        lengths = stop - start
        places = np.repeat(start - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        latent = np.repeat(np.arange(space.n_latents, dtype=np.int32), lengths)
        mask = None if masks is None else masks[instance][places]
        yield _block(rows, code.indices[places] - rows.start, latent, code.data[places], mask, sizes)


def _block(
    rows: slice,
    row: NDArray[Any],
    latent: NDArray[Any],
    value: NDArray[Any],
    mask: NDArray[np.uint8] | None,
    sizes: tuple[int, ...],
) -> EntryBlock:
    row, latent = row.astype(np.int32, copy=False), latent.astype(np.int32, copy=False)
    return EntryBlock(rows=rows, row=row, latent=latent, value=value, level_mask=mask, level_sizes=sizes)


def _edges(code: sparse.csc_array, boundaries: Sequence[int]) -> NDArray[np.int64]:
    """(n_boundaries, n_latents) place of each latent's first entry at or after each row boundary."""
    edges = np.empty((len(boundaries), code.shape[1]), dtype=np.int64)
    sought = np.array(boundaries, dtype=code.indices.dtype)
    begins, ends = sought <= 0, sought >= code.shape[0]
    edges[begins], edges[ends] = code.indptr[:-1], code.indptr[1:]
    inside = ~(begins | ends)
    if inside.any():
        for latent, (first, last) in enumerate(zip(code.indptr[:-1], code.indptr[1:], strict=True)):
            edges[inside, latent] = first + np.searchsorted(code.indices[first:last], sought[inside])
    return edges
