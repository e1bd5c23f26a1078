from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nldisco_spatial.beside import BesideCells
from nldisco_spatial.config import SpatialConfig
from nldisco_spatial.gallery import MapGallery, PolarGallery
from nldisco_spatial.mapped import unit_mapping
from nldisco_spatial.mapper import Spatial

from nldisco_core.binned import Binned, Preprocessing
from nldisco_core.conformance.toys import toy_binned, toy_latents
from nldisco_core.conformance.views import check_view
from nldisco_core.files import SCHEMA_VERSION, write_binned, write_json, write_latents, write_mapping, write_table
from nldisco_core.latents import Latents
from nldisco_core.mapping import MapperResult
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

CONFIG = SpatialConfig(n_shifts=0, n_pixels=15)


def write(folder: Path, foraging: tuple[Latents, Binned], result: MapperResult | None) -> Run:
    latents, data = foraging
    folder.mkdir()
    write_binned(folder / "binned", data, Preprocessing())
    record = {"provider": "written", "distribution": "nldisco-core", "version": "0.1.0", "config": {}}
    for part in (folder, folder / "controls" / "twin"):
        part.mkdir(parents=True, exist_ok=True)
        write_latents(part / "latents", latents)
        write_table(part / "history.parquet", pd.DataFrame({"step": [], "instance": [], "name": [], "value": []}))
        if result is not None:
            (part / "mappings" / "spatial").mkdir(parents=True)
            write_mapping(part / "mappings" / "spatial", result)
    write_table(folder / "metrics.parquet", pd.DataFrame({"model": []}))
    about = {
        "schema_version": SCHEMA_VERSION,
        "status": "finished",
        "name": folder.name,
        "model": record,
        "controls": {"twin": record},
        "mappers": {"spatial": {"config": CONFIG.model_dump(mode="json")}} if result is not None else {},
    }
    write_json(folder / "run.json", about)
    return Run(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, foraging: tuple[Latents, Binned]) -> tuple[Run, Run]:
    """A run that was mapped, and one that was not."""
    folder = tmp_path_factory.mktemp("runs")
    mapped = Spatial(CONFIG).map(*foraging, seed=0)
    return write(folder / "mapped", foraging, mapped), write(folder / "bare", foraging, None)


def chosen(run: Run, **fields: Any) -> Selection:
    return Selection(run=run.name, **{"latent": 2, "split": "test", **fields})


def summary(live: Any) -> str:
    return str(live._summary.object)


@pytest.mark.parametrize("view", [MapGallery, PolarGallery, BesideCells])
def test_views_keep_the_rules_of_their_kind(view: type, runs: tuple[Run, Run]) -> None:
    results = check_view(lambda _: view(), run=runs[0], bare_run=runs[1])
    assert [str(result) for result in results if not result.passed] == []
    assert "passed" in {result.status for result in results if result.name == "builds_and_shows"}


def test_gallery_shows_maps_best_first_and_frames_the_selected_latent(runs: tuple[Run, Run]) -> None:
    run = runs[0]
    live: Any = MapGallery().build(run)
    live.show(chosen(run))
    result = run.mapping("spatial")
    table = result.table.query("split == 'test' and instance == 0 and statistic == 'spatial information'")
    best = table.dropna(subset="spatial_information").sort_values("spatial_information", ascending=False)
    assert [text.split(" ")[0] for text in live.labels.data["text"]] == [str(latent) for latent in best["latent"]]
    for image, latent in zip(live.source.data["image"], best["latent"], strict=True):
        drawn = result.arrays["position/map_test"][0, latent]
        np.testing.assert_allclose(image, drawn / np.nanmax(drawn), rtol=1e-5)
    at = list(best["latent"]).index(2)
    assert live.frame.data["x"].tolist() == [at + 0.5]
    assert "5 of 6 latents" in summary(live)
    assert live.drawn.y_range.start == pytest.approx(-1.05)  # one row of twelve, and no room for more
    assert "1 without one" in summary(live)
    live.score.value = "grid_score"
    assert live.labels.data["text"][0].startswith("0 · ")


def test_polar_gallery_draws_each_direction_at_its_angle(runs: tuple[Run, Run]) -> None:
    run = runs[0]
    live: Any = PolarGallery().build(run)
    live.show(chosen(run, split="all"))  # was not mapped: the last split is
    assert live.labels.data["text"][0].startswith("3 · ")
    x, y = live.source.data["xs"][0] - live.rings.data["x"][0], live.source.data["ys"][0] - live.rings.data["y"][0]
    farthest = np.argmax(np.hypot(x, y))
    assert abs(np.arctan2(y[farthest], x[farthest]) - 2.0) < 0.3


def test_recorded_units_are_mapped_as_the_latents_were(runs: tuple[Run, Run]) -> None:
    table = unit_mapping(runs[0]).query("split == 'test' and statistic == 'spatial information'")
    own = runs[0].mapping("spatial").table.query("split == 'test' and statistic == 'spatial information'")
    own = own[(own["instance"] == 0) & (own["latent"] < 5)]
    np.testing.assert_allclose(table["spatial_information"], own["spatial_information"], rtol=1e-6)
    assert set(table["region"]) == {"mec"}


def test_latents_stand_beside_controls_and_recorded_units(runs: tuple[Run, Run]) -> None:
    run = runs[0]
    live: Any = BesideCells().build(run)
    live.show(chosen(run, variable="heading"))
    live.score.value = "resultant_length"
    assert live.source.data["who"] == ["latents", "twin", "recorded units"]
    values = unit_mapping(run).query("split == 'test' and variable == 'heading' and supported")["resultant_length"]
    x, y = live.source.data["xs"][2], live.source.data["ys"][2]
    for value in values:
        assert y[np.flatnonzero(x == np.float64(value))].max() == pytest.approx((values >= value).mean())
    assert f"recorded units {values.median():.2f} (n = 5)" in summary(live)


def test_units_that_were_not_always_observed_have_no_scores(tmp_path: Path, foraging: tuple[Latents, Binned]) -> None:
    latents, data = foraging
    observed = np.ones((data.n_bins, 5), dtype=bool)
    observed[:50, 1] = False
    session = replace(data.sessions[0], observed=observed)
    run = write(tmp_path / "run", (latents, replace(data, sessions=(session,))), None)
    assert sorted(unit_mapping(run)["latent"].unique()) == [0, 2, 3, 4]


def test_sessions_of_different_units_are_shown_without_them(tmp_path: Path) -> None:
    data = toy_binned(n_sessions=2)
    latents = toy_latents(data)
    one, other = data.sessions
    other = replace(other, units=other.units.assign(id=[f"other-{unit}" for unit in range(6)]))
    apart = replace(data, sessions=(one, other))
    run = write(tmp_path / "run", (latents, apart), Spatial(CONFIG).map(latents, apart, seed=0))
    live: Any = BesideCells().build(run)
    live.show(chosen(run))
    assert live.source.data["who"] == ["latents", "twin"]
    assert "the sessions hold different units" in summary(live)


@pytest.mark.parametrize("view", [MapGallery, PolarGallery, BesideCells])
def test_unmapped_run_is_told_how_and_shown_no_empty_frame(view: type, runs: tuple[Run, Run]) -> None:
    mapped, bare = runs
    assert view.needs <= mapped.offers  # type: ignore[attr-defined]  # a view
    assert "spatial mapping" in view.needs - bare.offers  # type: ignore[attr-defined]  # a view
    for run, drawn in ((mapped, True), (bare, False)):
        live: Any = view().build(run)
        live.show(chosen(run))
        assert ("--mapper spatial" in summary(live)) is not drawn
        assert [each.visible for each in live.panel] == [drawn, drawn, True]
