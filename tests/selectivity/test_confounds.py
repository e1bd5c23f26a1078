"""Which of two variables that go together a latent follows."""

from __future__ import annotations

import numpy as np
from nldisco_selectivity.config import SelectivityConfig
from nldisco_selectivity.confounds import PRIOR, Compared, Part, _factors, compare
from nldisco_selectivity.mapper import Selectivity
from nldisco_selectivity.scores import Active
from scipy import optimize, sparse

from nldisco_core import plugins
from nldisco_core.binned import Binned, Covariate
from nldisco_core.binning import bin_session
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.splits import assign_splits
from nldisco_core.tuning import conditions

N_BINS = 12_000


def compared(activity: np.ndarray, variables: dict[str, np.ndarray], wanted: str) -> Compared:
    cut = {name: conditions(Covariate(name=name, values=v, kind="linear")) for name, v in variables.items()}
    fit = np.arange(len(activity)) % 200 < 120
    activations = sparse.csc_array(activity)
    columns = np.ones(activity.shape[1], dtype=bool)
    parts = [Part(active=Active.of(activations, rows), rows=rows) for rows in (fit, ~fit)]
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


def test_simulated_heading_cells_are_no_position_latents_on_a_real_walk() -> None:
    """Behaviour of the bundled recording; the cells know heading only, or position only."""
    dataset = plugins.make("dataset", "head-direction", {})
    session = dataset.load(dataset.session_ids()[0])
    binned = bin_session(session, bin_s=0.05, epoch="wake", signals=("head_direction", "position"))
    data = assign_splits(Binned(sessions=(binned,), bin_s=0.05, activity_kind="counts"), by="blocks")
    rng, n_cells = np.random.default_rng(0), 10
    heading = np.nan_to_num(data.covariate("head_direction").values)
    place = np.nan_to_num(data.covariate("position").values)
    centres = place[rng.choice(np.flatnonzero(data.covariate("position").defined), n_cells)]
    headed = np.exp(rng.uniform(1, 8, n_cells) * (np.cos(heading - rng.random(n_cells) * 2 * np.pi) - 1))
    placed = np.exp(-np.square(place[:, None] - centres).sum(axis=2) / 2 / 0.08**2)
    counts = rng.poisson(0.02 + np.concatenate([headed, placed], axis=1)).astype(np.float32)
    space = LatentSpace(
        codes=(sparse.csc_array(counts),), session_ids=(binned.session_id,), row_offsets=data.row_offsets
    )
    table = Selectivity(SelectivityConfig(n_shifts=0)).map(Latents.of(space), data, seed=0).table
    rows = table[table["condition"].isna() & (table["split"] == "test") & table["supported"]]
    explained = rows.set_index(["variable", "latent"])["better_explained_by"]
    of_heading, of_place = range(n_cells), range(n_cells, 2 * n_cells)
    position = explained["position"]
    assert (position.loc[position.index.isin(of_heading)] == "head_direction").all()
    assert position.loc[position.index.isin(of_place)].isna().mean() >= 0.8
    headed_rows = explained["head_direction"]
    assert headed_rows.loc[headed_rows.index.isin(of_heading)].isna().all()
    assert min(position.index.isin(cells).sum() for cells in (of_heading, of_place)) >= 8
