from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from nldisco_explorer.drawing.component import SCRIPT, Canvas
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, around, bytes_of, unpacked
from nldisco_explorer.drawing.themes import CANVAS_THEMES


def drawing(*layers: Layer, summary: str = "A line.") -> Drawing:
    panel = Panel(x=Axis(low=0, high=1), y=Axis(low=0, high=1), layers=layers)
    return Drawing(panels=(panel,), summary=summary)


@given(
    st.lists(arrays(st.sampled_from([np.float32, np.uint8]), st.integers(0, 40)), max_size=5),
    st.text(max_size=20),
)
def test_unpacked_drawing_is_what_was_packed(values: list[np.ndarray], summary: str) -> None:
    made = drawing(*(Layer("line", {"y": each}, colour=i) for i, each in enumerate(values)), summary=summary)
    header = unpacked(made.packed)
    assert header["summary"] == summary
    found = [layer["arrays"]["y"] for layer in header["panels"][0]["layers"]]
    assert [each.dtype for each in found] == [each.dtype for each in values]
    for one, other in zip(found, values, strict=True):
        np.testing.assert_array_equal(one, other)


def test_arrays_lie_at_multiples_of_four_bytes_as_typed_arrays_want() -> None:
    made = drawing(*(Layer("line", {"y": np.zeros(n, dtype=np.uint8)}) for n in (1, 2, 3, 5)), summary="é" * 7)
    (length,) = struct.unpack_from("<I", made.packed)
    places = [at for _, at, _ in json.loads(made.packed[4 : 4 + length])["arrays"]]
    assert [at % 4 for at in places] == [0] * 4
    assert places[0] == 4 + length
    assert len(made.packed) == places[-1] + 8


def test_two_drawings_have_two_stamps() -> None:
    one, other = (unpacked(drawing().packed)["stamp"] for _ in range(2))
    assert one != other


def test_numbers_that_are_none_are_refused_in_the_header() -> None:
    with pytest.raises(ValueError, match="JSON"):
        _ = drawing(Layer("rules", x=[float("nan")])).packed


def test_bytes_keep_255_for_what_is_no_number() -> None:
    values = np.array([[0.0, 1.0, np.nan], [-5.0, 9.0, 0.5]])
    np.testing.assert_array_equal(bytes_of(values, 0.0, 1.0), [[0, 254, 255], [0, 254, 127]])


def test_range_holds_all_values_and_what_is_included() -> None:
    low, high = around(np.array([2.0, np.nan, 4.0]), include=0.0)
    assert (low, high) == (0.0, pytest.approx(4.24))
    assert around(np.array([np.nan])) == (-1.0, 1.0)
    assert around(np.array([3.0, 3.0])) == (2.0, 4.0)


def test_canvas_sends_one_message_per_drawing() -> None:
    canvas = Canvas()
    sent: list[str] = []
    canvas.param.watch(lambda *events: sent.extend(event.name for event in events), list(canvas.param))
    canvas.show(drawing())
    assert sent == ["payload"]


def test_script_fetches_nothing() -> None:
    assert "import " not in SCRIPT
    assert "fetch(" not in SCRIPT
    assert "http" not in SCRIPT


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", CANVAS_THEMES.values(), ids=list(CANVAS_THEMES))
def test_words_and_marks_stand_out_from_the_ground(theme: dict[str, object]) -> None:
    def contrast(colour: str) -> float:
        one, other = sorted((luminance(colour), luminance(str(theme["ground"]))))
        return (other + 0.05) / (one + 0.05)

    assert contrast(str(theme["text"])) >= 7
    assert contrast(str(theme["muted"])) >= 4.5
    marks = [theme["activation"], theme["behaviour"], theme["neutral"], *theme["palette"]]  # type: ignore[misc]  # strings
    assert {mark: contrast(mark) for mark in marks if contrast(mark) < 3} == {}
    sequence = theme["scales"]["sequence"]  # type: ignore[index]  # a mapping of scales
    assert {mark: contrast(mark) for mark in sequence if contrast(mark) < 2.0} == {}


@pytest.mark.parametrize("theme", CANVAS_THEMES.values(), ids=list(CANVAS_THEMES))
def test_scales_of_amounts_change_in_lightness_one_way(theme: dict[str, object]) -> None:
    for name in ("ink", "sequence"):
        steps = np.diff([luminance(colour) for colour in theme["scales"][name]])  # type: ignore[index]  # a mapping
        assert (steps > 0).all() or (steps < 0).all(), name
