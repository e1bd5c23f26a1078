"""Polar plots for angles, lines for numbers, bars for labels: on every tile that draws latents against a variable."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.readings import readings

from nldisco_core.plugins import make, registry
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

AGAINST_A_VARIABLE = {
    "polar-tuning": {"direction": "polar"},
    "rate-map": {"hand": "image"},
    "tuning-curve": {"speed": "line"},
    "condition-bars": {"target": "bars"},
    "latent-and-units": {"direction": "polar", "speed": "line", "target": "bars"},
    "gallery": {"direction": "polar", "hand": "image", "speed": "line", "target": "bars"},
    "matches": {"direction": "polar", "hand": "image", "speed": "line", "target": "bars"},
}
"""By tile, how each kind of variable must be drawn."""

AGAINST_TIME = {"activation-trace", "aligned-trials", "example-moments", "session-timeline"}
AGAINST_EACH_OTHER = {"contributing-units", "latent-map", "nearest-latents", "family", "state-space"}
OF_THE_RECORDING = {"recorded-time", "unit-rates", "count-histogram", "activity-examples", "trial-conditions"}
OF_ALL_LATENTS = {
    "activation-histogram",
    "density-histogram",
    "training-curves",
    "decoding-by-number",
    "decoding-of-latents",
}
WRITTEN = {
    "latent-card",
    "latent-notes",
    "verdict",
    "quality",
    "comparison",
    "model-card",
    "data-card",
    "behaviour-ranges",
    "recording-warnings",
}


def test_every_tile_is_named_here() -> None:
    own = {listed.name for listed in registry().providers("view") if listed.plugin.name == "explorer"}
    others = AGAINST_TIME | AGAINST_EACH_OTHER | OF_THE_RECORDING | OF_ALL_LATENTS | WRITTEN
    assert own == set(AGAINST_A_VARIABLE) | others
    assert not set(AGAINST_A_VARIABLE) & others


def kind_of(panel: dict[str, Any]) -> str:
    """How a panel draws means against a variable."""
    layers = panel["layers"]
    if any("angle_deg" in layer["arrays"] for layer in layers):
        return "polar"
    kinds = [layer["kind"] for layer in layers]
    if "image" in kinds:
        return "image"
    bars = [layer for layer in layers if layer["kind"] == "bars" and layer.get("colour") != "neutral"]
    return "bars" if bars else "line"


def drawn(run: Run, name: str, variable: str, latent: int = 3) -> list[dict[str, Any]]:
    """The panels that a tile draws against a variable."""
    tile: Any = make("view", name).build(run)
    if hasattr(tile, "join"):
        tile.join(SimpleNamespace(runs={run.name: run}, select=lambda **_: None))
    one = {"model": "pca", "latent": latent, "sign": 1} if name == "matches" else {"latent": latent}
    tile.show(Selection(run=run.name, variable=variable, mapper="selectivity", split="all", **one))
    panels = unpacked(tile.drawing.packed)["panels"]
    return [panel for panel in panels if panel["id"] == "tuning"] if name == "matches" else panels


@pytest.mark.parametrize(
    ("name", "variable", "expected"),
    [(name, *pair) for name, kinds in AGAINST_A_VARIABLE.items() for pair in kinds.items()],
)
def test_the_kind_of_the_variable_is_the_kind_of_the_plot(
    reach_run: Run, name: str, variable: str, expected: str
) -> None:
    panels = drawn(reach_run, name, variable)
    assert panels
    assert {kind_of(panel) for panel in panels} == {expected}
    for panel in panels:
        if expected in ("polar", "image"):
            assert panel["equal"]


def test_small_polar_plots_point_where_the_latent_prefers(reach_run: Run) -> None:
    """Against the circular mean of the bins, weighted by activation and by how often a direction occurs."""
    reads = readings(reach_run)
    angle = reads.covariate("direction").values[:, 0]
    for panel in drawn(reach_run, "gallery", "direction"):
        latent = int(panel["id"].split(":")[0])
        trace = reach_run.latents.main.csc(0)[:, [latent]].toarray()[:, 0]
        if not trace.any():
            assert all(layer["kind"] != "words" for layer in panel["layers"])
            continue
        means = {value: trace[angle == value].mean() for value in np.unique(angle)}
        resultant = sum(mean * np.exp(1j * value) for value, mean in means.items())
        (words,) = (layer for layer in panel["layers"] if layer["kind"] == "words")
        told = np.deg2rad(float(words["text"][0].rstrip("°")))
        assert abs(np.angle(np.exp(1j * (told - np.angle(resultant))))) < np.deg2rad(4)  # half a condition and rounding
        arrow = panel["layers"][-2]["arrays"]
        length = abs(resultant) / sum(means.values())
        assert np.hypot(arrow["x"][1], arrow["y"][1]) == pytest.approx(length, abs=0.01)


def test_outline_of_a_polar_plot_holds_the_angles_and_means_it_stands_for(reach_run: Run) -> None:
    (panel,) = drawn(reach_run, "polar-tuning", "direction")
    (line,) = (layer["arrays"] for layer in panel["layers"] if "angle_deg" in layer["arrays"])
    radius = np.hypot(line["x"], line["y"])
    known = ~np.isnan(line["mean"])
    np.testing.assert_allclose(radius[known], line["mean"][known] / np.nanmax(line["mean"]), atol=1e-5)
    turned = np.exp(1j * np.deg2rad(line["angle_deg"][known])) * radius[known]
    np.testing.assert_allclose(turned, line["x"][known] + 1j * line["y"][known], atol=1e-5)


def test_map_is_framed_round_what_was_visited(reach_run: Run) -> None:
    panels = drawn(reach_run, "rate-map", "hand")
    assert [panel["title"] for panel in panels] == ["mean activation", "time spent (s)"]
    visited = panels[1]["layers"][0]["arrays"]["image"].reshape(panels[1]["layers"][0]["shape"]) != 255
    for side in (visited[0], visited[-1], visited[:, 0], visited[:, -1]):
        assert side.any()
    for panel in panels:
        image, key = panel["layers"]
        assert [panel["x"]["low"], panel["x"]["high"], panel["y"]["low"], panel["y"]["high"]] == image["extent"]
        assert image["shape"] == list(visited.shape)
        assert panel["hug"]
        assert panel["margins"][1] == panel["margins"][3]  # as much room on either side: it stands in the middle
        assert (key["kind"], key["top"]) == ("key", image["top"])
    mean = panels[0]["layers"][0]["arrays"]["image"].reshape(visited.shape)
    assert not (mean[~visited] != 255).any()
