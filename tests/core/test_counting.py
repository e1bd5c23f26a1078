"""Compiled counts against plain loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nldisco_core.counting import count_active, count_relabelled, count_resampled


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(n_rows, 3) what is active, starts and rows of it, and codes."""
    n_rows = draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    active = rng.random((n_rows, 3)) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    columns, rows = np.nonzero(active.T)
    codes = rng.integers(-1, 4, n_rows).astype(np.int32)
    return active, np.searchsorted(columns, np.arange(4)), rows.astype(np.int32), codes


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(0, 99))
def test_counts_equal_a_plain_loop(case: tuple[np.ndarray, ...], seed: int) -> None:
    active, starts, rows, codes = case
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 7, (len(codes), 2)).astype(np.uint16)
    block = rng.integers(0, 3, len(codes)).astype(np.int32)
    times = rng.integers(0, 4, (3, 2)).astype(np.int32)
    counts, cells, again = np.zeros((3, 4)), np.zeros((3, 7)), np.zeros((2, 3, 4))
    for row, column in np.argwhere(active):
        for label in labels[row]:
            cells[column, label] += 1
        if codes[row] >= 0:
            counts[column, codes[row]] += 1
            again[:, column, codes[row]] += times[block[row]]
    np.testing.assert_array_equal(count_active(starts, rows, codes, 4), counts)
    np.testing.assert_array_equal(count_relabelled(starts, rows, labels, 7), cells)
    np.testing.assert_array_equal(count_resampled(starts, rows, codes, block, times, 4), again)
