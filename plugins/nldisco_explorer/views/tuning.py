"""Tiles that show a latent's mean activation against a variable: polar plot, tuning curve, bars and rate map."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nldisco_core.binned import Covariate
from nldisco_core.condition_curves import Curve, drawn_as
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_core.session import SignalKind
from nldisco_core.tuning import Conditions
from nldisco_explorer.curves import bar_panel, line_panel, polar_panel
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, bytes_of
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.polar import angles_of, direction_of
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.tested import said_of_test
from nldisco_explorer.value_axis import value_axis, with_unit
from nldisco_explorer.visited import plane_of, visited_part
from nldisco_explorer.wording import number

__all__ = ["ConditionBars", "PolarTuning", "RateMap", "TuningCurve"]

TILE_HEIGHT = 300
MOST_SPENT = 0.95
"""Colours of the time spent end at this quantile of the visited cells, beyond which a place of rest may lie far."""

INTERVAL = "95 % interval over blocks of time."


class _TuningTile(CanvasTile):
    """Shares the choice of variable: the selected one where it is of this tile's kind, else the first of that kind."""

    kind: ClassVar[SignalKind]
    columns: ClassVar[tuple[float, ...]] = (1,)

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
        words = said if curve.peak is not None else f"{_spoken(covariate)}: no active bin where anything is drawn."
        said = " ".join(each for each in (words, drawn_as(chosen), said_of_test(self._reads, selection, name)) if each)
        self.draw(Drawing(panels=panels, summary=said, rows=(TILE_HEIGHT,), columns=self.columns))

    def panels(self, covariate: Covariate, chosen: Conditions, curve: Curve) -> tuple[tuple[Panel, ...], str]:
        """What is drawn, and what it shows in words."""
        raise NotImplementedError


def _spoken(covariate: Covariate) -> str:
    return covariate.name.replace("_", " ")


def _largest(curve: Curve, chosen: Conditions) -> str:
    """The largest mean with its interval, and where it is."""
    interval = f"95 % interval {number(curve.peak_low)} to {number(curve.peak_high)}"
    if np.isnan(curve.peak_low):
        interval = "no interval: the animal was there in one block of time alone"
    return f"largest mean {number(curve.largest)} ({interval}) at {chosen.labels[curve.peak or 0]}"


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
            f"{_spoken(covariate)}: mean direction {np.rad2deg(towards):.0f}°, resultant length {number(length, 2)} "
            f"(orange line); {_largest(curve, chosen)}. Outer circle {number(curve.top, 2)}; pale: {INTERVAL} "
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
            f"{_spoken(covariate)}: {_largest(curve, chosen)}. {chosen.n_conditions} quantiles of "
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
        least = int(np.argmin(curve.occupancy_s))
        said = (
            f"{_spoken(covariate)}: {_largest(curve, chosen)}. Lines: {INTERVAL} Least time in {chosen.labels[least]}: "
            f"{number(float(curve.occupancy_s[least]))} s."
        )
        return (bar_panel(covariate, chosen, curve, label="mean activation", colour="activation"),), said


class RateMap:
    """View: mean activation over a position, beside the time spent there."""

    title: ClassVar[str] = "Map over position"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset({"position"})

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _MapTile(readings(run))


class _MapTile(_TuningTile):
    kind = "position"
    columns = (1.25, 1)

    def panels(self, covariate: Covariate, chosen: Conditions, curve: Curve) -> tuple[tuple[Panel, ...], str]:
        visited = curve.occupancy_s[curve.occupancy_s > 0]
        said = (
            f"{_spoken(covariate)}: {_largest(curve, chosen)}. "
            f"{len(visited)} of {curve.occupancy_s.size} cells visited"
            + (f", for a median of {number(float(np.median(visited)), 2)} s" if len(visited) else "")
            + f" (right: the time spent in each, at most {number(float(curve.occupancy_s.max()))} s; "
            f"colours end at the {100 * MOST_SPENT:.0f}th percentile)."
            + (" Of the three dimensions the two that reach farthest are drawn." if len(chosen.edges) > 2 else "")
        )
        return _map_panels(covariate, chosen, curve), said


def _map_panels(covariate: Covariate, chosen: Conditions, curve: Curve) -> tuple[Panel, Panel]:
    """Means, and the time spent, in the frame of what was visited, with what their colours stand for."""
    kept, means, spent = plane_of(curve.mean, curve.occupancy_s, chosen.edges)
    names = [with_unit(covariate.channels[axis], covariate) for axis in kept]
    edges = tuple(chosen.edges[axis] for axis in kept) if len(kept) == 2 else (chosen.edges[0], np.array([0.0, 1.0]))
    maps, borders = visited_part(np.stack([means, spent]), edges)
    tops = curve.top, float(np.nanquantile(spent, MOST_SPENT)) if np.isfinite(spent).any() else 1.0
    mean = _map_panel(names, maps[0], borders, tops[0], "sequence", "mean activation")
    time = _map_panel(names, maps[1], borders, tops[1], "ink", "time spent (s)")
    return mean, replace(time, column=1, y=replace(time.y, label="", shown=False), margins=(26, 50, 44, 50))


def _map_panel(
    names: list[str],
    values: NDArray[np.float64],
    borders: tuple[NDArray[np.float64], NDArray[np.float64]],
    top: float,
    scale: str,
    name: str,
) -> Panel:
    grid, (xs, ys) = values.T[::-1], borders
    image = Layer(
        "image",
        {"image": bytes_of(grid, 0.0, top)},
        shape=list(grid.shape),
        extent=[float(xs[0]), float(xs[-1]), float(ys[0]), float(ys[-1])],
        scale=scale,
        bottom=0.0,
        top=top,
        missing=True,
        name=name,
    )
    return Panel(
        title=name,
        x=Axis(low=float(xs[0]), high=float(xs[-1]), label=names[0]),
        y=Axis(low=float(ys[0]), high=float(ys[-1]), label=names[1] if len(names) > 1 else "", shown=len(names) > 1),
        layers=(image, Layer("key", scale=scale, bottom=0.0, top=top)),
        margins=(26, 58, 44, 58),
        equal=len(names) > 1,
        hug=len(names) > 1,
        grid=False,
    )
