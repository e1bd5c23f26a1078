"""Colours of a canvas in the two themes of the explorer."""

from __future__ import annotations

from typing import Any

from bokeh.palettes import Viridis256

from nldisco_explorer.figures import ACTIVATION, BEHAVIOUR, NEUTRAL, PALETTE
from nldisco_explorer.style import THEMES

__all__ = ["CANVAS_THEMES"]

# Directions run through four colours that differ in lightness as well as between blue and yellow, the axis that
# people without red or green cones see; the ends meet.
CYCLE = ("#2b7fd0", "#b9a7cf", "#c98a10", "#7d5a86", "#2b7fd0")


# As ``diverging``, for points: their middle stands out from both grounds.
BALANCE = ("#8a3f00", "#d98a3d", NEUTRAL, "#4a97d0", "#0d4f86")


def _theme(name: str, *, ink: tuple[str, ...], sequence: tuple[str, ...], diverging: tuple[str, ...]) -> dict[str, Any]:
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
        "scales": {
            "ink": ink,
            "sequence": sequence,
            "visible": ink[1:],
            "diverging": diverging,
            "balance": BALANCE,
            "cycle": CYCLE,
        },
    }


CANVAS_THEMES: dict[str, Any] = {
    "light": _theme(
        "light",
        ink=("#ffffff", "#8fbfe2", "#2b86c5", "#0b3d66"),
        sequence=Viridis256[8:200:8],
        diverging=("#8a3f00", "#d98a3d", "#ffffff", "#5aa3d6", "#0d4f86"),
    ),
    "dark": _theme(
        "dark",
        ink=("#181d23", "#1f5f91", "#4da3e0", "#d6ecff"),
        sequence=Viridis256[72::8],
        diverging=("#ffb066", "#b8661a", "#181d23", "#2b7bb8", "#8fd0ff"),
    ),
}
"""What ``panels.js`` reads of a theme, by name. A scale is a list of stops; ``ink`` and
the middle of ``diverging`` are the ground; ``visible`` is ``ink`` without it."""
