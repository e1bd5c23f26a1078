"""Colours of data: one place, so that the tiles, pages and figures of every plugin mean the same by the same colour.

They stand out from a white and from a near-black ground (contrast of 3 to 1 or more, WCAG 2.2, 1.4.11), so that none of
them changes with the theme, and any two of them are told apart with and without red, green or blue cones.
``tests/explorer/test_colours.py`` measures both.
"""

from __future__ import annotations

__all__ = ["ACTIVATION", "BEHAVIOUR", "LABEL", "NEUTRAL", "PALETTE", "of_series"]

PALETTE = ("#278ecd", "#d17c12", "#047970", "#cc2a77", "#575fc7", "#86694a", "#cc2412", "#729e61")
"""Of series that have no order; more of them than these are not told apart by colour alone."""

ACTIVATION, BEHAVIOUR = PALETTE[:2]
"""Of what latents do, and of what the animal does."""

NEUTRAL = "#868d98"
"""Of grids, and of what has no colour of its own."""

LABEL = "#7b7d80"
"""Of words among the marks of a figure, which no theme reaches: as far from white as from near-black (4.1 to 1)."""


def of_series(index: int) -> str:
    """The colour of a series by its place among them; grey beyond the palette, as none stands for two of them.

    >>> of_series(0) == ACTIVATION, of_series(100) == NEUTRAL
    (True, True)
    """
    return PALETTE[index] if index < len(PALETTE) else NEUTRAL
