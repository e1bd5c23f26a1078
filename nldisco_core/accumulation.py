"""Sums over the blocks of a reconstruction from which every score of it follows, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from nldisco_core.binned import Binned
from nldisco_core.errors import IncompatibleData
from nldisco_core.interfaces import ReconstructionBlock

__all__ = ["RATE_FLOOR", "Floats", "Key", "Mask", "Sums", "Target", "observed_mean"]

RATE_FLOOR = 1e-3
"""Smallest expected count per bin in Poisson scores: a linear output predicts zero and less for quiet units."""

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

    def add(self, y: Floats, predicted: Floats, weight: Floats) -> None:
        """Activity and prediction (n_rows, n_units); `weight` is 1 for entries that count and 0 for others."""
        d, y, predicted = (y - self.shift) * weight, y * weight, predicted * weight
        error = y - predicted
        self.n_rows += len(y)
        for name, values in (("n", weight), ("d", d)):
            self.unit[name] += values.sum(axis=0)
        pairs = {"dd": (d, d), "sse": (error, error), "yy": (y, y), "yp": (y, predicted), "pp": (predicted, predicted)}
        for name, (left, right) in pairs.items():
            self.unit[name] += np.einsum("tn,tn->n", left, right)
        norms = np.linalg.norm(y, axis=1) * np.linalg.norm(predicted, axis=1)
        usable = norms > 0
        self.cosine_sum += float((np.einsum("tn,tn->t", y, predicted)[usable] / norms[usable]).sum())
        self.cosine_n += int(usable.sum())
        whole, gap = y.sum(axis=1) - self.shift.sum(), error.sum(axis=1)
        for name, value in (("n", len(y)), ("d", whole.sum()), ("dd", whole @ whole), ("sse", gap @ gap)):
            self.population[name] += float(value)

    def add_counts(self, counts: Floats, expected: Floats, weight: Floats) -> None:
        """Counts and their expectation (n_rows, n_units), both per bin."""
        expected = np.maximum(expected, RATE_FLOOR)
        terms = {
            "count": counts,
            "count_log_count": xlogy(counts, counts),
            "count_log_expected": counts * np.log(expected),
            "expected": expected,
        }
        for name, values in terms.items():
            self.unit[name] += (values * weight).sum(axis=0)

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


class Target:
    """What predictions are compared with: activity, counts, and the rows of each split."""

    def __init__(self, data: Binned, counts: Binned | None, in_split: Mapping[str, Mask]) -> None:
        self.data, self.in_split = data, in_split
        self.activity, self.observed, self.segments = data.activity, data.observed, data.segments
        self.counts = None if counts is None else counts.activity
        self.shift = {
            name: observed_mean(self.activity[mask], None if self.observed is None else self.observed[mask])
            for name, mask in in_split.items()
        }

    def add(self, block: ReconstructionBlock, sums: dict[Key, Sums]) -> None:
        """Add one block to the sums of its instance, level, lags and splits."""
        rows = np.arange(len(self.activity))[block.rows]
        values = block.values[:, None, :] if block.values.ndim == 2 else block.values
        if values.shape != (len(rows), len(block.lags_s), self.activity.shape[1]):
            raise IncompatibleData(
                f"a reconstruction of shape {block.values.shape} for {len(rows)} bins, {len(block.lags_s)} lags and "
                f"{self.activity.shape[1]} units; evaluate the model on the units it predicts"
            )
        for index, lag_s in enumerate(block.lags_s):
            target = rows + round(lag_s / self.data.bin_s)
            inside = (target >= 0) & (target < len(self.activity))
            inside[inside] = self.segments[target[inside]] == self.segments[rows[inside]]
            for split, mask in self.in_split.items():
                chosen = inside & mask[rows]
                if chosen.any():
                    part = sums.setdefault((block.instance, block.level, lag_s, split), Sums(self.shift[split]))
                    self._add(part, target[chosen], values[chosen, index].astype(np.float64), block.physical_unit)

    def residual(self, block: ReconstructionBlock, chosen: Mask) -> tuple[Floats, Floats]:
        """Activity minus prediction of a block's chosen rows, zero where unobserved; 1 where observed, else 0."""
        rows = np.arange(len(self.activity))[block.rows]
        picked = chosen[rows]
        weight = self._weight(rows[picked])
        return (self.activity[rows[picked]] - block.values[picked].astype(np.float64)) * weight, weight

    def _add(self, part: Sums, rows: NDArray[np.int64], predicted: Floats, physical_unit: str) -> None:
        weight = self._weight(rows)
        part.add(self.activity[rows].astype(np.float64), predicted, weight)
        if self.counts is not None:
            expected = self._recorded(predicted, rows) if physical_unit == "model input" else predicted
            part.add_counts(self.counts[rows].astype(np.float64), expected, weight)

    def _weight(self, rows: NDArray[np.int64]) -> Floats:
        """(n_rows, n_units) 1 where the unit was observed, else 0."""
        shape = (len(rows), self.activity.shape[1])
        return np.ones(shape) if self.observed is None else self.observed[rows].astype(np.float64)

    def _recorded(self, predicted: Floats, rows: NDArray[np.int64]) -> Floats:
        """Predictions for these stacked rows in counts per bin, each session by its own statistics."""
        if self.data.preprocessing.normalise == "sqrt":
            predicted = np.maximum(predicted, 0)  # squaring would turn a negative root into a positive count
        session = np.searchsorted(self.data.row_offsets, rows, side="right") - 1
        restored = np.empty_like(predicted)
        for index in np.unique(session):
            mine = session == index
            restored[mine] = self.data.preprocessing.to_recorded(predicted[mine], session=int(index))
        return restored


def observed_mean(activity: NDArray[Any], seen: Mask | None) -> Floats:
    """(n_units,) mean over the entries that were observed; zero where none was."""
    seen = np.ones(activity.shape, dtype=bool) if seen is None else seen
    return np.asarray(np.sum(activity, axis=0, where=seen, dtype=np.float64) / np.maximum(seen.sum(axis=0), 1))
