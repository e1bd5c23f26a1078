"""Bootstrap intervals against a plain loop over drawn blocks."""

from __future__ import annotations

import numpy as np
from nldisco_selectivity.intervals import bootstrap_intervals
from nldisco_selectivity.scores import Active
from scipy import sparse

from nldisco_core.binned import Covariate
from nldisco_core.tuning import Conditions, conditions


def cut(codes: np.ndarray) -> Conditions:
    return conditions(Covariate(name="v", values=codes.astype(float), kind="discrete"))


def test_bounds_are_quantiles_over_blocks_that_were_drawn_again() -> None:
    rng = np.random.default_rng(0)
    n_rows, n_columns, n_draws = 120, 3, 40
    codes = rng.integers(0, 3, n_rows)
    activity = np.where(rng.random((n_rows, n_columns)) < 0.4, 1.0, 0.0)
    activity[:, 2] = 0
    rows = rng.random(n_rows) < 0.8
    blocks = (np.arange(n_rows) // 10 * 3).astype(np.int32)
    chosen = cut(codes)
    found = bootstrap_intervals(
        Active.of(sparse.csc_array(activity), rows), chosen, rows, blocks=blocks, n_bootstrap=n_draws, seed=7
    )
    names = np.unique(blocks[rows])
    times = np.random.default_rng(7).multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_draws)
    rows_of = [np.flatnonzero(rows & (blocks == name)) for name in names]
    samples = [np.concatenate([rows_of[i] for i in np.repeat(np.arange(len(names)), draw)]) for draw in times]
    for column in range(n_columns):
        for condition in range(3):
            coverage, selectivity = [], []
            for drawn in samples:
                a, inside = activity[drawn, column] > 0, codes[drawn] == condition
                during, outside = a[inside].mean(), a[~inside].mean()
                coverage.append(during)
                selectivity.append(during / (during + outside) if during + outside else np.nan)
            low, high = np.quantile(coverage, [0.025, 0.975])
            assert np.isclose(found["coverage_low"][column, condition], low, atol=1e-12)
            assert np.isclose(found["coverage_high"][column, condition], high, atol=1e-12)
            if column == 2:
                assert np.isnan(found["selectivity_low"][column, condition])
            else:
                low, high = np.quantile(selectivity, [0.025, 0.975])
                assert np.isclose(found["selectivity_low"][column, condition], low, atol=1e-12)
                assert np.isclose(found["selectivity_high"][column, condition], high, atol=1e-12)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    n_blocks, length, n_columns = 60, 10, 200
    chosen = cut(np.tile([0, 1], n_blocks * length // 2))
    share = rng.beta(2, 2, (n_blocks, n_columns))  # blocks differ: bins are not independent
    activity = (rng.random((n_blocks * length, n_columns)) < np.repeat(share, length, axis=0)).astype(float)
    rows = np.ones(len(activity), dtype=bool)
    blocks = np.repeat(np.arange(n_blocks), length).astype(np.int32)
    found = bootstrap_intervals(
        Active.of(sparse.csc_array(activity), rows), chosen, rows, blocks=blocks, n_bootstrap=200, seed=0
    )
    covered = (found["coverage_low"][:, 0] <= 0.5) & (found["coverage_high"][:, 0] >= 0.5)
    assert 0.88 <= covered.mean() <= 0.99
