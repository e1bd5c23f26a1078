from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nldisco_explorer.evidence import evidence
from nldisco_explorer.links import start_place
from nldisco_explorer.ranking import latent_of, ranked, row_beside, scored_split
from nldisco_explorer.readings import Readings, prepare, readings
from numpy.typing import NDArray

from nldisco_core.condition_curves import Curve, Visits
from nldisco_core.runs import Run
from nldisco_core.selection import Selection


@pytest.fixture
def reads(written_run: Run) -> Readings:
    return readings(written_run)


def curve_of(reads: Readings, name: str, mask: NDArray[np.bool_], **fields: object) -> Curve:
    active = reads.activations(chosen(**fields))
    visits = Visits(reads.cut(name), mask=mask & active.defined, blocks=reads.blocks, bin_s=0.05)
    return visits.of_latent(active.rows, active.values)


def chosen(**fields: object) -> Selection:
    return replace(Selection(run="r", latent=5, variable="heading"), **fields)


@pytest.mark.parametrize(("model", "sign"), [("model", 0), ("pca", 1), ("pca", -1)])
@pytest.mark.parametrize("split", ["all", "test"])
def test_activations_are_those_of_the_dense_codes(reads: Readings, model: str, sign: int, split: str) -> None:
    selection = chosen(model=model, sign=sign, split=split, instance=1)
    dense = reads.space(model).dense(1)[:, 5] * (sign or 1)
    expected = np.where(reads.split_mask(split), np.maximum(dense, 0), 0)
    np.testing.assert_array_equal(reads.activations(selection).trace(len(expected)), expected.astype(np.float32))


def test_density_counts_active_bins(reads: Readings) -> None:
    for model in ("model", "pca"):
        expected = [(reads.space(model).dense(i) != 0).mean(axis=0) for i in range(2)]
        np.testing.assert_allclose(reads.density(model), expected)


def test_discrete_means_are_those_of_a_loop(reads: Readings) -> None:
    active, split = reads.activations(chosen(split="test")), reads.split_mask("test")
    curve = curve_of(reads, "light", split, split="test")
    trace, light = active.trace(len(split)), reads.covariate("light").values[:, 0]
    for code in (0, 1):
        assert curve.mean[code] == pytest.approx(trace[split & (light == code)].mean(), rel=1e-5)
        assert curve.occupancy_s[code] == pytest.approx((split & (light == code)).sum() * 0.05)


def test_directions_never_visited_are_nan_and_undefined_bins_count_nowhere(reads: Readings) -> None:
    heading = reads.covariate("heading")
    visited = np.nan_to_num(heading.values[:, 0], nan=9) < np.pi
    curve = curve_of(reads, "heading", visited)
    assert np.isnan(curve.mean[:30]).all()
    assert np.isfinite(curve.mean[30:]).all()
    assert curve.occupancy_s.sum() == pytest.approx(0.05 * np.count_nonzero(visited))


def test_planted_direction_is_the_peak(reads: Readings) -> None:
    for latent in (2, 9, 30):
        curve = curve_of(reads, "heading", reads.split_mask("all"), latent=latent)
        planted = 2 * np.pi * ((latent * 7) % 48) / 48
        peak = reads.cut("heading").centres[curve.peak or 0]
        assert abs(np.angle(np.exp(1j * (peak - planted)))) < 0.35


def test_silent_latent_has_no_peak(reads: Readings) -> None:
    curve = curve_of(reads, "heading", reads.split_mask("all"), latent=47)
    assert curve.peak is None
    assert curve.top == 1


def test_a_run_offers_views_what_it_holds(reads: Readings, bare_run: Run) -> None:
    everything = {
        "circular",
        "linear",
        "discrete",
        "position",
        "mapping",
        "selectivity mapping",
        "dictionary",
        "controls",
        "history",
        "metrics",
    }
    assert reads.run.offers == everything
    assert bare_run.offers == everything - {"mapping", "selectivity mapping"}


def test_ranking_puts_supported_latents_first_and_keys_name_their_rows(reads: Readings) -> None:
    place = start_place(reads)
    rows = ranked(reads, place.selection)
    supported = rows["supported"].to_numpy(bool)
    assert not (np.diff(supported.astype(int)) > 0).any()
    assert [latent_of(key) for key in rows["key"]] == list(zip(rows["latent"], rows["sign"], strict=True))
    assert rows["key"].is_unique
    flags = dict(zip(rows["latent"], rows["flags"], strict=True))
    assert (flags[47], flags[46], flags[4]) == (
        "dead",
        "too few, dense" if not supported[list(rows["latent"]).index(46)] else "dense",
        "too few",
    )
    notes = dict(zip(rows["latent"], rows["note"], strict=True))
    assert notes[4] == "too few active bins or visits"


def test_ranking_says_what_explains_a_latent_better_and_which_control_equals_it(
    written_run: Run, tmp_path: Path
) -> None:
    """The mapper's own verdicts reach the note, the card and its warnings."""
    folder = tmp_path / written_run.folder.name
    shutil.copytree(written_run.folder, folder, ignore=shutil.ignore_patterns("cache"))
    file = folder / "mappings" / "selectivity" / "table.parquet"
    table = pd.read_parquet(file)
    of = {latent: table["latent"] == latent for latent in (5, 6, 7)}
    table = table.assign(score=0.5, best_control="pca", best_control_score=0.4, chosen=True, better_explained_by=None)
    table.loc[of[5], "better_explained_by"] = "light"
    table.loc[of[6], "best_control_score"] = 0.5
    table.loc[of[7], "chosen"], table.loc[of[7], "q"] = False, float("nan")
    table.to_parquet(file)
    reads = readings(Run(folder))
    rows = ranked(reads, start_place(reads).selection).set_index("latent")
    assert "better explained by light" in rows.loc[5, "note"]
    assert "the control pca scores as high" in rows.loc[6, "note"]
    assert "not chosen on train, so not tested" in rows.loc[7, "note"]
    assert {latent: rows.loc[latent, "flags"].split(", ")[0] for latent in (5, 6)} == {5: "explained", 6: "control"}
    assert evidence(reads, chosen(latent=6, split="test")).best_control == ("pca", "score", 0.5)
    assert evidence(reads, chosen(latent=6, split="test")).equalled_by == "pca"
    assert evidence(reads, chosen(latent=5, split="test")).equalled_by is None


def test_signed_codes_rank_both_halves(reads: Readings) -> None:
    place = start_place(reads)
    rows = ranked(reads, replace(place.selection, model="pca"))
    assert len(rows) == 2 * 48
    assert set(rows["half"]) == {"+", "−"}


def test_what_was_not_scored_is_ranked_by_density(reads: Readings) -> None:
    selection = replace(start_place(reads).selection, variable="position")
    rows = ranked(reads, selection)
    assert scored_split(reads, selection) is None
    assert scored_split(reads, replace(selection, variable="heading", split="train")) == "test"
    assert rows["active"].tolist() == sorted(reads.density("model")[0], reverse=True)
    assert rows["latent"].iloc[-1] == 47
    assert len(ranked(reads, replace(selection, lasso=(3, 9)))) == 2


def test_halves_of_signed_codes_are_told_apart_by_key(reads: Readings) -> None:
    rows = ranked(reads, replace(start_place(reads).selection, model="pca", variable="position"))
    assert rows["key"].is_unique
    assert {latent_of(key) for key in rows["key"]} == {(latent, sign) for latent in range(48) for sign in (1, -1)}


def test_steps_follow_the_rows_and_stop_at_the_ends(reads: Readings) -> None:
    selection = start_place(reads).selection
    rows = ranked(reads, selection)
    third = replace(selection, latent=int(rows["latent"].iloc[2]))
    assert row_beside(rows, third, 1) == (rows["latent"].iloc[3], 0)
    assert row_beside(rows, third, -9) == (rows["latent"].iloc[0], 0)
    assert row_beside(rows, third, 999) == (rows["latent"].iloc[47], 0)
    assert row_beside(rows[:0], third, 1) is None


def test_evidence_warns_of_dead_dense_and_badly_supported_latents(reads: Readings) -> None:
    def warnings(latent: int) -> str:
        return "; ".join(evidence(reads, chosen(latent=latent, split="test")).warnings)

    assert "dead" in warnings(47)
    assert "over half the time" in warnings(46)
    assert "too little support" in warnings(4)


def test_evidence_names_the_best_supported_latent_of_any_control(reads: Readings) -> None:
    found = evidence(reads, chosen(split="test"))
    best = max(
        (float(rows["mutual_information"].max()), name)
        for name in ("pca", "random-encoder")
        for table in [reads.mapping(name, "selectivity").table]
        for rows in [table[(table["variable"] == "heading") & table["condition"].isna() & table["supported"]]]
    )
    assert found.best_control == (best[1], "mutual_information", best[0])
    assert found.level == 1
    assert found.n_levels == 2


def test_channels_of_what_is_no_position_are_variables_of_their_own(reach_run: Run) -> None:
    """As mappers name them; a run that holds such a variable is prepared and opened like any other."""
    prepare(reach_run, lambda done, total, at_hand: None)
    reads = readings(reach_run)
    assert {"hand", "velocity.x", "velocity.y"} <= set(reads.variables())
    assert reads.variables("position") == ("hand",)
    whole = reach_run.counts.covariate("velocity").values
    for index, name in enumerate(("velocity.x", "velocity.y")):
        np.testing.assert_array_equal(reads.covariate(name).values[:, 0], whole[:, index])
        assert reads.cut(name).variable == name
