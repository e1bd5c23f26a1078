"""The tiles about decoding draw what the mapper wrote, and say why nothing is there where it wrote nothing."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nldisco_decoding.config import DecodingConfig
from nldisco_decoding.mapper import Decoding
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.export.drawn import drawn
from nldisco_explorer.plugin import nldisco_views
from nldisco_explorer.views.decoding import DecodingByNumber, DecodingOfLatents, _doubling

from nldisco_core.colours import PALETTE
from nldisco_core.config import parse
from nldisco_core.conformance import check_view
from nldisco_core.files import write_mapping
from nldisco_core.mapping import MapperResult
from nldisco_core.plugins import registry
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

write_run: Callable[..., Run] = runpy.run_path(str(Path(__file__).with_name("written_run.py")))["write_run"]
SETTINGS = {"max_rows": 400, "n_shifts": 1, "few": [1, 2, 5], "variables": ["heading", "position", "light"]}
MODELS = ("model", "pca", "random-encoder")


def decoded(folder: Path, **settings: Any) -> Run:
    """A written run of two instances whose model and controls were decoded."""
    run = write_run(folder, mapped=False)
    for name in MODELS:
        part = run.part(name)
        result = Decoding(parse(DecodingConfig, {**SETTINGS, **settings})).map(part.latents, run.binned, seed=0)
        mapping = part.folder / "mappings" / "decoding"
        mapping.mkdir(parents=True)
        write_mapping(mapping, result)
    return Run(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return decoded(tmp_path_factory.mktemp("decoded") / "2026-03-01T10-22-05_decoded_matryoshka-sae_7f3a", n_subsets=2)


@pytest.fixture
def selection(run: Run) -> Selection:
    return Selection(run=run.name)


def layers(tile: Any, kind: str) -> list[dict[str, Any]]:
    (panel,) = (each for each in unpacked(tile.drawing.packed)["panels"] if each["id"])
    return [layer for layer in panel["layers"] if layer["kind"] == kind]


def found(run: Run, model: str) -> MapperResult:
    return run.part(model).mapping("decoding")


def mean_scores(result: MapperResult, variable: str) -> list[tuple[int, float]]:
    """Number of latents and kNN score on test bins, mean over instances, by a plain loop."""
    scores: dict[int, list[float]] = {}
    for _, row in result.table.iterrows():
        if row["variable"] == variable and row["split"] == "test" and row["method"].split(",")[0] == "knn":
            scores.setdefault(int(row["n_features"]), []).append(row["score"])
    return [(n, float(np.mean(scores[n]))) for n in sorted(scores)]


@pytest.mark.parametrize("name", ["decoding-by-number", "decoding-of-latents"])
def test_view_passes_the_conformance_kit(name: str, run: Run, bare_run: Run) -> None:
    assert name in {provider.name for provider in nldisco_views()}
    results = check_view(registry().listed("view", name).make, run=run, bare_run=bare_run)
    assert [str(result) for result in results if not result.passed] == []


@pytest.mark.parametrize("variable", ["heading", "position", "light"])
def test_every_model_has_its_own_line_of_the_scores_in_its_table(variable: str, run: Run, selection: Selection) -> None:
    tile = DecodingByNumber().build(run)
    tile.show(replace(selection, variable=variable))
    points = layers(tile, "points")
    assert [layer["name"] for layer in points] == ["this model", "pca", "random-encoder"]
    assert [layer["colour"] for layer in points] == list(PALETTE[:3])
    solid = [layer for layer in layers(tile, "line") if "dash" not in layer]
    for model, point, line in zip(MODELS, points, solid, strict=True):
        expected = mean_scores(found(run, model), variable)
        assert [n for n, _ in expected] == [1, 2, 5, run.part(model).latents.main.n_latents]
        for layer in (point, line):
            np.testing.assert_array_equal(layer["arrays"]["n"], [n for n, _ in expected])
            np.testing.assert_allclose(layer["arrays"]["x"], np.log2([n for n, _ in expected]), rtol=1e-6)
            np.testing.assert_allclose(layer["arrays"]["y"], [score for _, score in expected], rtol=1e-6)
    measure = "balanced accuracy" if variable == "light" else "R²"
    assert points[0]["labels"][1].splitlines()[:2] == ["this model", "2 of 48"]
    assert measure in points[0]["labels"][1]
    assert tile.drawing is not None
    assert tile.drawing.summary.startswith(f"{measure} of {variable} on test bins")


def test_random_subsets_are_dashed_with_their_spread(run: Run, selection: Selection) -> None:
    tile = DecodingByNumber().build(run)
    tile.show(selection)
    dashed, bands = [layer for layer in layers(tile, "line") if "dash" in layer], layers(tile, "band")
    for model, line, band in zip(MODELS, dashed, bands, strict=True):
        arrays = found(run, model).arrays
        mean, sd = arrays["heading/dropping_mean"].mean(axis=0), arrays["heading/dropping_sd"].mean(axis=0)
        np.testing.assert_array_equal(line["arrays"]["n"], arrays["heading/dropping_n"])
        np.testing.assert_array_equal(line["arrays"]["y"], mean.astype(np.float32))
        np.testing.assert_array_equal(band["arrays"]["low"], (mean - sd).astype(np.float32))
        np.testing.assert_array_equal(band["arrays"]["high"], (mean + sd).astype(np.float32))
    assert tile.drawing is not None
    assert "Dashed" in tile.drawing.summary


def test_variable_that_was_not_decoded_leaves_the_first_one(run: Run, selection: Selection) -> None:
    tile = DecodingByNumber().build(run)
    tile.show(replace(selection, variable="speed"))
    assert tile.drawing is not None
    assert "R² of heading" in tile.drawing.summary


@pytest.mark.parametrize("instance", [0, 1])
def test_points_are_the_scores_of_single_latents(instance: int, run: Run, selection: Selection) -> None:
    tile = DecodingOfLatents().build(run)
    tile.show(replace(selection, instance=instance))
    points = {layer["name"]: layer for layer in layers(tile, "points")}
    assert list(points) == ["random-encoder", "pca", "this model"]  # the model on top of its controls
    assert len({layer["colour"] for layer in points.values()}) == 3
    for model in MODELS:
        arrays, layer = found(run, model).arrays, points["this model" if model == "model" else model]
        x, y = (arrays[f"{name}/latent_score"][instance] for name in ("heading", "position"))
        kept = ~np.isnan(x)
        assert not np.isnan(y[kept]).any()
        np.testing.assert_array_equal(layer["arrays"]["latent"], np.flatnonzero(kept))
        np.testing.assert_array_equal(layer["arrays"]["x"], x[kept].astype(np.float32))
        np.testing.assert_array_equal(layer["arrays"]["y"], y[kept].astype(np.float32))
        best = int(np.nanargmax(x))
        assert tile.drawing is not None
        assert f"at best {x[best]:.3g} ({best}) and " in tile.drawing.summary
    assert points["this model"]["labels"][7].startswith("this model, 7\nheading R² ")
    assert 47 not in points["this model"]["arrays"]["latent"]  # it is dead


def test_what_is_drawn_is_saved_with_numbers_of_latents(run: Run, selection: Selection) -> None:
    tile = DecodingByNumber().build(run)
    tile.show(selection)
    (table,) = (each for name, each in drawn(tile.panel).tables.items() if "this model" in name)
    assert table["n"].tolist() == [1, 2, 5, 48]


@pytest.mark.parametrize("view", [DecodingByNumber, DecodingOfLatents])
def test_run_without_decoding_says_so(view: Any, written_run: Run) -> None:
    tile = view().build(written_run)
    tile.show(Selection(run=written_run.name))
    assert tile.drawing.panels == ()
    assert "--mapper decoding" in tile.drawing.summary


def test_position_that_was_not_decoded_is_named(tmp_path: Path) -> None:
    run = decoded(tmp_path / "2026-03-01T10-22-05_heading_matryoshka-sae_7f3b", variables=["heading"], n_shifts=0)
    scatter, by_number = DecodingOfLatents().build(run), DecodingByNumber().build(run)
    for tile in (scatter, by_number):
        tile.show(Selection(run=run.name))
    assert scatter.drawing is not None
    assert scatter.drawing.panels == ()
    assert scatter.drawing.summary.startswith("No position was decoded")
    assert layers(by_number, "band") == []
    assert by_number.drawing is not None
    assert "Dashed" not in by_number.drawing.summary


@pytest.mark.parametrize("most", [1, 15, 16, 1024, 100_000])
def test_ticks_are_powers_of_two_within_reach(most: int) -> None:
    ticks = _doubling(most)
    assert 1 <= len(ticks) <= 9
    assert all(2**place == int(text) <= most for place, text in ticks)
