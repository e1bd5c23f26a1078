"""Tiles draw what happened: bins of all splits, gaps as gaps, one rule of smoothing, intervals of what is drawn."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.score_intervals import has_interval, with_interval
from nldisco_explorer.tested import said_of_test
from nldisco_explorer.timeline import session_times
from nldisco_explorer.views import activity, moments, related
from nldisco_explorer.views.activity import ActivationTrace, ContributingUnits
from nldisco_explorer.views.moments import ExampleMoments
from nldisco_explorer.views.neurons import LatentAndUnits
from nldisco_explorer.views.related import NearestLatents
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from nldisco_core.condition_curves import drawn_as
from nldisco_core.files import write_mapping
from nldisco_core.plugins import make
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

write_reach_run: Callable[..., Run] = runpy.run_path(str(Path(__file__).with_name("reach_run.py")))["write_reach_run"]


@pytest.fixture
def selection(reach_run: Run) -> Selection:
    return Selection(run=reach_run.name, latent=3, variable="speed", mapper="selectivity", split="test")


@pytest.fixture
def reads(reach_run: Run) -> Readings:
    return readings(reach_run)


@pytest.fixture(scope="module")
def scored_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose mapper found its own intervals."""
    run = write_reach_run(tmp_path_factory.mktemp("scored") / "2026-03-01T10-22-05_scored_matryoshka-sae_7f40")
    settings = {"n_shifts": 20, "n_bootstrap": 200}
    found = make("mapper", "selectivity", settings).map(run.latents, run.binned, seed=0)
    write_mapping(run.folder / "mappings" / "selectivity", found)
    record = json.loads((run.folder / "run.json").read_text())
    record["mappers"] = {"selectivity": {"config": {"n_quantiles": 10, "n_circular": 12}}}
    (run.folder / "run.json").write_text(json.dumps(record))
    return Run(run.folder)


def drawn(view: Any, run: Run, selection: Selection) -> Any:
    tile = view.build(run) if hasattr(view, "build") else make("view", view).build(run)
    if hasattr(tile, "join"):
        tile.join(SimpleNamespace(runs={run.name: run}, select=lambda **_: None))
    tile.show(selection)
    return tile


def panels(tile: Any) -> list[dict[str, Any]]:
    return list(unpacked(tile.drawing.packed)["panels"])


def layers(panel: dict[str, Any], kind: str, colour: str | None = None) -> list[dict[str, Any]]:
    kept = (layer for layer in panel["layers"] if layer["kind"] == kind)
    return [layer["arrays"] | {"colour": layer.get("colour")} for layer in kept if colour in (None, layer["colour"])]


def is_inside(times: np.ndarray, spans: dict[str, Any]) -> np.ndarray:
    """Which times (s) lie in any of some spans."""
    low, high = spans["low"].astype(float), spans["high"].astype(float)
    return ((times[:, None] >= low - 1e-3) & (times[:, None] < high - 1e-3)).any(axis=1)


def test_activation_beside_behaviour_is_of_all_splits_with_the_chosen_one_tinted(
    reach_run: Run, reads: Readings, selection: Selection
) -> None:
    low, high = 20.0, 60.0
    tile = drawn(ActivationTrace(), reach_run, replace(selection, window_s=(low, high)))
    code = reach_run.latents.main.csc(0)[:, [3]].toarray()[:, 0]
    time = session_times(reads, tile._session)
    seen = (time.start_s >= low - 1e-6) & (time.start_s < high - 1e-6)
    mine, values = reach_run.counts.split[time.rows] == 2, code[time.rows]
    n_active, n_mine = np.count_nonzero(values[seen]), np.count_nonzero(values[seen & mine])
    assert n_mine < n_active  # what bins of other splits hold would be missed
    strip, trace, _ = panels(tile)
    assert np.count_nonzero(layers(trace, "line")[0]["y"]) == n_active
    for panel in (strip, trace):
        (tint,) = layers(panel, "spans", "behaviour")
        np.testing.assert_array_equal(is_inside(time.start_s + 1e-2, tint), mine)
    assert f"active in {n_mine} of {(seen & mine).sum()} test bins (tinted)" in tile.drawing.summary
    assert f"in {n_active} of {seen.sum()} bins of all splits" in tile.drawing.summary


def test_activation_beside_behaviour_has_no_line_over_a_gap(reach_run: Run, selection: Selection) -> None:
    tile = drawn(ActivationTrace(), reach_run, replace(selection, window_s=(60.0, 120.0)))
    for panel in panels(tile):
        (gap,) = layers(panel, "spans", "neutral")
        assert gap["high"] - gap["low"] == pytest.approx(25, abs=1e-3)
        for line in layers(panel, "line"):
            across = (line["x"][:-1] <= gap["low"] + 1e-3) & (line["x"][1:] >= gap["high"] - 1e-3)
            assert np.isnan(line["y"][1:][across]).all()
            assert across.sum() == 1
    assert "Grey: gaps in the recording." in tile.drawing.summary


def test_of_all_splits_nothing_is_tinted_or_paler(reach_run: Run, selection: Selection) -> None:
    whole = replace(selection, split="all")
    for view in (ActivationTrace(), ExampleMoments()):
        tile = drawn(view, reach_run, whole)
        assert not any(layers(panel, "spans", "ground") for panel in panels(tile))
        assert not any(layers(panel, "spans", "behaviour") for panel in panels(tile))
        assert "splits" not in tile.drawing.summary


def test_moments_hold_the_whole_activation_with_bins_of_other_splits_paler(
    reach_run: Run, reads: Readings, selection: Selection
) -> None:
    n_others = 0
    for latent in (0, 1):
        tile = drawn(ExampleMoments(), reach_run, replace(selection, model="pca", latent=latent, sign=1))
        n_others += check_moments(reach_run, reads, tile, latent)
        assert "chosen among test bins; bins of other splits are drawn paler" in tile.drawing.summary
    assert n_others > 0


def check_moments(reach_run: Run, reads: Readings, tile: Any, latent: int) -> int:
    """How many active bins of other splits the moments of a latent rightly show."""
    code = np.maximum(reach_run.part("pca").latents.main.dense(0)[:, latent], 0)
    n_others = 0
    for panel in panels(tile)[::2]:
        session, low, high = tile._windows[int(panel["id"])]
        index = [each.session_id for each in reach_run.counts.sessions].index(session)
        time = session_times(reads, index)
        inside = time.inside(low, high)
        rows = np.arange(inside.start, inside.stop) + time.rows.start
        line = layers(panel, "line")[0]
        held = ~np.isnan(line["y"])
        np.testing.assert_allclose(line["y"][held], code[rows], rtol=1e-6)
        others = reach_run.counts.split[rows] != 2
        veils = layers(panel, "spans", "ground")
        paler = is_inside(line["x"][held].astype(float) + 1e-2, veils[0]) if veils else np.zeros(len(rows), dtype=bool)
        np.testing.assert_array_equal(paler, others)
        assert not paler[np.abs(line["x"][held]).argmin()]  # the moment itself is of the split
        n_others += int(np.count_nonzero(code[rows][others]))
    return n_others


def test_a_moment_beside_a_gap_has_no_line_over_it(reach_run: Run, reads: Readings, selection: Selection) -> None:
    time = session_times(reads, 0)
    after = int(np.flatnonzero(np.diff(time.start_s) > 1)[0]) + 1
    rows = np.arange(after - 3, after + 3)
    values = reach_run.counts.covariate("speed").values[rows, 0]
    since = time.start_s[rows] - time.start_s[after - 1]
    panel = moments._activation(since, time.stretch[rows], values, 1.0, "", 0, last=True)
    line = next(layer for layer in panel.layers if layer.kind == "line").arrays
    assert np.isnan(line["y"]).sum() == 1
    assert line["x"][np.isnan(line["y"])] == pytest.approx(time.start_s[after] - time.start_s[after - 1])


@pytest.mark.parametrize("variable", ["hand", "direction"])
def test_latent_gallery_and_compare_draw_one_map_and_say_how(
    reach_run: Run, reads: Readings, selection: Selection, variable: str
) -> None:
    chosen = replace(selection, variable=variable, split="test")
    views = {"hand": "rate-map", "direction": "polar-tuning"}
    large, small = drawn(views[variable], reach_run, chosen), drawn("gallery", reach_run, chosen)
    beside = drawn("matches", reach_run, replace(chosen, model="pca", latent=0, sign=1, split="all"))
    rule = drawn_as(reads.cut(variable))
    assert "smoothed" in rule
    assert [text(tile).count(rule) for tile in (large, small, beside)] == [1, 1, 1]
    shapes = [
        shape_of(panels(large)[0]),
        shape_of(next(panel for panel in panels(small) if panel["id"] == "3:0")),
    ]
    code = reach_run.latents.main.csc(0)[:, [3]].toarray()[:, 0]
    expected = smoothed_by_hand(reads, variable, code, reach_run.counts.split == 2)
    for shape in shapes:
        np.testing.assert_allclose(shape, framed(expected, shape), atol=0.003)
    of_pca = reach_run.part("pca").latents.main.dense(0)[:, 0]
    tuning = next(panel for panel in panels(beside) if panel["id"] == "tuning")
    (line,) = layers(tuning, "line", "activation")[:1] if variable == "direction" else [None]
    if line is not None:
        by_hand = smoothed_by_hand(reads, variable, of_pca, np.ones(len(of_pca), dtype=bool), relative_to_size=True)
        np.testing.assert_allclose(line["mean"], framed(by_hand, line["mean"]), atol=1e-4)


def smoothed_by_hand(
    reads: Readings, variable: str, trace: np.ndarray, mask: np.ndarray, *, relative_to_size: bool = False
) -> np.ndarray:
    """Sum and occupancy of each condition, smoothed and divided; relative to the largest, or to the largest in size."""
    chosen = reads.cut(variable)
    total, n_bins = np.zeros(chosen.n_conditions), np.zeros(chosen.n_conditions)
    np.add.at(total, chosen.codes[mask], trace[mask])
    np.add.at(n_bins, chosen.codes[mask], 1)
    if variable == "hand":
        smooth = [gaussian_filter(each.reshape(24, 24), 1.5, mode="constant").ravel() for each in (total, n_bins)]
    else:
        smooth = [gaussian_filter1d(each, 1.0, mode="wrap") for each in (total, n_bins)]
    mean = np.where(n_bins * 0.02 >= 0.1 - 1e-9, smooth[0] / np.maximum(smooth[1], 1e-12), np.nan)
    return np.asarray(mean / np.nanmax(np.abs(mean) if relative_to_size else mean)).reshape(chosen.grid)


def framed(expected: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """As it is drawn: a closed line, or a map upright in the frame of what was visited."""
    if expected.ndim == 1:
        return np.append(expected, expected[0])
    found = expected.T[::-1]
    rows, columns = shape.shape
    windows = [
        found[i : i + rows, j : j + columns]
        for i in range(found.shape[0] - rows + 1)
        for j in range(found.shape[1] - columns + 1)
    ]
    same = [each for each in windows if (np.isnan(each) == np.isnan(shape)).all()]
    assert len(same) == 1
    return same[0]


def shape_of(panel: dict[str, Any]) -> np.ndarray:
    """Means relative to the largest, of the first map or outline of a panel."""
    for layer in panel["layers"]:
        if layer["kind"] == "image":
            codes = layer["arrays"]["image"].reshape(layer["shape"]).astype(float)
            return np.where(codes == 255, np.nan, codes / 254)
        if "angle_deg" in layer["arrays"]:
            return np.asarray(layer["arrays"]["mean"] / np.nanmax(layer["arrays"]["mean"]))
    raise AssertionError("nothing is drawn")


def test_what_a_mapper_tested_is_said_with_its_q_and_what_it_did_not_test_as_well(
    reads: Readings, selection: Selection
) -> None:
    row = reads.scored("model", "selectivity").of_latent("speed", "test", (0, 3, 0))
    said = said_of_test(reads, selection, "speed")
    assert said.startswith("Tested by selectivity on test bins: q ") == ("q" in row)
    assert said_of_test(reads, selection, "direction") == "Not tested in this run: no mapper scored this variable."
    assert said_of_test(reads, replace(selection, latent=None), "speed") == ""


@pytest.mark.parametrize(("view", "variable"), [("polar-tuning", "direction"), ("rate-map", "hand")])
def test_untested_variables_say_so_in_their_caption(
    reach_run: Run, selection: Selection, view: str, variable: str
) -> None:
    tile = drawn(view, reach_run, replace(selection, variable=variable))
    assert "Not tested in this run: no mapper scored this variable." in tile.drawing.summary


def test_tested_variables_have_q_and_null_in_their_caption(scored_run: Run, selection: Selection) -> None:
    table = scored_run.mapping("selectivity").table
    whole = table[(table["variable"] == "direction") & table["condition"].isna() & (table["split"] == "test")]
    row = whole[whole["q"].notna()].iloc[0]
    tile = drawn("polar-tuning", scored_run, replace(selection, variable="direction", latent=int(row["latent"])))
    assert f"Tested by selectivity on test bins: q {row['q']:.2g} against {row['null']}" in text(tile)


@pytest.mark.parametrize("variable", ["target", "speed", "direction"])
def test_selectivity_without_bounds_gets_about_those_the_mapper_would_have_found(
    scored_run: Run, variable: str
) -> None:
    """The mapper resamples trials, the tile blocks of ten seconds."""
    reads = readings(scored_run)
    theirs, ours = [], []
    for latent in range(16):
        chosen = Selection(run=scored_run.name, latent=latent, variable=variable, split="test")
        rows = reads.scored("model", "selectivity").by_condition(variable, "train", (0, latent, 0))
        bare = rows.drop(columns=["selectivity_low", "selectivity_high"])
        found = with_interval(reads, chosen, "selectivity", bare)
        assert has_interval(found)
        assert not has_interval(bare)
        low, value, high = (found[name] for name in ("selectivity_low", "selectivity", "selectivity_high"))
        assert ((low <= value) & (value <= high))[low.notna()].all()
        theirs += (rows["selectivity_high"] - rows["selectivity_low"]).astype(float).tolist()
        ours += (high - low).astype(float).tolist()
    both = np.isfinite(theirs) & np.isfinite(ours)
    assert both.any()
    width, expected = np.mean(np.array(ours)[both]), np.mean(np.array(theirs)[both])
    assert 0.5 * expected - 0.01 < width < 2 * expected + 0.01


def test_scores_of_values_that_cannot_be_cut_anew_get_no_bounds(reads: Readings, selection: Selection) -> None:
    table = pd.DataFrame({"variable": "speed", "split": "test", "condition": ["fast"], "selectivity": [0.5]})
    pd.testing.assert_frame_equal(with_interval(reads, selection, "selectivity", table), table)


def test_scores_that_the_bins_do_not_give_get_no_bounds(scored_run: Run) -> None:
    reads = readings(scored_run)
    chosen = Selection(run=scored_run.name, latent=3, variable="target", split="test")
    rows = reads.scored("model", "selectivity").by_condition("target", "test", (0, 3, 0))
    bare = rows.drop(columns=["selectivity_low", "selectivity_high"])
    other = bare.assign(selectivity=0.9 * bare["selectivity"] + 0.05)
    assert has_interval(with_interval(reads, chosen, "selectivity", bare))
    assert not has_interval(with_interval(reads, chosen, "selectivity", other))


def test_selectivity_has_its_interval_in_the_tile(scored_run: Run) -> None:
    chosen = Selection(run=scored_run.name, latent=3, variable="target", mapper="selectivity", split="test")
    tile = drawn(LatentAndUnits(), scored_run, chosen)
    assert re.search(r"Selectivity is largest for NW \(.*\), 95 % interval \S+ to \S+ over blocks of time", text(tile))


def text(tile: Any) -> str:
    return str(tile.drawing.summary)


@pytest.mark.parametrize(("step", "expected"), [(2, "second"), (3, "third"), (4, "4th"), (11, "11th"), (21, "21st")])
def test_units_say_which_active_bins_were_taken(
    reach_run: Run, reads: Readings, selection: Selection, monkeypatch: pytest.MonkeyPatch, step: int, expected: str
) -> None:
    whole = replace(selection, split="all")
    n_active = len(reads.activations(whole).rows)
    monkeypatch.setattr(activity, "MOST_BINS", -(-n_active // step))
    assert f"over every {expected} of the {n_active} active bins" in text(drawn(ContributingUnits(), reach_run, whole))


def test_orthogonal_weights_are_said_and_not_drawn(
    reach_run: Run, selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = {"decoder cosine": (3e-8, -1e-8), "activation correlation": (0.1, -0.05)}
    table = pd.DataFrame(
        [(name, i + 1, i + 4, value) for name, each in near.items() for i, value in enumerate(each)],
        columns=["measure", "rank", "neighbour", "similarity"],
    )
    monkeypatch.setattr(related, "neighbours_of", lambda *_: table)
    monkeypatch.setattr(related, "is_ready", lambda *_: True)
    tile = drawn(NearestLatents(), reach_run, replace(selection, model="pca", sign=1))
    assert [panel["id"] for panel in panels(tile)] == ["activation correlation"]
    assert "Its decoder weights are orthogonal to those of all other latents." in text(tile)


def test_opposite_weights_of_signed_codes_are_near(
    reach_run: Run, selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pd.DataFrame({"measure": "decoder cosine", "rank": [1], "neighbour": [4], "similarity": [-0.8]})
    monkeypatch.setattr(related, "neighbours_of", lambda *_: table)
    monkeypatch.setattr(related, "is_ready", lambda *_: True)
    (panel,) = panels(drawn(NearestLatents(), reach_run, replace(selection, model="pca", sign=1)))
    assert layers(panel, "bars")[0]["top"] == pytest.approx([-0.8])
    assert "orthogonal" not in text(drawn(NearestLatents(), reach_run, replace(selection, model="pca", sign=1)))
