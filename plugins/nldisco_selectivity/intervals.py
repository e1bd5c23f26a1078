"""How far coverage and selectivity could be off: bootstrap over trials or blocks of bins."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nldisco_core.counting import count_resampled
from nldisco_core.tuning import Conditions
from nldisco_selectivity.scores import Active, shares

__all__ = ["bootstrap_intervals"]

_COLUMNS_AT_ONCE = 64
_QUANTILES = (0.025, 0.975)


def bootstrap_intervals(
    active: Active,
    chosen: Conditions,
    rows: NDArray[np.bool_],
    *,
    blocks: NDArray[np.int32],
    n_bootstrap: int,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """(n_columns, n_conditions) bounds of the 95 % percentile intervals of coverage and selectivity.

    Whole blocks of bins are drawn again with replacement (Efron 1979; blocks keep what is autocorrelated together).
    Named ``coverage_low``, ``coverage_high``, ``selectivity_low``, ``selectivity_high``; a draw in which a score is not
    defined does not count, NaN where all are.

    Parameters
    ----------
    active : active bins on these rows
    rows : (n_rows,) rows scored
    blocks : (n_rows,) trial or stretch of each row
    """
    codes = np.where(rows, chosen.codes, -1).astype(np.int32)
    present, block = np.unique(blocks[codes >= 0], return_inverse=True)
    block_of_row = np.zeros(len(codes), dtype=np.int32)
    block_of_row[codes >= 0] = block
    even = np.full(len(present), 1 / max(len(present), 1))
    times = np.random.default_rng(seed).multinomial(len(present), even, size=n_bootstrap).T.astype(np.int32)
    by_block = np.zeros((len(present), chosen.n_conditions))
    np.add.at(by_block, (block, codes[codes >= 0]), 1)
    n_on = times.T @ by_block
    bounds = {name: np.empty((active.n_columns, chosen.n_conditions)) for name in _names()}
    limits = [*range(0, active.n_columns, _COLUMNS_AT_ONCE), active.n_columns]
    for first, last in pairwise(limits):
        starts = active.starts[first : last + 1]
        hits = count_resampled(starts, active.rows, codes, block_of_row, times, chosen.n_conditions)
        scores = [shares(of_draw, n) for of_draw, n in zip(hits, n_on.astype(np.int64), strict=True)]
        for score in ("coverage", "selectivity"):
            values = np.stack([found[score] for found in scores])
            for end, quantile in zip(("low", "high"), _QUANTILES, strict=True):
                bounds[f"{score}_{end}"][first:last] = _nan_quantile(values, quantile)
    return bounds


def _names() -> list[str]:
    return [f"{score}_{end}" for score in ("coverage", "selectivity") for end in ("low", "high")]


def _nan_quantile(values: NDArray[np.float64], quantile: float) -> NDArray[np.float64]:
    """Quantile over the first axis of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values).all(axis=0)
    found = np.full(values.shape[1:], np.nan)
    found[defined] = np.nanquantile(values[:, defined], quantile, axis=0)
    return found
