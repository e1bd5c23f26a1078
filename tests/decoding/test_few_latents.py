"""What few latents tell: chosen ones together, each by itself, and random subsets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nldisco_decoding.choice import pursued
from nldisco_decoding.config import DecodingConfig
from nldisco_decoding.mapper import Decoding
from nldisco_decoding.single import neighbour_means
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor

from nldisco_core.binned import Binned
from nldisco_core.config import parse
from nldisco_core.conformance.toys import toy_binned
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult

SETTINGS = {"n_shifts": 0, "few": [1, 2, 5, 16]}


@pytest.fixture(scope="module")
def data() -> Binned:
    return toy_binned(n_bins=2400, n_trials=80)


@pytest.fixture(scope="module")
def latents(data: Binned) -> Latents:
    """Two instances of twelve latents: six bumps of heading, two of place, four of noise, one of these dead."""
    rng = np.random.default_rng(0)
    heading = np.nan_to_num(data.covariate("heading").values[:, 0])
    bumps = np.maximum(np.cos(heading[:, None] - np.arange(6) * np.pi / 3) - 0.3, 0)
    place = np.maximum(data.covariate("place").values - 0.3, 0)
    codes = np.concatenate([bumps, place, rng.random((data.n_bins, 4))], axis=1)
    noisy = np.stack([np.where(codes > 0, codes + 0.05 * rng.random(codes.shape), 0) for _ in range(2)])
    noisy[..., 11] = 0
    session_ids = tuple(session.session_id for session in data.sessions)
    return Latents.of(LatentSpace(codes=noisy, session_ids=session_ids, row_offsets=data.row_offsets))


@pytest.fixture(scope="module")
def result(data: Binned, latents: Latents) -> MapperResult:
    config = parse(DecodingConfig, {**SETTINGS, "n_subsets": 4})
    return Decoding(config).map(latents, data, seed=0)


def of_few(result: MapperResult, variable: str, method: str = "knn") -> pd.DataFrame:
    table = result.table
    chosen = (table["variable"] == variable) & (table["split"] == "test") & (table["instance"] == 0)
    return table[chosen & table["method"].str.startswith(method)].set_index("n_features").sort_index()


def test_more_chosen_latents_tell_more(result: MapperResult) -> None:
    rows = of_few(result, "heading")
    assert rows.index.tolist() == [1, 2, 5, 12]
    assert rows.loc[[1, 2, 5], "r2"].is_monotonic_increasing
    assert (rows.loc[[5, 12], "r2"] > 0.9).all()
    assert rows.loc[[1, 2, 5], "median_error_deg"].is_monotonic_decreasing
    assert rows["score"].equals(rows["r2"])
    assert rows.loc[12, "method"] == "knn"
    assert rows.loc[5, "statistic"] == "knn r2, 5 latents"


def test_latents_that_know_the_variable_are_chosen(result: MapperResult) -> None:
    taken = of_few(result, "heading").loc[5, "chosen_latents"].split()
    assert set(map(int, taken)) < set(range(6))
    assert set(of_few(result, "place").loc[2, "chosen_latents"].split()) == {"6", "7"}


def test_few_latents_decode_classes_by_both_methods(result: MapperResult) -> None:
    for method in ("knn", "logistic"):
        rows = of_few(result, "side", method)
        assert rows.index.tolist() == [1, 2, 5, 12]
        assert rows["balanced_accuracy"].between(0.3, 0.7).all()


def test_latents_by_themselves_tell_what_they_know(result: MapperResult, latents: Latents, data: Binned) -> None:
    heading, place = result.arrays["heading/latent_score"], result.arrays["place/latent_score"]
    assert heading.shape == place.shape == (2, 12)
    assert (heading[:, :6] > 0.3).all()
    assert (heading[:, 6:11] < 0.05).all()
    assert (place[:, 6:8] > 0.3).all()
    assert (place[:, :6] < 0.05).all()
    assert np.isnan(heading[:, 11]).all()
    code = latents.main.dense()[:, 0]
    known = data.covariate("place").values
    train, test = data.split == 0, data.split == 2
    expected = r2_score(known[test], neighbour_means(code[train], known[train], code[test], 36), force_finite=False)
    assert place[0, 0] == pytest.approx(expected, abs=0.02)


def test_subsets_grow_to_the_score_of_all(result: MapperResult) -> None:
    n, mean, sd = (result.arrays[f"heading/dropping_{name}"] for name in ("n", "mean", "sd"))
    assert n.tolist() == [1, 2, 4, 8, 12]
    assert mean.shape == sd.shape == (2, 5)
    assert (mean[:, 0] < mean[:, 2]).all()
    assert (sd[:, -1] == 0).all()
    assert mean[0, -1] == pytest.approx(of_few(result, "heading").loc[12, "r2"], abs=1e-9)


def test_no_curves_are_drawn_unless_asked_for(data: Binned, latents: Latents) -> None:
    found = Decoding(parse(DecodingConfig, {**SETTINGS, "variables": ["heading"]})).map(latents, data, seed=0)
    assert set(found.arrays) == {"heading/latent_score"}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_neighbours_in_one_dimension_are_all_bins_no_farther_than_the_kth(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    train = np.where(rng.random(n) < 0.5, 0, rng.random(n))
    asked = np.where(rng.random(9) < 0.4, 0, 2 * rng.random(9) - 0.5)
    targets = rng.standard_normal((n, 2))
    expected = []
    for value in asked:
        away = np.abs(train - value)
        expected.append(targets[away <= np.sort(away)[min(k, n) - 1]].mean(axis=0))
    np.testing.assert_allclose(neighbour_means(train, targets, asked, k), expected, atol=1e-9)


def test_without_ties_neighbours_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    train, asked, targets = rng.random(300), rng.random(50), rng.standard_normal((300, 2))
    expected = KNeighborsRegressor(7).fit(train[:, None], targets).predict(asked[:, None])
    np.testing.assert_allclose(neighbour_means(train, targets, asked, 7), expected)


def test_pursuit_takes_what_a_plain_loop_takes() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 5, 400)
    features = rng.standard_normal((400, 9))
    features[:, :4] += 2 * (codes[:, None] == np.arange(4))
    features[:, 8] = 0.0
    features[:, 7] = 3 * features[:, 0] + 1
    indicator = (codes[:, None] == np.arange(5)).astype(float)
    left = (indicator - indicator.mean(axis=0)) / indicator.std(axis=0)
    taken: list[int] = []
    for _ in range(6):
        gains = []
        for column in range(9):
            known = np.column_stack([np.ones(400), features[:, [*taken]]])
            own = features[:, column] - known @ np.linalg.lstsq(known, features[:, column], rcond=None)[0]
            rest = left - known @ np.linalg.lstsq(known, left, rcond=None)[0]
            size = own @ own
            gains.append(np.square(own @ rest).sum() / size if size > 1e-6 else -1.0)
        taken.append(int(np.argmax(gains)))
    found = pursued(features, codes, 6).tolist()
    assert [{0: 7}.get(column, column) for column in found] == [{0: 7}.get(column, column) for column in taken]
    assert len(pursued(features, codes, 9)) == 7
