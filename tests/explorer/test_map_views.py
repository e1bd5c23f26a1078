from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.latent_map import HAS_UMAP, latent_map, score_names, scores
from nldisco_explorer.readings import readings
from nldisco_explorer.views.gallery import Gallery, gallery_curves
from nldisco_explorer.views.latent_map import MapOfLatents

from nldisco_core.errors import DataError
from nldisco_core.runs import Run
from nldisco_core.selection import Selection


class Asked:
    """An explorer that writes down what it is asked for."""

    def __init__(self, run: Run) -> None:
        self.runs = {run.name: run}
        self.asked: list[dict[str, Any]] = []

    def select(self, **changes: Any) -> None:
        self.asked.append(changes)


@pytest.fixture
def selection(reach_run: Run) -> Selection:
    return Selection(run=reach_run.name, latent=3, variable="target", mapper="selectivity", split="test")


def points(tile: Any) -> list[dict[str, Any]]:
    panel = next(each for each in unpacked(tile.drawing.packed)["panels"] if each["id"] == "map")
    return [layer for layer in panel["layers"] if layer["kind"] == "points"]


def test_pca_of_decoder_weights_is_that_of_a_singular_value_decomposition(reach_run: Run) -> None:
    made = latent_map(readings(reach_run), "model", 0)
    assert reach_run.dictionary is not None
    rows = reach_run.dictionary.values[0].astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    u, s, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    expected = u[:, :2] * s[:2]
    np.testing.assert_allclose(np.abs(made.places), np.abs(expected), atol=1e-8)
    share = s**2 / (s**2).sum()
    assert made.axes[0] == f"PC 1 ({share[0]:.0%} of variance)"
    assert made.basis == "decoder weights"


def test_model_without_decoder_is_laid_out_by_correlations_of_activations(reach_run: Run) -> None:
    made = latent_map(readings(reach_run), "pca", 0)
    code = reach_run.part("pca").latents.main.dense(0)[::2]
    correlation = np.corrcoef(code, rowvar=False)
    u, s, _ = np.linalg.svd(correlation - correlation.mean(axis=0))
    np.testing.assert_allclose(np.abs(made.places), np.abs(u[:, :2] * s[:2]), atol=1e-6)
    assert made.basis == "correlations of activations"


def test_latents_of_one_target_lie_together(reach_run: Run) -> None:
    places = latent_map(readings(reach_run), "model", 0).places
    target = np.arange(32) % 8
    within = np.mean([places[target == t].std(axis=0) for t in range(8)])
    assert within < 0.5 * places.std(axis=0).mean()


def test_neighbour_embedding_is_the_same_each_time(reach_run: Run) -> None:
    reads = readings(reach_run)
    one = latent_map(reads, "model", 0, "t-SNE")
    assert np.isfinite(one.places).all()
    assert latent_map(reads, "model", 0, "t-SNE") is one


def test_fewer_than_three_latents_make_no_map(reach_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = readings(reach_run)
    monkeypatch.setattr("nldisco_explorer.latent_map._vectors", lambda *_: (np.full((5, 3), np.nan), "nothing"))
    with pytest.raises(DataError, match="needs at least 3"):
        latent_map(reads, "model", 0, "UMAP" if HAS_UMAP else "another")


def test_scores_are_those_of_the_mapping(reach_run: Run, selection: Selection) -> None:
    reads = readings(reach_run)
    names = score_names(reads, selection)
    assert {"density", "level", "mutual_information", "youden", "preferred"} <= set(names)
    table = reach_run.mapping("selectivity").table
    rows = table[(table["variable"] == "target") & table["condition"].isna()].set_index("latent")
    found = scores(reads, selection, "mutual_information").values
    np.testing.assert_allclose(found, rows["mutual_information"].loc[range(32)].astype(float))
    preferred = scores(reads, selection, "preferred")
    assert [preferred.labels[int(code)] for code in preferred.values] == rows["preferred"].loc[range(32)].tolist()


def test_every_score_can_be_drawn_and_unscored_latents_are_grey(reach_run: Run, selection: Selection) -> None:
    tile: Any = MapOfLatents().build(reach_run)
    tile.show(replace(selection, variable="nothing"))
    assert tile._colour.options == {"density": "density", "level": "level"}
    tile.show(selection)
    for name in tile._colour.options.values():
        tile._colour.value = name
        assert tile.drawing is not None
        assert sum(len(layer["items"]) for layer in points(tile)) == 32


def test_click_selects_and_lasso_fills_the_table(reach_run: Run, selection: Selection) -> None:
    tile: Any = MapOfLatents().build(reach_run)
    explorer = Asked(reach_run)
    tile.join(explorer)
    tile.show(selection)
    tile.done({"kind": "click", "panel": "map", "item": 12, "x": 0, "y": 0})
    tile.done({"kind": "click", "panel": "map", "item": None, "x": 0, "y": 0})
    tile.done({"kind": "lasso", "panel": "map", "items": [9, 2, 5]})
    tile.done({"kind": "lasso", "panel": "map", "items": []})
    assert explorer.asked == [{"latent": 12}, {"lasso": (2, 5, 9)}, {"lasso": None}]


def test_points_lie_where_the_map_says_and_those_outside_the_lasso_are_pale(
    reach_run: Run, selection: Selection
) -> None:
    tile: Any = MapOfLatents().build(reach_run)
    tile.show(replace(selection, lasso=(2, 5)))
    outside, caught = points(tile)
    assert sorted(caught["items"]) == [2, 5]
    assert outside["alpha"] < 0.3 < caught["alpha"]
    places = latent_map(readings(reach_run), "model", 0).places
    for layer in (outside, caught):
        np.testing.assert_allclose(layer["arrays"]["x"], places[layer["items"], 0], rtol=1e-6)
        np.testing.assert_allclose(layer["arrays"]["y"], places[layer["items"], 1], rtol=1e-6)


def test_gallery_curves_are_means_of_a_loop(reach_run: Run, selection: Selection) -> None:
    reads = readings(reach_run)
    latents = np.array([3, 11, 0])
    found = gallery_curves(reads, selection, "target", latents, np.zeros(3, dtype=np.int64))
    code = reach_run.latents.main.csc(0).toarray()
    target = reach_run.counts.covariate("target").values[:, 0]
    test = reach_run.counts.split == 2
    for row, latent in enumerate(latents):
        expected = [code[test & (target == value), latent].mean() for value in range(8)]
        np.testing.assert_allclose(found[row].mean, expected, rtol=1e-6)
        assert found[row].peak == latent % 8


def test_gallery_of_halves_is_rectified(reach_run: Run, selection: Selection) -> None:
    reads = readings(reach_run)
    signs = np.array([1, -1])
    chosen = replace(selection, model="pca")
    found = gallery_curves(reads, chosen, "target", np.array([0, 0]), signs)
    code = reach_run.part("pca").latents.main.dense(0)[:, 0]
    target = reach_run.counts.covariate("target").values[:, 0]
    test = reach_run.counts.split == 2
    for row, sign in enumerate(signs):
        expected = [np.maximum(sign * code[test & (target == value)], 0).mean() for value in range(8)]
        np.testing.assert_allclose(found[row].mean, expected, rtol=1e-5)


def test_gallery_follows_the_table_and_the_lasso_and_shows_more_on_request(
    reach_run: Run, selection: Selection
) -> None:
    tile: Any = Gallery().build(reach_run)
    explorer = Asked(reach_run)
    tile.join(explorer)
    tile.show(selection)
    assert len(tile.drawing.panels) == 24
    assert "24 of 32 latents" in tile.drawing.summary
    tile._show_more()
    assert len(tile.drawing.panels) == 32
    tile.show(replace(selection, lasso=(4, 6)))
    assert sorted(panel.id for panel in tile.drawing.panels) == ["4:0", "6:0"]
    tile.done({"kind": "click", "panel": "6:0", "item": None})
    assert explorer.asked == [{"latent": 6, "sign": 0, "page": "latent"}]


@pytest.mark.parametrize("variable", ["hand", "speed", "direction", "target", "no such variable"])
def test_gallery_of_every_kind_of_variable_can_be_drawn(reach_run: Run, selection: Selection, variable: str) -> None:
    tile: Any = Gallery().build(reach_run)
    tile.show(replace(selection, variable=variable, lasso=(1, 31)))
    assert len(unpacked(tile.drawing.packed)["panels"]) == 2
