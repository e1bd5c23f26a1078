"""More categories than colours that are told apart: none is given twice, and what has no colour is grey and said so."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from nldisco_explorer.categories import NONE, category_legend, colour_keys, colour_numbers, few_coloured, label_strength
from nldisco_explorer.drawing.payload import Layer, unpacked
from nldisco_explorer.drawing.themes import CANVAS_THEMES
from nldisco_explorer.export import paper
from nldisco_explorer.perievent import groups_at
from nldisco_explorer.readings import readings
from nldisco_explorer.timeline import session_times
from nldisco_explorer.views.trials import AlignedTrials

from nldisco_core.binned import Covariate
from nldisco_core.colours import NEUTRAL, PALETTE
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

N_CONDITIONS = 20


@given(st.lists(st.floats(0, 9) | st.just(float("nan")), max_size=40))
def test_no_colour_is_given_twice_and_the_weightiest_have_one(weights: list[float]) -> None:
    numbers = colour_numbers(weights)
    given_out = numbers[numbers != NONE]
    assert given_out.tolist() == list(range(min(len(weights), len(PALETTE))))
    known = np.nan_to_num(weights, nan=-1.0)
    if 0 < len(given_out) < len(weights):
        assert known[numbers != NONE].min() >= known[numbers == NONE].max()


def test_few_categories_keep_their_colours_whatever_their_weights() -> None:
    assert colour_numbers([0.0, float("nan"), 3.0]).tolist() == [0, 1, 2]


def test_legend_names_what_has_a_colour_and_counts_the_rest() -> None:
    numbers = colour_numbers(np.arange(11.0))
    legend = category_legend([f"maze {i}" for i in range(11)], numbers)
    assert legend.style["names"] == [*(f"maze {i}" for i in range(3, 11)), "3 others"]
    assert legend.style["colours"] == [*range(8), "neutral"]
    assert colour_keys(numbers)[:4] == ["neutral", "neutral", "neutral", 0]


def test_strength_of_a_label_is_the_mean_activation_in_its_bins() -> None:
    labels, trace = np.array([0, 0, 2, np.nan, 2, 2]), np.array([1.0, -3.0, 3.0, 9.0, 0.0, 0.0])
    np.testing.assert_array_equal(label_strength(labels, trace, 4), [2.0, np.nan, 1.0, np.nan])


@pytest.fixture
def condition(reach_run: Run, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Condition of each trial, a discrete variable numbered 1 to 20; 18 to 20 are the reaches to the north-west."""
    reads = readings(reach_run)
    frame = reads.trials.frame
    order = np.arange(len(frame))
    condition = np.where(frame["target"] == "NW", 18.0 + order % 3, 1.0 + order % 17)
    firsts = np.cumsum([0, *(len(each.trials.frame) for each in reach_run.counts.sessions)])  # type: ignore[union-attr]  # all have trials
    trial = np.concatenate([each.trial + first for each, first in zip(reach_run.counts.sessions, firsts, strict=False)])
    names = tuple(f"{i + 1}" for i in range(N_CONDITIONS))
    values = condition[trial] - 1
    monkeypatch.setitem(vars(reads.trials), "frame", frame.assign(condition=condition))
    made = Covariate(name="condition", values=values, kind="discrete", categories=names)
    monkeypatch.setitem(reads._covariates, "condition", made)
    monkeypatch.setitem(reads._mapped_as, "condition", ("condition", 0, "discrete"))
    monkeypatch.setitem(vars(reads), "groupings", ("condition",))
    return condition


def drawn(run: Run, **fields: Any) -> Any:
    tile = AlignedTrials().build(run)
    tile.show(Selection(run=run.name, latent=3, align="move_onset_time", **fields))
    return tile.drawing


def test_numbered_conditions_are_groups_of_their_own_and_no_quarters(reach_run: Run, condition: np.ndarray) -> None:
    groups = groups_at(readings(reach_run), "condition", "move_onset_time")
    assert len(groups.labels) == N_CONDITIONS
    np.testing.assert_array_equal([float(groups.labels[code]) for code in groups.codes], condition)


def test_of_many_conditions_the_strongest_have_colours_and_all_others_are_grey(
    reach_run: Run, condition: np.ndarray
) -> None:
    drawing = drawn(reach_run, by="condition")
    panels = unpacked(drawing.packed)["panels"]
    (legend,) = (each["layers"][0] for each in panels if each["layers"][0]["kind"] == "legend")
    assert {"18", "19", "20"} <= set(legend["names"])
    assert legend["colours"] == list(range(len(PALETTE)))
    colour_of = dict(zip(legend["names"], legend["colours"], strict=True))
    for raster in (each for each in panels if each["id"] == "raster"):
        stripes = raster["layers"][-1]
        expected = [colour_of.get(f"{value:g}", "neutral") for value in np.unique(condition)]
        assert stripes["colours"] == expected
    for means in (each for each in panels if each["id"] == "means"):
        lines = {each["name"]: each["colour"] for each in means["layers"] if each["kind"] == "line"}
        assert lines == colour_of
    assert "of 20, the others are grey" in drawing.summary
    n_trials = [int((condition == float(name)).sum()) for name in legend["names"]]
    assert f"of {min(n_trials)} to {max(n_trials)} trials each" in drawing.summary


def test_directions_are_sectors_in_the_colours_of_the_circle(reach_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = readings(reach_run)
    monkeypatch.setitem(vars(reads), "groupings", ("direction",))
    groups, targets = groups_at(reads, "direction", "move_onset_time"), reads.trials.frame["target"]
    names = ("E", "NE", "N", "NW", "W", "SW", "S", "SE")
    assert groups.labels == tuple(f"{45 * i}°" for i in range(8))
    assert [names[code] for code in groups.codes] == targets.tolist()
    (legend,) = (
        each["layers"][0]
        for each in unpacked(drawn(reach_run, by="direction").packed)["panels"]
        if each["layers"][0]["kind"] == "legend"
    )
    assert legend["colours"] == [f"cycle@{i / 8:g}" for i in range(8)]


def test_ribbon_of_many_conditions_gives_no_colour_twice_and_keeps_every_name(
    reach_run: Run, condition: np.ndarray
) -> None:
    reads = readings(reach_run)
    time = session_times(reads, 0)
    trace = reads.activations(Selection(run=reach_run.name, latent=3, split="all")).trace(reach_run.counts.n_bins)
    panel = time.behaviour(reads.covariate("condition"), (time.low_s, time.high_s), row=0, trace=trace[time.rows])
    ribbon, borders = panel.layers
    keys = ribbon.style["colours"]
    coloured = [key for key in keys if key != "neutral"]
    assert sorted(coloured) == list(range(len(PALETTE)))
    assert all(keys[i] != "neutral" for i in (17, 18, 19))
    assert len(ribbon.style["names"]) == N_CONDITIONS
    trials = reach_run.counts.sessions[0].trials
    assert trials is not None
    codes = ribbon.arrays["image"].astype(int)
    n_changes = sum(a != b and NONE not in (a, b) for a, b in pairwise(codes))
    assert len(borders.style["x"]) == n_changes > 10
    starts_s = trials.frame["start_s"].to_numpy()
    width_s = (time.high_s - time.low_s) / len(codes)
    assert max(np.abs(starts_s - at).min() for at in borders.style["x"]) <= width_s


def test_what_has_no_colour_is_said() -> None:
    assert few_coloured("maze", 8, "most frequent") == ""
    said = few_coloured("maze", 108, "most frequent")
    assert said == "Of 108 labels of maze the 8 most frequent have a colour, the others are grey."


def test_paper_draws_categories_and_places_on_a_scale_as_the_screen_does() -> None:
    table = [to_hex(each) for each in paper._categories(Layer("image", colours=["neutral", 3, 0]))]
    assert table[:5] == [NEUTRAL, PALETTE[3], PALETTE[0], PALETTE[3], PALETTE[4]]
    assert (len(table), table[255]) == (256, NEUTRAL)
    cycle = CANVAS_THEMES["light"]["scales"]["cycle"]
    assert paper._colour("cycle@0") == paper._colour("cycle@1") == cycle[0]
