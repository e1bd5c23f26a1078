"""Simulated recordings with known truth: what was planted is found where it was planted, and little else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from nldisco_spatial.config import SpatialConfig
from nldisco_spatial.mapper import Spatial
from scipy import sparse

import nldisco_core
from nldisco_core.binned import Binned
from nldisco_core.binning import bin_sessions
from nldisco_core.config import parse
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.recovery import FeatureTruth
from nldisco_core.session import Session
from nldisco_core.splits import assign_splits


def binned(session: Session, bin_s: float) -> Binned:
    return assign_splits(bin_sessions([session], bin_s=bin_s), train=0.6, validation=0.1, test=0.3)


def mapped(activations: np.ndarray, data: Binned, **settings: object) -> pd.DataFrame:
    space = LatentSpace(
        codes=(sparse.csc_array(activations.astype(np.float32)),),
        session_ids=(data.sessions[0].session_id,),
        row_offsets=data.row_offsets,
    )
    table = Spatial(parse(SpatialConfig, {"n_shifts": 199, **settings})).map(Latents.of(space), data, seed=0).table
    return table[table["split"] == "test"]


def test_place_cells_on_a_line_are_found_at_their_centres() -> None:
    dataset = nldisco_core.make("dataset", "place-cells-1d")
    session = dataset.load(dataset.session_ids()[0])
    data = binned(session, 0.1)
    # 4 of 100 tests reach q < .05 only where p can be .002
    found = mapped(np.asarray(data.activity), data, n_shifts=999, variables=["position"]).set_index("latent")
    planted = (data.units["kind"] == "place").to_numpy()
    places = found[planted]
    assert (places["q"] < 0.05).all()
    assert np.abs(places["preferred_x"].to_numpy() - session.truth["cells"]["centre"].to_numpy()).max() < 0.075
    assert (places["stability"] > 0.8).all()
    noise = found[~planted]
    assert len(noise) == 96
    assert (noise["q"] < 0.05).sum() == 0
    assert noise["spatial_information"].max() < places["spatial_information"].min() / 2


@pytest.fixture(scope="module")
def ensembles() -> tuple[pd.DataFrame, FeatureTruth, Binned]:
    """Counts of 32 features of a place-ensembles session, each as a latent of its own, and their scores."""
    dataset = nldisco_core.make("dataset", "place-ensembles")
    session = dataset.load(dataset.session_ids()[0])
    data = binned(session, 0.1)
    truth: FeatureTruth = session.truth["features"]
    drive = truth.activity[: 4 * data.n_bins].reshape(data.n_bins, 4, -1).mean(axis=1)
    counts = np.random.default_rng(0).poisson(2 * drive)
    return mapped(counts, data), truth, data


def test_regions_places_and_places_by_direction_are_told_apart(
    ensembles: tuple[pd.DataFrame, FeatureTruth, Binned],
) -> None:
    table, truth, _ = ensembles
    called = (table["q"] < 0.05).groupby([table["latent"], table["statistic"]]).max().unstack()
    confusion = called.groupby(truth.features["kind"].to_numpy()).mean()
    assert (confusion["spatial information"] == 1).all()
    assert (confusion["absolute speed score"] == 0).all()
    assert (confusion["grid score"] == 0).all()
    assert confusion.loc["direction", "resultant length"] > 0.9
    assert (confusion.loc[["place", "region"], "resultant length"] < 0.1).all()
    sharpness = table[table["statistic"] == "resultant length"].set_index("latent")["resultant_length"]
    by_kind = sharpness.groupby(truth.features["kind"].to_numpy())
    assert by_kind.min()["direction"] > by_kind.max()["place"]
    sizes = table[table["statistic"] == "spatial information"].set_index("latent")["sparsity"]
    by_kind = sizes.groupby(truth.features["kind"].to_numpy())
    assert by_kind.min()["region"] > by_kind.max()["place"]


def test_places_are_found_where_they_are(ensembles: tuple[pd.DataFrame, FeatureTruth, Binned]) -> None:
    table, truth, data = ensembles
    maps = table[table["statistic"] == "spatial information"].set_index("latent")
    position = data.covariate("position").values
    drive = truth.activity[: 4 * data.n_bins].reshape(data.n_bins, 4, -1).mean(axis=1)
    places = np.flatnonzero(truth.features["kind"] == "place")
    centres = position[drive[:, places].argmax(axis=0)]
    away = np.hypot(*(maps.loc[places, ["preferred_x", "preferred_y"]].to_numpy() - centres).T)
    assert np.median(away) < 0.05  # a pixel
    assert (away < 0.13).mean() > 0.9  # the radius of a place; one in a corner is drawn towards it
