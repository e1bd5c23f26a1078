from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.host import Offered, Tile
from nldisco_explorer.plugin import nldisco_views
from nldisco_explorer.readings import readings
from nldisco_explorer.state_space import flow_field, is_dense, space3
from nldisco_explorer.views.state_space import StateSpace

from nldisco_core.conformance import check_view
from nldisco_core.plugins import registry
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

NEW_VIEWS = (
    "aligned-trials",
    "session-timeline",
    "latent-map",
    "gallery",
    "matches",
    "example-moments",
    "nearest-latents",
    "family",
    "state-space",
)
# Bokeh 3.9 calls pandas in a way that pandas 3.1 has deprecated; it is not ours to change.


@pytest.fixture
def selection(reach_run: Run) -> Selection:
    return Selection(run=reach_run.name, model="pca", latent=0, sign=1, variable="direction")


@pytest.mark.parametrize("name", NEW_VIEWS)
def test_view_passes_the_conformance_kit_on_trials_and_two_sessions(name: str, reach_run: Run, bare_run: Run) -> None:
    assert name in {provider.name for provider in nldisco_views()}
    results = check_view(registry().listed("view", name).make, run=reach_run, bare_run=bare_run)
    assert [str(result) for result in results if not result.passed] == []


def test_flow_is_the_mean_step_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3_000)).astype(np.float32)
    joined = rng.random(2_999) < 0.8
    found = flow_field(a, b, joined, n_cells=6)
    edges = [np.linspace(*np.percentile(z[:-1][joined], [0.5, 99.5]), 7) for z in (a, b)]
    for x, y, u, v, n in zip(found.x, found.y, found.u, found.v, found.n_steps, strict=True):
        steps = [
            (a[t + 1] - a[t], b[t + 1] - b[t])
            for t in np.flatnonzero(joined)
            if abs(a[t] - x) < np.diff(edges[0])[0] / 2 and abs(b[t] - y) < np.diff(edges[1])[0] / 2
        ]
        assert len(steps) == n >= 5
        np.testing.assert_allclose([u, v], np.mean(steps, axis=0), atol=1e-5)


def test_flow_of_a_rotation_turns_round_its_centre() -> None:
    angle = np.arange(4_000) * 0.05
    radius = 1 + 0.3 * np.sin(np.arange(4_000) * 0.013)
    a, b = (radius * np.cos(angle)).astype(np.float32), (radius * np.sin(angle)).astype(np.float32)
    found = flow_field(a, b, np.ones(3_999, dtype=bool))
    turning = (found.x * found.v - found.y * found.u) / np.hypot(found.x, found.y) ** 2
    assert np.median(turning) == pytest.approx(0.05, rel=0.05)


def test_step_over_a_gap_or_into_another_split_does_not_count(reach_run: Run, selection: Selection) -> None:
    tile: Any = StateSpace().build(reach_run)
    tile.show(replace(selection, split="test"))
    joined = tile._joined(replace(selection, split="test"))
    data = reach_run.counts
    for t in np.flatnonzero(joined):
        assert data.split[t] == data.split[t + 1] == 2
    assert joined.sum() == sum(64 for s in data.sessions for t in np.unique(s.trial) if s.split[s.trial == t][0] == 2)


def test_more_than_three_latents_are_seen_along_their_principal_components(reach_run: Run) -> None:
    made = space3(readings(reach_run), "pca", 0)
    code = reach_run.part("pca").latents.main.dense(0).astype(np.float64)
    u, s, _ = np.linalg.svd(code - code.mean(axis=0), full_matrices=False)
    for axis in range(3):
        assert abs(np.corrcoef(made.places[:, axis], u[:, axis])[0, 1]) > 0.999
    assert made.axes[0] == f"PC 1 ({s[0] ** 2 / (s**2).sum():.0%})"


def test_bins_are_coloured_by_the_variable_and_by_the_latent(reach_run: Run, selection: Selection) -> None:
    tile: Any = StateSpace().build(reach_run)
    tile.show(selection)
    clouds = [p for p in unpacked(tile.drawing.packed)["panels"] if p["drag"] == "turn"]
    assert len(clouds) == 2
    by_direction, by_activation = (next(layer for layer in p["layers"] if layer["kind"] == "cloud") for p in clouds)
    every = 3
    turn = reach_run.counts.covariate("direction").values[::every, 0] / (2 * np.pi)
    np.testing.assert_allclose(by_direction["arrays"]["values"] / 254, turn % 1, atol=0.003)
    own = reach_run.part("pca").latents.main.dense(0)[::every, 0]
    top = np.percentile(np.abs(reach_run.part("pca").latents.main.dense(0)[:, 0]), 99)
    expected = np.clip((own + top) / (2 * top), 0, 1)
    np.testing.assert_allclose(by_activation["arrays"]["values"] / 254, expected, atol=0.003)
    np.testing.assert_array_equal(by_direction["arrays"]["xyz"], by_activation["arrays"]["xyz"])


def test_every_variable_and_time_can_colour(reach_run: Run, selection: Selection) -> None:
    tile: Any = StateSpace().build(reach_run)
    tile.show(selection)
    assert set(tile._colours) == {
        *("time", "hand.x", "hand.y", "speed", "direction", "velocity.x", "velocity.y", "target")
    }
    for name in tile._colours:
        tile._colour.value = name
        assert f"coloured by {name} " in tile.drawing.summary
        assert tile.drawing.packed


def test_sparse_code_is_read_latent_by_latent(reach_run: Run, selection: Selection) -> None:
    assert not is_dense(readings(reach_run), "model")
    tile: Any = StateSpace().build(reach_run)
    tile.show(replace(selection, model="model", sign=0))
    assert not tile.applies
    assert tile.drawing.panels == ()
    tile.show(selection)
    assert tile.applies
    assert len(tile.drawing.panels) == 5


class Explorer:
    """An explorer that does nothing."""

    def __init__(self, run: Run) -> None:
        self.runs = {run.name: run}


def test_tile_that_has_nothing_to_say_is_hidden_and_comes_back(reach_run: Run, selection: Selection) -> None:
    sparse = replace(selection, model="model", sign=0)
    explorer: Any = Explorer(reach_run)
    for name, shown, hidden in (("family", sparse, selection), ("state-space", selection, sparse)):
        tile = Tile(Offered(registry().listed("view", name)), reach_run, explorer)
        visible = []
        for each in (shown, hidden, shown):
            tile.show(each)
            visible.append(tile.panel.visible)
        assert visible == [True, False, True]
