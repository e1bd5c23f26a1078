"""Units behind latents, against plain loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from nldisco_core.binned import Binned
from nldisco_core.conformance.toys import toy_binned, toy_latents
from nldisco_core.contributions import contributing_units, region_weights
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.interfaces import Dictionary
from nldisco_core.latents import LatentSpace
from nldisco_core.unit_activity import CoActivity, co_activity


def space_of(codes: np.ndarray, data: Binned, *, is_sparse: bool = True, **further: Any) -> LatentSpace:
    return LatentSpace(
        codes=tuple(sparse.csc_array(code) for code in codes) if is_sparse else codes,
        session_ids=tuple(session.session_id for session in data.sessions),
        row_offsets=data.row_offsets,
        **further,
    )


def without_trials(data: Binned) -> Binned:
    def free(trial: np.ndarray) -> np.ndarray:
        return np.full(len(trial), -1, dtype=np.int32)

    return replace(data, sessions=tuple(replace(s, trial=free(s.trial), trials=None) for s in data.sessions))


def plain_blocks(data: Binned) -> list[int]:
    """Bin after bin: a new block with a new trial, split or session, after a gap, and every 10 s."""
    numbers, length = [], 0
    for session in data.sessions:
        for t in range(session.n_bins):
            new = t == 0 or length == round(10 / data.bin_s)
            new = new or session.trial[t] != session.trial[t - 1] or session.split[t] != session.split[t - 1]
            new = new or session.start_ns[t] - session.start_ns[t - 1] != data.bin_ns
            length = 1 if new else length + 1
            numbers.append((numbers[-1] if numbers else 0) + int(new))
    return numbers


def plain_mean(z: np.ndarray, active: np.ndarray, block: np.ndarray) -> tuple[float, float, float, int, int]:
    """Mean over active bins and both standard errors, of one latent and one unit without its unobserved bins."""
    values, of = z[active], block[active]
    n, groups = len(values), np.unique(of)
    if n == 0:
        return np.nan, np.nan, np.nan, 0, 0
    mean = float(np.mean(values))
    bins = float(stats.sem(values)) if n > 1 else np.nan
    residual = [np.sum(values[of == group] - mean) for group in groups]
    many = len(groups)
    blocks = np.sqrt(many / (many - 1) * np.sum(np.square(residual))) / n if many > 1 else np.nan
    return mean, bins, float(blocks), n, many


@given(seed=st.integers(0, 10_000), is_sparse=st.booleans(), trials=st.booleans(), masked=st.booleans())
@settings(max_examples=25, deadline=None)
def test_means_and_standard_errors_equal_loops(seed: int, is_sparse: bool, trials: bool, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    data = toy_binned(n_bins=700, n_units=4, n_sessions=2, n_trials=40, seed=seed)
    data = data if trials else without_trials(data)
    sessions = []
    for session in data.sessions:
        activity = session.activity.astype(np.float32) * 3 - 1
        activity[:, 2] = 5  # constant
        start_ns = session.start_ns + (np.arange(700) > 400) * 10**9  # a gap
        observed = rng.random(activity.shape) < 0.7 if masked else None
        sessions.append(replace(session, activity=activity, start_ns=start_ns, observed=observed))
    data = replace(data, sessions=tuple(sessions))
    codes = rng.gamma(1, 1, (2, data.n_bins, 5)).astype(np.float32) * (rng.random((2, data.n_bins, 5)) < 0.1)
    codes[:, :, 3] = 0  # silent
    codes[:, :, 4] = 0
    codes[:, 11, 4] = 1  # a single bin
    codes[:, :, 0] = data.activity[:, 0] > 4  # a unit that is constant, or nearly, while the latent is active
    defined = rng.random(data.n_bins) < 0.9
    rows = rng.random(data.n_bins) < 0.8
    found = co_activity(space_of(codes, data, is_sparse=is_sparse, defined=defined), data, rows=rows)
    block, used = np.array(plain_blocks(data)), defined & rows
    seen = np.ones((data.n_bins, 4), dtype=bool) if data.observed is None else data.observed
    for unit in range(4):
        kept = used & seen[:, unit]
        x = data.activity[:, unit].astype(np.float64)
        sd = np.std(x[kept])
        z = (x - np.mean(x[kept])) / sd if sd > 0 else np.full(len(x), np.nan)
        for instance, latent in np.ndindex(2, 5):
            expected = plain_mean(z, kept & (codes[instance, :, latent] > 0), block)
            place = (instance, latent, unit)
            got = [getattr(found, name)[place] for name in ("mean_z", "sem_bins", "sem_blocks", "n_bins", "n_blocks")]
            np.testing.assert_allclose(got, expected, atol=1e-9, rtol=1e-9)
    assert np.isnan(found.mean_z[:, :, 2]).all()
    assert np.isnan(found.mean_z[:, 3]).all()


def test_the_error_over_blocks_sees_that_neighbouring_bins_say_the_same() -> None:
    data = without_trials(toy_binned(n_bins=40_000, n_units=2))
    rng = np.random.default_rng(0)
    slow = np.repeat(rng.standard_normal(200), 200)[:, None]  # one value for ten seconds
    session = replace(data.sessions[0], split=np.zeros(40_000, dtype=np.int8), activity=slow + np.array([[0.0, 1.0]]))
    data = replace(data, sessions=(session,), activity_kind="continuous")
    codes = np.ones((1, 40_000, 1), dtype=np.float32)
    found = co_activity(space_of(codes, data), data)
    assert found.n_blocks[0, 0, 0] == 200
    assert found.sem_blocks[0, 0, 0] == pytest.approx(1 / np.sqrt(200), rel=0.05)
    assert found.sem_bins[0, 0, 0] < found.sem_blocks[0, 0, 0] / 10


def test_signed_codes_count_as_active_above_zero() -> None:
    data = toy_binned(n_bins=600)
    codes = np.random.default_rng(1).standard_normal((1, 600, 3)).astype(np.float32)
    found = co_activity(space_of(codes, data, is_sparse=False, code_kind="signed"), data)
    above = co_activity(space_of(np.maximum(codes, 0), data), data)
    np.testing.assert_array_equal(found.mean_z, above.mean_z)


def test_top_and_bottom_units_come_in_order_with_ties_by_place() -> None:
    data = toy_binned(n_units=6)
    mean = np.array([[[0.1, 2.0, np.nan, 2.0, -1.0, 0.5], [np.nan] * 6]])
    counts = np.ones(mean.shape, dtype=np.int64)
    ids = tuple(data.units["id"])
    made = CoActivity(mean_z=mean, sem_bins=mean, sem_blocks=mean, n_bins=counts, n_blocks=counts, unit_ids=ids)
    table = contributing_units(made, data.units, n_units=3)
    assert set(table["latent"]) == {0}
    top, bottom = (table[table["end"] == end] for end in ("top", "bottom"))
    assert top["unit"].tolist() == ["u1", "u3", "u5"]
    assert bottom["unit"].tolist() == ["u4", "u0", "u5"]
    assert top["rank"].tolist() == [1, 2, 3]
    assert top["region"].tolist() == ["a", "a", "a"]
    assert top["mean_z"].tolist() == [2.0, 2.0, 0.5]


def test_planted_units_are_found() -> None:
    data = toy_binned(n_bins=2000)
    table = contributing_units(co_activity(toy_latents(data).main, data), data.units, n_units=1)
    assert table.query("end == 'top'")["unit"].tolist() == [f"u{unit}" for unit in range(6)]
    assert (table.query("end == 'bottom'")["mean_z"] < 0).all()


def test_latents_of_other_bins_or_none_are_refused() -> None:
    data = toy_binned(n_bins=600)
    space = toy_latents(data).main
    with pytest.raises(IncompatibleData, match="give the bins"):
        co_activity(space, toy_binned(n_bins=300))
    with pytest.raises(DataError, match="no rows"):
        co_activity(space, data, rows=np.zeros(600, dtype=bool))


@pytest.mark.parametrize("n_lags", [0, 3])
def test_weights_by_region_equal_a_loop(n_lags: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, 3, 5, n_lags) if n_lags else (2, 3, 5)).astype(np.float32)
    values[1, 2] = 0
    values[0, 0, 4] = values[0, 0, 2]  # a tie
    ids = ("u0", "u1", "u3", "u4", "u5")  # without u2
    units = pd.DataFrame({"id": [f"u{i}" for i in range(6)], "region": ["a", "b", "a", "", "a", "a"]})
    table = region_weights(Dictionary(values=values, unit_ids=(ids,), lags_s=(0.0, 1.0, 2.0)[: n_lags or 1]), units)
    region = dict(zip(units["id"], units["region"], strict=True))
    assert len(table) == 2 * 3 * 3
    for row in table.itertuples():
        weights = {unit: values[row.instance, row.latent, k].astype(float) for k, unit in enumerate(ids)}
        inside = {unit: w for unit, w in weights.items() if region[unit] == row.region}
        power = {unit: np.sum(w**2) for unit, w in inside.items()}
        whole = sum(np.sum(w**2) for w in weights.values())
        assert row.n_units == len(inside)
        assert row.mean_weight == pytest.approx(np.mean(list(inside.values())), abs=1e-9)
        assert row.strongest_unit == max(power, key=lambda unit: power[unit])
        if whole == 0:
            assert np.isnan([row.share, row.strongest_share]).all()
        else:
            assert row.share == pytest.approx(sum(power.values()) / whole, abs=1e-9)
            assert row.strongest_share == pytest.approx(max(power.values()) / whole, abs=1e-9)
    assert table.groupby(["instance", "latent"])["share"].sum().tolist() == pytest.approx([1, 1, 1, 1, 1, 0])


def test_weights_of_units_that_are_not_there_are_refused() -> None:
    with pytest.raises(IncompatibleData, match="'v'"):
        region_weights(Dictionary(values=np.ones((1, 1, 1)), unit_ids=(("v",),)), toy_binned().units)
