"""Tiles that show a latent's mean activation against a variable: polar plot, tuning curve, bars and rate map."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from nldisco_core.binned import Covariate
from nldisco_core.condition_curves import Curve
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_core.session import SignalKind
from nldisco_core.tuning import Conditions
from nldisco_explorer.curves import bar_panel, line_panel, polar_panel
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, bytes_of
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.polar import angles_of, direction_of
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.value_axis import value_axis, with_unit
from nldisco_explorer.visited import visited_part
from nldisco_explorer.wording import number

__all__ = ["ConditionBars", "PolarTuning", "RateMap", "TuningCurve"]

TILE_HEIGHT = 300
INTERVAL = "95 % interval over blocks of time."


class _TuningTile(CanvasTile):
    """Shares the choice of variable: the selected one where it is of this tile's kind, else the first of that kind."""

    kind: ClassVar[SignalKind]

    def __init__(self, reads: Readings) -> None:
        super().__init__()
        self._reads = reads

    def show(self, selection: Selection) -> None:
        """Draw the selected latent."""
        names = self._reads.variables(self.kind)
        name = selection.variable if selection.variable in names else names[0]
        active = self._reads.activations(selection)
        curve = self._reads.visits(name, selection.model, selection.split).of_latent(active.rows, active.values)
        covariate, chosen = self._reads.covariate(name), self._reads.cut(name)
        panels, said = self.panels(covariate, chosen, curve)
        words = said if curve.peak is not None else f"{covariate.name}: no active bin here."
        self.draw(Drawing(panels=panels, summary=words, rows=(TILE_HEIGHT,)))

    def panels(self, covariate: Covariate, chosen: Conditions, curve: Curve) -> tuple[tuple[Panel, ...], str]:
        """What is drawn, and what it shows in words."""
        raise NotImplementedError


def _spoken(covariate: Covariate) -> str:
    return covariate.name.replace("_", " ")


class PolarTuning:
    """View: mean activation by direction, with a ring of occupancy."""

    title: ClassVar[str] = "Tuning to direction"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset({"circular"})

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _PolarTile(readings(run))


class _PolarTile(_TuningTile):
    kind = "circular"

    def panels(self, covariate: Covariate, chosen: Conditions, curve: Curve) -> tuple[tuple[Panel, ...], str]:
        angles = angles_of(chosen, covariate)
        towards, length = direction_of(curve.unsmoothed, angles)
        visited = curve.occupancy_s[curve.occupancy_s > 0]
        least = float(visited.min()) if len(visited) == len(angles) else 0.0
        said = (
            f"{covariate.name}: mean direction {np.rad2deg(towards):.0f}°, resultant length {number(length, 2)} "
            f"(orange line). Outer circle {number(curve.top, 2)}, the largest mean activation; pale: {INTERVAL} "
            f"Grey ring: time spent, {number(least, 2)} to {number(float(curve.occupancy_s.max()))} s per bin of "
            f"{360 / len(angles):g}°."
        )
        return (polar_panel(covariate, chosen, curve, label="", colour="activation"),), said


class TuningCurve:
    """View: mean activation against a linear variable, over the time spent at each value."""

    title: ClassVar[str] = "Tuning curve"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset({"linear"})

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _LineTile(readings(run))


class _LineTile(_TuningTile):
    kind = "linear"

    def panels(self, covariate: Covariate, chosen: Conditions, curve: Curve) -> tuple[tuple[Panel, ...], str]:
        said = (
            f"{covariate.name}: largest mean at {chosen.labels[curve.peak or 0]}. {chosen.n_conditions} quantiles of "
            f"the recording, each {number(float(curve.occupancy_s.min()))} s or more of this split. Pale: {INTERVAL} "
            f"Grey: where the time was spent. {value_axis(chosen).said}"
        ).rstrip()
        return (line_panel(covariate, chosen, curve, label="mean activation", colour="activation"),), said


class ConditionBars:
    """View: mean activation for each label of a discrete variable."""

    title: ClassVar[str] = "Mean by condition"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset({"discrete"})

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _BarTile(readings(run))


class _BarTile(_TuningTile):
    kind = "discrete"

    def panels(self, covariate: Covariate, chosen: Conditions, curve: Curve) -> tuple[tuple[Panel, ...], str]:
        peak, least = curve.peak or 0, int(np.argmin(curve.occupancy_s))
        interval = f"{number(float(curve.low[peak]))} to {number(float(curve.high[peak]))}"
        said = (
            f"{_spoken(covariate)}: largest for {chosen.labels[peak]} ({number(float(curve.mean[peak]))}, "
            f"95 % interval {interval}). Lines: {INTERVAL} Least time in {chosen.labels[least]}: "
            f"{number(float(curve.occupancy_s[least]))} s."
        )
        return (bar_panel(covariate, chosen, curve, label="mean activation", colour="activation"),), said


class RateMap:
    """View: mean activation over a position."""

    title: ClassVar[str] = "Map over position"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset({"position"})

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _MapTile(readings(run))


class _MapTile(_TuningTile):
    kind = "position"

    def panels(self, covariate: Covariate, chosen: Conditions, curve: Curve) -> tuple[tuple[Panel, ...], str]:
        visited = curve.occupancy_s[curve.occupancy_s > 0]
        said = (
            f"{_spoken(covariate)}: largest mean {number(curve.top)} at {chosen.labels[curve.peak or 0]}. "
            f"{len(visited)} of {curve.occupancy_s.size} cells visited"
            + (f", for a median of {number(float(np.median(visited)), 2)} s." if len(visited) else ".")
        )
        return (_map_panel(covariate, chosen, curve),), said


def _map_panel(covariate: Covariate, chosen: Conditions, curve: Curve) -> Panel:
    """Means in the frame of what was visited, with what their colours stand for."""
    names = [with_unit(channel, covariate) for channel in covariate.channels]
    flat = chosen.edges if len(chosen.edges) == 2 else (chosen.edges[0], np.array([0.0, 1.0]))
    mean, (xs, ys) = visited_part(curve.mean.reshape(len(flat[0]) - 1, -1), flat)
    grid = mean.T[::-1]
    image = Layer(
        "image",
        {"image": bytes_of(grid, 0.0, curve.top)},
        shape=list(grid.shape),
        extent=[float(xs[0]), float(xs[-1]), float(ys[0]), float(ys[-1])],
        scale="sequence",
        bottom=0.0,
        top=curve.top,
        missing=True,
        name="mean activation",
    )
    return Panel(
        x=Axis(low=float(xs[0]), high=float(xs[-1]), label=names[0]),
        y=Axis(low=float(ys[0]), high=float(ys[-1]), label=names[1] if len(names) > 1 else "", shown=len(names) > 1),
        layers=(image, Layer("key", scale="sequence", bottom=0.0, top=curve.top)),
        margins=(10, 62, 44, 62),
        equal=len(names) > 1,
        hug=len(names) > 1,
        grid=False,
    )
