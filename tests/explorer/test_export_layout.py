"""Drawings on paper stand as on the screen: legends as high as they need, maps in the middle, space as turned."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from nldisco_explorer.drawing.component import Canvas
from nldisco_explorer.drawing.legend import series_legend
from nldisco_explorer.drawing.payload import FIRST_TURN, Axis, Drawing, Layer, Panel, unpacked
from nldisco_explorer.export.layout import LEGEND_LINE, boxes_of, height_of, legend_flow
from nldisco_explorer.export.paper import figure_of

FLAT = Axis(low=0, high=1)


def below_legend(n_names: int) -> Drawing:
    legend = series_legend([f"a long name {i}" for i in range(n_names)])
    return Drawing(panels=(legend, Panel(x=FLAT, y=FLAT, layers=(), row=1)), summary="", rows=(None, 200))


def test_row_of_a_legend_is_as_high_as_its_lines() -> None:
    assert unpacked(below_legend(3).packed)["rows"] == [None, 200]
    heights = [height_of(below_legend(n), 620) - 200 for n in (1, 3, 12)]
    assert heights[0] == heights[1] == LEGEND_LINE + 6
    assert heights[2] > heights[1]
    (_, panel) = boxes_of(below_legend(12), 620)
    assert panel[1] == heights[2] + below_legend(12).panels[1].margins[0]


def test_names_of_a_legend_never_leave_its_width_or_each_other() -> None:
    layer = below_legend(12).panels[0].layers[0]
    places, n_lines = legend_flow(layer, 400)
    assert n_lines == places[-1][1] + 1
    for (left, line), (next_left, next_line) in pairwise(places):
        assert next_line == line + 1 if next_left == 0 else next_left - left >= 32
    assert max(left for left, _ in places) < 400


def test_row_without_a_legend_takes_no_room() -> None:
    alone = Drawing(panels=(Panel(x=FLAT, y=FLAT, layers=(), row=1),), summary="", rows=(None, 200))
    assert height_of(alone, 600) == 200


@pytest.mark.parametrize(("width", "height"), [(10.0, 4.0), (2.0, 8.0)])
def test_map_keeps_its_shape_and_stands_in_the_middle(width: float, height: float) -> None:
    margins = (10.0, 60.0, 40.0, 60.0)
    side = {"x": Axis(low=0, high=width), "y": Axis(low=-height, high=0)}
    panel = Panel(**side, layers=(), margins=margins, equal=True, hug=True)
    ((left, top, wide, tall),) = boxes_of(Drawing(panels=(panel,), summary="", rows=(300,)), 600)
    assert wide / tall == pytest.approx(width / height)
    assert left + wide / 2 == pytest.approx(300)
    assert top + tall / 2 == pytest.approx((10 + 260) / 2)
    assert wide == pytest.approx(480) or tall == pytest.approx(250)


def cloud() -> Drawing:
    points = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    layer = Layer("cloud", {"xyz": points.ravel()}, colour="activation", size=3)
    side = Axis(low=-2, high=2)
    return Drawing(panels=(Panel(x=side, y=side, layers=(layer,), drag="turn"),), summary="")


@pytest.mark.parametrize("turn", [FIRST_TURN, (0.0, 0.0), (-1.2, 1.1)])
def test_space_is_drawn_on_paper_as_it_was_left_on_the_screen(turn: tuple[float, float]) -> None:
    canvas = Canvas()
    canvas.show(cloud())
    if turn != FIRST_TURN:
        canvas._handle_msg({"kind": "turn", "yaw": turn[0], "pitch": turn[1]})
    canvas.show(cloud())  # another latent is seen from where the last one was
    assert canvas.drawing is not None
    figure = figure_of([canvas.drawing], title="", caption="", link="")
    (yaw, pitch), (points,) = turn, figure.axes[0].collections
    about_z = np.array([[np.cos(yaw), np.sin(yaw), 0], [-np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    turned = (about_x @ about_z @ np.eye(3)).T
    expected = turned[np.argsort(-turned[:, 1], kind="stable")][:, [0, 2]]  # what is far is drawn first
    np.testing.assert_allclose(np.asarray(points.get_offsets()), expected, atol=1e-6)


def test_turning_is_told_to_no_tile() -> None:
    told: list[object] = []
    canvas = Canvas(done=told.append)
    canvas._handle_msg({"kind": "turn", "yaw": 1.0, "pitch": 0.2})
    canvas._handle_msg({"kind": "click", "panel": "a"})
    assert told == [{"kind": "click", "panel": "a"}]


def test_first_turn_is_that_of_the_browser() -> None:
    assert unpacked(cloud().packed)["turn"] == list(FIRST_TURN)
