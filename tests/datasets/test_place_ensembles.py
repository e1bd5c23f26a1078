"""Simulated ensembles: what is stated as truth is what drives the spikes."""

from __future__ import annotations

import numpy as np
import pytest
from nldisco_datasets.place_ensembles import PlaceEnsembles, PlaceEnsemblesConfig, trajectory

from nldisco_core.errors import DatasetUnavailable
from nldisco_core.recovery import FeatureTruth
from nldisco_core.session import Session


def simulated(**settings: object) -> Session:
    dataset = PlaceEnsembles(PlaceEnsemblesConfig(**{"duration_s": 600.0, "n_units": 40, **settings}))
    return dataset.load(dataset.session_ids()[0])


@pytest.fixture(scope="module")
def session() -> Session:
    return simulated()


def truth_of(session: Session) -> FeatureTruth:
    assert session.truth is not None
    truth = session.truth["features"]
    assert isinstance(truth, FeatureTruth)
    return truth


def test_the_walk_stays_in_the_box_and_moves_as_its_speed_and_heading_say() -> None:
    walk = trajectory(120.0, np.random.default_rng(0))
    assert walk.position.min() >= 0
    assert walk.position.max() <= 1
    step_s = np.diff(walk.times_s)[0]
    moved = np.diff(walk.position, axis=0)
    inside = ((walk.position > 0.05) & (walk.position < 0.95)).all(axis=1)[1:]
    along = walk.speed[1:, None] * np.column_stack([np.cos(walk.heading), np.sin(walk.heading)])[1:] * step_s
    np.testing.assert_allclose(moved[inside], along[inside], atol=1e-12)


def test_the_walk_visits_the_whole_box() -> None:
    walk = trajectory(2400.0, np.random.default_rng(0))
    visits, _, _ = np.histogram2d(*walk.position.T, bins=4, range=[[0, 1], [0, 1]])
    assert visits.min() > 0.3 * visits.mean()


def test_a_feature_is_nowhere_stronger_than_its_parent(session: Session) -> None:
    truth = truth_of(session)
    names = truth.features["name"].tolist()
    for index, parent in enumerate(truth.features["parent"]):
        if parent:
            assert (truth.activity[:, index] <= truth.activity[:, names.index(parent)] + 1e-6).all()
    assert set(truth.features["kind"]) == {"region", "place", "direction"}


def test_the_counts_follow_the_stated_rate(session: Session) -> None:
    truth, told = truth_of(session), session.truth
    assert told is not None
    speed = session.signals["speed"].values[:, 0]
    for unit in range(0, 40, 5):
        rate_hz = told["gain"] * (
            told["baseline_hz"][unit]
            + truth.activity @ truth.mixing[:, unit]
            + told["speed_slope_hz"][unit] * speed / speed.mean()
        )
        assert session.spike_times is not None
        edges = np.append(truth.times_s - 0.0125, session.span_s[1])
        counts = np.histogram(session.spike_times[unit], edges)[0]
        expected = rate_hz * 0.025
        # Pearson's statistic of Poisson counts is about their number; five of its standard deviations
        grouped = counts.reshape(-1, 40).sum(axis=1), expected.reshape(-1, 40).sum(axis=1)
        statistic = ((grouped[0] - grouped[1]) ** 2 / grouped[1]).sum()
        assert abs(statistic - len(grouped[0])) < 5 * np.sqrt(2.5 * len(grouped[0]))


def test_every_feature_drives_the_stated_number_of_units_and_units_are_shared(session: Session) -> None:
    mixing = truth_of(session).mixing
    assert ((mixing > 0).sum(axis=1) == 24).all()
    assert (mixing > 0).sum(axis=0).mean() > 1


def test_the_signal_to_noise_ratio_scales_what_features_add() -> None:
    low, high = (truth_of(simulated(snr=snr, duration_s=20.0)).mixing for snr in (1.0, 3.0))
    np.testing.assert_allclose(high, 3 * low)
    added = low[low > 0].mean()
    assert added == pytest.approx(2.5, rel=0.1)  # the mean baseline is 2.5 Hz


@pytest.mark.parametrize(("n_units", "n_features"), [(1, 1), (3, 2), (50, 80), (400, 9)])
def test_more_or_fewer_features_than_units_work(n_units: int, n_features: int) -> None:
    session = simulated(n_units=n_units, n_features=n_features, duration_s=20.0)
    truth = truth_of(session)
    assert session.n_units == n_units
    assert truth.activity.shape[1] == len(truth.features) == n_features
    assert truth.features["name"].is_unique
    parents = set(truth.features["parent"]) - {""}
    assert parents <= set(truth.features["name"])


def test_other_seeds_give_other_recordings_and_the_same_one_the_same() -> None:
    first, again, other = (simulated(seed=seed, duration_s=20.0) for seed in (1, 1, 2))
    assert first.spike_times is not None
    assert again.spike_times is not None
    assert other.spike_times is not None
    np.testing.assert_array_equal(first.spike_times.flat(), again.spike_times.flat())
    assert first.session_id != other.session_id
    assert not np.array_equal(first.spike_times.flat()[:50], other.spike_times.flat()[:50])


def test_an_unknown_session_is_named() -> None:
    with pytest.raises(DatasetUnavailable, match="place-ensembles-0"):
        PlaceEnsembles(PlaceEnsemblesConfig()).load("place-ensembles-7")
