"""Conditions of a skewed variable can be told apart on their axis."""

from __future__ import annotations

import numpy as np
import pytest
from nldisco_explorer.value_axis import value_axis

from nldisco_core.binned import Covariate
from nldisco_core.condition_curves import cut


def linear(values: np.ndarray) -> Covariate:
    return Covariate(name="running_speed", values=values, kind="linear", physical_unit="cm/s")


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "values",
    [RNG.uniform(0, 30, 4000), RNG.normal(10, 3, 4000), np.linspace(-1, 1, 4000)],
    ids=["even", "normal", "ramp"],
)
def test_values_that_can_be_told_apart_are_drawn_as_values(values: np.ndarray) -> None:
    chosen = cut(linear(values))
    along = value_axis(chosen)
    assert not along.is_by_quantile
    assert along.said == ""
    np.testing.assert_allclose(along.edges[1:-1], chosen.edges[0][1:-1])
    axis = along.axis(linear(values))
    assert (axis.label, axis.hover, axis.ticks) == ("running speed (cm/s)", "running_speed", None)


@pytest.mark.parametrize(
    "values",
    [
        RNG.lognormal(0, 2, 4000),
        RNG.standard_cauchy(4000),
        np.append(RNG.uniform(3, 5, 3400), RNG.uniform(5, 800, 600)),
    ],
    ids=["to one side", "to both sides", "mostly still"],
)
def test_values_that_crowd_are_drawn_in_equal_steps_of_quantiles_with_their_values(values: np.ndarray) -> None:
    chosen = cut(linear(values))
    along = value_axis(chosen)
    assert along.is_by_quantile
    assert "equal steps of quantiles" in along.said
    axis = along.axis(linear(values))
    assert (axis.low, axis.high, axis.hover) == (0, chosen.n_conditions, "")
    assert axis.label == "running speed (cm/s), equal steps of quantiles"
    np.testing.assert_allclose(np.diff(along.centres), 1)
    assert axis.ticks is not None
    for place, words in axis.ticks:
        share = float(np.mean(values <= chosen.edges[0][int(place)]))
        assert share == pytest.approx(place / chosen.n_conditions, abs=0.01)
        assert float(words) == pytest.approx(chosen.edges[0][int(place)], rel=0.006)


def test_few_values_are_drawn_as_they_are() -> None:
    assert not value_axis(cut(linear(np.tile([1.0, 2.0, 900.0], 50)))).is_by_quantile
    assert value_axis(cut(linear(np.full(50, 3.0)))).edges.tolist() == [3.0, 3.0]
