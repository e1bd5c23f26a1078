"""Colours of a canvas in the two themes of the explorer."""

from __future__ import annotations

from typing import Any

from bokeh.palettes import Viridis256

from nldisco_core.colours import ACTIVATION, BEHAVIOUR, NEUTRAL, PALETTE
from nldisco_explorer.style import THEMES

__all__ = ["CANVAS_THEMES"]


def _theme(name: str, **scales: tuple[str, ...]) -> dict[str, Any]:
    colours = THEMES[name]["palette"]
    return {
        "name": name,
        "ground": colours["background"]["paper"],
        "text": colours["text"]["primary"],
        "muted": colours["text"]["secondary"],
        "grid": "rgba(134, 141, 152, 0.22)",
        "tip": colours["text"]["primary"],
        "tip_text": colours["background"]["paper"],
        "activation": ACTIVATION,
        "behaviour": BEHAVIOUR,
        "neutral": NEUTRAL,
        "palette": PALETTE,
        "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
        "scales": scales,
    }


CANVAS_THEMES: dict[str, Any] = {
    "light": _theme(
        "light",
        ink=("#ffffff", "#8fbfe2", "#2b86c5", "#0b3d66"),
        sequence=Viridis256[8:200:8],
        visible=Viridis256[152:0:-8],
        diverging=("#8a3f00", "#d98a3d", "#ffffff", "#5aa3d6", "#0d4f86"),
        balance=("#7d3800", "#a4621f", NEUTRAL, "#3f79ab", "#0b4376"),
        cycle=("#6b62e0", "#a08da8", "#d37c66", "#b92f0a", "#51292b", "#402e5f", "#6b62e0"),
    ),
    "dark": _theme(
        "dark",
        ink=("#181d23", "#1f5f91", "#4da3e0", "#d6ecff"),
        sequence=Viridis256[72::8],
        visible=Viridis256[96::8],
        diverging=("#ffb066", "#b8661a", "#181d23", "#2b7bb8", "#8fd0ff"),
        balance=("#ffc078", "#d19c66", NEUTRAL, "#74a6d0", "#a8dcff"),
        cycle=("#1f95ff", "#d1eafd", "#fce4b6", "#c18404", "#7d674c", "#596f81", "#1f95ff"),
    ),
}
"""What ``panels.js`` reads of a theme, by name. A scale is a list of stops. Of those that fill an area, ``ink`` and the
middle of ``diverging`` are the ground, and ``sequence`` comes near it; those of points and lines stand out from it
throughout: ``visible`` for amounts, the more the farther from the ground, ``balance`` for amounts of two signs, and
``cycle`` for directions, whose ends meet and whose opposites differ in lightness or between blue and yellow."""
