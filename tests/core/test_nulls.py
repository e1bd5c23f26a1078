from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nldisco_core.autocorrelation import detrended
from nldisco_core.binned import NO_TRIAL, Binned, BinnedSession, Covariate
from nldisco_core.conformance.toys import toy_binned
from nldisco_core.nulls import (
    Null,
    autocorrelation_time,
    benjamini_hochberg,
    choose_null,
    circular_shift,
    effective_shifts,
    null_distribution,
    p_values,
    trial_permutation,
    within_trial_shift,
)


def binned(*covariates: Covariate, trial: np.ndarray | None = None, session_id: str = "s") -> Binned:
    n_bins = len(covariates[0].values)
    session = BinnedSession(
        session_id=session_id,
        activity=np.zeros((n_bins, 1), dtype=np.uint8),
        units=pd.DataFrame({"id": ["u0"], "region": "", "kind": ""}),
        start_ns=np.arange(n_bins) * 50_000_000,
        trial=np.full(n_bins, NO_TRIAL, dtype=np.int32) if trial is None else trial.astype(np.int32),
        split=np.zeros(n_bins, dtype=np.int8),
        covariates={covariate.name: covariate for covariate in covariates},
    )
    return Binned(sessions=(session,), bin_s=0.05, activity_kind="counts")


def everything(data: Binned) -> np.ndarray:
    return np.ones(data.n_bins, dtype=bool)


def drawn(null: Null, n_draws: int = 20) -> np.ndarray:
    return np.stack(list(null.sources(n_draws)))


def walk(rng: np.random.Generator, n_bins: int, tau: float) -> np.ndarray:
    """Heading (rad) that forgets itself in `tau` bins."""
    return np.cumsum(rng.standard_normal(n_bins) * np.sqrt(2 / tau)) % (2 * np.pi)


def heading(values: np.ndarray) -> Covariate:
    return Covariate(name="heading", values=values, kind="circular", period=2 * np.pi)


# autocorrelation


def test_autocorrelation_time_of_an_autoregressive_series_is_what_theory_says() -> None:
    rng = np.random.default_rng(0)
    phi, series = 0.9, np.zeros(200_000)
    noise = rng.standard_normal(len(series))
    for t in range(1, len(series)):
        series[t] = phi * series[t - 1] + noise[t]
    expected = (1 + phi**2) / (1 - phi**2)
    assert autocorrelation_time(series) == pytest.approx(expected, rel=0.05)


def test_white_noise_has_an_autocorrelation_time_of_one_sample() -> None:
    assert autocorrelation_time(np.random.default_rng(1).standard_normal(50_000)) == pytest.approx(1.0, abs=0.01)


def test_constant_series_offers_no_shift() -> None:
    assert autocorrelation_time(np.full(100, 3.7)) == 100
    assert effective_shifts(np.full(100, 3.7)) == 1.0


def test_effective_shifts_are_length_over_autocorrelation_time() -> None:
    values = walk(np.random.default_rng(2), 5000, 50.0)
    angles = np.column_stack([np.cos(values), np.sin(values)])
    assert effective_shifts(angles) == pytest.approx(5000 / autocorrelation_time(angles))


# which null


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("signal", "circular shift"),
        ("trial", "trial permutation"),
        ("event", "within-trial shift"),
        ("phase", "within-trial shift"),
    ],
)
def test_null_follows_from_where_the_variable_comes_from(source: str, name: str) -> None:
    trial = np.repeat(np.arange(30), 10)
    covariate = Covariate(name="v", values=trial % 2, kind="discrete", source=source)  # type: ignore[arg-type]  # parametrised
    data = binned(covariate, trial=trial)
    assert choose_null(covariate, data, usable=everything(data), tested=everything(data), seed=0).name == name


def test_events_of_a_recording_without_trials_are_shifted_with_the_session() -> None:
    covariate = Covariate(name="event", values=np.arange(90) % 2, kind="discrete", source="event")
    data = binned(covariate)
    null = choose_null(covariate, data, usable=everything(data), tested=everything(data), seed=0)
    assert null.name == "circular shift"


# circular shift


def test_shift_turns_the_defined_rows_of_each_session() -> None:
    data = toy_binned(n_bins=500, n_sessions=2, seed=3)
    covariate = data.covariate("heading")
    null = circular_shift(covariate, data, usable=everything(data), tested=everything(data), seed=0)
    offsets = data.row_offsets
    shifts = []
    for source in drawn(null):
        assert (source[~covariate.defined] == np.flatnonzero(~covariate.defined)).all()
        for start, stop in pairwise(offsets):
            rows = np.flatnonzero(covariate.defined[start:stop]) + start
            place = np.searchsorted(rows, source[rows])
            shift = (place - np.arange(len(rows))) % len(rows)
            assert len(set(shift)) == 1
            shifts.append(shift[0])
    assert len(set(shifts)) > 20


def test_long_session_is_shifted_inside_equal_stretches_of_its_own() -> None:
    values = walk(np.random.default_rng(0), 4000, 10.0)
    data = binned(heading(values))
    null = circular_shift(heading(values), data, usable=everything(data), tested=everything(data), seed=0)
    shifts = []
    for source in drawn(null):
        for start in range(0, 4000, 250):
            shift = (source[start : start + 250] - np.arange(start, start + 250)) % 250
            assert len(set(shift)) == 1
            shifts.append(shift[0])
    assert len(set(shifts)) > 20


def test_shifts_of_a_session_do_not_depend_on_the_other_sessions() -> None:
    data = toy_binned(n_bins=1200, n_sessions=2, seed=3)
    swapped = replace(data, sessions=data.sessions[::-1])
    null, other = (
        circular_shift(d.covariate("speed"), d, usable=everything(d), tested=everything(d), seed=5)
        for d in (data, swapped)
    )
    np.testing.assert_array_equal(drawn(null)[:, :1200], drawn(other)[:, 1200:] - 1200)


def test_same_seed_draws_the_same_shifts_and_another_seed_does_not() -> None:
    data = toy_binned(n_bins=900)
    one, same, other = (
        drawn(
            circular_shift(data.covariate("speed"), data, usable=everything(data), tested=everything(data), seed=seed)
        )
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_variable_too_slow_for_the_recording_is_refused_with_its_number_of_shifts() -> None:
    values = walk(np.random.default_rng(0), 1000, 100.0)
    data = binned(heading(values))
    null = circular_shift(heading(values), data, usable=everything(data), tested=everything(data), seed=0)
    assert null.effective_shifts < 20
    assert null.refusal is not None
    assert f"{null.effective_shifts:.1f}" in null.refusal
    assert "20" in null.refusal


def test_a_session_too_short_to_shift_keeps_its_labels() -> None:
    fast, constant = np.random.default_rng(0).random(500), np.full(40, 0.3)
    parts = [binned(heading(v), session_id=name) for v, name in ((fast, "long"), (constant, "short"))]
    data = replace(parts[0], sessions=(*parts[0].sessions, *parts[1].sessions))
    null = circular_shift(data.covariate("heading"), data, usable=everything(data), tested=everything(data), seed=0)
    assert null.refusal is None
    assert (drawn(null)[:, 500:] == np.arange(500, 540)).all()


# trials


def trial_data(n_trials: int = 40, length: int = 7, seed: int = 0) -> tuple[Covariate, Binned]:
    rng = np.random.default_rng(seed)
    trial = np.repeat(np.arange(n_trials), length)
    trial[::length] = NO_TRIAL
    labels = rng.integers(0, 3, n_trials).astype(float)
    values = np.where(trial == NO_TRIAL, np.nan, labels[np.maximum(trial, 0)])
    covariate = Covariate(name="target", values=values, kind="discrete", source="trial")
    return covariate, binned(covariate, trial=trial)


def test_permutation_deals_the_same_labels_out_to_whole_trials() -> None:
    covariate, data = trial_data()
    null = trial_permutation(covariate, data, usable=everything(data), tested=everything(data), seed=0)
    inside = data.trial != NO_TRIAL
    first = np.unique(data.trial[inside], return_index=True)[1]
    for source in drawn(null):
        labels = covariate.values[source, 0][inside]
        per_trial = pd.Series(labels).groupby(data.trial[inside])
        assert (per_trial.min() == per_trial.max()).all()
        assert sorted(labels[first]) == sorted(covariate.values[inside, 0][first])
        assert np.isnan(covariate.values[source, 0][~inside]).all()


def test_permutation_within_blocks_never_moves_a_label_to_another_block() -> None:
    covariate, data = trial_data()
    blocks = np.maximum(data.trial, 0) // 10
    null = trial_permutation(covariate, data, usable=everything(data), tested=everything(data), seed=0, blocks=blocks)
    inside = data.trial != NO_TRIAL
    moved = drawn(null)
    assert (blocks[moved[:, inside]] == blocks[inside]).all()
    assert (moved[:, inside] != np.flatnonzero(inside)).any()


def test_few_trials_are_refused_by_the_relabellings_they_allow() -> None:
    covariate, data = trial_data(n_trials=4)
    null = trial_permutation(covariate, data, usable=everything(data), tested=everything(data), seed=0)
    labels = covariate.values[np.unique(data.trial, return_index=True)[1][1:], 0]
    counts = np.unique(labels, return_counts=True)[1]
    assert null.effective_shifts == pytest.approx(
        stats.multinomial(4, np.full(len(counts), 1 / len(counts))).pmf(counts) * len(counts) ** 4
    )
    assert null.refusal is not None


def test_within_trial_shift_turns_each_trial_by_an_amount_of_its_own() -> None:
    rng = np.random.default_rng(0)
    trial = np.repeat(np.arange(25), rng.integers(5, 15, 25))
    trial[:3] = NO_TRIAL
    covariate = Covariate(name="phase", values=rng.integers(0, 2, len(trial)), kind="discrete", source="phase")
    data = binned(covariate, trial=trial)
    null = within_trial_shift(covariate, data, usable=everything(data), tested=everything(data), seed=0)
    different = 0
    for source in drawn(null, 10):
        assert (source[:3] == np.arange(3)).all()
        shifts = []
        for number in range(25):
            rows = np.flatnonzero(trial == number)
            shift = (source[rows] - rows) % len(rows)
            assert len(set(shift)) == 1
            shifts.append(int(shift[0]))
        different += len(set(shifts)) > 1
    assert different == 10


def test_event_locked_latent_is_found_by_shifts_within_trials_but_not_of_the_session() -> None:
    rng = np.random.default_rng(0)
    n_trials, length = 60, 20
    trial = np.repeat(np.arange(n_trials), length)
    phase = np.tile(np.arange(length) >= 10, n_trials).astype(float)
    covariate = Covariate(name="phase", values=phase, kind="discrete", source="phase", categories=("before", "after"))
    data = binned(covariate, trial=trial)
    active = np.flatnonzero(rng.random(len(trial)) < np.where(phase == 1, 0.5, 0.05))
    p = {}
    rows = np.arange(data.n_bins)
    whole = Null(
        name="session shift", effective_shifts=1e6, sources=lambda n: (np.roll(rows, 7 * draw + 3) for draw in range(n))
    )
    within = within_trial_shift(covariate, data, usable=everything(data), tested=everything(data), seed=0)
    for null in (within, whole):
        by_chance = null_distribution(
            null,
            lambda counts, n_on: counts[:, 1] / n_on[1],
            n_draws=200,
            codes=phase.astype(np.int32),
            n_conditions=2,
            tested=everything(data),
            active_starts=np.array([0, len(active)]),
            active_rows=active.astype(np.int32),
        )
        p[null.name] = p_values(np.array([phase[active].sum() / phase.sum()]), by_chance)[0]
    assert p["within-trial shift"] == pytest.approx(1 / 201)
    assert p["session shift"] > 0.02


# counting


def test_counts_under_a_null_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    data = toy_binned(n_bins=300, n_sessions=2)
    codes = rng.integers(-1, 4, data.n_bins).astype(np.int32)
    tested = rng.random(data.n_bins) < 0.6
    active = (rng.random((data.n_bins, 3)) < 0.2) & tested[:, None]
    active[:, 2] = False
    columns, rows = np.nonzero(active.T)
    null = circular_shift(data.covariate("speed"), data, usable=everything(data), tested=tested, seed=0)
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def remember(counts: np.ndarray, n_on: np.ndarray) -> np.ndarray:
        seen.append((counts.copy(), n_on.copy()))
        return counts.sum(axis=1).astype(float)

    null_distribution(
        null,
        remember,
        n_draws=5,
        codes=codes,
        n_conditions=4,
        tested=tested,
        active_starts=np.searchsorted(columns, np.arange(4)),
        active_rows=rows.astype(np.int32),
    )
    for source, (counts, n_on) in zip(null.sources(5), seen, strict=True):
        expected, expected_n = np.zeros((3, 4)), np.zeros(4)
        for row in np.flatnonzero(tested):
            label = codes[source[row]]
            if label >= 0:
                expected_n[label] += 1
                expected[:, label] += active[row]
        np.testing.assert_array_equal(counts, expected)
        np.testing.assert_array_equal(n_on, expected_n)


# p and q


def test_p_is_the_share_of_chance_that_reaches_the_observed_with_itself_counted() -> None:
    null = np.array([[0.1, 1.0, 5.0], [0.2, 2.0, 5.0], [0.3, 3.0, np.nan]])
    np.testing.assert_allclose(p_values(np.array([0.25, 4.0, 6.0]), null), [2 / 4, 1 / 4, 2 / 4])
    assert np.isnan(p_values(np.array([np.nan]), np.zeros((9, 1)))[0])


def test_benjamini_hochberg_leaves_nan_out_of_the_family() -> None:
    p = np.array([0.01, np.nan, 0.04, 0.03, np.nan])
    q = benjamini_hochberg(p)
    np.testing.assert_allclose(q[[0, 2, 3]], stats.false_discovery_control([0.01, 0.04, 0.03]))
    assert np.isnan(q[[1, 4]]).all()
    assert np.isnan(benjamini_hochberg(np.full(3, np.nan))).all()


def blocked(n_trials: int, length: int) -> tuple[Covariate, Binned]:
    """Two conditions in blocks of `length` trials, five bins each."""
    label = np.arange(n_trials) // length % 2
    trial = np.repeat(np.arange(n_trials), 5)
    covariate = Covariate(name="context", values=np.repeat(label, 5).astype(float), kind="discrete", source="trial")
    return covariate, binned(covariate, trial=trial)


def test_conditions_that_came_in_a_row_are_shifted_along_the_trials() -> None:
    covariate, data = trial_data(n_trials=300)
    labels = np.cumsum(np.random.default_rng(0).random(300) < 0.4) % 2
    values = np.where(np.isnan(covariate.values[:, 0]), np.nan, labels[np.maximum(data.trial, 0)])
    covariate = replace(covariate, values=values)
    null = choose_null(covariate, data, usable=everything(data), tested=everything(data), seed=0)
    assert null.name == "trial shift"
    first = np.flatnonzero(covariate.defined)[::6]
    for source in drawn(null):
        dealt = values[source]
        assert (dealt[covariate.defined].reshape(-1, 6) == dealt[first, None]).all()
        assert any((dealt[first] == np.roll(labels, shift)).all() for shift in range(300))


def test_few_long_blocks_are_refused_and_blocks_without_change_too() -> None:
    covariate, data = blocked(100, 25)
    null = choose_null(covariate, data, usable=everything(data), tested=everything(data), seed=0)
    assert null.refusal is not None
    blocks = np.repeat(np.arange(100) // 25, 5)
    null = choose_null(covariate, data, usable=everything(data), tested=everything(data), seed=0, blocks=blocks)
    assert (null.name, null.effective_shifts) == ("trial permutation", 1.0)
    assert null.refusal is not None


def test_drift_of_both_sides_is_not_found_inside_stretches() -> None:
    """A latent and a variable that wander on their own, on top of the same slow trend."""
    calls = {"stretches": 0, "whole": 0}
    rows = np.arange(4000)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        trend = np.linspace(-1, 1, 4000)
        noise = [np.sin(walk(rng, 4000, 10.0)) * 1.5 for _ in range(2)]
        values, active = noise[0] + trend, np.flatnonzero(noise[1] + trend > 1).astype(np.int32)
        covariate = Covariate(name="speed", values=values, kind="linear")
        data, codes = binned(covariate), (values > 0).astype(np.int32)
        shifts = rng.integers(30, 3970, 99)
        whole = Null(
            name="whole",
            effective_shifts=1e6,
            sources=lambda n, shifts=shifts: (np.roll(rows, shift) for shift in shifts[:n]),
        )
        stretches = circular_shift(covariate, data, usable=everything(data), tested=everything(data), seed=seed)
        for name, null in (("stretches", stretches), ("whole", whole)):
            by_chance = null_distribution(
                null,
                lambda counts, n_on: counts[:, 1].astype(float),
                n_draws=99,
                codes=codes,
                n_conditions=2,
                tested=everything(data),
                active_starts=np.array([0, len(active)]),
                active_rows=active,
            )
            called = p_values(np.array([codes[active].sum(dtype=float)]), by_chance)[0] <= 0.05
            calls[name] += called and null.refusal is None
    assert calls["stretches"] <= stats.binom.ppf(0.99, 60, 0.05)
    assert calls["whole"] > 15


def test_trend_too_steep_for_few_stretches_is_refused_by_name() -> None:
    rng = np.random.default_rng(0)
    values = np.sin(walk(rng, 1000, 15.0)) + np.linspace(-1, 1, 1000)
    covariate = Covariate(name="speed", values=values, kind="linear")
    data = binned(covariate)
    null = circular_shift(covariate, data, usable=everything(data), tested=everything(data), seed=0)
    assert null.refusal is not None
    assert "a trend through session 's' explains" in null.refusal


def calibration(n_sessions: int, *, shuffled: bool) -> np.ndarray:
    """p of latents that follow another animal's heading, from session shifts or from bins shuffled one by one."""
    found = []
    for seed in range(n_sessions):
        rng = np.random.default_rng(seed)
        values = walk(rng, 4000, 40.0)
        active = np.flatnonzero(np.cos(walk(rng, 4000, 40.0)) > 0.7)
        codes = (values / (2 * np.pi) * 8).astype(np.int32)
        data = binned(heading(values))
        null = circular_shift(heading(values), data, usable=everything(data), tested=everything(data), seed=seed)
        if shuffled:
            order = np.random.default_rng([seed, 1])
            null = replace(null, sources=lambda n, order=order: (order.permutation(4000) for _ in range(n)))

        def largest(counts: np.ndarray, n_on: np.ndarray) -> np.ndarray:
            return np.asarray((counts / np.maximum(n_on, 1)).max(axis=1))

        by_chance = null_distribution(
            null,
            largest,
            n_draws=99,
            codes=codes,
            n_conditions=8,
            tested=everything(data),
            active_starts=np.array([0, len(active)]),
            active_rows=active.astype(np.int32),
        )
        observed = largest(np.bincount(codes[active], minlength=8)[None], np.bincount(codes, minlength=8))
        found.append(p_values(observed, by_chance)[0])
    return np.array(found)


def test_unrelated_behaviour_is_called_no_more_often_than_stated() -> None:
    p = calibration(120, shuffled=False)
    for alpha in (0.05, 0.2):
        assert (p <= alpha).sum() <= stats.binom.ppf(0.999, len(p), alpha)


def test_shuffling_bins_one_by_one_would_call_most_unrelated_behaviour() -> None:
    assert (calibration(20, shuffled=True) <= 0.05).mean() > 0.5


@pytest.mark.parametrize("make", [trial_permutation, within_trial_shift])
def test_recording_without_trials_is_refused(make: Callable[..., Null]) -> None:
    covariate = Covariate(name="v", values=np.arange(50.0) % 2, kind="discrete", source="trial")
    data = binned(covariate)
    null = make(covariate, data, usable=everything(data), tested=everything(data), seed=0)
    assert null.refusal is not None
    assert (drawn(null, 3) == np.arange(50)).all()


# drift


def test_detrended_variable_is_what_is_left_of_a_line_and_four_half_waves_in_each_session() -> None:
    data = toy_binned(n_bins=400, n_sessions=2)
    rng = np.random.default_rng(0)
    values = rng.standard_normal(800) + np.tile(np.linspace(-4, 4, 400) ** 2, 2) + np.repeat([0, 50], 400)
    values[50:80] = np.nan
    found = detrended(Covariate(name="pupil", values=values, kind="linear"), data).values[:, 0]
    assert (np.isnan(found) == np.isnan(values)).all()
    for session in (slice(0, 400), slice(400, 800)):
        known = values[session][~np.isnan(values[session])]
        time = (np.arange(len(known)) + 0.5) / len(known)
        drift = np.column_stack([np.ones(len(known)), time, *(np.cos(np.pi * k * time) for k in (1, 2, 3, 4))])
        left = known - drift @ np.linalg.lstsq(drift, known, rcond=None)[0]
        np.testing.assert_allclose(found[session][~np.isnan(found[session])], left + known.mean(), atol=1e-9)


def test_a_constant_and_a_very_short_variable_stay_as_they_are() -> None:
    data = binned(Covariate(name="v", values=np.full(300, 2.0), kind="linear"))
    np.testing.assert_allclose(detrended(data.covariate("v"), data).values, 2.0)
    few = np.full(300, np.nan)
    few[:4] = [1.0, 5.0, 2.0, 8.0]
    np.testing.assert_array_equal(detrended(Covariate(name="v", values=few, kind="linear"), data).values[:, 0], few)
