"""Which of two variables that go together a latent follows."""

from __future__ import annotations

import numpy as np
from scipy import optimize, sparse

from nldisco_core.binned import Covariate
from nldisco_core.confounds import PRIOR, Compared, Part, _factors, compare
from nldisco_core.tuning import conditions

N_BINS = 12_000


def compared(activity: np.ndarray, variables: dict[str, np.ndarray], wanted: str) -> Compared:
    cut = {name: conditions(Covariate(name=name, values=v, kind="linear")) for name, v in variables.items()}
    fit = np.arange(len(activity)) % 200 < 120
    activations = sparse.csc_array(activity)
    columns = np.ones(activity.shape[1], dtype=bool)
    parts = [Part.of(activations, rows) for rows in (fit, ~fit)]
    blocks = (np.arange(len(activity)) // 40).astype(np.int32)
    return compare(cut, fit=parts[0], held_out=parts[1], blocks=blocks, wanted={wanted: columns})[wanted]


def together(rng: np.random.Generator, r: float) -> tuple[np.ndarray, np.ndarray]:
    """Two variables that correlate by r."""
    one, other = rng.standard_normal((2, N_BINS))
    return one, r * one + np.sqrt(1 - r**2) * other


def active(rng: np.random.Generator, drive: np.ndarray) -> np.ndarray:
    return (rng.random(len(drive)) < 0.3 / (1 + np.exp(-4 * drive))).astype(np.float64)


def test_follower_of_one_variable_is_not_given_to_its_correlate() -> None:
    rng = np.random.default_rng(0)
    cause, correlate = together(rng, 0.8)
    activity = np.column_stack([active(rng, cause) for _ in range(8)])
    variables = {"cause": cause, "correlate": correlate}
    assert compared(activity, variables, "correlate").better.tolist() == ["cause"] * 8
    found = compared(activity, variables, "cause")
    assert found.better.tolist() == [None] * 8
    assert (found.beyond > 3 * found.beyond_se).all()
    assert (compared(activity, variables, "correlate").alone > 0.05).all()


def test_follower_of_both_keeps_both() -> None:
    rng = np.random.default_rng(1)
    one, other = together(rng, 0.5)
    activity = np.column_stack([active(rng, one + other) for _ in range(4)])
    for wanted in ("one", "other"):
        assert compared(activity, {"one": one, "other": other}, wanted).better.tolist() == [None] * 4


def test_of_two_variables_that_say_the_same_neither_is_better() -> None:
    rng = np.random.default_rng(2)
    value = rng.standard_normal(N_BINS)
    activity = active(rng, value)[:, None]
    for wanted in ("value", "twin"):
        found = compared(activity, {"value": value, "twin": 2 * value}, wanted)
        assert found.better[0] is None
        assert abs(found.beyond[0]) < 0.01 < found.alone[0]


def test_bins_without_the_variable_say_nothing_of_it() -> None:
    """A latent that is active wherever `side` is defined, whatever its value."""
    rng = np.random.default_rng(3)
    inside = np.arange(N_BINS) // 50 % 2 == 0
    side = np.where(inside, rng.standard_normal(N_BINS), np.nan)
    found = compared(active(rng, np.where(inside, 1.0, -3.0))[:, None], {"side": side}, "side")
    assert abs(found.alone[0]) < 0.02


def test_silent_column_is_not_compared() -> None:
    value = np.random.default_rng(4).standard_normal(N_BINS)
    found = compared(np.zeros((N_BINS, 1)), {"value": value}, "value")
    assert np.isnan([found.alone[0], found.beyond[0]]).all()
    assert found.better[0] is None


def test_factors_are_the_maximum_of_the_penalised_likelihood() -> None:
    rng = np.random.default_rng(5)
    edges = np.array([0, 3, 7])
    cells = np.array([[a, 3 + b] for a in range(3) for b in range(4)], dtype=np.int32)
    exposure = rng.integers(20, 200, 12)
    events = rng.poisson(exposure * 0.2 * rng.lognormal(0, 0.5, 12))
    counts = np.zeros(7, dtype=np.int64)
    for cell, n in zip(cells, events, strict=True):
        counts[cell] += n
    rate = events.sum() / exposure.sum()

    def loss(log_g: np.ndarray) -> float:
        log_rate = np.log(rate) + log_g[cells].sum(axis=1)
        fit = (events * log_rate - exposure * np.exp(log_rate)).sum()
        return float(-fit - PRIOR * (log_g - np.exp(log_g)).sum())

    best = optimize.minimize(loss, np.zeros(7), tol=1e-12).x
    found = _factors(cells, exposure, counts, edges, np.array([True, True]), rate)
    np.testing.assert_allclose(np.log(found)[cells].sum(axis=1), best[cells].sum(axis=1), atol=1e-3)
