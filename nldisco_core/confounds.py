"""Whether a latent's mapping to a variable says more than the other variables already do, on held-out bins.

Heading and position go together by behaviour alone, so a heading latent also looks like a position latent. Here a model
of when the latent is active gets the other variables, with and without the one in question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.counting import compiled, count_active
from nldisco_core.splits import spread_rows
from nldisco_core.tuning import Conditions

__all__ = ["MOST_OTHERS", "Compared", "Part", "compare"]

MOST_OTHERS = 5
MOST_ROWS = 20_000
PRIOR = 2.0
MIN_SHARE = 0.05
_MOST_SWEEPS, _TOLERANCE = 50, 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Bins to fit on, or to hold out.

    Attributes
    ----------
    rows : (n_rows,) which rows
    starts, active_rows : (n_columns + 1,) and (n_active,) active bins of every column on these rows, see
        `nldisco_core.counting`
    """

    rows: NDArray[np.bool_]
    starts: NDArray[np.int64]
    active_rows: NDArray[np.int32]

    @classmethod
    def of(cls, activations: sparse.csc_array, rows: NDArray[np.bool_]) -> Part:
        """These rows of (n_rows, n_columns) activations."""
        keep = rows[activations.indices]
        return cls(
            rows=rows,
            starts=np.concatenate([[0], np.cumsum(keep)])[activations.indptr].astype(np.int64),
            active_rows=activations.indices[keep].astype(np.int32, copy=False),
        )

    def counts(self, codes: NDArray[np.int32], n_conditions: int) -> NDArray[np.int64]:
        """(n_columns, n_conditions) active bins by the condition of each row, -1 for none."""
        return count_active(self.starts, self.active_rows, codes, n_conditions)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """What one variable says of each column on held-out bins (bits per active bin; NaN where not compared).

    Attributes
    ----------
    alone : (n_columns,) gain of this variable over the mean rate
    beyond : (n_columns,) gain of this variable over all others together
    beyond_se : (n_columns,) its standard error over blocks of bins
    better : (n_columns,) the other variable that explains the column better, None for none
    """

    alone: NDArray[np.float64]
    beyond: NDArray[np.float64]
    beyond_se: NDArray[np.float64]
    better: NDArray[np.object_]


def compare(
    variables: Mapping[str, Conditions],
    *,
    fit: Part,
    held_out: Part,
    blocks: NDArray[np.int32],
    wanted: Mapping[str, NDArray[np.bool_]],
) -> dict[str, Compared]:
    """Compare each wanted mapping with the other variables, at most `MOST_OTHERS` of them.

    The model of a column is Poisson and multiplicative, ``P(active) = rate prod_v g_v[condition of v]``, fitted by
    cyclic scaling (Darroch & Ratcliff, Ann. Math. Stat. 43, 1470, 1972) with a gamma prior of `PRIOR` events on each
    factor; bins where another variable is not defined are one more condition of it. Fit and test take the bins where
    the variable in question is defined, every so many where there are more than `MOST_ROWS`. The gain of one model
    over another is the difference of their log likelihoods over held-out bins.

    A mapping is better explained by others when the variable gains nothing beyond them, less than one standard error
    over blocks or less than a twentieth of what all explain together, and they gain more than that twentieth beyond
    it: of two variables that say the same, neither is. Of the others the one is named that gains most alone.

    Parameters
    ----------
    variables : cut into conditions; with more others than `MOST_OTHERS` those that explain most on the bins to fit
    blocks : (n_rows,) stretches of bins that count as independent, such as trials
    wanted : by name of a variable the (n_columns,) columns whose mapping is compared
    """
    strongest = _strongest(variables, fit)
    found = {}
    for name, columns in wanted.items():
        others = [other for other in strongest if other != name][:MOST_OTHERS]
        chosen = [variables[name], *(variables[other] for other in others)]
        found[name] = _compare_one(chosen, fit, held_out, blocks, columns)
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Levels:
    """Conditions of several variables, numbered through.

    Attributes
    ----------
    codes : (n_rows, n_variables) number of the condition of each row
    edges : (n_variables + 1,) where the conditions of each variable begin
    """

    codes: NDArray[np.int32]
    edges: NDArray[np.int64]

    @classmethod
    def of(cls, chosen: Sequence[Conditions]) -> _Levels:
        edges = np.concatenate([[0], np.cumsum([conditions.n_conditions + 1 for conditions in chosen])])
        codes = [np.where(c.codes < 0, c.n_conditions, c.codes) + edge for c, edge in zip(chosen, edges, strict=False)]
        return cls(codes=np.stack(codes, axis=1).astype(np.int32), edges=edges)

    def counts(self, part: Part, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(n_columns, n_levels) active bins among these rows."""
        masked = np.where(rows[:, None], self.codes, -1)
        n_levels = int(self.edges[-1])
        return sum(
            (part.counts(np.ascontiguousarray(codes), n_levels) for codes in masked.T),
            start=np.zeros((len(part.starts) - 1, n_levels), dtype=np.int64),
        )


def _strongest(variables: Mapping[str, Conditions], fit: Part) -> list[str]:
    """Names of the variables, that which explains most of all columns on the bins to fit first."""
    gains = {}
    for name, conditions in variables.items():
        codes = np.where(fit.rows, conditions.codes, -1)
        hits = fit.counts(codes, conditions.n_conditions)
        n_on = np.bincount(codes[codes >= 0], minlength=conditions.n_conditions)
        expected = n_on * hits.sum(axis=1, keepdims=True) / max(n_on.sum(), 1)
        gains[name] = float((hits * np.log((hits + PRIOR) / (expected + PRIOR))).sum())
    return sorted(gains, key=lambda name: -gains[name])


def _compare_one(
    chosen: Sequence[Conditions], fit: Part, held_out: Part, blocks: NDArray[np.int32], columns: NDArray[np.bool_]
) -> Compared:
    """The first variable against the others."""
    bins = _Bins.of(_Levels.of(chosen), chosen[0].codes >= 0, fit, held_out, blocks)
    single = np.eye(len(chosen), dtype=bool)
    none, everything = np.zeros(len(chosen), dtype=bool), np.ones(len(chosen), dtype=bool)
    found = {name: np.full(len(columns), np.nan) for name in ("alone", "beyond", "beyond_se")}
    better = np.full(len(columns), None, dtype=object)
    for column in np.flatnonzero(columns & bins.comparable).tolist():
        mean, alone = bins.likelihood(column, none), bins.likelihood(column, single[0])
        whole, others = bins.likelihood(column, everything), bins.likelihood(column, everything & ~single[0])
        found["alone"][column] = (alone - mean).sum()
        found["beyond"][column], found["beyond_se"][column] = _sum(whole - others)
        least = MIN_SHARE * float((whole - mean).sum())
        gained, error = found["beyond"][column], found["beyond_se"][column]
        better_alone = len(chosen) > 1 and float((others - alone).sum()) > max(least, 0.0)
        adds = gained > error and gained > least
        if better_alone and not adds:
            gains = [bins.likelihood(column, single[other]).sum() for other in range(1, len(chosen))]
            better[column] = chosen[1 + int(np.argmax(gains))].variable
    return Compared(**found, better=better)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Bins:
    """What models of when a column is active are fitted to and held against.

    Attributes
    ----------
    levels : conditions of the variables
    cells, exposure : (n_cells, n_variables) combinations of conditions that occur in the bins to fit, and bins of each
    counts : (n_columns, n_levels) active bins of each condition in the bins to fit
    held_out : where columns are active; of these bins those in `place` count
    place : (n_rows,) number of a row among those held out, -1 for the others
    codes, block : (n_held_out, n_variables) and (n_held_out,) conditions and stretch of each bin held out
    """

    levels: _Levels
    cells: NDArray[np.int32]
    exposure: NDArray[np.int64]
    counts: NDArray[np.int64]
    held_out: Part
    place: NDArray[np.int64]
    codes: NDArray[np.int32]
    block: NDArray[np.int64]

    @classmethod
    def of(
        cls, levels: _Levels, defined: NDArray[np.bool_], fit: Part, held_out: Part, blocks: NDArray[np.int32]
    ) -> _Bins:
        fit_rows, test_rows = (spread_rows(part.rows & defined, at_most=MOST_ROWS) for part in (fit, held_out))
        cells, exposure = np.unique(levels.codes[fit_rows], axis=0, return_counts=True)
        return cls(
            levels=levels,
            cells=cells,
            exposure=exposure,
            counts=levels.counts(fit, fit_rows),
            held_out=held_out,
            place=np.where(test_rows, np.cumsum(test_rows) - 1, -1),
            codes=levels.codes[test_rows],
            block=np.unique(blocks[test_rows], return_inverse=True)[1],
        )

    @property
    def comparable(self) -> NDArray[np.bool_]:
        """(n_columns,) columns that are active on both sides."""
        seen = np.concatenate([[0], np.cumsum(self.place[self.held_out.active_rows] >= 0)])[self.held_out.starts]
        return np.asarray((np.diff(seen) > 0) & self.counts.any(axis=1))

    def likelihood(self, column: int, used: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(n_blocks,) held-out log likelihood of the model with these variables (bits per active bin)."""
        of_levels, edges = self.counts[column], self.levels.edges
        rate = of_levels[: edges[1]].sum() / self.exposure.sum()
        factors = _factors(self.cells, self.exposure, of_levels, edges, used, rate)
        log_rate = np.log(rate) + np.log(factors)[self.codes[:, used]].sum(axis=1)
        starts = self.held_out.starts
        active = self.place[self.held_out.active_rows[starts[column] : starts[column + 1]]]
        active = active[active >= 0]
        expected = np.bincount(self.block, weights=np.exp(log_rate))
        seen = np.bincount(self.block[active], weights=log_rate[active], minlength=len(expected))
        return np.asarray((seen - expected) / (len(active) * np.log(2)))


def _sum(values: NDArray[np.float64]) -> tuple[float, float]:
    """Sum of independent values and its standard error, NaN for a single one."""
    return float(values.sum()), float(np.sqrt(len(values) * values.var(ddof=1))) if len(values) > 1 else np.nan


@compiled
def _factors(
    cells: NDArray[np.int32],
    exposure: NDArray[np.int64],
    counts: NDArray[np.int64],
    edges: NDArray[np.int64],
    used: NDArray[np.bool_],
    rate: float,
) -> Any:
    """(n_levels,) factor of each condition, 1 for those of variables that are not used.

    Parameters
    ----------
    cells, exposure : (n_cells, n_variables) combinations of conditions that occur and (n_cells,) bins of each
    counts : (n_levels,) active bins of each condition
    edges : (n_variables + 1,) where the conditions of each variable begin
    used : (n_variables,) variables of the model
    rate : share of active bins
    """
    factors, expected = np.ones(edges[-1]), np.zeros(edges[-1])
    mean = exposure * rate
    n_used = used.sum()
    for _ in range(_MOST_SWEEPS):
        largest = 0.0
        for variable in range(len(used)):
            if not used[variable]:
                continue
            start, stop = edges[variable], edges[variable + 1]
            expected[start:stop] = 0.0
            for cell in range(len(mean)):
                expected[cells[cell, variable]] += mean[cell]
            for level in range(start, stop):
                new = (counts[level] + PRIOR) / (expected[level] / factors[level] + PRIOR)
                expected[level] = new / factors[level]
                factors[level] = new
                largest = max(largest, abs(np.log(expected[level])))
            for cell in range(len(mean)):
                mean[cell] *= expected[cells[cell, variable]]
        if largest < _TOLERANCE or n_used < 2:
            break
    return factors
