"""Simulated calcium traces: shape, stimuli and responders are what is stated."""

from __future__ import annotations

import numpy as np
import pytest
from nldisco_datasets.worm_stimuli import STIMULI, WormStimuli, WormStimuliConfig

from nldisco_core.binned import Binned
from nldisco_core.binning import bin_sessions
from nldisco_core.errors import DatasetUnavailable
from nldisco_core.session import Session


@pytest.fixture(scope="module")
def session() -> Session:
    return WormStimuli(WormStimuliConfig()).load("worm-stimuli-0")


@pytest.fixture(scope="module")
def data(session: Session) -> Binned:
    return bin_sessions([session], bin_s=1 / 2.67, trials="trials")


def test_it_has_the_shape_of_the_worm_study(session: Session, data: Binned) -> None:
    assert session.traces is not None
    assert session.traces.values().shape == (4979, 190)
    assert (data.n_bins, data.n_units) == (4979, 190)
    np.testing.assert_array_equal(data.activity, session.traces.values().astype(np.float32))


def test_each_stimulus_is_on_for_480_frames_within_its_trials(session: Session, data: Binned) -> None:
    signal = session.signals["stimulus"]
    assert signal.categories is not None
    counts = np.bincount(signal.values[:, 0].astype(int))
    assert counts.tolist()[: len(STIMULI)] == [480] * len(STIMULI)
    frame = session.table("trials").frame
    for row in frame.itertuples():
        during = (signal.times_s > row.on_s) & (signal.times_s < row.off_s)
        assert {signal.categories[int(code)] for code in signal.values[during, 0]} == {row.stimulus}
        assert row.start_s < row.on_s < row.off_s < row.stop_s
    assert frame["stimulus"].value_counts().tolist() == [6] * len(STIMULI)
    assert {"stimulus", "trial_stimulus"} <= set(data.covariate_names)


def test_responders_respond_and_others_do_not(session: Session) -> None:
    assert session.traces is not None
    assert session.truth is not None
    traces, truth = session.traces.values(), session.truth["features"]
    design = np.column_stack([truth.activity, np.ones(len(traces))])
    fitted = np.linalg.lstsq(design, traces, rcond=None)[0][:-1]
    responds = truth.mixing != 0
    assert np.corrcoef(fitted[responds], truth.mixing[responds])[0, 1] > 0.95
    assert np.abs(fitted[~responds]).mean() < 0.3 * np.abs(fitted[responds]).mean()
    assert not responds[STIMULI.index("control")].any()
    assert (responds.sum(axis=1)[[0, 2, 3, 4, 5]] == 12).all()


def test_the_indicator_decays_with_its_time_constant(session: Session) -> None:
    assert session.truth is not None
    truth = session.truth["features"]
    off = session.table("trials").frame["off_s"].iloc[0]
    after = np.flatnonzero(truth.times_s > off)[:20]
    flow = truth.activity[after, -1]
    np.testing.assert_allclose(flow[1:] / flow[:-1], np.exp(-1 / (2.0 * 2.67)))


def test_traces_drift_slowly(session: Session) -> None:
    assert session.traces is not None
    minutes = session.traces.values()[: 4979 // 160 * 160].reshape(-1, 160, 190).mean(axis=1)
    next_to, far = (
        np.mean([np.corrcoef(minutes[:-lag, u], minutes[lag:, u])[0, 1] for u in range(190)]) for lag in (1, 15)
    )
    assert next_to > 0.4
    assert next_to > far + 0.3


def test_other_seeds_give_other_traces_and_the_same_one_the_same(session: Session) -> None:
    again = WormStimuli(WormStimuliConfig()).load("worm-stimuli-0")
    other = WormStimuli(WormStimuliConfig(seed=1)).load("worm-stimuli-1")
    assert session.traces is not None
    assert again.traces is not None
    assert other.traces is not None
    np.testing.assert_array_equal(session.traces.values(), again.traces.values())
    assert not np.array_equal(session.traces.values(), other.traces.values())


def test_an_unknown_session_is_named() -> None:
    with pytest.raises(DatasetUnavailable, match="worm-stimuli-0"):
        WormStimuli(WormStimuliConfig()).load("worm")
