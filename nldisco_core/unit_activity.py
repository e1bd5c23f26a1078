"""How active every unit is while each latent is.

Activity is compared as z-scores over the chosen bins. Bins that follow each other are no independent observations, so
every mean comes with two standard errors: one over active bins, which is too small, and one over trials or stretches of
ten seconds, which is the one to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import Binned
from nldisco_core.columns import independent_stretches
from nldisco_core.errors import IncompatibleData
from nldisco_core.latents import LatentSpace
from nldisco_core.relations import chosen_rows
from nldisco_core.row_blocks import stacked_activity, stacked_observed
from nldisco_core.session import read_only

__all__ = ["CoActivity", "co_activity"]

ROWS_AT_ONCE = 512

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class CoActivity:
    """Activity of every unit while each latent is active, of signed codes while it is above zero.

    All arrays are (n_instances, n_latents, n_units).

    Attributes
    ----------
    mean_z : mean z-score over the latent's active bins in which the unit was observed; NaN where there are none, or
        where the unit is constant
    sem_bins : standard error over bins, ``sd / sqrt(n_bins)`` with n - 1 in the variance, as if bins were independent;
        NaN for fewer than two
    sem_blocks : standard error over the blocks g of `nldisco_core.columns.independent_stretches`, with sums S_g of n_g
        active bins, that of a ratio of means: ``sqrt(G / (G - 1) sum_g (S_g - mean_z n_g)²) / n_bins`` (Cochran,
        Sampling Techniques, 1977, section 6.3), G blocks with an active bin; NaN for fewer than two
    n_bins, n_blocks : what these are taken over
    unit_ids : (n_units,) ids
    """

    mean_z: Floats
    sem_bins: Floats
    sem_blocks: Floats
    n_bins: Counts
    n_blocks: Counts
    unit_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("mean_z", "sem_bins", "sem_blocks", "n_bins", "n_blocks"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


def co_activity(space: LatentSpace, data: Binned, *, rows: NDArray[np.bool_] | None = None) -> CoActivity:
    """Mean z-score of every unit while each latent is active, with its standard errors, for all latents together.

    Parameters
    ----------
    data : the bins the latents speak of; z-scores are of its activity as it is given, over the chosen bins
    rows : (n_rows,) bins to use, such as those of one split, None for all

    Raises
    ------
    IncompatibleData
        The rows of the latents are not the bins of the data, or the sessions do not share their units.
    DataError
        No bins are left.
    """
    if space.n_rows != data.n_bins:
        raise IncompatibleData(
            f"latents of {space.n_rows} rows for {data.n_bins} bins; give the bins they were made of"
        )
    chosen = np.flatnonzero(chosen_rows(space, rows))
    parts = list(_parts(chosen, independent_stretches(data)[chosen]))
    scale = _Scale.of(data, [part for part, _ in parts])
    sums = [_Sums.zeros(space.n_latents, data.n_units) for _ in range(space.n_instances)]
    codes = [_active(space, instance) for instance in range(space.n_instances)]
    for part, block in parts:
        z, seen = scale.scored(data, part)
        for total, active in zip(sums, codes, strict=True):
            total.add(active[part], block, z, seen)
    finished = [total.finished(scale.sd > 0) for total in sums]
    arrays = {name: np.stack([one[name] for one in finished]) for name in finished[0]}
    return CoActivity(**arrays, unit_ids=tuple(data.units["id"]))


def _active(space: LatentSpace, instance: int) -> sparse.csr_array:
    """(n_rows, n_latents) ones where a latent is active at the deepest level, of signed codes where it is above 0."""
    codes = space.csr(instance) if space.is_sparse else sparse.csr_array(space.dense(instance) > 0)
    active = sparse.csr_array(codes > 0) if space.code_kind == "signed" else codes
    shape = (np.ones(active.nnz), active.indices, active.indptr)
    return sparse.csr_array(shape, shape=active.shape)


def _parts(chosen: Counts, block: NDArray[np.int32]) -> Iterator[tuple[Counts, NDArray[np.int32]]]:
    """Rows and their blocks, whole blocks of about `ROWS_AT_ONCE` rows together."""
    start = 0
    for end in (np.flatnonzero(np.diff(block, append=-1)) + 1).tolist():
        if end - start >= ROWS_AT_ONCE or end == len(chosen):
            yield chosen[start:end], block[start:end]
            start = end


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scale:
    """(n_units,) mean and standard deviation of each unit; 0 for one that is constant."""

    mean: Floats
    sd: Floats

    @classmethod
    def of(cls, data: Binned, parts: list[Counts]) -> _Scale:
        n = np.zeros(data.n_units)
        total, square = np.zeros(data.n_units), np.zeros(data.n_units)
        for part in parts:
            values, seen = _rows_of(data, part)
            n += seen.sum(axis=0)
            total += (values * seen).sum(axis=0)
        mean = total / np.maximum(n, 1)
        for part in parts:
            values, seen = _rows_of(data, part)
            square += (((values - mean) * seen) ** 2).sum(axis=0)
        variance = square / np.maximum(n, 1)
        return cls(mean=mean, sd=np.sqrt(np.where(variance > 1e-24 * mean**2, variance, 0)))

    def scored(self, data: Binned, part: Counts) -> tuple[Floats, Floats]:
        """(n_rows, n_units) z-scores, 0 where not observed, and (n_rows, n_units or 1) what was observed."""
        values, seen = _rows_of(data, part)
        return (values - self.mean) / np.where(self.sd > 0, self.sd, 1) * seen, seen


def _rows_of(data: Binned, part: Counts) -> tuple[Floats, Floats]:
    """(n_rows, n_units) activity of ascending rows, and (n_rows, n_units or 1) what was observed of it."""
    span = slice(int(part[0]), int(part[-1]) + 1)
    observed = stacked_observed(data, span)
    seen = np.ones((len(part), 1)) if observed is None else observed[part - span.start].astype(np.float64)
    return stacked_activity(data, span)[part - span.start].astype(np.float64), seen


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sums:
    """Running sums (n_latents, n_units) of one instance, from which means and standard errors follow."""

    n: Floats
    n_blocks: Floats
    z: Floats
    z_squared: Floats
    block_z_squared: Floats
    block_z_n: Floats
    block_n_squared: Floats

    @classmethod
    def zeros(cls, n_latents: int, n_units: int) -> _Sums:
        return cls(**{name: np.zeros((n_latents, n_units)) for name in cls.__dataclass_fields__})

    def add(self, active: sparse.csr_array, block: NDArray[np.int32], z: Floats, seen: Floats) -> None:
        """Add rows (n_rows, n_latents) of whole blocks."""
        by_latent = active.tocsc()
        latent = np.repeat(np.arange(active.shape[1]), np.diff(by_latent.indptr))
        in_block = block[by_latent.indices]
        first = np.flatnonzero((np.diff(latent, prepend=-1) != 0) | (np.diff(in_block, prepend=-1) != 0))
        ends = np.append(first, len(latent)).astype(by_latent.indptr.dtype)
        pairs = sparse.csr_array((by_latent.data, by_latent.indices, ends), shape=(len(first), len(block)))
        bounds = np.searchsorted(latent[first], np.arange(active.shape[1] + 1)).astype(by_latent.indptr.dtype)
        places = np.arange(len(first), dtype=bounds.dtype)
        of_latent = sparse.csr_array((np.ones(len(first)), places, bounds), shape=(active.shape[1], len(first)))
        n, total = pairs @ seen, pairs @ z
        self.n[:] += of_latent @ n
        self.n_blocks[:] += of_latent @ (n > 0).astype(np.float64)
        self.z[:] += of_latent @ total
        self.z_squared[:] += by_latent.T @ (z * z)
        self.block_n_squared[:] += of_latent @ (n * n)
        self.block_z_n[:] += of_latent @ (total * n)
        self.block_z_squared[:] += of_latent @ np.square(total, out=total)

    def finished(self, varies: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """The arrays of `CoActivity` of this instance; NaN for units that do not vary."""
        n, groups = self.n, self.n_blocks
        known = (n > 0) & varies
        mean = np.divide(self.z, n, out=np.full(n.shape, np.nan), where=known)
        spread = _above_rounding(self.z_squared - n * mean**2, self.z_squared)
        between = self.block_z_squared - 2 * mean * self.block_z_n + mean**2 * self.block_n_squared
        between = _above_rounding(between, self.block_z_squared)
        bins = _root(spread, n * (n - 1), known & (n > 1))
        blocks = _root(between * groups, (groups - 1) * n**2, known & (groups > 1))
        counts = {"n_bins": n.astype(np.int64), "n_blocks": groups.astype(np.int64)}
        return {"mean_z": mean, "sem_bins": bins, "sem_blocks": blocks, **counts}


def _above_rounding(squares: Floats, of: Floats) -> Floats:
    """Sums of squares about a mean, 0 where they are no more than the rounding of what they were taken from."""
    return np.where(squares > 1e-13 * of, squares, 0.0)


def _root(above: Floats, below: Floats, where: NDArray[np.bool_]) -> Floats:
    return np.asarray(np.sqrt(np.divide(above, below, out=np.full(above.shape, np.nan), where=where)))
