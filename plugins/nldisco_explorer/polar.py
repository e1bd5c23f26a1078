"""What polar plots are made of: circles, outlines round a centre, what lies between two of them, and a direction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nldisco_core.binned import Covariate
from nldisco_core.tuning import Conditions, preferred_direction, resultant_length
from nldisco_explorer.drawing.payload import Layer

__all__ = ["angles_of", "arrow", "between", "circle", "direction_of", "outline", "polar_ground"]

Floats = NDArray[np.float64]


def angles_of(chosen: Conditions, covariate: Covariate) -> Floats:
    """(n_conditions,) centres of the conditions of a circular variable (rad)."""
    return np.asarray(chosen.centres * 2 * np.pi / (covariate.period or 1.0), dtype=np.float64)


def direction_of(mean: Floats, angles: Floats) -> tuple[float, float]:
    """Mean direction (rad) and resultant length of a non-negative curve; both NaN where nothing is above zero."""
    return float(preferred_direction(mean[None], angles)[0]), float(resultant_length(mean[None], angles)[0])


def polar_ground(names_at: float = 1.37) -> list[Layer]:
    """The outer circle of radius one, one of a half, two lines across, and the names of four directions.

    Parameters
    ----------
    names_at : how far from the centre the names stand, in radii of the outer circle
    """
    return [
        Layer("line", circle(1.0), colour="grid", width=1),
        Layer("line", circle(0.5), colour="grid", width=1),
        Layer("line", {"x": [-1, 1], "y": [0, 0]}, colour="grid", width=1),
        Layer("line", {"x": [0, 0], "y": [-1, 1]}, colour="grid", width=1),
        Layer(
            "words", text=["0°", "90°", "180°", "270°"], x=[names_at, 0, -names_at, 0], y=[0, names_at, 0, -names_at]
        ),
    ]


def circle(radius: float) -> dict[str, ArrayLike]:
    """A circle round the centre."""
    turn = np.linspace(0, 2 * np.pi, 73)
    return {"x": radius * np.cos(turn), "y": radius * np.sin(turn)}


def outline(angles: Floats, radius: Floats, mean: Floats) -> dict[str, ArrayLike]:
    """A closed line, with the angle and the mean that each of its corners stands for; unknown directions are gaps.

    Parameters
    ----------
    angles, radius, mean : (n_conditions,) where each condition stands (rad, radii of the outer circle), and its mean
    """
    turn, far, held = (np.append(each, each[0]) for each in (angles, radius, mean))
    at = far * np.exp(1j * turn)
    return {"x": np.nan_to_num(at.real), "y": at.imag, "angle_deg": np.rad2deg(turn), "mean": held}


def between(angles: Floats, inner: Floats, outer: Floats) -> dict[str, ArrayLike]:
    """What lies between two outlines."""
    turn = np.append(angles, angles[0])
    out, back = (np.nan_to_num(np.append(each, each[0])) for each in (outer, inner))
    at = np.concatenate([out * np.exp(1j * turn), (back * np.exp(1j * turn))[::-1]])
    return {"x": at.real, "y": at.imag}


def arrow(mean: Floats, angles: Floats, **style: Any) -> Layer:
    """From the centre towards the mean direction, as long as the resultant."""
    towards, length = direction_of(mean, angles)
    return Layer("line", {"x": [0, length * np.cos(towards)], "y": [0, length * np.sin(towards)]}, **style)
