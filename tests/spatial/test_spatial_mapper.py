from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from nldisco_spatial.config import SpatialConfig
from nldisco_spatial.mapper import Spatial
from nldisco_spatial.measures import odd_blocks
from scipy import sparse

import nldisco_core
from nldisco_core.binned import Binned, Covariate
from nldisco_core.binning import bin_sessions
from nldisco_core.config import parse
from nldisco_core.conformance import check_mapper
from nldisco_core.conformance.toys import toy_binned, toy_latents
from nldisco_core.errors import ConfigError, DataError, IncompatibleData
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult
from nldisco_core.splits import assign_splits
from nldisco_core.tuning import polar_curve

GRID, BORDER, PLACE, HEADING, SPEED, DEAD = range(6)
SCORES = ["spatial_information", "sparsity", "kl_from_uniform", "stability", "grid_score", "border_score", "peak"]


def spatial(**settings: object) -> Spatial:
    return Spatial(parse(SpatialConfig, settings))


def rows(result: MapperResult, statistic: str, *, split: str = "test", instance: int = 0) -> pd.DataFrame:
    table = result.table
    chosen = (table["statistic"] == statistic) & (table["split"] == split) & (table["instance"] == instance)
    return table[chosen].set_index("latent").sort_index()


@pytest.fixture(scope="module")
def result(foraging: tuple[Latents, Binned]) -> MapperResult:
    return spatial(n_shifts=199).map(*foraging, seed=0)


def test_planted_cells_are_found_with_their_preferred_values(result: MapperResult) -> None:
    maps, grids = rows(result, "spatial information"), rows(result, "grid score")
    assert (maps.loc[[GRID, BORDER, PLACE], "q"] < 0.05).all()
    assert (maps.loc[[GRID, BORDER, PLACE], "stability"] > 0.5).all()
    assert grids.loc[GRID, "grid_score"] > 1
    assert grids.loc[GRID, "q"] < 0.05
    assert maps["border_score"].idxmax() == BORDER
    assert maps.loc[BORDER, "border_score"] > 0.6
    assert maps.loc[PLACE, "border_score"] < 0
    assert np.hypot(maps.loc[PLACE, "preferred_x"] - 70, maps.loc[PLACE, "preferred_y"] - 30) < 8
    headings = rows(result, "resultant length")
    assert headings["resultant_length"].idxmax() == HEADING
    assert abs(headings.loc[HEADING, "preferred_direction"] - 2.0) < 0.1
    assert headings.loc[HEADING, "q"] < 0.05
    speeds = rows(result, "absolute speed score")
    assert speeds["speed_score"].idxmax() == SPEED
    assert speeds.loc[SPEED, "speed_score"] > 0.4
    assert speeds.loc[SPEED, "q"] < 0.05


def test_planted_cells_are_found_for_nothing_else(result: MapperResult) -> None:
    own = {
        "spatial information": [GRID, BORDER, PLACE],
        "grid score": [GRID],
        "resultant length": [HEADING],
        "absolute speed score": [SPEED],
    }
    for statistic, found in own.items():
        others = rows(result, statistic).drop(index=found)
        assert not (others["q"] < 0.05).any()


def test_cells_of_another_walk_are_not_found(result: MapperResult) -> None:
    for statistic in ("spatial information", "grid score", "resultant length", "absolute speed score"):
        found = rows(result, statistic, instance=1)
        assert not (found["q"] < 0.05).any()
        assert len(found) == 6
    assert (rows(result, "spatial information", instance=1)["stability"].dropna() < 0.5).all()


def test_grid_score_is_tested_where_the_first_split_says_so(result: MapperResult) -> None:
    first, last = (rows(result, "grid score", split=split) for split in ("train", "test"))
    assert (last["p"].notna() == (first["grid_score"] > 0)).all()
    assert first["p"].isna().all()


def test_every_grid_score_is_tested_where_no_other_split_chose(foraging: tuple[Latents, Binned]) -> None:
    found = spatial(n_shifts=39, splits=["all"], variables=["position"]).map(*foraging, seed=0)
    grids = rows(found, "grid score", split="all").drop(index=DEAD)
    assert grids["p"].notna().all()
    assert grids.loc[GRID, "p"] == 1 / 40
    assert (grids["grid_score"] < 0).any()


def test_dead_latent_scores_nan(result: MapperResult) -> None:
    dead = result.table[result.table["latent"] == DEAD]
    assert dead[[*SCORES, "resultant_length", "speed_score", "p", "q", "null_mean"]].isna().all(axis=None)
    assert (dead["n_active"] == 0).all()
    assert not dead["supported"].any()


def test_arrays_hold_maps_by_instance_with_their_occupancy(
    result: MapperResult, foraging: tuple[Latents, Binned]
) -> None:
    latents, data = foraging
    assert result.arrays["position/map"].shape == (2, 6, 20, 20)
    seen = data.covariate("position").defined
    assert result.arrays["position/occupancy_s"].sum() == pytest.approx(seen.sum() * data.bin_s)
    peak = np.unravel_index(np.nanargmax(result.arrays["position/map"][0, PLACE]), (20, 20))
    centres = [(edges[:-1] + edges[1:]) / 2 for edges in (result.arrays[f"position/{axis}_edges"] for axis in "yx")]
    assert np.hypot(centres[0][peak[0]] - 30, centres[1][peak[1]] - 70) < 8
    unvisited = result.arrays["position/occupancy_s_test"] == 0
    assert np.isnan(result.arrays["position/map_test"][0, PLACE][unvisited]).all()
    curve = polar_curve(
        latents.main, 0, data.covariate("heading"), np.ones(data.n_bins, dtype=bool), n_bins=60, smooth_bins=1.0
    )
    np.testing.assert_allclose(result.arrays["heading/polar"][0], curve.mean, rtol=1e-6)


def test_visits_are_runs_of_active_bins(result: MapperResult, foraging: tuple[Latents, Binned]) -> None:
    latents, data = foraging
    active = latents.main.dense(0)[:, PLACE] > 0
    used = active & (data.split == 2) & data.covariate("position").defined
    starts = used & ~np.concatenate([[False], used[:-1]])
    row = rows(result, "spatial information").loc[PLACE]
    assert (row["n_active"], row["n_visits"]) == (used.sum(), starts.sum())


def test_odd_blocks_alternate_within_each_session_over_chosen_rows_alone() -> None:
    data = toy_binned(n_bins=120, n_sessions=2, bin_s=0.5, n_trials=2)
    rows = np.ones(240, dtype=bool)
    rows[20:40] = False  # the second block of the first session
    odd = odd_blocks(data, rows, 10.0)
    assert odd.reshape(2, 6, 20).all(axis=2).tolist() == [
        [True, False, False, True, False, True],
        [True, False, True, False, True, False],
    ]
    assert not (odd & ~rows).any()


def test_signed_codes_are_scored_by_halves(foraging: tuple[Latents, Binned]) -> None:
    latents, data = foraging
    dense = latents.main.dense(0)[:, [PLACE, HEADING]]
    space = LatentSpace(
        codes=(dense - dense.mean(axis=0))[None],
        session_ids=("box-1",),
        row_offsets=data.row_offsets,
        code_kind="signed",
    )
    found = spatial(n_shifts=0, variables=["position"]).map(Latents.of(space), data, seed=0)
    by_sign = rows(found, "spatial information").set_index("sign", append=True)["spatial_information"]
    assert by_sign[0, 1] > 0.5 > by_sign[0, -1]
    assert found.arrays["position/map"].shape == (1, 4, 20, 20)
    assert found.table["p"].isna().all()


def test_bins_without_latents_do_not_count(foraging: tuple[Latents, Binned]) -> None:
    latents, data = foraging
    defined = np.ones(data.n_bins, dtype=bool)
    defined[6000:] = False
    half = replace(latents.main, defined=defined)
    found = spatial(n_shifts=0, splits=["all"]).map(Latents.of(half), data, seed=0)
    spent = found.arrays["heading/polar_occupancy_s"].sum()
    assert spent == pytest.approx(600)


def with_covariates(data: Binned, *covariates: Covariate) -> Binned:
    (session,) = data.sessions
    return replace(data, sessions=(replace(session, covariates={each.name: each for each in covariates}),))


def test_variables_that_cannot_be_mapped_are_left_out_with_the_reason(foraging: tuple[Latents, Binned]) -> None:
    latents, data = foraging
    n_bins = data.n_bins
    lost = np.full((n_bins, 2), np.nan)
    lost[data.split != 2] = np.random.default_rng(0).random(((data.split != 2).sum(), 2))
    poor = with_covariates(
        data,
        Covariate(name="nowhere", values=np.full(n_bins, np.nan), kind="circular", period=360.0),
        Covariate(name="still", values=np.ones((n_bins, 2)), kind="position", channels=("x", "y")),
        Covariate(name="lost", values=lost, kind="position", channels=("x", "y")),
        data.covariate("height"),
    )
    found = spatial(n_shifts=0, variables=["nowhere", "still", "lost", "height"]).map(latents, poor, seed=0)
    assert found.table.empty
    said = " | ".join(found.notes)
    for name, reason in (
        ("nowhere", "it is not defined on any train bin"),
        ("still", "it never changes"),
        ("lost", "it is not defined on any test bin"),
        ("height", "a linear variable has no map"),
    ):
        assert f"{name} is left out: {reason}" in said


def test_speeds_are_known_by_name_or_named(foraging: tuple[Latents, Binned]) -> None:
    latents, data = foraging
    assert set(spatial(n_shifts=0).map(latents, data, seed=0).table["variable"]) == {"position", "heading", "speed"}
    named = spatial(n_shifts=0, speeds=["height"]).map(latents, data, seed=0)
    assert set(named.table["variable"]) == {"position", "heading", "height"}


def test_constant_speed_and_heading_do_not_crash(foraging: tuple[Latents, Binned]) -> None:
    latents, data = foraging
    still = with_covariates(
        data,
        Covariate(name="speed", values=np.ones(data.n_bins), kind="linear"),
        Covariate(name="heading", values=np.ones(data.n_bins), kind="circular", period=2 * np.pi),
    )
    found = spatial(n_shifts=50).map(latents, still, seed=0)
    assert found.table["speed_score"].isna().all()
    assert found.table["p"].isna().all()


def test_position_on_a_line_has_a_map_of_one_row_and_no_grid_score(foraging: tuple[Latents, Binned]) -> None:
    latents, data = foraging
    x = Covariate(name="track", values=data.covariate("position").values[:, 0], kind="position", channels=("x",))
    found = spatial(n_shifts=39).map(latents, with_covariates(data, x), seed=0)
    assert set(found.table["statistic"]) == {"spatial information"}
    assert found.arrays["track/map"].shape == (2, 6, 1, 20)
    border = rows(found, "spatial information").loc[BORDER]
    assert border["preferred_x"] < 10
    assert border["p"] <= 0.05
    assert found.table["border_score"].isna().all()


def test_animal_that_hardly_turns_gives_scores_and_no_p(foraging: tuple[Latents, Binned]) -> None:
    latents, data = foraging
    turn = 3 * 2 * np.pi * np.arange(data.n_bins) / data.n_bins
    slow = Covariate(name="heading", values=turn % (2 * np.pi), kind="circular", period=2 * np.pi)
    found = spatial(n_shifts=50).map(latents, with_covariates(data, slow), seed=0)
    assert found.table["resultant_length"].notna().any()
    assert found.table["p"].isna().all()
    assert "no p values: circular shift" in " ".join(found.notes)


def test_several_sessions_are_mapped_together() -> None:
    data = toy_binned(n_bins=1500, n_sessions=2, n_trials=50)
    found = spatial(n_shifts=99, variables=["heading"]).map(toy_latents(data), data, seed=0)
    tuned = rows(found, "resultant length").loc[range(6)]
    away = np.angle(np.exp(1j * (tuned["preferred_direction"] - 2 * np.pi * np.arange(6) / 6)))
    assert np.abs(away).max() < 0.25
    assert (tuned["p"] == 0.01).all()
    assert (tuned["stability"] > 0.8).all()


def test_session_without_the_variable_is_named() -> None:
    data = toy_binned(n_bins=900, n_sessions=2)
    first, second = data.sessions
    bare = {name: variable for name, variable in second.covariates.items() if name != "heading"}
    data = replace(data, sessions=(first, replace(second, covariates=bare)))
    found = spatial(n_shifts=0).map(toy_latents(data), data, seed=0)
    assert "heading: not in session toy-2, whose bins do not count" in found.notes
    assert not any(note.startswith(("place: not in", "side: not in")) for note in found.notes)


def test_bad_input_is_a_clear_error(foraging: tuple[Latents, Binned]) -> None:
    latents, data = foraging
    with pytest.raises(DataError, match="position"):
        spatial(variables=["positon"]).map(latents, data, seed=0)
    with pytest.raises(DataError, match="validation split holds no bins"):
        spatial(splits=["validation"]).map(latents, data, seed=0)
    with pytest.raises(IncompatibleData, match="map the bins they were made of"):
        spatial().map(toy_latents(toy_binned()), data, seed=0)
    with pytest.raises(ConfigError, match="n_pixels"):
        spatial(n_pixels=2)


def test_mapper_keeps_the_rules_of_its_kind() -> None:
    outcomes = check_mapper(lambda settings: spatial(**{"n_shifts": 99, **settings}))
    assert [str(outcome) for outcome in outcomes if outcome.status != "passed"] == []


@pytest.fixture(scope="module")
def recorded() -> tuple[MapperResult, pd.Series]:
    """The bundled recording's units as latents: instance 0 as recorded, instance 1 half a recording too late."""
    dataset = nldisco_core.make("dataset", "head-direction")
    (session_id,) = dataset.session_ids()
    binned = bin_sessions([dataset.load(session_id)], bin_s=0.05, epoch="wake", signals=["head_direction"])
    data = assign_splits(binned, train=0.6, validation=0.1, test=0.3)
    counts = np.asarray(data.activity, dtype=np.float32)
    space = LatentSpace(
        codes=(sparse.csc_array(counts), sparse.csc_array(np.roll(counts, len(counts) // 2, axis=0))),
        session_ids=(session_id,),
        row_offsets=data.row_offsets,
    )
    return spatial(n_shifts=199).map(Latents.of(space), data, seed=0), data.units["region"]


def test_recorded_head_direction_cells_have_stable_sharp_polar_maps(recorded: tuple[MapperResult, pd.Series]) -> None:
    result, region = recorded
    adn = (region == "adn").to_numpy()
    chosen, tested = (rows(result, "resultant length", split=split)[adn] for split in ("train", "test"))
    assert len(tested) == 7
    assert (tested["resultant_length"] > 0.8).sum() == 6
    assert (tested["stability"] > 0.75).all()
    assert (tested["q"] < 0.05).all()
    away = np.angle(np.exp(1j * (chosen["preferred_direction"] - tested["preferred_direction"])))
    assert np.abs(np.rad2deg(away)).max() < 30
    late = rows(result, "resultant length", instance=1)
    assert not (late["q"] < 0.05).any()
    assert (late.loc[adn, "stability"] < 0.5).all()


def test_polar_maps_are_sharper_in_the_thalamus_than_in_the_hippocampus(
    recorded: tuple[MapperResult, pd.Series],
) -> None:
    result, region = recorded
    tested = rows(result, "resultant length").query("supported")
    by_region = tested["spatial_information"].groupby(region[tested.index]).median()
    assert by_region["adn"] > 2 * by_region["ca1"]
