"""Names of labels can be read: beside their axis, or in a legend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.readings import readings
from nldisco_explorer.views.activity import ActivationTrace
from nldisco_explorer.views.moments import ExampleMoments

from nldisco_core.runs import Run
from nldisco_core.selection import Selection

WIDEST_LETTER = 6.4
"""Width of a letter of a tick in the page's font, on average over words (px)."""


def panels(tile: Any, run: Run, variable: str) -> list[dict[str, Any]]:
    tile.show(Selection(run=run.name, latent=3, variable=variable, split="all"))
    return list(unpacked(tile.drawing.packed)["panels"])


@pytest.mark.parametrize("variable", ["target", "speed", "direction"])
def test_ticks_beside_the_trace_have_room_left_of_their_frame(reach_run: Run, variable: str) -> None:
    drawn = panels(ActivationTrace().build(reach_run), reach_run, variable)
    assert len({panel["margins"][3] for panel in drawn}) == 1  # frames stand above each other
    names = [words for _, words in drawn[-1]["y"]["ticks"] or ()]
    room = drawn[-1]["margins"][3] - 22  # what `panels.js` leaves to ticks beside a name of the axis
    assert room >= WIDEST_LETTER * max(map(len, names), default=0)


def test_labels_around_moments_are_named_in_a_legend_of_their_colours(reach_run: Run) -> None:
    drawn = panels(ExampleMoments().build(reach_run), reach_run, "target")
    legend = drawn[-1]["layers"][0]
    labels = readings(reach_run).covariate("target").categories
    assert labels is not None
    assert legend["names"] == list(labels)
    for panel in drawn:
        for layer in panel["layers"]:
            if layer["kind"] == "points":
                codes = layer["arrays"]["y"].astype(int)
                assert [legend["colours"][code] for code in codes] == layer["arrays"]["values"].tolist()
                assert layer["labels"] == [labels[code] for code in codes]
                assert panel["y"]["ticks"] == []


def test_moments_of_a_number_need_no_legend(reach_run: Run) -> None:
    drawn = panels(ExampleMoments().build(reach_run), reach_run, "speed")
    assert all(layer["kind"] != "legend" for panel in drawn for layer in panel["layers"])
    assert np.unique([panel["row"] for panel in drawn]).tolist() == [0, 1]
