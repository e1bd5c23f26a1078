"""Recovery of known features: every score against an independent reference, and planted outcomes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from nldisco_core.binning import bin_sessions
from nldisco_core.conformance.toys import toy_session
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.latents import LatentSpace
from nldisco_core.recovery import BinnedTruth, FeatureTruth, align_truth, feature_auroc, recovery
from nldisco_core.session import Session

N_ROWS = 400
EVERY = np.ones(N_ROWS, dtype=bool)


def truth_with(active: np.ndarray) -> BinnedTruth:
    n_features = active.shape[1]
    table = pd.DataFrame({"name": [f"f{i}" for i in range(n_features)], "kind": "planted", "parent": ""})
    return BinnedTruth(features=table, activity=active.astype(float))


def space_of(*codes: np.ndarray, dense: bool = False, signed: bool = False) -> LatentSpace:
    stacked = np.stack(codes).astype(float)
    return LatentSpace(
        codes=stacked if dense else tuple(sparse.csc_array(code) for code in stacked),
        session_ids=("s",),
        row_offsets=np.array([0, stacked.shape[1]]),
        code_kind="signed" if signed else "nonnegative",
    )


def planted(n_features: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((N_ROWS, n_features)) < 0.2


def simulated(session_id: str = "toy-1", names: tuple[str, ...] = ("a", "b")) -> Session:
    session = toy_session(session_id=session_id, duration_s=10.0)
    times = session.signals["heading"].times_s
    table = pd.DataFrame({"name": names, "kind": "k", "parent": ""})
    activity = np.column_stack([(times * 10) % 1, times / 10])
    truth = FeatureTruth(features=table, times_s=times, activity=activity, mixing=np.ones((2, session.n_units)))
    return replace(session, truth={"features": truth})


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from([0.0, 0.3, 1.0]))
def test_auroc_is_that_of_scikit_learn_with_ties_and_silent_bins(seed: int, n_columns: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, 5, (60, n_columns)) * (rng.random((60, n_columns)) < density)
    active = rng.random((60, 3)) < 0.4
    active[0], active[1] = True, False
    found = feature_auroc(sparse.csc_array(codes.astype(float)), active)
    expected = [[roc_auc_score(active[:, f], codes[:, c]) for f in range(3)] for c in range(n_columns)]
    np.testing.assert_allclose(found, expected)


def test_planted_latents_are_found_and_named_one_to_one() -> None:
    active = planted()
    order = [2, 0, 3, 1]
    noise = np.random.default_rng(1).random((N_ROWS, 3)) * (np.random.default_rng(2).random((N_ROWS, 3)) < 0.1)
    found = recovery(
        space_of(np.column_stack([active[:, order], noise])), truth_with(active), matched_on=EVERY, scored_on=EVERY
    )
    table = found.table.set_index("feature")
    assert [table.loc[f"f{feature}", "latent"] for feature in order] == [0, 1, 2, 3]
    assert table["found"].all()
    assert (table["auroc"] == 1).all()
    assert (table["mcc"] == 1).all()
    assert (table["best_feature"] == table.index).all()
    summary = found.summary.iloc[0]
    assert (summary["n_features"], summary["n_found"], summary["share_found"], summary["n_duplicates"]) == (4, 4, 1, 0)


def test_further_latents_of_a_feature_are_its_duplicates() -> None:
    active = planted()
    codes = np.column_stack([active, active[:, 1] * 2.0, active[:, 1] * np.arange(1, N_ROWS + 1)])
    table = recovery(space_of(codes), truth_with(active), matched_on=EVERY, scored_on=EVERY).table
    assert table["n_duplicates"].tolist() == [0, 2, 0, 0]


def test_a_latent_better_explained_by_another_feature_finds_neither_twice() -> None:
    broad = np.arange(N_ROWS) % 100 < 20
    narrow = np.arange(N_ROWS) % 100 < 17
    active = np.column_stack([broad, narrow])
    found = recovery(space_of(narrow[:, None]), truth_with(active), matched_on=EVERY, scored_on=EVERY)
    table = found.table.set_index("feature")
    assert table["found"].tolist() == [False, True]
    assert table["latent"].isna().tolist() == [True, False]
    two = recovery(
        space_of(np.column_stack([narrow, narrow])), truth_with(active), matched_on=EVERY, scored_on=EVERY
    ).table.set_index("feature")
    assert two.loc["f0", "auroc"] > 0.9
    assert two.loc["f0", "best_feature"] == "f1"
    assert two["found"].tolist() == [False, True]
    assert two["n_duplicates"].tolist() == [0, 1]


def test_matching_and_threshold_come_from_one_set_of_rows_and_scores_from_the_other() -> None:
    rng = np.random.default_rng(0)
    active = planted(2)
    codes = active * rng.random((N_ROWS, 2)) + 0.3 * rng.random((N_ROWS, 2))
    first = np.arange(N_ROWS) < 200
    codes[~first] = codes[~first][:, ::-1]
    table = recovery(space_of(codes), truth_with(active), matched_on=first, scored_on=~first).table
    assert table["latent"].tolist() == [0, 1]
    for feature, row in table.iterrows():
        values, on = codes[:, feature], active[:, feature]
        assert row["auroc"] == pytest.approx(roc_auc_score(on[~first], values[~first]))
        candidates = [(matthews_corrcoef(on[first], values[first] >= t), -t) for t in values[first]]
        threshold = -max(candidates)[1]
        assert row["mcc"] == pytest.approx(matthews_corrcoef(on[~first], values[~first] >= threshold))
        assert row["n_on"] == on[~first].sum()


def test_halves_of_signed_codes_are_latents_of_their_own() -> None:
    active = planted(2)
    codes = active[:, [0]] * 1.0 - active[:, [1]] * ~active[:, [0]]
    table = recovery(
        space_of(codes, dense=True, signed=True), truth_with(active), matched_on=EVERY, scored_on=EVERY
    ).table
    assert table["latent"].tolist() == [0, 0]
    assert table["sign"].tolist() == [1, -1]


def test_every_instance_is_scored_by_itself_and_sparse_as_dense() -> None:
    active = planted()
    silent = np.zeros_like(active)
    sparse_found = recovery(space_of(active, silent), truth_with(active), matched_on=EVERY, scored_on=EVERY)
    dense_found = recovery(space_of(active, silent, dense=True), truth_with(active), matched_on=EVERY, scored_on=EVERY)
    assert sparse_found.summary["share_found"].tolist() == [1, 0]
    assert sparse_found.summary["mean_auroc"].tolist() == [1, 0.5]
    assert sparse_found.summary["mean_mcc"].tolist() == [1, 0]
    pd.testing.assert_frame_equal(sparse_found.table, dense_found.table)


def test_bins_the_model_or_the_truth_says_nothing_of_do_not_count() -> None:
    active = planted()
    truth = truth_with(active)
    activity = truth.activity.copy()
    codes = active.astype(float)
    activity[:50], codes[:50] = np.nan, 7
    codes[50:100] = 9
    defined = np.arange(N_ROWS) >= 100
    space = replace(space_of(codes), defined=defined)
    found = recovery(space, replace(truth, activity=activity), matched_on=EVERY, scored_on=EVERY)
    assert (found.table["auroc"] == 1).all()
    assert found.table["n_on"].tolist() == active[100:].sum(axis=0).tolist()


def test_features_that_are_too_rare_are_left_out_and_named() -> None:
    active = planted()
    active[4:, 2] = False
    found = recovery(space_of(active), truth_with(active), matched_on=EVERY, scored_on=EVERY)
    assert found.table["feature"].tolist() == ["f0", "f1", "f3"]
    assert "f2" in found.notes[0]
    with pytest.raises(DataError, match="longer recording"):
        recovery(space_of(active), truth_with(active[:, [2]]), matched_on=EVERY, scored_on=EVERY)


def test_latents_of_other_bins_are_refused() -> None:
    with pytest.raises(IncompatibleData, match="400 bins"):
        recovery(space_of(np.ones((5, 2))), truth_with(planted()), matched_on=EVERY, scored_on=EVERY)


def test_truth_is_averaged_over_the_bins_that_are_left_of_every_session() -> None:
    sessions = [simulated("toy-1"), simulated("toy-2")]
    binned = bin_sessions(sessions, bin_s=0.05)
    kept = np.random.default_rng(0).random(binned.n_bins) < 0.5
    data = binned.rows(kept)
    truth = align_truth(sessions, data)
    samples = np.asarray(sessions[0].truth["features"].activity)  # type: ignore[index]
    means = samples.reshape(-1, 5, 2).mean(axis=1)
    np.testing.assert_allclose(truth.activity, np.concatenate([means, means])[kept])
    np.testing.assert_array_equal(truth.active, truth.activity >= 0.5)


def test_sessions_without_or_with_other_features_are_refused() -> None:
    data = bin_sessions([simulated()], bin_s=0.05)
    with pytest.raises(DataError, match="not among those given"):
        align_truth([simulated("other")], data)
    with pytest.raises(DataError, match="knows no features"):
        align_truth([toy_session(duration_s=10.0)], data)
    both = [simulated(), simulated("toy-2", names=("a", "c"))]
    with pytest.raises(DataError, match="other features"):
        align_truth(both, bin_sessions(both, bin_s=0.05))


def test_a_truth_whose_parts_disagree_is_refused() -> None:
    table = pd.DataFrame({"name": ["a"], "kind": "k", "parent": ""})
    with pytest.raises(DataError, match="expected"):
        FeatureTruth(features=table, times_s=np.arange(3.0), activity=np.ones((4, 1)), mixing=np.ones((1, 2)))
    with pytest.raises(DataError, match="parent"):
        FeatureTruth(
            features=table[["name", "kind"]], times_s=np.arange(3.0), activity=np.ones((3, 1)), mixing=np.ones((1, 2))
        )
