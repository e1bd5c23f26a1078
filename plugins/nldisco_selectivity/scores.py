"""Scores of every latent against every condition in one pass over the active bins.

A *column* is one latent of one instance (for signed codes one half of it); silent bins enter every score as zeros
without being touched. Bins where the variable is not defined count neither inside nor outside of any condition.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.tuning import Conditions, mutual_information, stability
from nldisco_selectivity.tally import Tally, tally

__all__ = ["Active", "Scores", "large_enough", "max_mcc", "score", "shares"]

MIN_ON, MIN_OFF = 5, 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Active:
    """The active bins of all columns on some rows, ordered by column and row.

    Attributes
    ----------
    starts : (n_columns + 1,) where those of each column begin
    rows, values : (n_active,) row and activation (> 0) of each
    by_value : (n_active,) entries of each column by ascending activation
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    values: NDArray[np.float64]
    by_value: NDArray[np.int32]

    @classmethod
    def of(cls, activations: sparse.csc_array, rows: NDArray[np.bool_]) -> Active:
        """Those of (n_rows, n_columns) activations on the rows of a mask."""
        keep = rows[activations.indices]
        starts = np.concatenate([[0], np.cumsum(keep)])[activations.indptr].astype(np.int64)
        values = activations.data[keep].astype(np.float64, copy=False)
        by_value = np.empty(len(values), dtype=np.int32)
        for start, stop in pairwise(starts.tolist()):
            by_value[start:stop] = np.argsort(values[start:stop]) + start
        return cls(
            starts=starts,
            rows=activations.indices[keep].astype(np.int32, copy=False),
            values=values,
            by_value=by_value,
        )

    @property
    def n_columns(self) -> int:
        """Columns there are, silent ones included."""
        return len(self.starts) - 1


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
    codes = np.where(rows, chosen.codes, -1)
    n_on = np.bincount(codes[codes >= 0], minlength=chosen.n_conditions)
    found = tally(
        active.starts,
        active.rows,
        active.values,
        active.by_value,
        codes,
        _runs(chosen.codes, segments),
        segments,
        first_half,
        chosen.n_conditions,
        by_trial,
    )
    hits = found.hits
    silent = hits.sum(axis=1) == 0
    scores = shares(hits, n_on)
    scores["auroc"] = _auroc(hits, found.rank_sum, n_on)
    scores |= _means(found, n_on)
    for values in scores.values():
        values[silent] = np.nan
    return Scores(
        by_condition={**scores, "n_active": hits, "n_visits": found.visits},
        n_on=n_on,
        n_off=n_on.sum() - n_on,
        n_active=hits.sum(axis=1),
        n_visits=found.episodes,
        max_mcc=np.where(silent | ~large_enough(n_on).any(), np.nan, max_mcc(hits, n_on)),
        mutual_information=np.where(silent, np.nan, _information(found, n_on)),
        stability=_stability(found, codes, first_half),
    )


def shares(hits: NDArray[np.int64], n_on: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """(n_columns, n_conditions) scores of `score` that follow from how many bins are active where.

    Parameters
    ----------
    hits, n_on : (n_columns, n_conditions) active bins of each condition, (n_conditions,) its bins
    """
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


def _means(found: Tally, n_on: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    n_off, total = n_on.sum() - n_on, found.total
    mean_on, mean_off = _ratio(total, n_on), _ratio(total.sum(axis=1, keepdims=True) - total, n_off)
    # Deviations from the column's mean lose no digits where the spread is small beside the mean.
    mean = _ratio(total.sum(axis=1, keepdims=True), n_on.sum())
    silent_on = n_on - found.hits
    first, second = found.first - silent_on * mean, found.second + silent_on * np.square(mean)
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


def _information(found: Tally, n_on: NDArray[np.int64]) -> NDArray[np.float64]:
    counts = found.levels.copy()
    counts[:, 0] = n_on - found.hits
    return mutual_information(counts)


def _stability(found: Tally, codes: NDArray[np.int32], first_half: NDArray[np.bool_]) -> NDArray[np.float64]:
    n_conditions = found.hits.shape[1]
    n_bins = [np.bincount(codes[half & (codes >= 0)], minlength=n_conditions) for half in (~first_half, first_half)]
    return stability(*(_ratio(total, n) for total, n in zip(found.half_total, n_bins, strict=True)))


def _runs(codes: NDArray[np.int32], segments: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n_rows,) number of the run of equal codes within a stretch that each row lies in."""
    new = np.diff(codes, prepend=codes[:1]).astype(bool) | np.diff(segments, prepend=segments[:1]).astype(bool)
    return np.cumsum(new).astype(np.int32)


def _ratio(above: NDArray[Any], below: NDArray[Any] | np.int64) -> NDArray[np.float64]:
    """Quotient, NaN where nothing stands below."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=np.float64), below)
    quotient: NDArray[np.float64] = np.full(above.shape, np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
