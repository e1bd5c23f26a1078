"""Histograms of weights and counts against counting by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.histograms import active_shares, count_histogram, unit_activity, weight_histogram
from nldisco_core.interfaces import Dictionary


def session(counts: np.ndarray, name: str, observed: np.ndarray | None = None) -> BinnedSession:
    return BinnedSession(
        session_id=name,
        activity=counts,
        units=pd.DataFrame({"id": [f"u{unit}" for unit in range(counts.shape[1])]}),
        start_ns=np.arange(len(counts), dtype=np.int64) * 50_000_000,
        trial=np.full(len(counts), -1, dtype=np.int32),
        split=np.zeros(len(counts), dtype=np.int8),
        observed=observed,
    )


def test_counts_are_counted_over_sessions_without_what_was_not_observed() -> None:
    first = np.array([[0, 0, 7], [1, 0, 0], [0, 0, 0], [2, 2, 2]], dtype=np.uint8)
    second = np.array([[3, 0, 0], [0, 1, 0]], dtype=np.uint16)
    seen = np.ones(second.shape, dtype=bool)
    seen[1, 1] = False
    data = Binned(sessions=(session(first, "a"), session(second, "b", seen)), bin_s=0.05, activity_kind="counts")
    table = count_histogram(data)
    entries = np.concatenate([first.ravel(), second[seen]])
    assert table["count"].tolist() == list(range(8))
    assert table["n_entries"].tolist() == [int((entries == count).sum()) for count in range(8)]
    assert table["share"].sum() == pytest.approx(1)
    assert active_shares(data) == pytest.approx({"entries": 6 / 17, "bins": 4 / 6})


def test_weights_of_all_instances_share_their_edges() -> None:
    values = np.random.default_rng(0).normal(size=(3, 8, 5)).astype(np.float32)
    table = weight_histogram(Dictionary(values=values, unit_ids=(tuple("abcde"),)))
    assert table.groupby("instance")["n"].sum().tolist() == [40, 40, 40]
    assert table["low"].min() == values.min()
    assert table["high"].max() == values.max()
    row = table[table["instance"] == 1].iloc[20]
    assert row["n"] == ((values[1] >= row["low"]) & (values[1] < row["high"])).sum()
    np.testing.assert_array_equal(table["low"], np.tile(table["low"][:50], 3))


def test_activity_of_units_is_that_of_a_loop_over_observed_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nldisco_core.histograms.ROWS_AT_ONCE", 7)
    rng = np.random.default_rng(1)
    first, second = (rng.poisson(0.6, (40, 3)).astype(np.uint8) for _ in range(2))
    seen = rng.random(second.shape) < 0.7
    seen[:, 2] = False
    data = Binned(sessions=(session(first, "a"), session(second, "b", seen)), bin_s=0.05, activity_kind="counts")
    table = unit_activity(data)
    assert table["session"].tolist() == ["a"] * 3 + ["b"] * 3
    expected = [first[:, unit] for unit in range(3)] + [second[seen[:, unit], unit] for unit in range(2)]
    for row, counts in enumerate(expected):
        assert table["mean"][row] == pytest.approx(counts.mean() / 0.05)
        assert table["nonzero_share"][row] == pytest.approx((counts > 0).mean())
    np.testing.assert_allclose(table["observed_share"][3:], seen.mean(axis=0))
    assert table.loc[5, ["mean", "nonzero_share"]].isna().all()
