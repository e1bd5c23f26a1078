"""Scores of every latent against every condition in one pass over the active bins.

A *column* is one latent of one instance (for signed codes one half of it); silent bins enter every score as zeros
without being touched. Bins where the variable is not defined count neither inside nor outside of any condition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.tuning import Conditions, mutual_information, stability

__all__ = ["Active", "Scores", "large_enough", "max_mcc", "score"]

MIN_ON, MIN_OFF = 5, 20
N_LEVELS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Active:
    """The active bins of all columns on some rows, ordered by column and row.

    Attributes
    ----------
    rows, columns, values : (n_active,) row, column and activation (> 0) of each
    by_value : (n_active,) order by column and value
    n_columns : columns there are, silent ones included
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float64]
    by_value: NDArray[np.int64]
    n_columns: int

    @classmethod
    def of(cls, activations: sparse.csc_array, rows: NDArray[np.bool_]) -> Active:
        """Those of (n_rows, n_columns) activations on the rows of a mask."""
        n_columns = activations.shape[1]
        keep = rows[activations.indices]
        columns = np.repeat(np.arange(n_columns), np.diff(activations.indptr))[keep]
        values = activations.data[keep]
        return cls(
            rows=activations.indices[keep].astype(np.int64),
            columns=columns,
            values=values,
            by_value=np.lexsort((values, columns)),
            n_columns=n_columns,
        )

    def on(self, rows: NDArray[np.bool_]) -> Active:
        """Those on the rows of a mask."""
        keep = rows[self.rows]
        if keep.all():
            return self
        kept = self.by_value[keep[self.by_value]]
        return Active(
            rows=self.rows[keep],
            columns=self.columns[keep],
            values=self.values[keep],
            by_value=(np.cumsum(keep) - 1)[kept],
            n_columns=self.n_columns,
        )

    def ranks(self) -> NDArray[np.float64]:
        """(n_active,) rank of each activation among the active bins of its column, from 1, ties averaged."""
        columns, values = self.columns[self.by_value], self.values[self.by_value]
        new = np.ones(len(values), dtype=bool)
        new[1:] = (np.diff(columns) != 0) | (np.diff(values) != 0)
        first = np.flatnonzero(new)
        last = np.append(first[1:], len(values)) - 1
        start = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=self.n_columns))])[columns[first]]
        ranks = np.empty(len(values))
        ranks[self.by_value] = np.repeat((first + last) / 2 - start + 1, last - first + 1)
        return ranks


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Scores on the rows of one split.

    Attributes
    ----------
    by_condition : (n_columns, n_conditions) arrays by name, see `score`
    n_on, n_off : (n_conditions,) bins inside and outside each condition
    n_active, n_visits : (n_columns,) active bins where the variable is defined, and separate episodes of activity
    max_mcc, mutual_information, stability : (n_columns,)
    """

    by_condition: dict[str, NDArray[Any]]
    n_on: NDArray[np.int64]
    n_off: NDArray[np.int64]
    n_active: NDArray[np.int64]
    n_visits: NDArray[np.int64]
    max_mcc: NDArray[np.float64]
    mutual_information: NDArray[np.float64]
    stability: NDArray[np.float64]


def large_enough(n_on: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n_conditions,) conditions with at least 5 bins inside and 20 outside."""
    return np.asarray((n_on >= MIN_ON) & (n_on.sum() - n_on >= MIN_OFF))


def max_mcc(counts: NDArray[np.int64], n_on: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n_columns,) largest Matthews correlation with one of the conditions that are `large_enough`.

    0 for columns that never or always are active, and where no condition is large enough. Youden's J would let
    conditions of few bins reach 1 by chance and hide everything else; this correlation weighs a condition by its
    bins.

    Parameters
    ----------
    counts : (n_columns, n_conditions) active bins in each condition
    n_on : (n_conditions,) bins of each condition
    """
    chosen = large_enough(n_on)
    n_bins, n_active = n_on.sum(), counts.sum(axis=1).astype(np.float64)
    varies = (n_active > 0) & (n_active < n_bins)
    best = np.zeros(len(counts))
    if chosen.any():
        covariance = counts[varies][:, chosen] * n_bins - n_active[varies, None] * n_on[chosen]
        spread = np.sqrt(n_on[chosen] * (n_bins - n_on[chosen]).astype(np.float64))
        best[varies] = (covariance / spread).max(axis=1) / np.sqrt(n_active * (n_bins - n_active))[varies]
    return best


def score(
    active: Active,
    chosen: Conditions,
    rows: NDArray[np.bool_],
    *,
    first_half: NDArray[np.bool_],
    segments: NDArray[np.int32],
    by_trial: bool,
) -> Scores:
    """Score all columns against all conditions on some rows.

    With TP, FP, FN, TN the bins that are active inside, active outside, silent inside, silent outside of a condition:
    ``coverage = TP/(TP+FN)``, ``specificity = TN/(TN+FP)``, ``precision = TP/(TP+FP)``,
    ``selectivity = coverage/(coverage + 1 - specificity)``, ``youden = coverage + specificity - 1``,
    ``mcc = (TP TN - FP FN)/sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN))`` (Matthews 1975), ``lift = precision/P(condition)``,
    ``auroc = P(a_on > a_off) + P(a_on = a_off)/2`` from average ranks, ``mean_on`` and ``mean_off``, and
    ``cohens_d = (mean_on - mean_off)/sqrt((sd_on² + sd_off²)/2)`` with population sd, for at least 5 bins inside and
    20 outside.

    ``n_active`` counts active bins of the condition. ``n_visits`` counts visits of the condition during which the
    column was active, a visit being a run of consecutive bins of that condition that ends at a gap and where the
    trial changes; over the whole variable it counts runs of consecutive active bins, or, for what trials say
    (`by_trial`), trials with an active bin. ``mutual_information`` (bits, Miller-Madow) is that of the condition with
    the activation cut into 8 levels: silent, and 7 with as many active bins each. ``stability`` is Pearson's r of the
    tuning curves of the two halves.

    A score that is not defined is NaN, and all are for a column that is never active.

    Parameters
    ----------
    active : active bins on (at least) these rows
    rows, first_half : (n_rows,) masks: the rows scored, and their earlier half
    segments : (n_rows,) contiguous stretch of each row
    """
    rows = rows & (chosen.codes >= 0)
    active = active.on(rows)
    n_conditions = chosen.n_conditions
    shape = (active.n_columns, n_conditions)
    codes = chosen.codes[active.rows]
    key = active.columns * n_conditions + codes
    n_on = np.bincount(chosen.codes[rows], minlength=n_conditions)

    def per_condition(weights: NDArray[Any] | None = None) -> NDArray[Any]:
        return np.bincount(key, weights=weights, minlength=shape[0] * n_conditions).reshape(shape)

    hits = per_condition()
    ranks = active.ranks()
    silent = hits.sum(axis=1) == 0
    scores = _shares(hits, n_on)
    scores["auroc"] = _auroc(hits, per_condition(ranks), n_on)
    scores |= _means(active, per_condition, hits, n_on)
    for values in scores.values():
        values[silent] = np.nan
    return Scores(
        by_condition={
            **scores,
            "n_active": hits,
            "n_visits": per_condition(_starts(active, _runs(chosen.codes, segments)).astype(np.float64)).astype(
                np.int64
            ),
        },
        n_on=n_on,
        n_off=n_on.sum() - n_on,
        n_active=hits.sum(axis=1),
        n_visits=_episodes(active, segments, by_trial=by_trial),
        max_mcc=np.where(silent | ~large_enough(n_on).any(), np.nan, max_mcc(hits, n_on)),
        mutual_information=np.where(silent, np.nan, _information(active, ranks, codes, hits, n_on)),
        stability=_stability(per_condition, active, chosen, rows, first_half),
    )


def _shares(hits: NDArray[np.int64], n_on: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    TP = hits.astype(np.float64)
    FP = TP.sum(axis=1, keepdims=True) - TP
    FN, n_off = n_on - TP, n_on.sum() - n_on
    TN = n_off - FP
    coverage, outside, precision = _ratio(TP, n_on), _ratio(FP, n_off), _ratio(TP, TP + FP)
    return {
        "coverage": coverage,
        "specificity": 1 - outside,
        "precision": precision,
        "selectivity": _ratio(coverage, coverage + outside),
        "youden": coverage - outside,
        "mcc": _ratio(TP * TN - FP * FN, np.sqrt((TP + FP) * n_on * n_off) * np.sqrt(TN + FN)),
        "lift": _ratio(precision * n_on.sum(), n_on),
    }


def _auroc(hits: NDArray[np.int64], ranks_on: NDArray[np.float64], n_on: NDArray[np.int64]) -> NDArray[np.float64]:
    """From the rank sum inside each condition: silent bins share the lowest ranks, active ones come after them."""
    n_silent = n_on.sum() - hits.sum(axis=1, keepdims=True)
    rank_sum = ranks_on + hits * n_silent + (n_on - hits) * (n_silent + 1) / 2
    return _ratio(rank_sum - n_on * (n_on + 1) / 2, n_on.astype(np.float64) * (n_on.sum() - n_on))


def _means(
    active: Active, per_condition: Any, hits: NDArray[np.int64], n_on: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    n_off = n_on.sum() - n_on
    total = per_condition(active.values)
    mean_on, mean_off = _ratio(total, n_on), _ratio(total.sum(axis=1, keepdims=True) - total, n_off)
    # Deviations from the column's mean lose no digits where the spread is small beside the mean.
    mean = _ratio(total.sum(axis=1), np.full(len(total), n_on.sum()))
    deviation = active.values - mean[active.columns]
    silent_on = n_on - hits
    first = per_condition(deviation) - silent_on * mean[:, None]
    second = per_condition(np.square(deviation)) + silent_on * np.square(mean)[:, None]
    variance = [
        _ratio(square, n) - np.square(_ratio(sum_, n))
        for sum_, square, n in (
            (first, second, n_on),
            (first.sum(axis=1, keepdims=True) - first, second.sum(axis=1, keepdims=True) - second, n_off),
        )
    ]
    pooled = (variance[0] + variance[1]) / 2
    spread = second.sum(axis=1, keepdims=True) / max(int(n_on.sum()), 1)
    defined = large_enough(n_on) & (pooled > 1e-12 * spread)
    cohens_d = np.where(defined, (mean_on - mean_off) / np.sqrt(np.where(defined, pooled, 1)), np.nan)
    return {"cohens_d": cohens_d, "mean_on": mean_on, "mean_off": mean_off}


def _information(
    active: Active,
    ranks: NDArray[np.float64],
    codes: NDArray[np.int32],
    hits: NDArray[np.int64],
    n_on: NDArray[np.int64],
) -> NDArray[np.float64]:
    n_columns, n_conditions = hits.shape
    n_active = hits.sum(axis=1)[active.columns]
    level = np.minimum((ranks - 0.5) * (N_LEVELS - 1) / n_active, N_LEVELS - 2).astype(np.int64) + 1
    key = (active.columns * N_LEVELS + level) * n_conditions + codes
    counts = np.bincount(key, minlength=n_columns * N_LEVELS * n_conditions).reshape(n_columns, N_LEVELS, n_conditions)
    counts[:, 0] = n_on - hits
    return mutual_information(counts)


def _stability(
    per_condition: Any, active: Active, chosen: Conditions, rows: NDArray[np.bool_], first_half: NDArray[np.bool_]
) -> NDArray[np.float64]:
    curves = []
    for half in (first_half, ~first_half):
        n_bins = np.bincount(chosen.codes[rows & half], minlength=chosen.n_conditions)
        curves.append(_ratio(per_condition(active.values * half[active.rows]), n_bins))
    return stability(*curves)


def _runs(codes: NDArray[np.int32], segments: NDArray[np.int32]) -> NDArray[np.int64]:
    """(n_rows,) number of the run of equal codes within a stretch that each row lies in."""
    return np.cumsum(
        np.diff(codes, prepend=codes[:1]).astype(bool) | np.diff(segments, prepend=segments[:1]).astype(bool)
    )


def _starts(active: Active, group: NDArray[Any]) -> NDArray[np.bool_]:
    """(n_active,) whether an active bin is the first of its column in its group; groups ascend with the rows."""
    first = np.ones(len(active.rows), dtype=bool)
    first[1:] = (np.diff(active.columns) != 0) | (np.diff(group[active.rows]) != 0)
    return first


def _episodes(active: Active, segments: NDArray[np.int32], *, by_trial: bool) -> NDArray[np.int64]:
    first = _starts(active, segments)
    if not by_trial:
        first[1:] |= np.diff(active.rows) != 1
    return np.bincount(active.columns[first], minlength=active.n_columns)


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    """Quotient, NaN where nothing stands below."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=np.float64), below)
    quotient: NDArray[np.float64] = np.full(above.shape, np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
