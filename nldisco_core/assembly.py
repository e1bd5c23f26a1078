"""Sparse latents put together from activations that come row by row, in bounded memory."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core import scratch

__all__ = ["ENTRIES_AT_ONCE", "Assembly"]

ENTRIES_AT_ONCE = 1 << 22
"""Activations of all instances that wait in the order of rows before they are sorted by latent."""


class Assembly:
    """Activations of several instances, taken in row by row and given back by latent.

    They wait in pieces sorted by latent, above a size in a scratch file; `finish` lays the pieces of each latent end to
    end. Both need one pass and no sort.

    Parameters
    ----------
    masked : whether each activation comes with its level mask
    """

    def __init__(self, *, n_instances: int, n_latents: int, masked: bool) -> None:
        self._instances = [_Pieces(n_latents, masked, n_instances) for _ in range(n_instances)]
        self._masked = masked

    def add(
        self,
        instance: int,
        n_active: NDArray[np.int64],
        latents: NDArray[np.int64],
        values: NDArray[np.float32],
        masks: NDArray[np.uint8] | None = None,
    ) -> None:
        """The next rows of one instance.

        Parameters
        ----------
        n_active : (n_rows,) activations of each row
        latents, values, masks : (n_entries,) row after row, latents ascending in each; values are not zero
        """
        self._instances[instance].add(n_active, latents, values, masks)

    def finish(self) -> tuple[tuple[sparse.csc_array, ...], tuple[NDArray[np.uint8], ...] | None]:
        """Codes and level masks of every instance, see `LatentSpace`; memory-mapped where they are large.

        Raises
        ------
        RunError
            No room for the scratch files.
        """
        for pieces in self._instances:
            pieces.close_piece()
        n_bytes = sum(pieces.n_bytes for pieces in self._instances)
        codes, masks = zip(*(pieces.joined(n_bytes) for pieces in self._instances), strict=True)
        return codes, masks if self._masked else None


class _Pieces:
    """What one instance has taken in."""

    def __init__(self, n_latents: int, masked: bool, n_instances: int) -> None:
        self._n_latents = n_latents
        self._types = [np.dtype(kind) for kind in ((np.int32, np.float32, np.uint8) if masked else (np.int32, "f4"))]
        self._limit = ENTRIES_AT_ONCE // n_instances
        self._waiting: list[tuple[NDArray[Any], ...]] = []
        self._n_waiting = 0
        self._n_rows = 0
        self._starts: list[NDArray[np.int64]] = []  # (n_latents + 1,) of each piece
        self._first_rows: list[int] = []
        limit = scratch.LARGEST_IN_MEMORY // n_instances
        self._file = tempfile.SpooledTemporaryFile(max_size=limit, prefix="nldisco-")  # noqa: SIM115  # until `joined`

    @property
    def n_bytes(self) -> int:
        return self._n_entries * sum(kind.itemsize for kind in self._types)

    @property
    def _n_entries(self) -> int:
        return sum(int(starts[-1]) for starts in self._starts)

    def add(self, *columns: NDArray[Any] | None) -> None:
        kept = tuple(column for column in columns if column is not None)
        self._waiting.append(kept)
        self._n_waiting += len(kept[1])
        if self._n_waiting >= self._limit:
            self.close_piece()

    def close_piece(self) -> None:
        """Write what waits, sorted by latent."""
        if not self._waiting:
            return
        n_active, latents, *entries = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
        latents, rows = latents.astype(np.int32), np.concatenate([[0], np.cumsum(n_active)]).astype(np.int32)
        shape = (len(n_active), self._n_latents)
        by_latent = [sparse.csr_array((column, latents, rows), shape=shape).tocsc() for column in entries]
        for column in (by_latent[0].indices, *(matrix.data for matrix in by_latent)):
            self._file.write(np.ascontiguousarray(column).data)
        self._starts.append(by_latent[0].indptr.astype(np.int64))
        self._first_rows.append(self._n_rows)
        self._n_rows += len(n_active)
        self._waiting, self._n_waiting = [], 0

    def joined(self, n_bytes: int) -> tuple[sparse.csc_array, NDArray[np.uint8] | None]:
        """All pieces as one canonical matrix; the masks in the same order."""
        starts = np.sum(self._starts, axis=0)
        # scipy copies indices of another type than that of the starts
        index_type = np.int32 if max(self._n_entries, self._n_rows) < np.iinfo(np.int32).max else np.int64
        types = [np.dtype(index_type), *self._types[1:]]
        whole = [scratch.allocate((self._n_entries,), kind, together=n_bytes) for kind in types]
        self._file.seek(0)
        following = starts[:-1].copy()
        for piece, first_row in zip(self._starts, self._first_rows, strict=True):
            lengths = np.diff(piece)
            places = np.repeat(following - piece[:-1], lengths) + np.arange(piece[-1])
            for column, kind in zip(whole, self._types, strict=True):
                column[places] = np.frombuffer(self._file.read(len(places) * kind.itemsize), dtype=kind)
            whole[0][places] += first_row
            following += lengths
        self._file.close()
        shape = (self._n_rows, self._n_latents)
        matrix = sparse.csc_array((whole[1], whole[0], starts.astype(index_type)), shape=shape)
        return matrix, whole[2] if len(whole) == 3 else None
