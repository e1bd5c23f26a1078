from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage, sparse
from sklearn.metrics import mutual_info_score

from nldisco_core.binned import Covariate
from nldisco_core.conformance.toys import toy_binned, toy_latents
from nldisco_core.errors import DataError
from nldisco_core.latents import LatentSpace
from nldisco_core.tuning import (
    circular_conditions,
    condition_means,
    conditions,
    halves,
    mutual_information,
    one_per_channel,
    polar_curve,
    preferred_direction,
    rectified,
    rectified_columns,
    resultant_length,
    stability,
    tuning_curve,
)


def linear(values: object, **about: object) -> Covariate:
    return Covariate(name="speed", values=np.asarray(values, dtype=float), kind="linear", **about)  # type: ignore[arg-type]  # passed on


def circular(values: object, period: float = 2 * np.pi) -> Covariate:
    return Covariate(
        name="heading", values=np.asarray(values, dtype=float), kind="circular", period=period, physical_unit="rad"
    )


def space_of(codes: np.ndarray, *, signed: bool = False, defined: np.ndarray | None = None) -> LatentSpace:
    return LatentSpace(
        codes=codes[None],
        session_ids=("s",),
        row_offsets=np.array([0, len(codes)]),
        code_kind="signed" if signed else "nonnegative",
        defined=defined,
    )


# conditions


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        float,
        st.integers(1, 60),
        elements=st.one_of(st.integers(-3, 3).map(float), st.floats(-50, 50), st.just(np.nan)),
    ),
    st.integers(2, 12),
)
def test_quantile_conditions_hold_each_value_between_their_edges(values: np.ndarray, n_quantiles: int) -> None:
    if np.isnan(values).all():
        with pytest.raises(DataError, match="not defined"):
            conditions(linear(values), n_quantiles=n_quantiles)
        return
    chosen = conditions(linear(values), n_quantiles=n_quantiles)
    assert ((chosen.codes == -1) == np.isnan(values)).all()
    (edges,) = chosen.edges
    assert len(chosen.labels) == len(chosen.centres) == len(edges) - 1 <= n_quantiles
    for value, code in zip(values, chosen.codes, strict=True):
        if code >= 0:
            assert edges[code] <= value <= edges[code + 1]
            assert code == chosen.n_conditions - 1 or value < edges[code + 1]


def test_distinct_values_fall_into_equally_full_quantiles() -> None:
    values = np.random.default_rng(0).permutation(1000) / 7
    assert set(np.bincount(conditions(linear(values)).codes)) == {100}


def test_quantiles_and_ranges_come_from_the_given_rows_and_outliers_join_the_outer_conditions() -> None:
    values = np.concatenate([np.arange(100.0), [-1e6, 1e6]])
    train = np.arange(102) < 100
    chosen = conditions(linear(values), n_quantiles=4, rows=train)
    np.testing.assert_allclose(chosen.edges[0], [0, 25, 50, 75, 99])
    assert chosen.codes[-2:].tolist() == [0, 3]


def test_two_values_make_two_conditions_and_one_value_makes_one() -> None:
    two = conditions(linear([0.0] * 99 + [1.0]))
    assert np.bincount(two.codes).tolist() == [99, 1]
    assert two.labels == ("below 1", "1 and above")
    assert conditions(linear([2.0, 2.0, np.nan])).labels == ("all",)


def test_labels_carry_the_unit_and_tell_conditions_apart() -> None:
    speed = conditions(linear(np.arange(100) / 1e4 + 5000, physical_unit="cm/s"))
    assert len(set(speed.labels)) == speed.n_conditions
    assert all(label.endswith("cm/s") or "cm/s and" in label for label in speed.labels)
    assert conditions(circular([0.1])).labels[:2] == ("0 to 30°", "30 to 60°")
    clock = Covariate(name="clock", values=np.array([1.0]), kind="circular", period=24.0, physical_unit="h")
    assert conditions(clock, n_circular=4).labels == ("0 to 6 h", "6 to 12 h", "12 to 18 h", "18 to 24 h")


@pytest.mark.parametrize("kind", ["linear", "discrete"])
def test_values_that_differ_by_rounding_are_one_value_and_are_written_as_people_do(kind: Any) -> None:
    durations = np.array([5.4 - 4.1, 1.3, 61.3 - 60, 2.2, 3.2])
    assert len(np.unique(durations)) == 5
    assert f"{durations[0]}" != "1.3"
    chosen = conditions(Covariate(name="duration", values=durations, kind=kind, physical_unit="s"))
    assert chosen.codes.tolist() == [0, 0, 0, 1, 2]
    written = {"linear": ("below 2.2 s", "2.2 to 3.2 s", "3.2 s and above"), "discrete": ("1.3", "2.2", "3.2")}
    assert chosen.labels == written[kind]


def test_discrete_numbers_are_told_apart_by_their_labels() -> None:
    days = Covariate(name="day", values=np.array([20090912.0, 20090913.0]), kind="discrete")
    assert conditions(days).labels == ("20090912", "20090913")


def test_circular_conditions_are_equal_parts_whatever_turn_the_values_are_on() -> None:
    angle = np.random.default_rng(0).uniform(-20, 20, 500)
    chosen = conditions(circular(angle), n_circular=12)
    expected = np.floor(np.mod(angle, 2 * np.pi) / (2 * np.pi / 12)).astype(int)
    np.testing.assert_array_equal(chosen.codes, expected)
    np.testing.assert_allclose(chosen.centres, (np.arange(12) + 0.5) * np.pi / 6)
    assert conditions(circular([-1e-18]), n_circular=12).codes[0] in (0, 11)


def test_discrete_conditions_are_the_categories_that_occur() -> None:
    side = Covariate(
        name="side", values=np.array([2, 0, np.nan, 2]), kind="discrete", categories=("left", "middle", "right")
    )
    chosen = conditions(side)
    assert chosen.labels == ("left", "right")
    assert chosen.codes.tolist() == [1, 0, -1, 1]


def test_position_conditions_are_cells_of_a_grid_named_by_their_borders() -> None:
    xy = np.array([[0.0, 0.0], [10.0, 20.0], [9.0, 1.0], [np.nan, 3.0], [5.0, 10.0]])
    place = Covariate(name="place", values=xy, kind="position", channels=("x", "y"), physical_unit="cm")
    chosen = conditions(place, n_position=2)
    assert chosen.codes.tolist() == [0, 3, 2, -1, 3]
    assert chosen.grid == (2, 2)
    assert chosen.labels[2] == "x 5 to 10, y 0 to 10 cm"
    np.testing.assert_allclose(chosen.centres, [[2.5, 5], [2.5, 15], [7.5, 5], [7.5, 15]])


def test_track_is_cut_into_as_many_conditions_as_a_square_grid() -> None:
    track = Covariate(name="track", values=np.linspace(0, 100, 1000), kind="position", channels=("x",))
    assert conditions(track, n_position=5).n_conditions == 25


def test_variables_of_several_channels_are_mapped_channel_by_channel_but_positions_are_not() -> None:
    velocity = Covariate(name="v", values=np.arange(6.0).reshape(3, 2), kind="linear", channels=("x", "y"))
    parts = one_per_channel(velocity)
    assert [part.name for part in parts] == ["v.x", "v.y"]
    np.testing.assert_array_equal(parts[1].values[:, 0], [1, 3, 5])
    place = Covariate(name="p", values=np.zeros((3, 2)), kind="position", channels=("x", "y"))
    assert one_per_channel(place) == (place,)
    with pytest.raises(DataError, match="2 channels"):
        conditions(velocity)


# curves


def test_tuning_curve_equals_a_grouped_mean_and_counts_occupancy_from_zero() -> None:
    data = toy_binned(n_bins=400)
    space = toy_latents(data).main
    chosen = conditions(data.covariate("heading"), n_circular=40)
    rows = data.split == 0
    curves = tuning_curve(space, 0, chosen, rows)
    frame = pd.DataFrame(space.dense(0)[rows & (chosen.codes >= 0)].astype(float))
    expected = frame.groupby(chosen.codes[rows & (chosen.codes >= 0)]).mean().reindex(range(40))
    np.testing.assert_allclose(curves.mean, expected.to_numpy().T)
    assert expected.isna().any(axis=None)
    np.testing.assert_array_equal(curves.n_bins, np.bincount(chosen.codes[rows & (chosen.codes >= 0)], minlength=40))
    np.testing.assert_allclose(curves.occupancy_s(data.bin_s), curves.n_bins * 0.05)


def test_rows_that_the_model_does_not_speak_of_are_left_out() -> None:
    codes = np.array([[1.0], [3.0], [np.nan], [5.0]])
    space = space_of(codes, defined=np.array([True, True, False, True]))
    chosen = conditions(linear([0, 0, 0, 1]), n_quantiles=2)
    curves = tuning_curve(space, 0, chosen, np.ones(4, dtype=bool))
    np.testing.assert_allclose(curves.mean, [[2.0, 5.0]])
    assert curves.n_bins.tolist() == [2, 1]


def test_signed_codes_become_positive_and_negative_halves() -> None:
    codes = np.random.default_rng(0).standard_normal((50, 3))
    space = space_of(codes, signed=True)
    latent, sign = rectified_columns(space)
    halved = rectified(space, 0).toarray()
    for column in range(6):
        np.testing.assert_allclose(halved[:, column], np.maximum(sign[column] * codes[:, latent[column]], 0))


def test_polar_curve_finds_the_planted_direction_and_leaves_unvisited_bins_nan() -> None:
    data = toy_binned(n_bins=3000)
    space = toy_latents(data).main
    curves = polar_curve(space, 0, data.covariate("heading"), np.ones(data.n_bins, dtype=bool))
    assert curves.mean.shape == (7, 60)
    angles = curves.conditions.centres
    assert angles.min() >= -np.pi
    assert angles.max() < np.pi
    preferred = preferred_direction(curves.mean[:6], angles)
    assert np.abs(np.angle(np.exp(1j * (preferred - 2 * np.pi * np.arange(6) / 6)))).max() < 0.2
    few = polar_curve(space, 0, data.covariate("heading"), np.arange(data.n_bins) < 30)
    np.testing.assert_array_equal(np.isnan(few.mean[0]), few.n_bins == 0)


def test_smoothing_comes_before_the_division_and_wraps() -> None:
    rng = np.random.default_rng(0)
    angle, activation = rng.uniform(0, 2 * np.pi, 300), rng.random((300, 1))
    covariate = circular(angle)
    curves = polar_curve(space_of(activation), 0, covariate, np.ones(300, dtype=bool), n_bins=20, smooth_bins=1.5)
    codes = circular_conditions(covariate, 20, start=-np.pi).codes
    total = np.bincount(codes, weights=activation[:, 0], minlength=20)
    occupancy = np.bincount(codes, minlength=20).astype(float)
    expected = ndimage.gaussian_filter1d(total, 1.5, mode="wrap") / ndimage.gaussian_filter1d(
        occupancy, 1.5, mode="wrap"
    )
    np.testing.assert_allclose(curves.mean[0], expected)


def test_resultant_length_is_one_for_a_single_direction_and_zero_for_a_flat_curve() -> None:
    angles = (np.arange(60) + 0.5) * 2 * np.pi / 60
    single, flat = np.zeros(60), np.ones(60)
    single[7] = 3.0
    by_hand = 1 + np.cos(angles - 1.0)
    length = resultant_length(np.stack([single, flat, by_hand, np.zeros(60)]), angles)
    np.testing.assert_allclose(length[:3], [1.0, 0.0, 0.5], atol=1e-12)
    assert np.isnan(length[3])
    np.testing.assert_allclose(preferred_direction(by_hand[None], angles), [1.0])
    assert np.isnan(preferred_direction(np.zeros((1, 60)), angles)[0])


# information and stability


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 9)))
def test_mutual_information_equals_scikit_learn_plus_the_miller_madow_term(counts: np.ndarray) -> None:
    found = float(mutual_information(counts))
    n_rows = counts.sum()
    if n_rows == 0:
        assert np.isnan(found)
        return
    x, y = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
    occupied = (counts.sum(axis=1) > 0).sum() + (counts.sum(axis=0) > 0).sum() - (counts > 0).sum() - 1
    expected = (mutual_info_score(x, y) + occupied / (2 * n_rows)) / np.log(2)
    assert found == pytest.approx(expected, abs=1e-9)


def test_correction_takes_the_bias_off_unrelated_variables() -> None:
    rng = np.random.default_rng(0)
    joint = [np.histogram2d(*rng.integers(0, 8, (2, 300)), bins=8, range=[[0, 8]] * 2)[0] for _ in range(200)]
    counts = np.stack(joint).astype(np.int64)
    x, y = rng.integers(0, 8, (2, 300))
    assert mutual_info_score(x, y) / np.log(2) > 0.08
    assert abs(mutual_information(counts).mean()) < 0.01


def test_stability_is_the_correlation_over_what_both_halves_visited() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 4, 12))
    one[:, 3] = np.nan
    one[2] = 0.5
    one[2, 3] = np.nan
    both = np.arange(12) != 3
    found = stability(one, other)
    for column in (0, 1, 3):
        assert found[column] == pytest.approx(np.corrcoef(one[column, both], other[column, both])[0, 1])
    assert np.isnan(found[2])
    assert np.isnan(stability(one[:, :2], other[:, :2])).all()


def test_halves_split_the_rows_of_each_session_in_time() -> None:
    data = toy_binned(n_bins=100, n_sessions=2)
    rows = np.random.default_rng(0).random(200) < 0.4
    first, second = halves(rows, data)
    assert not (first & second).any()
    np.testing.assert_array_equal(first | second, rows)
    for part in (slice(0, 100), slice(100, 200)):
        assert np.flatnonzero(first[part]).max() < np.flatnonzero(second[part]).min()
        assert abs(int(first[part].sum()) - int(second[part].sum())) <= 1


def test_means_of_sparse_and_dense_activations_agree() -> None:
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((200, 5)) < 0.2, rng.random((200, 5)), 0.0)
    chosen = conditions(linear(rng.random(200)), n_quantiles=6)
    rows = rng.random(200) < 0.5
    found = condition_means(sparse.csc_array(dense), chosen, rows).mean
    expected = np.stack([dense[rows & (chosen.codes == code)].mean(axis=0) for code in range(6)], axis=1)
    np.testing.assert_allclose(found, expected)
