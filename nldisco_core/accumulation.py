"""Sums over the blocks of a reconstruction from which every score of it follows, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import xlogy

from nldisco_core.binned import Binned
from nldisco_core.errors import IncompatibleData
from nldisco_core.interfaces import ReconstructionBlock
from nldisco_core.row_blocks import row_slices, stacked_activity, stacked_observed

__all__ = ["RATE_FLOOR", "Floats", "Key", "Mask", "Sums", "Target", "observed_means"]

RATE_FLOOR = 1e-3
"""Smallest expected count per bin in Poisson scores: a linear output predicts zero and less for quiet units."""

TILE_ROWS = 1024
"""Rows that are compared at once; their float64 arrays stay in a processor's cache."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Key = tuple[int, int, float, str]
"""Instance, level, lag (s) and split."""


class Sums:
    """Sums over bins from which the scores of one (instance, level, lag, split) follow.

    Per unit: number of entries; sums of activity y about `shift` (so that little is lost to rounding) and of its
    square; squared error; products of activity and prediction; the terms of the Poisson likelihood.
    """

    def __init__(self, shift: Floats) -> None:
        self.shift = shift
        names = ("n", "d", "dd", "sse", "yy", "yp", "pp", "count", "count_log_count", "count_log_expected", "expected")
        self.unit = {name: np.zeros(len(shift)) for name in names}
        self.population = dict.fromkeys(("n", "d", "dd", "sse"), 0.0)
        self.n_rows = 0
        self.cosine_sum, self.cosine_n = 0.0, 0

    def sst(self) -> Floats:
        """(n_units,) sum of squares about each unit's mean."""
        return _sum_of_squares(self.unit["n"], self.unit["d"], self.unit["dd"], self.shift)

    def population_sst(self) -> Floats:
        """Sum of squares of the population sum about its mean."""
        n, d, dd = (np.asarray(self.population[name]) for name in ("n", "d", "dd"))
        return _sum_of_squares(n, d, dd, self.shift.sum())

    def deviances(self, null_count: Floats) -> tuple[Floats, Floats]:
        """(n_units,) Poisson deviance under the predictions and under a constant count per bin."""
        unit = self.unit
        saturated = unit["count_log_count"] - unit["count"]
        model = 2 * (saturated - unit["count_log_expected"] + unit["expected"])
        null = 2 * (saturated - unit["count"] * np.log(null_count) + unit["n"] * null_count)
        return model, null


def _sum_of_squares(n: Floats, d: Floats, dd: Floats, shift: Floats) -> Floats:
    """Sum of squares about the mean from sums about `shift`; exactly zero where only rounding is left."""
    squares = np.asarray(dd - np.divide(d * d, n, out=np.zeros_like(dd), where=n > 0))
    return np.where(squares > 1e-24 * n * np.square(shift), squares, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Spikes:
    """Entries of a tile with a count: only they weigh the logarithm of a prediction.

    Attributes
    ----------
    place, count : (n_entries,) place in the flattened tile, and count
    group : (n_entries,) split·n_units + unit
    """

    place: NDArray[np.int64]
    count: Floats
    group: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tile:
    """Rows that predictions are compared with, and the sums over them that no prediction changes.

    Attributes
    ----------
    local : rows of the block that belong to the tile
    rows : (n_rows,) stacked rows they are compared with
    splits : splits of these rows
    member : (n_splits, n_rows) 1 where a row belongs to a split, else 0: sums over the rows of each split are products
    y : (n_rows, n_units) activity, 0 where it was not observed
    weight : (n_rows, n_units) 1 where observed, else 0; None where all are
    norm : (n_rows,) of y
    unit, population : sums per split, as in `Sums`
    """

    local: NDArray[np.int64] | slice
    rows: NDArray[np.int64]
    splits: tuple[str, ...]
    member: sparse.csr_array
    y: Floats
    weight: Floats | None
    norm: Floats
    unit: Mapping[str, Floats]
    population: Mapping[str, Floats]
    spikes: _Spikes | None

    def summed(self, values: Floats) -> Floats:
        """(n_splits, …) sums over the rows of each split."""
        return np.asarray(self.member @ values)

    def log_likelihood(self, expected: Floats) -> Floats:
        """(n_splits, n_units) sums of count·log(expected)."""
        assert self.spikes is not None
        terms = self.spikes.count * np.log(expected.reshape(-1)[self.spikes.place])
        shape = (len(self.splits), self.y.shape[1])
        return _grouped(self.spikes.group, terms, shape)


class Target:
    """What predictions are compared with: activity, counts, and the rows of each split, read block by block."""

    def __init__(self, data: Binned, counts: Binned | None, in_split: Mapping[str, Mask]) -> None:
        self.data, self.counts, self.n_units = data, counts, data.n_units
        self.names = tuple(in_split)
        self.split = np.full(data.n_bins, -1, dtype=np.int8)
        for code, mask in enumerate(in_split.values()):
            self.split[mask] = code
        self.shift = observed_means(data, in_split)
        self._tiles: dict[tuple[int, int, int], _Tile | None] = {}
        self._tiled = (-1, -1)
        self._columns: NDArray[np.int64] | None = None

    @cached_property
    def _segments(self) -> NDArray[np.int32]:
        return self.data.segments

    def add(self, block: ReconstructionBlock, sums: dict[Key, Sums]) -> None:
        """Add one block to the sums of its instance, level, lags and splits."""
        start, stop, _ = block.rows.indices(self.data.n_bins)
        values = block.values[:, None, :] if block.values.ndim == 2 else block.values
        n_predicted = self.n_units if block.columns is None else len(block.columns)
        if values.shape != (stop - start, len(block.lags_s), n_predicted):
            raise IncompatibleData(
                f"a reconstruction of shape {block.values.shape} for {stop - start} bins, {len(block.lags_s)} lags and "
                f"{n_predicted} units; evaluate the model on the units it predicts"
            )
        if self._tiled != (start, stop) or self._columns is not block.columns:
            self._tiles.clear()  # levels and lags of the same rows share their tiles
            self._tiled, self._columns = (start, stop), block.columns
        for index, lag_s in enumerate(block.lags_s):
            for part in row_slices(stop - start, TILE_ROWS):
                tile = self._tile(start, part, round(lag_s / self.data.bin_s))
                if tile is not None:
                    predicted = self._every_unit(values[part, index][tile.local], block.columns)
                    self._add(tile, predicted, block, lag_s, sums)

    def _add(
        self, tile: _Tile, predicted: Floats, block: ReconstructionBlock, lag_s: float, sums: dict[Key, Sums]
    ) -> None:
        unit = dict(tile.unit)
        if tile.spikes is not None:
            expected = self._recorded(predicted, tile.rows) if block.physical_unit == "model input" else predicted
            expected = np.maximum(expected, RATE_FLOOR)
            unit["count_log_expected"] = tile.log_likelihood(expected)
            unit["expected"] = tile.summed(expected if tile.weight is None else expected * tile.weight)
        if tile.weight is not None:
            predicted = predicted * tile.weight
        error, product, square = tile.y - predicted, tile.y * predicted, predicted * predicted
        norms = tile.norm * np.sqrt(square.sum(axis=1))
        cosine = np.divide(product.sum(axis=1), norms, out=np.zeros_like(norms), where=norms > 0)
        gap = error.sum(axis=1)
        unit |= {"yp": tile.summed(product), "pp": tile.summed(square), "sse": tile.summed(np.square(error, out=error))}
        population = {**tile.population, "sse": tile.summed(gap * gap)}
        cosines, usable = tile.summed(cosine), tile.summed((norms > 0).astype(np.float64))
        for code, split in enumerate(tile.splits):
            part = sums.setdefault((block.instance, block.level, lag_s, split), Sums(self.shift[split]))
            for name, found in unit.items():
                part.unit[name] += found[code]
            for name, found in population.items():
                part.population[name] += float(found[code])
            part.n_rows += int(tile.population["n"][code])
            part.cosine_sum += float(cosines[code])
            part.cosine_n += int(usable[code])

    def _every_unit(self, predicted: NDArray[np.float32], columns: NDArray[np.int64] | None) -> Floats:
        """(n_rows, n_units) predictions, 0 for units that are not predicted."""
        if columns is None:
            return predicted.astype(np.float64)
        whole = np.zeros((len(predicted), self.n_units))
        whole[:, columns] = predicted
        return whole

    def _tile(self, start: int, part: slice, lag: int) -> _Tile | None:
        key = (start, part.start, lag)
        if key not in self._tiles:
            self._tiles[key] = self._made(np.arange(start + part.start, start + part.stop), lag)
        return self._tiles[key]

    def _made(self, speaking: NDArray[np.int64], lag: int) -> _Tile | None:
        """Rows of any split whose bin `lag` later lies in the same segment; None where there are none."""
        rows = speaking + lag
        inside = (rows >= 0) & (rows < self.data.n_bins) & (self.split[speaking] >= 0)
        if lag:
            inside[inside] = self._segments[rows[inside]] == self._segments[speaking[inside]]
        if not inside.any():
            return None
        local = np.flatnonzero(inside)
        window = slice(int(rows[local[0]]), int(rows[local[-1]]) + 1)
        picked = inside[local[0] : local[-1] + 1]
        y, weight = self._read(window, picked)
        if self._columns is not None:  # what is not predicted counts as little as what was not observed
            weight = (np.ones(y.shape) if weight is None else weight) * np.isin(np.arange(self.n_units), self._columns)
        present, code = np.unique(self.split[speaking[inside]], return_inverse=True)
        splits = tuple(self.names[index] for index in present)
        member = _membership(code, len(present))
        shift = np.stack([self.shift[split] for split in splits])
        d = y - shift[code]
        if weight is not None:
            y, d = y * weight, d * weight
        whole, square, n_rows = y.sum(axis=1) - shift.sum(axis=1)[code], y * y, np.bincount(code).astype(np.float64)
        n = np.broadcast_to(n_rows[:, None], shift.shape) if weight is None else member @ weight
        unit = {"n": n, "d": member @ d, "dd": member @ np.square(d, out=d), "yy": member @ square}
        spikes = None
        if self.counts is not None:
            spikes, found = self._counted(window, picked, weight, code, len(present))
            unit |= found
        return _Tile(
            local=slice(None) if len(local) == len(speaking) else local,
            rows=rows[local],
            splits=splits,
            member=member,
            y=y,
            weight=weight,
            norm=np.sqrt(square.sum(axis=1)),
            unit=unit,
            population={"n": n_rows, "d": member @ whole, "dd": member @ (whole * whole)},
            spikes=spikes,
        )

    def _counted(
        self, window: slice, picked: Mask, weight: Floats | None, code: NDArray[np.int64], n_splits: int
    ) -> tuple[_Spikes, dict[str, Floats]]:
        """The spikes of a tile, and the sums (n_splits, n_units) of counts and of count·log(count)."""
        assert self.counts is not None
        counts = stacked_activity(self.counts, window)[picked]
        place = np.flatnonzero(counts if weight is None else counts * weight)
        count = counts.reshape(-1)[place].astype(np.float64)
        row, unit = np.divmod(place, counts.shape[1])
        group = code[row] * counts.shape[1] + unit
        shape = (n_splits, counts.shape[1])
        sums = {"count": _grouped(group, count, shape), "count_log_count": _grouped(group, xlogy(count, count), shape)}
        return _Spikes(place=place, count=count, group=group), sums

    def _read(self, rows: slice, picked: Mask) -> tuple[Floats, Floats | None]:
        """Activity of the picked rows, and 1 where it was observed, else 0; None where all of it was."""
        observed = stacked_observed(self.data, rows)
        weight = None if observed is None else observed[picked].astype(np.float64)
        return stacked_activity(self.data, rows)[picked].astype(np.float64), weight

    def _recorded(self, predicted: Floats, rows: NDArray[np.int64]) -> Floats:
        """Predictions for these stacked rows in counts per bin, each session by its own statistics."""
        if self.data.preprocessing.normalise == "none":
            return predicted
        if self.data.preprocessing.normalise == "sqrt":
            predicted = np.maximum(predicted, 0)  # squaring would turn a negative root into a positive count
        session = np.searchsorted(self.data.row_offsets, rows, side="right") - 1
        restored = np.empty_like(predicted)
        for index in np.unique(session):
            mine = session == index
            restored[mine] = self.data.preprocessing.to_recorded(predicted[mine], session=int(index))
        return restored


def _membership(code: NDArray[np.int64], n_splits: int) -> sparse.csr_array:
    """(n_splits, n_rows) 1 where a row has a split's code: a product with it sums over the rows of each split."""
    row = np.argsort(code, kind="stable")
    starts = np.searchsorted(code[row], np.arange(n_splits + 1))
    return sparse.csr_array((np.ones(len(code)), row, starts), shape=(n_splits, len(code)))


def _grouped(group: NDArray[np.int64], terms: NDArray[Any], shape: tuple[int, int]) -> Floats:
    """(n_splits, n_units) sums of the terms of each group, split·n_units + unit."""
    sums = np.bincount(group, weights=terms, minlength=shape[0] * shape[1])
    return np.asarray(sums, dtype=np.float64).reshape(shape)


def observed_means(data: Binned, chosen: Mapping[str, Mask], *, seen: Binned | None = None) -> dict[str, Floats]:
    """For each choice of stacked rows the (n_units,) mean activity over observed entries; zero where there is none.

    Parameters
    ----------
    seen : the data that say what was observed; `data` itself if None
    """
    total, n = np.zeros((2, len(chosen), data.n_units))
    for rows in row_slices(data.n_bins, TILE_ROWS):
        member = np.stack([mask[rows] for mask in chosen.values()]).astype(np.float64)
        values = stacked_activity(data, rows).astype(np.float64)
        observed = stacked_observed(seen or data, rows)
        if observed is not None:
            values = values * observed
        total += member @ values
        n += member.sum(axis=1, keepdims=True) if observed is None else member @ observed.astype(np.float64)
    return dict(zip(chosen, total / np.maximum(n, 1), strict=True))
