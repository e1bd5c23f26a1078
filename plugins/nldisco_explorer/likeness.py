"""How alike the latents of two sides are, as they are and made unrelated: on activations in time, or on weights."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.latents import LatentSpace

__all__ = ["Activations", "Likeness", "Weights", "codes_at"]

DENSE = 0.25
"""Share of entries that are not zero from which activations are multiplied as dense ones, which is faster then."""

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Codes = sparse.csc_array | NDArray[Any]


class Likeness(Protocol):
    """Similarity of every latent of one side to every latent of the other.

    Attributes
    ----------
    alive : latents of either side that can be alike at all
    unrelated : what `by_chance` does to one side, in words
    """

    alive: tuple[Rows, Rows]
    unrelated: str

    def similarity(self) -> Floats:
        """(n_alive, n_alive_of_other) as the two sides are."""

    def by_chance(self, rng: np.random.Generator) -> Floats:
        """(n_alive, n_alive_of_other) one side made unrelated to the other."""


def codes_at(space: LatentSpace, instance: int, rows: Rows) -> Codes:
    """(len(rows), n_latents) activations of one instance in some rows, sparse or dense as is faster to multiply."""
    if not space.is_sparse:
        return np.asarray(space.dense(instance)[rows], dtype=np.float32)
    code = space.csc(instance)
    place = np.full(space.n_rows, -1, dtype=np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    to = place[code.indices]
    kept = to >= 0
    starts = np.concatenate([[0], np.cumsum(kept)])[code.indptr].astype(np.int32)
    found = sparse.csc_array((code.data[kept], to[kept], starts), shape=(len(rows), code.shape[1]))
    return found if found.nnz < DENSE * found.shape[0] * found.shape[1] else found.toarray()


class Activations:
    """Pearson correlation over bins, a latent of one side with one of the other.

    The other side is made unrelated by turning its bins in a circle, each session by an amount of its own of at least
    a tenth of its bins: sparsity, slowness and what a session has in common stay.

    Parameters
    ----------
    codes : (n_bins, n_latents) of either side over the same bins
    starts : (n_sessions + 1,) where the bins of each session start
    absolute : compare sizes, where latents have no sign of their own
    """

    unrelated = "with one side shifted in time"

    def __init__(self, codes: tuple[Codes, Codes], starts: Rows, *, absolute: bool) -> None:
        self._n_bins, self._starts, self._absolute = codes[0].shape[0], starts, absolute
        means, sds = zip(*map(_moments, codes), strict=True)
        self.alive = (np.flatnonzero(sds[0] > 0), np.flatnonzero(sds[1] > 0))
        chosen = [code[:, alive] for code, alive in zip(codes, self.alive, strict=True)]
        mean, sd = ([each[alive] for each, alive in zip(of, self.alive, strict=True)] for of in (means, sds))
        self._swapped = isinstance(chosen[0], np.ndarray) and not isinstance(chosen[1], np.ndarray)
        if self._swapped:
            chosen, mean, sd = chosen[::-1], mean[::-1], sd[::-1]
        still, centred = chosen[1], isinstance(chosen[1], np.ndarray)
        self._turned = _by_latent(chosen[0], mean[0])
        self._still: Any = (
            (still - mean[1]).astype(np.float32) if isinstance(still, np.ndarray) else still.astype(np.float64).tocsr()
        )
        self._expected = 0.0 if centred else np.outer(mean[0], mean[1])
        self._scale = np.outer(sd[0], sd[1])

    def similarity(self) -> Floats:
        """(n_alive, n_alive_of_other) correlations, their sizes where signs mean nothing."""
        return self._correlations(self._turned)

    def by_chance(self, rng: np.random.Generator) -> Floats:
        """The same after a turn of the bins."""
        sizes = np.diff(self._starts)
        shifts = rng.integers(sizes // 10, sizes - sizes // 10)
        to = np.arange(self._n_bins, dtype=np.int32)
        for start, size, shift in zip(self._starts, sizes, shifts, strict=False):
            to[start : start + size] = start + (np.arange(size) + shift) % size
        return self._correlations(_moved(self._turned, to))

    def _correlations(self, turned: Any) -> Floats:
        product = turned @ self._still
        product = product if isinstance(product, np.ndarray) else product.toarray()
        found = (product.astype(np.float64) / self._n_bins - self._expected) / self._scale
        found = np.abs(found) if self._absolute else found
        return np.asarray(found.T if self._swapped else found)


def _moments(code: Codes) -> tuple[Floats, Floats]:
    """(n_latents,) mean and standard deviation of each latent; 0 where it is silent or no more than rounding varies."""
    n_bins = code.shape[0]
    if isinstance(code, np.ndarray):
        values = code.astype(np.float64)
        mean, square = values.mean(axis=0), np.square(values).mean(axis=0)
    else:
        values, column = code.data.astype(np.float64), np.repeat(np.arange(code.shape[1]), np.diff(code.indptr))
        mean, square = (
            np.bincount(column, weights=each, minlength=code.shape[1]) / n_bins for each in (values, values**2)
        )
    variance = square - mean**2
    return mean, np.sqrt(np.where(variance > 1e-12 * square, variance, 0.0))


def _by_latent(code: Codes, mean: Floats) -> Any:
    """(n_latents, n_bins) ready to be multiplied; dense ones less their mean, which float32 would not bear."""
    if isinstance(code, np.ndarray):
        return np.ascontiguousarray((code - mean).astype(np.float32).T)
    return code.T


def _moved(turned: Any, to: NDArray[np.int32]) -> Any:
    """The same with what was in bin i in bin ``to[i]``."""
    if isinstance(turned, np.ndarray):
        moved = np.empty_like(turned)
        moved[:, to] = turned
        return moved
    return sparse.csr_array((turned.data, to[turned.indices], turned.indptr), shape=turned.shape)


class Weights:
    """Cosine of dictionary rows to the same units.

    The other side is made unrelated by permuting each latent's weights over the units by itself.

    Parameters
    ----------
    rows : (n_latents, n_units) or (n_latents, n_units, n_lags) of either side
    absolute : compare sizes, where latents have no sign of their own
    """

    unrelated = "with the weights of one side permuted over the units"

    def __init__(self, rows: tuple[NDArray[np.float32], NDArray[np.float32]], *, absolute: bool) -> None:
        self._absolute = absolute
        self.alive = (np.arange(len(rows[0])), np.arange(len(rows[1])))
        self._rows, self._other = rows

    def similarity(self) -> Floats:
        """(n_latents, n_latents_of_other) cosines, their sizes where signs mean nothing."""
        return self._cosines(self._other)

    def by_chance(self, rng: np.random.Generator) -> Floats:
        """The same after a permutation; the lags of a unit stay together."""
        n_latents, n_units = self._other.shape[:2]
        order = rng.permuted(np.tile(np.arange(n_units), (n_latents, 1)), axis=1)
        order = order.reshape(order.shape + (1,) * (self._other.ndim - 2))
        return self._cosines(np.take_along_axis(self._other, order, axis=1))

    def _cosines(self, other: NDArray[np.float32]) -> Floats:
        found = _unit_rows(self._rows) @ _unit_rows(other).T
        return np.abs(found) if self._absolute else found


def _unit_rows(values: NDArray[np.float32]) -> Floats:
    rows = values.astype(np.float64).reshape(len(values), -1)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))
