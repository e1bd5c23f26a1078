from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from nldisco_explorer.readings import readings
from nldisco_explorer.trials import Trials
from nldisco_explorer.views.activity import mean_and_error

from nldisco_core.binned import Binned, BinnedSession, Covariate
from nldisco_core.condition_curves import LEAST_S, Visits, blocks_of, cut, drawn_as
from nldisco_core.runs import Run


def variable(values: np.ndarray, **fields: object) -> Covariate:
    return Covariate(**({"name": "x", "values": values, "kind": "discrete", "categories": ("a", "b", "c")} | fields))


def visits_of(codes: np.ndarray, mask: np.ndarray, n_blocks: int = 50) -> Visits:
    blocks = (np.arange(len(codes)) * n_blocks // len(codes)).astype(np.int32)
    return Visits(cut(variable(codes.astype(float))), mask=mask, blocks=blocks, bin_s=0.1)


def test_means_of_a_latent_and_of_a_signal_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    codes, mask = rng.integers(0, 3, 4000), rng.random(4000) < 0.7
    trace = np.where(rng.random(4000) < 0.2, rng.gamma(2, 1, 4000), 0.0)
    visits, rows = visits_of(codes, mask), np.flatnonzero(trace)
    expected = [trace[mask & (codes == code)].mean() for code in range(3)]
    np.testing.assert_allclose(visits.of_latent(rows, trace[rows]).mean, expected)
    np.testing.assert_allclose(visits.of_signal(trace).mean, expected)
    np.testing.assert_allclose(
        visits.of_signal(trace).occupancy_s, [0.1 * (mask & (codes == code)).sum() for code in range(3)]
    )


def test_interval_is_that_of_a_loop_over_resampled_blocks() -> None:
    rng = np.random.default_rng(1)
    codes = np.repeat(rng.integers(0, 3, 200), 20)
    signal = np.repeat(rng.normal(0, 1, 50), 80) + rng.normal(0, 0.3, 4000)
    found = visits_of(codes, np.ones(4000, dtype=bool)).of_signal(signal)
    blocks = np.arange(4000) // 80
    means = []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(blocks == block) for block in rng.integers(0, 50, 50)])
        means.append([signal[rows][codes[rows] == code].mean() for code in range(3)])
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    np.testing.assert_allclose(found.high - found.low, high - low, rtol=0.3)
    assert (found.low < found.mean).all()
    assert (found.mean < found.high).all()


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(60):
        signal = np.repeat(rng.normal(0, 1, 100), 20)
        codes = np.tile([0, 1, 2, 0], 500)
        found = visits_of(codes, np.ones(2000, dtype=bool), n_blocks=100).of_signal(signal)
        covered.append((found.low[0] <= 0) & (found.high[0] >= 0))
    assert 0.85 <= np.mean(covered) <= 1.0


def test_condition_never_visited_is_unknown() -> None:
    codes = np.tile([0, 1, 2], 200)
    found = visits_of(codes, codes < 2).of_signal(np.ones(600))
    assert np.isnan([found.mean[2], found.low[2], found.high[2]]).all()
    assert found.occupancy_s[2] == 0


def test_blocks_never_span_two_sessions() -> None:
    sessions = tuple(
        BinnedSession(
            session_id=f"s{n}",
            activity=np.zeros((n, 1), dtype=np.uint8),
            units=pd.DataFrame({"id": ["u"]}),
            start_ns=np.arange(n) * 50_000_000,
            trial=np.full(n, -1, dtype=np.int32),
            split=np.zeros(n, dtype=np.int8),
        )
        for n in (1000, 700)
    )
    data = Binned(sessions=sessions, bin_s=0.05, activity_kind="counts")
    blocks = blocks_of(data)
    assert set(blocks[:1000]).isdisjoint(blocks[1000:])
    assert np.bincount(blocks).max() * 0.05 == pytest.approx(10)


def test_error_over_visits_is_that_of_visits_and_not_of_bins() -> None:
    rng = np.random.default_rng(3)
    errors, means = [], []
    rows = np.concatenate([np.arange(10) + 40 * visit for visit in range(100)])
    for _ in range(100):
        activity = np.zeros((4000, 1), dtype=np.float32)
        activity[rows, 0] = np.repeat(rng.normal(0, 1, 100), 10)
        mean, error = mean_and_error(activity, rows)
        means.append(mean[0])
        errors.append(error[0])
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.25)
    assert np.mean(errors) == pytest.approx(0.1, rel=0.1)


def test_mean_when_active_of_nothing_is_unknown() -> None:
    activity = np.ones((10, 2), dtype=np.float32)
    assert np.isnan(mean_and_error(activity, np.empty(0, dtype=np.int64))).all()
    mean, error = mean_and_error(activity, np.array([3, 4]))
    assert mean.tolist() == [1, 1]
    assert np.isnan(error).all()


def test_run_without_trials_has_no_events(written_run: Run) -> None:
    trials = Trials(written_run.counts)
    assert (trials.events, trials.groupings, len(trials.frame)) == ((), (), 0)
    assert readings(written_run).groupings == ("light",)


def test_mean_before_smoothing_is_that_of_a_loop_and_smoothing_leaves_it() -> None:
    rng = np.random.default_rng(3)
    heading, mask = rng.vonmises(0.5, 1.5, 3000) % (2 * np.pi), rng.random(3000) < 0.7
    trace = np.exp(3 * (np.cos(heading - 2) - 1)) * (rng.random(3000) < 0.4)
    chosen = cut(variable(heading, kind="circular", period=2 * np.pi, categories=None))
    visits = Visits(chosen, mask=mask, blocks=np.zeros(3000, dtype=np.int32), bin_s=0.1)
    rows = np.flatnonzero(trace)
    found = visits.of_latent(rows, trace[rows])
    there = [mask & (chosen.codes == code) for code in range(chosen.n_conditions)]
    expected = [trace[each].mean() if each.any() else np.nan for each in there]
    np.testing.assert_allclose(found.unsmoothed, expected)
    assert not np.allclose(found.mean, expected, equal_nan=True)


def circle(rng: np.random.Generator, n_bins: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    """Headings, and a trace that prefers one of them."""
    heading = rng.vonmises(0.5, 1.5, n_bins) % (2 * np.pi)
    return heading, np.exp(3 * (np.cos(heading - 2) - 1)) * (rng.random(n_bins) < 0.4)


def test_directions_and_cells_of_too_little_time_are_left_empty_and_labels_are_not() -> None:
    codes = np.repeat([0, 1, 2], [300, 4, 6])
    angles = variable(codes * 0.5, kind="circular", period=2 * np.pi, categories=None)
    places = variable(np.stack([codes, codes], axis=1) * 1.0, kind="position", channels=("x", "y"), categories=None)
    for covariate, at in ((angles, cut(angles).codes), (places, cut(places).codes)):
        blocks = (np.arange(310) % 10).astype(np.int32)
        visits = Visits(cut(covariate), mask=np.ones(310, dtype=bool), blocks=blocks, bin_s=0.02)
        mean = visits.of_signal(np.ones(310)).mean.ravel()
        assert LEAST_S == 0.1
        assert [bool(np.isfinite(mean[at[row]])) for row in (0, 302, 306)] == [True, False, True]
    labels = Visits(cut(variable(codes.astype(float))), mask=np.ones(310, dtype=bool), blocks=blocks, bin_s=0.02)
    np.testing.assert_allclose(labels.of_signal(np.ones(310)).mean, 1)


def test_largest_mean_is_of_the_unsmoothed_curve_where_it_is_drawn_with_the_interval_of_a_loop() -> None:
    rng = np.random.default_rng(4)
    heading, trace = circle(rng)
    chosen = cut(variable(heading, kind="circular", period=2 * np.pi, categories=None))
    blocks = (np.arange(6000) // 100).astype(np.int32)
    trace[chosen.codes == np.bincount(chosen.codes).argmin()] = 90.0
    rare = np.bincount(chosen.codes, minlength=60) * 0.01 < LEAST_S
    assert rare.any()
    found = Visits(chosen, mask=np.ones(6000, dtype=bool), blocks=blocks, bin_s=0.01).of_signal(trace)
    means = np.array([trace[chosen.codes == code].mean() for code in range(60)])
    peak = int(np.where(rare, 0.0, means).argmax())
    assert (found.peak, found.largest) == (peak, pytest.approx(means[peak]))
    drawn = []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(blocks == block) for block in rng.integers(0, 60, 60)])
        drawn.append(trace[rows][chosen.codes[rows] == peak].mean())
    low, high = np.percentile(drawn, [2.5, 97.5])
    np.testing.assert_allclose([found.peak_low, found.peak_high], [low, high], rtol=0.15)


def test_condition_of_a_single_block_has_no_interval() -> None:
    codes = np.repeat([0, 1, 0, 2], [100, 20, 100, 60])
    found = visits_of(codes, np.ones(280, dtype=bool), n_blocks=14).of_signal(np.arange(280.0))
    assert np.isfinite(found.mean).all()
    assert np.isnan(found.low).tolist() == np.isnan(found.high).tolist() == [False, True, False]


def test_means_without_intervals_are_the_same_means() -> None:
    heading, trace = circle(np.random.default_rng(5))
    mask = np.random.default_rng(6).random(6000) < 0.6
    chosen = cut(variable(heading, kind="circular", period=2 * np.pi, categories=None))
    visits = Visits(chosen, mask=mask, blocks=(np.arange(6000) // 100).astype(np.int32), bin_s=0.05)
    rows = np.flatnonzero(trace)
    whole, quick = visits.of_latent(rows, trace[rows]), visits.mean_of_latent(rows, trace[rows])
    np.testing.assert_allclose(quick.mean, whole.mean)
    np.testing.assert_allclose(quick.unsmoothed, whole.unsmoothed)
    assert np.isnan(quick.low).all()
    assert quick.largest == pytest.approx(whole.largest)


def test_selectivity_and_its_interval_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(7)
    codes = np.repeat(rng.integers(0, 3, 300), 20)
    active = rng.random(6000) < np.where(codes == 1, 0.3, 0.1)
    found = visits_of(codes, np.ones(6000, dtype=bool)).selectivity(np.flatnonzero(active))
    blocks = np.arange(6000) * 50 // 6000

    def of(rows: np.ndarray) -> list[float]:
        coverage = [active[rows][codes[rows] == code].mean() for code in range(3)]
        outside = [active[rows][codes[rows] != code].mean() for code in range(3)]
        return [inside / (inside + out) for inside, out in zip(coverage, outside, strict=True)]

    np.testing.assert_allclose(found.value, of(np.arange(6000)))
    drawn = [of(np.concatenate([np.flatnonzero(blocks == b) for b in rng.integers(0, 50, 50)])) for _ in range(300)]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    np.testing.assert_allclose(found.high - found.low, high - low, rtol=0.3)
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()


def test_latent_active_in_one_block_has_no_interval_of_its_selectivity() -> None:
    codes = np.tile([0, 1, 2], 400)
    found = visits_of(codes, np.ones(1200, dtype=bool)).selectivity(np.arange(3, 9))
    assert np.isfinite(found.value).all()
    assert np.isnan([found.low, found.high]).all()


def test_only_what_is_smoothed_is_said_to_be() -> None:
    rng = np.random.default_rng(8)
    angles = variable(rng.random(100) * 6, kind="circular", period=2 * np.pi, categories=None)
    places = variable(rng.random((100, 2)), kind="position", channels=("x", "y"), categories=None)
    assert "sigma 6°), directions with under 0.1 s left empty" in drawn_as(cut(angles))
    assert "sigma 1.5 of 24 x 24 cells), cells with under 0.1 s" in drawn_as(cut(places))
    assert drawn_as(cut(variable(rng.integers(0, 3, 100).astype(float)))) == ""
