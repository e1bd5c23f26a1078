"""The small simulation is the same bit by bit, and its gates tell found cells from missed ones."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
from nldisco_datasets.place_cells_1d import CELLS, GATES, PlaceCells1D, field, gates, simulate
from scipy import sparse

from nldisco_core.binned import Binned
from nldisco_core.binning import bin_sessions
from nldisco_core.errors import DatasetUnavailable, IncompatibleData
from nldisco_core.interfaces import Dictionary
from nldisco_core.latents import LatentSpace


@pytest.fixture(scope="module")
def data() -> Binned:
    return bin_sessions([PlaceCells1D().load("place-cells-1d")], bin_s=0.05)


def space_of(codes: np.ndarray) -> LatentSpace:
    return LatentSpace(
        codes=(sparse.csc_array(codes),), session_ids=("place-cells-1d",), row_offsets=np.array([0, len(codes)])
    )


def dictionary_of(values: np.ndarray, data: Binned) -> Dictionary:
    return Dictionary(values=values[None].astype(np.float32), unit_ids=(tuple(data.units["id"]),))


def test_the_spikes_are_those_published_bit_by_bit() -> None:
    saved = io.BytesIO()
    spikes = simulate().spikes
    np.save(saved, spikes)
    assert hashlib.sha256(saved.getvalue()).hexdigest() == (
        "ce5bd9573966e96cd36a44a68cc4e84836c95f749a59260e87398aaab06db09f"
    )
    assert spikes.sum() == 192_631


def test_binning_the_session_at_the_simulated_step_gives_the_spikes_back() -> None:
    simulated = simulate()
    binned = bin_sessions([PlaceCells1D().load("place-cells-1d")], bin_s=0.01)
    np.testing.assert_array_equal(binned.activity.T, simulated.spikes)
    np.testing.assert_allclose(binned.covariate("position").values[:, 0], simulated.position)


def test_a_field_is_one_at_its_centre_and_falls_by_its_own_width_on_each_side() -> None:
    for cell, row in enumerate(CELLS.itertuples()):
        at = np.array([row.centre, row.centre - row.width_left, row.centre + row.width_right])
        np.testing.assert_allclose(field(at)[cell], [1, np.exp(-0.5), np.exp(-0.5)])


def test_an_unknown_session_is_named() -> None:
    with pytest.raises(DatasetUnavailable, match="place-cells-1d"):
        PlaceCells1D().load("place-cells-2d")


def test_the_units_themselves_pass_every_gate(data: Binned) -> None:
    table = gates(space_of(np.asarray(data.activity, dtype=float)), data, dictionary_of(np.eye(100), data))
    assert table["found"].all()
    assert table["latent"].tolist() == [0, 1, 2, 3]
    assert (table["failed"] == "").all()


def test_values_of_a_latent_are_those_of_a_plain_loop(data: Binned) -> None:
    activity = np.asarray(data.activity, dtype=float)
    table = gates(space_of(activity), data, dictionary_of(np.eye(100), data))
    position = data.covariate("position").values[:, 0]
    for cell, row in table.iterrows():
        values = activity[:, cell]
        cells = np.minimum((position * 40).astype(int), 39)
        curve = np.array([values[cells == k].mean() for k in range(40)])
        curve = curve / curve.max()
        centres = (np.arange(40) + 0.5) / 40
        parameters = CELLS.iloc[cell]
        low, high = parameters.centre - 2 * parameters.width_left, parameters.centre + 2 * parameters.width_right
        assert row["similarity"] == pytest.approx(1 - np.sqrt(((curve - field(centres)[cell]) ** 2).mean()))
        assert row["mean_outside"] == pytest.approx(curve[(centres < low) | (centres > high)].mean())
        assert row["n_in_field"] == ((values > 0) & (position >= low) & (position <= high)).sum()
        z = (activity - activity.mean(axis=0)) / activity.std(axis=0)
        assert row["unit_z"] == pytest.approx(z[values > 0][:, cell].mean())


def test_a_gate_fails_where_its_condition_is_broken(data: Binned) -> None:
    cell = np.asarray(data.activity, dtype=float)[:, 0]
    near = np.abs(data.covariate("position").values[:, 0] - 0.2) < 0.05
    few = np.flatnonzero((cell > 0) & near)[:90]
    rare, shifted, elsewhere = np.zeros_like(cell), cell + 2, np.where(near, 0, 1.0)
    rare[few] = 1

    def failed(codes: np.ndarray, weights: np.ndarray) -> set[str]:
        table = gates(space_of(codes[:, None]), data, dictionary_of(weights[None], data))
        return set(table["failed"].iloc[0].split(", "))

    own, shared, other = np.eye(100)[0], np.r_[0.5, np.ones(99)], np.r_[1, 2, np.zeros(98)]
    assert failed(cell, own) == {""}
    assert failed(cell, shared) == {"weight", "strongest_weight"}
    assert failed(cell, other) == {"strongest_weight"}
    assert "active" in failed(rare, own)
    assert "outside" in failed(shifted, own)
    assert failed(elsewhere, own) >= {"shape", "peak", "conditional_z"}


def test_silent_latents_find_nothing(data: Binned) -> None:
    table = gates(space_of(np.zeros((data.n_bins, 3))), data, dictionary_of(np.zeros((3, 100)), data))
    assert not table["found"].any()
    assert not table[list(set(GATES) - {"strongest_z", "strongest_weight"})].any().any()
    assert table[["similarity", "peak_at", "mean_outside"]].isna().all().all()


def test_negative_halves_carry_the_sign_of_their_weights(data: Binned) -> None:
    codes = -np.asarray(data.activity, dtype=np.float64)[None]
    space = LatentSpace(codes=codes, session_ids=("s",), row_offsets=np.array([0, data.n_bins]), code_kind="signed")
    table = gates(space, data, dictionary_of(-np.eye(100), data))
    assert table["found"].all()
    assert (table["sign"] == -1).all()


def test_latents_of_other_rows_or_units_are_refused(data: Binned) -> None:
    with pytest.raises(IncompatibleData, match="one row per bin"):
        gates(space_of(np.zeros((5, 3))), data, dictionary_of(np.zeros((3, 100)), data))
    session = data.sessions[0]
    other = replace(session, units=session.units.assign(id=[f"x{i}" for i in range(100)]))
    with pytest.raises(IncompatibleData, match="place-0"):
        gates(space_of(np.zeros((data.n_bins, 3))), replace(data, sessions=(other,)), dictionary_of(np.eye(100), data))
