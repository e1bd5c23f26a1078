"""The panel of a latent's scores at each value of a variable: round a circle, along a line, or as bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import Covariate
from nldisco_core.tuning import circular_conditions
from nldisco_explorer.curves import MARGINS, REACH, ticks_of
from nldisco_explorer.drawing.payload import Axis, Layer, Panel
from nldisco_explorer.polar import angles_of, between, outline, polar_ground
from nldisco_explorer.wording import number

__all__ = ["score_panel"]

Floats = NDArray[np.float64]


def score_panel(scores: pd.DataFrame, covariate: Covariate) -> Panel:
    """Selectivity at each value with its interval where the mapper has one, and coverage as dots.

    Round a circle for angles, along a line for numbers, as bars for labels.
    """
    labels = scores["condition"].astype(str).tolist()
    names = [name for name in ("selectivity", "selectivity_low", "selectivity_high", "coverage") if name in scores]
    held = {name: scores[name].to_numpy(np.float64, na_value=np.nan) for name in names}
    if covariate.kind == "circular":
        parts = circular_conditions(covariate, len(labels))
        if parts.labels == tuple(labels):
            return _round_panel(held, angles_of(parts, covariate), labels)
    place = np.arange(len(labels), dtype=np.float64)
    drawn = _along(place, held) if covariate.kind == "linear" else _in_bars(place, held, labels)
    dots = {"x": place, "y": held["coverage"]}
    said = [f"{label}\ncoverage {number(each)}" for label, each in zip(labels, held["coverage"], strict=True)]
    size = 2.2 if len(place) > 40 else 3
    return Panel(
        x=Axis(low=-0.6, high=len(labels) - 0.4, label=covariate.name.replace("_", " "), ticks=ticks_of(labels)),
        y=Axis(low=0.0, high=1.02, label="selectivity"),
        layers=(*drawn, Layer("points", dots, colour="behaviour", size=size, labels=said)),
        column=3,
        margins=MARGINS,
    )


def _in_bars(place: Floats, held: Mapping[str, Floats], labels: Sequence[str]) -> Iterator[Layer]:
    bars = {"left": place - 0.38, "right": place + 0.38, "top": np.nan_to_num(held["selectivity"])}
    yield Layer("bars", bars, colour="activation", alpha=0.85, labels=list(labels), name="selectivity")
    if {"selectivity_low", "selectivity_high"} <= set(held):
        ends = np.stack([held["selectivity_low"], held["selectivity_high"], np.full(len(place), np.nan)], axis=1)
        yield Layer("line", {"x": np.repeat(place, 3), "y": ends.ravel()}, colour="text", width=1)


def _along(place: Floats, held: Mapping[str, Floats]) -> Iterator[Layer]:
    if {"selectivity_low", "selectivity_high"} <= set(held):
        ends = {"x": place, "low": held["selectivity_low"], "high": held["selectivity_high"]}
        yield Layer("band", ends, colour="activation", alpha=0.25)
    yield Layer("line", {"x": place, "y": held["selectivity"]}, colour="activation", width=2, name="selectivity")


def _round_panel(held: Mapping[str, Floats], angles: Floats, labels: Sequence[str]) -> Panel:
    """The outer circle is one."""
    ends = [
        np.clip(np.nan_to_num(held.get(f"selectivity_{end}", held["selectivity"])), 0, 1) for end in ("low", "high")
    ]
    strong = np.clip(held["selectivity"], 0, 1)
    at = held["coverage"] * np.exp(1j * angles)
    said = [
        f"{label}\nselectivity {number(one)}\ncoverage {number(other)}"
        for label, one, other in zip(labels, held["selectivity"], held["coverage"], strict=True)
    ]
    layers = (
        *polar_ground(),
        Layer("patch", between(angles, *ends), colour="activation", alpha=0.25),
        Layer("line", outline(angles, strong, held["selectivity"]), colour="activation", width=2),
        Layer("points", {"x": at.real, "y": at.imag}, colour="behaviour", size=3, labels=said),
    )
    side = Axis(low=-REACH, high=REACH, shown=False)
    return Panel(
        x=side,
        y=side,
        layers=layers,
        title="selectivity (outer circle 1)",
        column=3,
        margins=(24, 22, 6, 22),
        equal=True,
        grid=False,
        frame=False,
    )
