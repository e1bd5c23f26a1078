from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.readings import readings
from nldisco_explorer.related import family_of, neighbours_of
from nldisco_explorer.views.moments import ExampleMoments, moments_at
from nldisco_explorer.views.related import Family, NearestLatents

from nldisco_core.runs import Run
from nldisco_core.selection import Selection

PARENT, CHILD = 0, 16


class Asked:
    """An explorer that writes down what it is asked for."""

    def __init__(self, run: Run) -> None:
        self.runs = {run.name: run}
        self.asked: list[dict[str, Any]] = []

    def select(self, **changes: Any) -> None:
        self.asked.append(changes)


@pytest.fixture
def selection(reach_run: Run) -> Selection:
    return Selection(run=reach_run.name, latent=3, variable="target")


def test_nearest_latents_are_those_of_largest_cosine_and_phi(reach_run: Run, selection: Selection) -> None:
    found = neighbours_of(readings(reach_run), replace(selection, latent=PARENT))
    assert reach_run.dictionary is not None
    rows = reach_run.dictionary.values[0] / np.linalg.norm(reach_run.dictionary.values[0], axis=1, keepdims=True)
    cosine = rows @ rows[PARENT]
    expected = [latent for latent in np.argsort(-cosine) if latent != PARENT][:8]
    by_weight = found[found["measure"] == "decoder cosine"]
    assert by_weight["neighbour"].tolist() == expected
    active = (reach_run.latents.main.csc(0).toarray() > 0).astype(float)
    phi = [np.corrcoef(active[:, PARENT], active[:, i])[0, 1] if active[:, i].any() else np.nan for i in range(32)]
    together = found[found["measure"] == "co-activation phi"].iloc[0]
    assert together["neighbour"] == CHILD == np.nanargmax([*phi[:PARENT], np.nan, *phi[PARENT + 1 :]])
    assert together["similarity"] == pytest.approx(phi[CHILD])


def test_click_on_a_bar_goes_to_that_latent(reach_run: Run, selection: Selection) -> None:
    tile: Any = NearestLatents().build(reach_run)
    explorer = Asked(reach_run)
    tile.join(explorer)
    tile.show(replace(selection, latent=PARENT))
    panels = {panel["id"]: panel for panel in unpacked(tile.drawing.packed)["panels"]}
    bars = panels["co-activation phi"]["layers"][0]
    assert bars["items"][0] == CHILD
    assert (bars["arrays"]["top"] > 0).all()
    tile.done({"kind": "click", "panel": "co-activation phi", "item": CHILD})
    assert explorer.asked == [{"latent": CHILD, "sign": 0}]


def test_dead_latent_has_neighbours_by_weight_alone(reach_run: Run, selection: Selection) -> None:
    tile = NearestLatents().build(reach_run)
    tile.show(replace(selection, latent=31))
    assert tile.drawing is not None
    assert [panel.id for panel in tile.drawing.panels] == ["decoder cosine"]
    assert "None is active together with it" in tile.drawing.summary


def test_planted_child_stands_below_its_parent(reach_run: Run, selection: Selection) -> None:
    reads = readings(reach_run)
    parents, children = family_of(reads, replace(selection, latent=CHILD))
    assert parents["parent"].tolist() == [PARENT]
    assert parents["containment"].tolist() == [1.0]
    assert not len(children)
    tile: Any = Family().build(reach_run)
    tile.show(replace(selection, latent=PARENT))
    layers = unpacked(tile.drawing.packed)["panels"][0]["layers"]
    drawn = {tuple(layer["items"]): layer["arrays"]["y"].tolist() for layer in layers if layer.get("items")}
    assert drawn == {(CHILD,): [0.0]}
    assert tile.applies


def test_model_without_levels_has_no_family_tile(reach_run: Run, selection: Selection) -> None:
    tile: Any = Family().build(reach_run)
    tile.show(replace(selection, model="pca", sign=1))
    assert not tile.applies
    assert "no levels" in tile.drawing.summary


def test_moments_lie_at_the_quantiles_and_apart() -> None:
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(20_000, 800, replace=False))
    values = rng.gamma(2, 1, 800).astype(np.float32)
    found = moments_at(values, rows, (1.0, 0.5, 0.1), 50)
    drawn = values[np.searchsorted(rows, found)]
    np.testing.assert_allclose(drawn, np.quantile(values, [1.0, 0.5, 0.1]), atol=0.02)
    assert np.diff(np.sort(found)).min() > 50


def test_a_latent_of_one_bout_has_one_moment() -> None:
    assert moments_at(np.ones(4, dtype=np.float32), np.arange(4), (1.0, 0.5), 10).tolist() == [0]


def test_moments_show_activation_and_behaviour_around_them(reach_run: Run, selection: Selection) -> None:
    tile: Any = ExampleMoments().build(reach_run)
    explorer = Asked(reach_run)
    tile.join(explorer)
    tile.show(replace(selection, variable="speed"))
    panels = unpacked(tile.drawing.packed)["panels"]
    first = [panel for panel in panels if panel["column"] == 0]
    code = reach_run.latents.main.csc(0)[:, [3]].toarray()[:, 0]
    at = int(code.argmax())
    trace = next(layer["arrays"] for layer in first[0]["layers"] if layer["kind"] == "line")
    np.testing.assert_allclose(trace["y"], code[at - 50 : at + 51][: len(trace["y"])], rtol=1e-6)
    speed = reach_run.counts.covariate("speed").values[at - 50 : at + 51, 0]
    line = next(layer["arrays"] for layer in first[1]["layers"] if layer["kind"] == "line")
    np.testing.assert_allclose(line["y"], speed[: len(trace["y"])], rtol=1e-5)
    tile.done({"kind": "click", "panel": "0", "item": None})
    (asked,) = explorer.asked
    assert asked["page"] == "session"
    assert asked["session"] == f"reach-{1 + int(reach_run.counts.session_of_bin[at])}"
    low, high = asked["window_s"]
    assert low < reach_run.counts.start_s[at] < high


def test_silent_latent_has_no_moments(reach_run: Run, selection: Selection) -> None:
    tile = ExampleMoments().build(reach_run)
    tile.show(replace(selection, latent=31))
    assert tile.drawing is not None
    assert "never active" in tile.drawing.summary


@pytest.mark.parametrize("variable", ["hand", "speed", "direction", "target", None])
def test_moments_of_every_kind_of_variable_can_be_drawn(
    reach_run: Run, selection: Selection, variable: str | None
) -> None:
    tile = ExampleMoments().build(reach_run)
    tile.show(replace(selection, variable=variable))
    assert tile.drawing is not None
    assert len(unpacked(tile.drawing.packed)["panels"]) == 12 + (variable == "target")  # labels have a legend
