from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nldisco_decoding import decoders
from nldisco_decoding.config import DecodingConfig
from nldisco_decoding.mapper import Decoding
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from nldisco_core.binned import Binned, Covariate
from nldisco_core.config import parse
from nldisco_core.conformance.toys import toy_binned, toy_latents
from nldisco_core.errors import ConfigError, DataError, IncompatibleData
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult


def decoded(data: Binned, latents: Latents, seed: int = 0, **settings: object) -> MapperResult:
    return Decoding(parse(DecodingConfig, {"n_shifts": 19, "few": [], **settings})).map(latents, data, seed=seed)


def graded(data: Binned, *, n_instances: int = 1, seed: int = 0) -> Latents:
    """Dense latents: bumps around eight headings with noise of their own, so that no two distances are equal."""
    heading = np.nan_to_num(data.covariate("heading").values[:, 0])
    bumps = np.exp(2 * np.cos(heading[:, None] - np.arange(8) * np.pi / 4))
    noisy = [bumps + noise_of(data, 8, seed + instance) for instance in range(n_instances)]
    return latents_of(data, np.stack(noisy))


def noise_of(data: Binned, n_latents: int, seed: int) -> np.ndarray:
    """Noise that belongs to the rows of a session, wherever it stands."""
    parts = [np.random.default_rng([seed, len(s.session_id), ord(s.session_id[-1])]) for s in data.sessions]
    rows = [rng.standard_normal((s.n_bins, n_latents)) for rng, s in zip(parts, data.sessions, strict=True)]
    return 0.3 * np.concatenate(rows)


def latents_of(data: Binned, codes: np.ndarray | tuple[sparse.csc_array, ...]) -> Latents:
    session_ids = tuple(session.session_id for session in data.sessions)
    return Latents.of(LatentSpace(codes=codes, session_ids=session_ids, row_offsets=data.row_offsets))


def with_covariate(data: Binned, covariate: Covariate) -> Binned:
    (session,) = data.sessions
    return replace(data, sessions=(replace(session, covariates={**session.covariates, covariate.name: covariate}),))


@pytest.fixture(scope="module")
def data() -> Binned:
    return toy_binned(n_bins=1800)


# decoders


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training features, held-out features, and (n_versions, n_train, n_targets) targets."""
    rng = np.random.default_rng(0)
    train, held_out = rng.standard_normal((120, 4)), rng.standard_normal((50, 4))
    return train, held_out, np.stack([train[:, :2] + rng.standard_normal((120, 2)), rng.standard_normal((120, 2))])


def test_knn_mean_is_what_scikit_learn_predicts(sample: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    train, held_out, targets = sample
    found = decoders.knn_mean(decoders.nearest(train, held_out, 7), targets)
    for version, predicted in zip(targets, found, strict=True):
        np.testing.assert_allclose(predicted, KNeighborsRegressor(7).fit(train, version).predict(held_out), atol=1e-12)


def test_knn_vote_is_what_scikit_learn_predicts(sample: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    train, held_out, targets = sample
    classes = np.digitize(targets[..., 0], [-1, 0, 1]) * 2
    found = decoders.knn_vote(decoders.nearest(train, held_out, 6), classes)
    for version, predicted in zip(classes, found, strict=True):
        np.testing.assert_array_equal(predicted, KNeighborsClassifier(6).fit(train, version).predict(held_out))


def test_ridge_uses_the_penalty_of_the_true_variable_for_all_versions(
    sample: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    train, held_out, targets = sample
    scaler = StandardScaler().fit(train)
    penalty = RidgeCV(decoders.RIDGE_PENALTIES).fit(scaler.transform(train), targets[0]).alpha_
    for version, predicted in zip(targets, decoders.ridge(train, targets, held_out), strict=True):
        model = Ridge(alpha=penalty).fit(scaler.transform(train), version)
        np.testing.assert_allclose(predicted, model.predict(scaler.transform(held_out)), atol=1e-10)


def test_logistic_is_what_scikit_learn_predicts_and_says_whether_it_settled(
    sample: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    train, held_out, targets = sample
    classes = (targets[0, :, 0] > 0.8).astype(np.int64)
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(class_weight="balanced").fit(scaler.transform(train), classes)
    found, settled = decoders.logistic(train, classes, held_out)
    assert settled
    left_out = np.empty(len(train))
    for kept, apart in StratifiedKFold(3).split(train, classes):
        inner = StandardScaler().fit(train[kept])
        inner_model = LogisticRegression(class_weight="balanced").fit(inner.transform(train[kept]), classes[kept])
        left_out[apart] = inner_model.predict_proba(inner.transform(train[apart]))[:, 1]
    accuracies = [balanced_accuracy_score(classes, left_out >= threshold) for threshold in left_out]
    probability = model.predict_proba(scaler.transform(held_out))[:, 1]
    best = [left_out[index] for index in np.flatnonzero(np.isclose(accuracies, max(accuracies)))]
    assert any((found == (probability >= threshold)).all() for threshold in best)
    three = np.digitize(targets[0, :, 0], [-0.5, 0.5])
    model = LogisticRegression(class_weight="balanced").fit(scaler.transform(train), three)
    np.testing.assert_array_equal(
        decoders.logistic(train, three, held_out)[0], model.predict(scaler.transform(held_out))
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_scores_equal_scikit_learn(n_bins: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.standard_normal((2, n_bins, 2))
    expected = r2_score(truth, predicted, multioutput="variance_weighted")
    assert decoders.r2(truth, predicted) == pytest.approx(expected, abs=1e-9)
    classes, guess = rng.integers(0, 5, (2, n_bins))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of guesses that are no class of the truth
        expected = balanced_accuracy_score(classes, guess)
    assert decoders.balanced_accuracy(classes, guess) == pytest.approx(expected, abs=1e-9)


def test_constant_truth_has_no_r2() -> None:
    assert np.isnan(decoders.r2(np.ones((5, 1)), np.zeros((5, 1))))


def test_angular_error_goes_the_short_way_round() -> None:
    degrees = np.array([[350.0, 10.0], [0.0, 180.0], [90.0, 85.0]])
    sine_cosine = np.stack([np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))], axis=-1)
    assert decoders.median_angular_error_deg(sine_cosine[:, 0], sine_cosine[:, 1]) == pytest.approx(20.0)


# mapper


def test_heading_is_read_from_latents_that_know_it_and_noise_is_not(data: Binned) -> None:
    table = decoded(data, graded(data, n_instances=2)).table
    heading = table[table["variable"] == "heading"]
    assert len(heading) == 4
    assert (heading["r2"] > 0.85).all()
    assert (heading["median_error_deg"] < 15).all()
    assert (heading["p"] == 1 / 20).all()
    assert (heading["null_mean"] < 0.1).all()
    for variable in ("speed", "place"):
        assert (table[table["variable"] == variable]["r2"] < 0.05).all()


def test_every_kind_has_its_methods_on_every_held_out_split(data: Binned) -> None:
    table = decoded(data, graded(data)).table
    assert table["latent"].isna().all()
    assert table["condition"].isna().all()
    assert set(table["split"]) == {"validation", "test"}
    methods = table.groupby("variable")["method"].agg(lambda found: sorted(set(found))).to_dict()
    both = ["knn", "ridge"]
    assert methods == {"heading": ["knn"], "speed": both, "place": both, "side": ["knn", "logistic"]}
    assert not table.duplicated(["instance", "variable", "split", "statistic"]).any()
    discrete = table["variable"] == "side"
    assert (table["balanced_accuracy"].notna() == discrete).all()
    assert (table["r2"].notna() != discrete).all()


def test_scores_equal_scikit_learn_fitted_on_train_alone(data: Binned) -> None:
    latents = graded(data)
    table = decoded(data, latents, n_shifts=0, n_neighbours=10).table
    codes, train, test = latents.main.dense(), data.split == 0, data.split == 2
    heading = data.covariate("heading")
    train = train & heading.defined
    target = np.column_stack([np.sin(heading.values), np.cos(heading.values)])
    predicted = KNeighborsRegressor(10).fit(codes[train], target[train]).predict(codes[test])
    row = table[(table["variable"] == "heading") & (table["split"] == "test")].iloc[0]
    assert row["r2"] == pytest.approx(r2_score(target[test], predicted, multioutput="variance_weighted"), abs=1e-9)
    side = data.covariate("side").values[:, 0]
    guess = KNeighborsClassifier(10).fit(codes[data.split == 0], side[data.split == 0]).predict(codes[test])
    row = table[(table["variable"] == "side") & (table["method"] == "knn") & (table["split"] == "test")].iloc[0]
    assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(side[test], guess), abs=1e-9)
    assert row[["p", "null_mean"]].isna().all()


def test_sparse_and_dense_latents_decode_alike(data: Binned) -> None:
    codes = np.maximum(graded(data).main.dense() - 3, 0)
    dense, stored = (
        decoded(data, latents_of(data, given), n_shifts=0).table for given in (codes[None], (sparse.csc_array(codes),))
    )
    pd.testing.assert_frame_equal(dense, stored)


def test_error_is_in_degrees_whatever_the_period(data: Binned) -> None:
    radians = data.covariate("heading")
    hours = Covariate(name="clock", values=radians.values * 24 / (2 * np.pi), kind="circular", period=24.0)
    table = decoded(with_covariate(data, hours), graded(data), n_shifts=0, variables=["heading", "clock"]).table
    errors = table[table["split"] == "test"].set_index("variable")["median_error_deg"]
    assert errors["clock"] == pytest.approx(errors["heading"])


def test_most_rows_are_spread_over_the_split(data: Binned) -> None:
    table = decoded(data, graded(data), n_shifts=0, max_rows=100, variables=["heading"]).table
    assert (table[["n_train", "n_held_out"]] == 100).all(axis=None)
    assert (table["r2"] > 0.7).all()


def test_order_of_sessions_is_irrelevant() -> None:
    data = toy_binned(n_bins=900, n_sessions=2)
    swapped = replace(data, sessions=data.sessions[::-1])
    for latents in (graded, toy_latents):  # the latter are whole numbers: many neighbours are equally near
        tables = [decoded(d, latents(d), max_rows=300).table for d in (data, swapped)]
        pd.testing.assert_frame_equal(*tables, rtol=1e-6)


def test_same_seed_gives_the_same_table(data: Binned) -> None:
    one, same = (decoded(data, graded(data), seed=3).table for _ in range(2))
    pd.testing.assert_frame_equal(one, same)


def test_unrelated_heading_is_not_read(data: Binned) -> None:
    smallest = []
    for seed in range(12):
        other = toy_binned(n_bins=1800, seed=100 + seed)
        table = decoded(other, graded(data, seed=seed), variables=["heading"], seed=seed).table
        smallest.append(table[table["split"] == "test"]["p"].iloc[0])
    assert (np.array(smallest) <= 0.05).sum() <= 4


def test_too_few_independent_shifts_give_no_p_and_say_why() -> None:
    slow = Covariate(name="slow", values=np.sin(np.arange(900) / 900 * 2 * np.pi), kind="linear")
    data = with_covariate(toy_binned(), slow)
    result = decoded(data, graded(data), variables=["slow"])
    assert result.table["p"].isna().all()
    assert result.table["r2"].notna().all()
    assert "slow: no p values" in result.notes[0]


def test_what_cannot_be_decoded_is_left_out_with_its_reason(data: Binned) -> None:
    constant = Covariate(name="constant", values=np.ones(1800), kind="linear")
    missing = Covariate(name="missing", values=np.full(1800, np.nan), kind="linear")
    result = decoded(with_covariate(with_covariate(data, constant), missing), graded(data), n_shifts=0)
    assert not {"constant", "missing"} & set(result.table["variable"])
    assert any("constant is left out: constant over" in note for note in result.notes)
    assert any("missing is left out: defined on 0 train bins" in note for note in result.notes)
    dead = decoded(data, latents_of(data, np.zeros((1, 1800, 3))), variables=["heading"])
    assert dead.table.empty
    assert "do not vary" in dead.notes[0]


def test_session_without_the_variable_is_named() -> None:
    data = toy_binned(n_bins=900, n_sessions=2)
    first, second = data.sessions
    bare = {name: variable for name, variable in second.covariates.items() if name != "heading"}
    halved = replace(data, sessions=(first, replace(second, covariates=bare)))
    result = decoded(halved, graded(data), n_shifts=0)
    assert "heading: not in session toy-2, whose bins do not count" in result.notes
    rows = result.table[(result.table["variable"] == "heading") & (result.table["split"] == "test")]
    assert (rows["n_held_out"] == (first.covariates["heading"].defined & (first.split == 2)).sum()).all()


def test_bad_input_is_named(data: Binned) -> None:
    with pytest.raises(DataError, match="did you mean 'heading'"):
        decoded(data, graded(data), variables=["haeding"])
    with pytest.raises(IncompatibleData, match="1800 bins for 900 bins"):
        decoded(toy_binned(n_bins=900), graded(data))
    with pytest.raises(ConfigError, match="did you mean 'n_neighbours'"):
        decoded(data, toy_latents(data), n_neighbors=3)
