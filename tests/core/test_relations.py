"""Matching, its nulls and copies, against brute force and numpy."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.conformance.toys import toy_binned, toy_latents
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.interfaces import Dictionary
from nldisco_core.latents import LatentSpace
from nldisco_core.relations import (
    activation_match,
    activation_match_null,
    consensus,
    copy_or_composite,
    match_latents,
    seed_match,
    seed_match_nulls,
    stability,
)


def space_of(codes: np.ndarray, *, is_sparse: bool = True, **further: Any) -> LatentSpace:
    return LatentSpace(
        codes=tuple(sparse.csc_array(code) for code in codes) if is_sparse else codes,
        session_ids=("s",),
        row_offsets=np.array([0, codes.shape[1]]),
        **further,
    )


def binned(activity: np.ndarray, observed: np.ndarray | None = None) -> Binned:
    n_bins, n_units = activity.shape
    session = BinnedSession(
        session_id="s",
        activity=activity,
        units=pd.DataFrame({"id": [f"u{unit}" for unit in range(n_units)]}),
        start_ns=np.arange(n_bins, dtype=np.int64) * 50_000_000,
        trial=np.full(n_bins, -1, dtype=np.int32),
        split=np.zeros(n_bins, dtype=np.int8),
        observed=observed,
    )
    return Binned(sessions=(session,), bin_s=0.05, activity_kind="continuous")


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    length = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a.ravel() @ b.ravel() / length) if length else 0.0


@given(seed=st.integers(0, 10_000), absolute=st.booleans(), lags=st.booleans())
@settings(max_examples=30, deadline=None)
def test_matching_is_the_best_of_all_assignments(seed: int, absolute: bool, lags: bool) -> None:
    rng = np.random.default_rng(seed)
    shape = (4, 5, 2) if lags else (4, 5)
    a, b = rng.normal(size=(2, *shape))
    b[2] = 0  # a dead latent
    table = np.array([[cosine(x, y) for y in b] for x in a])
    table = np.abs(table) if absolute else table
    best = max(sum(table[i, j] for i, j in enumerate(order)) for order in permutations(range(4)))
    found = match_latents(a, b, absolute=absolute)
    assert found.similarity.sum() == pytest.approx(best)
    assert [table[i, j] for i, j in found.pairs] == pytest.approx(found.similarity)


def test_matching_finds_a_planted_permutation() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(12, 9))
    order = rng.permutation(12)
    found = match_latents(a, a[order] * rng.uniform(0.5, 2, (12, 1)))
    assert np.array_equal(order[found.pairs[:, 1]], found.pairs[:, 0])
    assert found.similarity == pytest.approx(np.ones(12))


def test_sets_of_other_sizes_match_as_far_as_they_go() -> None:
    a = np.eye(5)
    found = match_latents(a[:2], a)
    assert found.pairs.tolist() == [[0, 0], [1, 1]]


def test_dead_latents_have_cosine_zero() -> None:
    assert match_latents(np.zeros((3, 4)), np.zeros((3, 4))).similarity.tolist() == [0, 0, 0]
    assert seed_match(np.zeros((2, 3, 4))).median == 0


def test_rows_of_other_lengths_are_refused() -> None:
    with pytest.raises(IncompatibleData, match="same units"):
        match_latents(np.ones((2, 3)), np.ones((2, 4)))


def test_sign_is_compared_unless_asked_otherwise() -> None:
    a = np.array([[1.0, 0.2]])
    assert match_latents(a, -a).similarity[0] == pytest.approx(-1)
    assert match_latents(a, -a, absolute=True).similarity[0] == pytest.approx(1)


def test_seed_match_holds_every_pair_of_instances() -> None:
    values = np.random.default_rng(0).normal(size=(3, 6, 8))
    found = seed_match(values)
    for i in range(3):
        assert np.isnan(found.similarity[i, i]).all()
        for j in set(range(3)) - {i}:
            for latent in range(6):
                partner = found.partner[i, j, latent]
                assert found.similarity[i, j, latent] == pytest.approx(cosine(values[i, latent], values[j, partner]))
                assert found.partner[j, i, partner] == latent
    pooled = np.concatenate([match_latents(values[i], values[j]).similarity for i, j in ((0, 1), (0, 2), (1, 2))])
    assert found.median == pytest.approx(np.median(pooled))
    assert found.share_matched == pytest.approx(np.mean(pooled > 0.8))
    assert found.pairs.shape == (3, 6)


def test_a_single_instance_has_no_match() -> None:
    found = seed_match(np.ones((1, 3, 4)))
    assert np.isnan(found.median)
    assert np.isnan(found.share_matched)
    with pytest.raises(DataError, match="more seeds"):
        consensus(found)


def test_nulls_lie_far_below_a_shared_dictionary_and_repeat_with_their_seed() -> None:
    rng = np.random.default_rng(0)
    base = rng.gamma(0.3, 1, (16, 40))
    values = np.stack([base[rng.permutation(16)] + rng.normal(0, 0.02, base.shape) for _ in range(3)])
    nulls = seed_match_nulls(values, n_draws=20, seed=1)
    assert seed_match(values).median > 0.95
    assert (nulls.gaussian < 0.6).all()
    assert (nulls.permuted < 0.8).all()
    again = seed_match_nulls(values, n_draws=20, seed=1)
    assert np.array_equal(nulls.gaussian, again.gaussian)
    assert np.array_equal(nulls.permuted, again.permuted)
    assert not np.array_equal(nulls.gaussian, seed_match_nulls(values, n_draws=20, seed=2).gaussian)


def test_gaussian_null_reaches_the_median_of_random_dictionaries() -> None:
    rng = np.random.default_rng(3)
    nulls = seed_match_nulls(np.ones((2, 32, 15)), n_draws=60, seed=0)
    loop = [np.median(match_latents(*rng.normal(size=(2, 32, 15))).similarity) for _ in range(60)]
    assert nulls.gaussian.mean() == pytest.approx(np.mean(loop), abs=0.02)


def test_permuting_keeps_what_each_latent_weighs() -> None:
    one_unit_each = np.tile(np.eye(6)[:1], (2, 4, 1))  # every latent sits on unit 0
    assert seed_match(one_unit_each).median == 1
    nulls = seed_match_nulls(one_unit_each, n_draws=30, seed=0)
    assert set(np.unique(nulls.permuted)) <= {0.0, 0.5, 1.0}  # still one unit per latent, at random places
    assert nulls.permuted.mean() < 0.9
    lagged = np.zeros((2, 4, 6, 3))
    lagged[:, :, 0] = [1, 2, 3]  # the lags of a unit stay together
    assert set(np.unique(seed_match_nulls(lagged, n_draws=30, seed=0).permuted.round(9))) <= {0.0, 0.5, 1.0}
    assert np.isfinite(seed_match_nulls(one_unit_each[:1], n_draws=3, seed=0).permuted).all()


@pytest.mark.parametrize("is_sparse", [True, False])
def test_activation_match_equals_correlations_over_the_chosen_bins(is_sparse: bool) -> None:
    rng = np.random.default_rng(0)
    first = rng.gamma(1, 1, (200, 5)) * (rng.random((200, 5)) < 0.3)
    first[:, 4] = 0
    order = np.array([3, 0, 4, 2, 1])
    second = first[:, order] * 2 + (rng.random((200, 5)) < 0.02) * (order != 4)
    defined = rng.random(200) < 0.9
    rows = rng.random(200) < 0.8
    found = activation_match(space_of(np.stack([first, second]), is_sparse=is_sparse, defined=defined), rows=rows)
    used = rows & defined
    for latent in range(4):
        partner = found.partner[0, 1, latent]
        assert order[partner] == latent
        expected = np.corrcoef(first[used, latent], second[used, partner])[0, 1]
        assert found.similarity[0, 1, latent] == pytest.approx(expected, abs=1e-9)
    assert found.similarity[0, 1, 4] == 0
    assert found.share_matched == pytest.approx(np.mean(found.similarity[0, 1] > 0.8))


def test_no_rows_left_is_an_error() -> None:
    with pytest.raises(DataError, match="no rows"):
        activation_match(space_of(np.ones((2, 5, 2))), rows=np.zeros(5, dtype=bool))


def test_consensus_is_three_quarters_of_the_other_instances() -> None:
    shared = np.eye(4)[:2]
    values = np.zeros((5, 2, 4))
    for instance in range(5):
        values[instance, 0] = shared[0]
        values[instance, 1] = shared[1] if instance < 4 else np.eye(4)[3]
    agreed = consensus(seed_match(values))
    assert agreed[:, 0].all()
    assert agreed[:, 1].tolist() == [True, True, True, True, False]  # 3 of 4 others, and none
    values[3, 1] = np.eye(4)[2]
    assert not consensus(seed_match(values))[:, 1].any()  # 2 of 4 others


@given(seed=st.integers(0, 10_000), masked=st.booleans(), is_sparse=st.booleans())
@settings(max_examples=25, deadline=None)
def test_copy_is_the_largest_pearson_correlation(seed: int, masked: bool, is_sparse: bool) -> None:
    rng = np.random.default_rng(seed)
    activity = rng.poisson(2.0, (60, 4)).astype(np.float64)
    codes = (rng.gamma(1, 1, (1, 60, 3)) * (rng.random((1, 60, 3)) < 0.5)).astype(np.float32)
    codes[0, :, 1] = np.abs(activity[:, 2] + rng.normal(0, 0.05, 60))
    seen = rng.random((60, 4)) < (0.8 if masked else 1.0)
    rows = rng.random(60) < 0.9
    data = binned(np.where(seen, activity, 0), seen if masked else None)
    table = copy_or_composite(space_of(codes, is_sparse=is_sparse), data, rows=rows)
    for latent in range(3):
        correlations = np.array(
            [np.corrcoef(codes[0, rows & seen[:, u], latent], activity[rows & seen[:, u], u])[0, 1] for u in range(4)]
        )
        best = int(np.abs(correlations).argmax())
        found = table.iloc[latent]
        assert found["unit"] == f"u{best}"
        assert found["correlation"] == pytest.approx(correlations[best], abs=1e-6)
        assert found["copy"] == (abs(correlations[best]) >= 0.8)
        power = correlations**2
        assert found["n_effective_units"] == pytest.approx(power.sum() ** 2 / (power**2).sum(), abs=1e-6)
    assert bool(table.iloc[1]["copy"])


def test_effective_units_count_the_units_behind_the_dictionary_row() -> None:
    rng = np.random.default_rng(0)
    weights = np.zeros((1, 3, 6))
    weights[0, 0, 2] = -4
    weights[0, 1, :3] = 1, -1, 1
    weights[0, 2] = 0.3
    data = binned(rng.random((50, 6)))
    space = space_of(rng.random((1, 50, 3)))
    for values in (weights, np.stack([weights, 2 * weights], axis=-1)):
        dictionary = Dictionary(values=values, unit_ids=(tuple(data.units["id"]),))
        found = copy_or_composite(space, data, dictionary=dictionary)["n_effective_units"]
        assert found.tolist() == pytest.approx([1, 3, 6])


def test_dead_and_constant_latents_are_null() -> None:
    data = toy_binned(n_bins=200)
    table = copy_or_composite(toy_latents(data, n_instances=2, n_dead=2).main, data)
    dead = table[table["latent"] >= 6]
    assert len(dead) == 4
    assert dead[["unit", "correlation", "copy", "n_effective_units"]].isna().all(axis=None)
    assert table[table["latent"] < 6]["unit"].tolist() == [f"u{unit}" for unit in range(6)] * 2
    always_on = space_of(np.full((1, 200, 1), 0.1))
    assert copy_or_composite(always_on, data)["correlation"].isna().all()


def test_a_constant_unit_is_never_named() -> None:
    rng = np.random.default_rng(0)
    activity = np.column_stack([np.full(50, 0.1), rng.random(50)])
    table = copy_or_composite(space_of(rng.random((1, 50, 2))), binned(activity))
    assert table["unit"].tolist() == ["u1", "u1"]


def test_rows_of_latents_must_be_the_bins() -> None:
    data = toy_binned(n_bins=50)
    with pytest.raises(IncompatibleData, match="50 bins"):
        copy_or_composite(space_of(np.ones((1, 40, 2))), data)
    without = replace(toy_latents(data).main, defined=np.zeros(50, dtype=bool))
    with pytest.raises(DataError, match="no rows"):
        copy_or_composite(without, data)


def test_shifting_in_time_takes_away_the_match_of_activations_and_leaves_that_of_chance() -> None:
    rng = np.random.default_rng(0)
    codes = (rng.gamma(1, 1, (800, 5)) * (rng.random((800, 5)) < 0.2)).astype(np.float32)
    both = np.stack([codes, codes[:, rng.permutation(5)]])
    space = LatentSpace(codes=both, session_ids=("s",), row_offsets=np.array([0, 800]))
    null = activation_match_null(space, n_draws=20, seed=0)
    assert activation_match(space).median == pytest.approx(1)
    assert null.shape == (20,)
    assert null.max() < 0.2
    np.testing.assert_array_equal(null, activation_match_null(space, n_draws=20, seed=0))
    shifted = [np.median(match_of(np.roll(codes, shift, axis=0), codes)) for shift in rng.integers(80, 720, 200)]
    assert np.median(null) == pytest.approx(np.median(shifted), abs=0.02)


def match_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matched correlations by trying every assignment."""
    similarity = np.corrcoef(a.T, b.T)[: a.shape[1], a.shape[1] :]
    best = max(permutations(range(len(similarity))), key=lambda order: similarity[range(len(order)), order].sum())
    return similarity[range(len(best)), best]


def test_stability_tells_of_each_latent_how_well_the_others_found_it() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.standard_normal((3, 20)) for _ in range(5)])
    values[:, 0] = values[0, 0] + 0.01 * rng.standard_normal((5, 20))
    values[4, 0] = rng.standard_normal(20)  # one instance lacks it
    decoder = seed_match(values)
    codes = rng.random((5, 400, 3))
    codes[:, :, 1] = codes[0, :, 1]
    space = LatentSpace(codes=codes, session_ids=("s",), row_offsets=np.array([0, 400]))
    table = stability(decoder, activation_match(space)).set_index(["instance", "latent"])
    for instance in range(5):
        others = np.delete(decoder.similarity[instance], instance, axis=0)
        for latent in range(3):
            row = table.loc[(instance, latent)]
            assert row["decoder_similarity"] == pytest.approx(np.median(others[:, latent]))
            assert row["decoder_consensus"] == (latent == 0 and instance < 4)
            assert row["activation_consensus"] == (latent == 1)
    without = stability(None, activation_match(space))
    assert without["decoder_consensus"].isna().all()
    assert without["decoder_similarity"].isna().all()
