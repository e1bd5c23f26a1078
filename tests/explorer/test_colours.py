from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nldisco_explorer.drawing.themes import CANVAS_THEMES
from numpy.typing import ArrayLike, NDArray

from nldisco_core.colours import ACTIVATION, BEHAVIOUR, LABEL, NEUTRAL, PALETTE

Floats = NDArray[np.float64]

SIGHT: dict[str, Floats] = {
    "normal": np.eye(3),
    "without red cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "without green cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "without blue cones": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""What linear RGB looks like at severity 1.0 (Machado, Oliveira & Fernandes 2009, table 1)."""

TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to XYZ (IEC 61966-2-1), its second row relative luminance."""

APART = 10.0
"""Difference of two colours seen at a glance (CIEDE2000)."""


def linear(*colours: str) -> Floats:
    """(n, 3) linear RGB of hexadecimal sRGB."""
    values = np.array([[int(each[i : i + 2], 16) for i in (1, 3, 5)] for each in colours]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def scale(stops: tuple[str, ...], n: int = 73) -> Floats:
    """(n, 3) linear RGB of a scale, between whose stops sRGB is interpolated as ``panels.js`` does it."""
    channels = np.array([[int(each[i : i + 2], 16) for i in (1, 3, 5)] for each in stops]).T
    at = np.linspace(0, len(stops) - 1, n)
    return linear(*("#" + "".join(f"{round(np.interp(x, range(len(stops)), c)):02x}" for c in channels) for x in at))


def lab(rgb: Floats, sight: str = "normal") -> Floats:
    """(n, 3) CIE L*a*b* (D65) of linear RGB as it is seen."""
    seen = np.clip(rgb @ SIGHT[sight].T, 0, 1)
    share = seen @ TO_XYZ.T / TO_XYZ.sum(axis=1)
    x, y, z = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def difference(one: ArrayLike, other: ArrayLike) -> Any:
    """CIEDE2000 of L*a*b* colours (CIE 142-2001; Sharma, Wu & Dalal 2005, whose terms these are)."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(np.asarray(one), -1, 0), np.moveaxis(np.asarray(other), -1, 0)
    seventh = lambda chroma: np.sqrt(chroma**7 / (chroma**7 + 25.0**7))  # noqa: E731  # one term, twice
    g = 0.5 * (1 - seventh((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2))
    c1, c2 = np.hypot((1 + g) * a1, b1), np.hypot((1 + g) * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, (1 + g) * a)) for a, b in ((a1, b1), (a2, b2)))
    turn = np.where(c1 * c2 == 0, 0, (h2 - h1 + 180) % 360 - 180)
    lightness, chroma = (l1 + l2) / 2 - 50, (c1 + c2) / 2
    hue = np.where(c1 * c2 == 0, h1 + h2, h1 + turn / 2) % 360
    t = 1 + sum(
        weight * np.cos(np.radians(times * hue + shift))
        for weight, times, shift in ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    )
    dl = (l2 - l1) / (1 + 0.015 * lightness**2 / np.sqrt(20 + lightness**2))
    dc = (c2 - c1) / (1 + 0.045 * chroma)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2) / (1 + 0.015 * chroma * t)
    rotated = -2 * seventh(chroma) * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    return np.sqrt(dl**2 + dc**2 + dh**2 + rotated * dc * dh)


def contrast(one: Floats, other: Floats) -> Any:
    """Contrast ratio of WCAG 2.2 of linear RGB."""
    low, high = np.sort(np.stack(np.broadcast_arrays(one @ TO_XYZ[1], other @ TO_XYZ[1])), axis=0)
    return (high + 0.05) / (low + 0.05)


def closest(colours: tuple[str, ...], sight: str) -> tuple[float, str, str]:
    """Smallest difference between any two, and which two."""
    seen = lab(linear(*colours), sight)
    return min(
        (float(difference(seen[i], seen[j])), colours[i], colours[j]) for i, j in combinations(range(len(seen)), 2)
    )


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, -1.0, 2.0), (50.0, 0.0, 0.0), 2.3669),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((50.0, 2.5, 0.0), (61.0, -5.0, 29.0), 22.8977),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_difference_is_that_of_the_published_pairs(
    one: tuple[float, ...], other: tuple[float, ...], expected: float
) -> None:
    assert difference(one, other) == pytest.approx(expected, abs=1e-4)
    assert difference(other, one) == pytest.approx(expected, abs=1e-4)


def test_grey_is_seen_as_grey_and_confused_colours_as_one() -> None:
    grey = linear("#808080")
    for sight, (_, a, b) in ((sight, lab(grey, sight)[0]) for sight in SIGHT):
        assert abs(a) + abs(b) < 0.1, sight
    blue_and_violet = ("#2b86c5", "#7b72c8")
    assert closest(blue_and_violet, "normal")[0] > 18
    assert closest(blue_and_violet, "without green cones")[0] < 1
    assert closest(("#2b86c5", "#2f8fa3"), "without blue cones")[0] < 4


@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_series_are_told_apart(sight: str) -> None:
    found = closest((*PALETTE, NEUTRAL), sight)
    assert found[0] >= APART, found


@pytest.mark.parametrize("theme", CANVAS_THEMES.values(), ids=list(CANVAS_THEMES))
def test_points_and_lines_stand_out_from_the_ground(theme: dict[str, Any]) -> None:
    ground = linear(theme["ground"])
    ratios = {each: float(contrast(linear(each), ground)[0]) for each in (*PALETTE, ACTIVATION, BEHAVIOUR, NEUTRAL)}
    assert {each: ratio for each, ratio in ratios.items() if ratio < 3} == {}
    for name in ("visible", "balance", "cycle"):
        assert contrast(scale(theme["scales"][name]), ground).min() >= 3, name
    assert contrast(linear(LABEL), ground) >= 4


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", CANVAS_THEMES.values(), ids=list(CANVAS_THEMES))
def test_amounts_change_in_lightness_one_way(theme: dict[str, Any], sight: str) -> None:
    for name in ("ink", "sequence", "visible"):
        seen = lab(scale(theme["scales"][name]), sight)
        steps = np.diff(seen[:, 0])
        assert (steps > 0).all() or (steps < 0).all(), name
        assert difference(seen[0], seen[-1]) > 40, name


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", CANVAS_THEMES.values(), ids=list(CANVAS_THEMES))
def test_amounts_of_two_signs_change_in_lightness_one_way_from_the_middle(theme: dict[str, Any], sight: str) -> None:
    for name in ("diverging", "balance"):
        seen = lab(scale(theme["scales"][name]), sight)
        middle = len(seen) // 2
        outward = [np.diff(seen[middle::-1, 0]), np.diff(seen[middle:, 0])]
        assert (np.concatenate(outward) > 0).all() or (np.concatenate(outward) < 0).all(), name
        apart = difference(seen[middle::-1], seen[middle:])
        assert apart[-1] > 35, name
        assert apart[middle // 4 :].min() > APART, name


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", CANVAS_THEMES.values(), ids=list(CANVAS_THEMES))
def test_directions_are_told_apart_the_farther_they_point(theme: dict[str, Any], sight: str) -> None:
    stops = theme["scales"]["cycle"]
    assert stops[0] == stops[-1]
    seen = lab(scale(stops)[:-1], sight)
    for degrees, least in ((45, APART), (60, 15), (90, 23), (180, 33)):
        there = np.roll(seen, len(seen) * degrees // 360, axis=0)
        assert difference(seen, there).min() > least, degrees


def test_colours_of_series_are_written_in_one_place() -> None:
    """Any hexadecimal colour elsewhere belongs to a page's style sheet."""
    root = Path(__file__).parents[2]
    of_pages = {"nldisco_explorer/style.py", "nldisco_explorer/drawing/themes.py", "nldisco_report/style.py"}
    written = {
        str(path.relative_to(root / "plugins"))
        for path in (root / "plugins").glob("nldisco_*/**/*.py")
        if re.search(r"""["']#[0-9a-fA-F]{6}["']""", path.read_text(encoding="utf-8"))
    }
    assert written == of_pages
