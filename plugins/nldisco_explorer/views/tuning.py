"""Tiles that show a latent's mean activation against a variable: polar plot, tuning curve, bars and rate map."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from bokeh.models import (
    BasicTicker,
    ColorBar,
    ColumnDataSource,
    FactorRange,
    FixedTicker,
    LinearAxis,
    LinearColorMapper,
    Range1d,
)
from bokeh.palettes import Cividis256
from numpy.typing import NDArray

from nldisco_core.binned import Covariate
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_core.session import SignalKind
from nldisco_core.tuning import Conditions, preferred_direction, resultant_length
from nldisco_explorer.figures import ACTIVATION, BEHAVIOUR, GRID, NEUTRAL, FigureTile, number, plain_figure
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.variables import Curve, mean_activation

__all__ = ["ConditionBars", "PolarTuning", "RateMap", "TuningCurve"]

TILE_HEIGHT = 310
FRAME = 240


class _TuningTile(FigureTile):
    """Shares the choice of variable: the selected one where it is of this tile's kind, else the first of that kind."""

    kind: ClassVar[SignalKind]

    def __init__(self, reads: Readings, *figures: Any) -> None:
        super().__init__(*figures)
        self._reads = reads

    def show(self, selection: Selection) -> None:
        """Draw the selected latent."""
        names = self._reads.variables(self.kind)
        name = selection.variable if selection.variable in names else names[0]
        covariate, chosen = self._reads.covariate(name), self._reads.cut(name)
        active = self._reads.activations(selection)
        mask = self._reads.split_mask(selection.split)
        curve = mean_activation(chosen, active, bin_s=self._reads.run.counts.bin_s, mask=mask)
        self.draw(covariate, chosen, curve)

    def draw(self, covariate: Covariate, chosen: Conditions, curve: Curve) -> None:
        """Draw a curve and say what it shows."""
        raise NotImplementedError


def _with_unit(name: str, covariate: Covariate) -> str:
    return f"{name} ({covariate.physical_unit})" if covariate.physical_unit else name


class PolarTuning:
    """View: mean activation by direction, with a ring of occupancy."""

    title: ClassVar[str] = "Tuning to direction"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset({"circular"})

    def build(self, run: Run) -> FigureTile:
        """A new tile."""
        return _PolarTile(readings(run))


class _PolarTile(_TuningTile):
    kind = "circular"

    def __init__(self, reads: Readings) -> None:
        drawn = plain_figure(
            height=TILE_HEIGHT,
            width=FRAME + 80,
            frame_width=FRAME,
            frame_height=FRAME,
            x_range=Range1d(-1.38, 1.38),
            y_range=Range1d(-1.38, 1.38),
            sizing_mode="fixed",
            align="center",
            min_border_left=40,
            min_border_right=40,
            min_border_top=30,
            min_border_bottom=30,
        )
        drawn.grid.visible = False
        drawn.axis.visible = False
        for place, label in (("right", "0°"), ("above", "90°"), ("left", "±180°"), ("below", "−90°")):
            axis = LinearAxis(
                ticker=FixedTicker(ticks=[0]),
                major_label_overrides={0: label},
                axis_line_alpha=0,
                major_tick_line_alpha=0,
                major_tick_in=0,
                major_tick_out=0,
            )
            drawn.add_layout(axis, place)
        drawn.circle(x=0, y=0, radius=[0.5, 1.0], fill_alpha=0, line_color=GRID, line_alpha=0.45)
        drawn.segment(x0=[-1, 0], y0=[0, -1], x1=[1, 0], y1=[0, 1], line_color=GRID, line_alpha=0.3)
        self.source = ColumnDataSource({name: [] for name in ("start", "end", "ring")}, name="polar-bins")
        self.outline = ColumnDataSource({name: [] for name in ("x", "y", "filled_x", "filled_y")}, name="polar-outline")
        self.arrow = ColumnDataSource({"x": [], "y": []}, name="polar-mean")
        drawn.annular_wedge(
            x=0,
            y=0,
            inner_radius=1.1,
            outer_radius="ring",
            start_angle="start",
            end_angle="end",
            source=self.source,
            fill_color=NEUTRAL,
            fill_alpha=0.55,
            line_color=None,
        )
        drawn.patch("filled_x", "filled_y", source=self.outline, fill_color=ACTIVATION, fill_alpha=0.3, line_color=None)
        drawn.line("x", "y", source=self.outline, line_color=ACTIVATION, line_width=2.5, line_join="round")
        drawn.line("x", "y", source=self.arrow, line_color=BEHAVIOUR, line_width=3, line_cap="round")
        super().__init__(reads, drawn)

    def draw(self, covariate: Covariate, chosen: Conditions, curve: Curve) -> None:
        angles = chosen.centres * 2 * np.pi / (covariate.period or 1.0)
        half = np.pi / len(angles)
        radius = curve.mean / curve.top
        most_s = float(curve.occupancy_s.max()) or 1.0
        self.source.data = {
            "start": (angles - half).astype(np.float32),
            "end": (angles + half).astype(np.float32),
            "ring": (1.1 + 0.24 * curve.occupancy_s / most_s).astype(np.float32),
        }
        closed = np.append(np.arange(len(angles)), 0)
        outline = (radius * np.exp(1j * angles))[closed]
        filled = np.nan_to_num(outline)  # an unvisited direction is a gap in the line and a notch in the area
        self.outline.data = {"x": outline.real, "y": outline.imag, "filled_x": filled.real, "filled_y": filled.imag}
        length = float(resultant_length(curve.mean[None], angles)[0])
        towards = float(preferred_direction(curve.mean[None], angles)[0])
        self.arrow.data = {"x": [0.0, length * np.cos(towards)], "y": [0.0, length * np.sin(towards)]}
        visited = curve.occupancy_s[curve.occupancy_s > 0]
        least = float(visited.min()) if len(visited) == len(angles) else 0.0
        self.say(
            f"{covariate.name}: no active bin here."
            if curve.peak is None
            else f"{covariate.name}: mean direction {np.rad2deg(towards):.0f}°, "
            f"resultant length {number(length, 2)} (orange line).",
            "" if curve.peak is None else f"Outer circle {number(curve.top, 2)}, the largest mean activation.",
            f"Grey ring: time spent, {number(least, 2)} to {number(most_s)} s per bin of {360 / len(angles):g}°.",
        )


class TuningCurve:
    """View: mean activation against a linear variable, over the time spent at each value."""

    title: ClassVar[str] = "Tuning curve"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset({"linear"})

    def build(self, run: Run) -> FigureTile:
        """A new tile."""
        return _LineTile(readings(run))


class _LineTile(_TuningTile):
    kind = "linear"

    def __init__(self, reads: Readings) -> None:
        self.drawn = plain_figure(height=TILE_HEIGHT, x_label=" ", y_label="mean activation")
        self.source = ColumnDataSource(
            {name: [] for name in ("x", "mean", "left", "right", "occupancy")}, name="tuning-curve"
        )
        self.drawn.quad(
            left="left",
            right="right",
            bottom=0,
            top="occupancy",
            source=self.source,
            fill_color=NEUTRAL,
            fill_alpha=0.35,
            line_color=None,
        )
        self.drawn.line("x", "mean", source=self.source, line_color=ACTIVATION, line_width=2.5, line_join="round")
        self.drawn.scatter("x", "mean", source=self.source, size=5, color=ACTIVATION)
        super().__init__(reads, self.drawn)

    def draw(self, covariate: Covariate, chosen: Conditions, curve: Curve) -> None:
        edges = _within_reach(chosen.edges[0])
        widths = np.diff(edges)
        density = np.divide(curve.occupancy_s, widths, out=np.zeros(len(widths)), where=widths > 0)
        self.source.data = {
            "x": (edges[:-1] + edges[1:]) / 2,
            "mean": curve.mean.astype(np.float32),
            "left": edges[:-1],
            "right": edges[1:],
            "occupancy": (0.3 * curve.top * density / (float(density.max()) or 1.0)).astype(np.float32),
        }
        self.drawn.x_range.update(start=float(edges[0]), end=float(edges[-1]))
        self.drawn.y_range.end = 1.08 * curve.top
        self.drawn.xaxis.axis_label = _with_unit(covariate.name, covariate)
        peak = curve.peak
        self.say(
            f"{covariate.name}: no active bin here."
            if peak is None
            else f"{covariate.name}: largest mean at {chosen.labels[peak]}.",
            f"{len(widths)} quantiles of the recording,",
            f"each {number(float(curve.occupancy_s.min()))} s or more of this split.",
            "Grey: where the time was spent.",
        )


def _within_reach(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Borders of quantiles; the outermost two, which hold outliers, at most three times as wide as their neighbours."""
    drawn = edges.copy()
    if len(edges) > 3:
        drawn[0] = max(edges[0], edges[1] - 3 * (edges[2] - edges[1]))
        drawn[-1] = min(edges[-1], edges[-2] + 3 * (edges[-2] - edges[-3]))
    return drawn


class ConditionBars:
    """View: mean activation for each label of a discrete variable."""

    title: ClassVar[str] = "Mean by condition"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset({"discrete"})

    def build(self, run: Run) -> FigureTile:
        """A new tile."""
        return _BarTile(readings(run))


class _BarTile(_TuningTile):
    kind = "discrete"

    def __init__(self, reads: Readings) -> None:
        labels = list(reads.cut(reads.variables("discrete")[0]).labels)
        self.drawn = plain_figure(
            height=TILE_HEIGHT, x_range=FactorRange(factors=labels), x_label=" ", y_label="mean activation"
        )
        self.drawn.xgrid.visible = False
        self.source = ColumnDataSource({"label": [], "mean": []}, name="condition-bars")
        self.drawn.vbar(x="label", top="mean", width=0.7, source=self.source, fill_color=ACTIVATION, line_color=None)
        super().__init__(reads, self.drawn)

    def draw(self, covariate: Covariate, chosen: Conditions, curve: Curve) -> None:
        labels = list(chosen.labels)
        if list(self.drawn.x_range.factors) != labels:
            self.drawn.x_range.factors = labels
        self.drawn.xaxis.major_label_orientation = 0.0 if sum(map(len, labels)) < 40 else 0.9
        self.drawn.xaxis.axis_label = covariate.name
        self.source.data = {"label": labels, "mean": np.nan_to_num(curve.mean).astype(np.float32)}
        self.drawn.y_range.end = 1.08 * curve.top
        peak, least = curve.peak, int(np.argmin(curve.occupancy_s))
        self.say(
            f"{covariate.name}: no active bin here."
            if peak is None
            else f"{covariate.name}: largest for {labels[peak]} ({number(float(curve.mean[peak]))}).",
            f"Least time in {labels[least]}: {number(float(curve.occupancy_s[least]))} s.",
        )


class RateMap:
    """View: mean activation over a position."""

    title: ClassVar[str] = "Map over position"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset({"position"})

    def build(self, run: Run) -> FigureTile:
        """A new tile."""
        return _MapTile(readings(run))


class _MapTile(_TuningTile):
    kind = "position"

    def __init__(self, reads: Readings) -> None:
        self.mapper = LinearColorMapper(palette=Cividis256, low=0, high=1, nan_color="rgba(0, 0, 0, 0)")
        self.drawn = plain_figure(
            height=TILE_HEIGHT,
            width=FRAME + 122,
            frame_width=FRAME,
            frame_height=FRAME,
            sizing_mode="fixed",
            align="center",
            x_label=" ",
            y_label=" ",
            min_border_left=54,
            min_border_right=68,
            min_border_bottom=58,
        )
        self.drawn.grid.visible = False
        self.source = ColumnDataSource({name: [] for name in ("image", "x", "y", "dw", "dh")}, name="rate-map")
        self.drawn.image("image", x="x", y="y", dw="dw", dh="dh", source=self.source, color_mapper=self.mapper)
        bar = ColorBar(color_mapper=self.mapper, width=10, padding=4, ticker=BasicTicker(desired_num_ticks=4))
        self.drawn.add_layout(bar, "right")
        super().__init__(reads, self.drawn)

    def draw(self, covariate: Covariate, chosen: Conditions, curve: Curve) -> None:
        xs, ys = chosen.edges if len(chosen.edges) == 2 else (chosen.edges[0], np.array([0.0, 1.0]))
        self.source.data = {
            "image": [np.atleast_2d(curve.mean.T).astype(np.float32)],
            "x": [xs[0]],
            "y": [ys[0]],
            "dw": [xs[-1] - xs[0]],
            "dh": [ys[-1] - ys[0]],
        }
        self._frame(xs, ys)
        self.mapper.high = curve.top
        for axis, channel in zip((self.drawn.xaxis, self.drawn.yaxis), covariate.channels, strict=False):
            axis.axis_label = _with_unit(channel, covariate)
        visited = curve.occupancy_s[curve.occupancy_s > 0]
        self.say(
            f"{covariate.name}: no active bin here."
            if curve.peak is None
            else f"{covariate.name}: largest mean {number(curve.top)} at {chosen.labels[curve.peak]}.",
            f"{len(visited)} of {curve.occupancy_s.size} cells visited"
            + (f", for a median of {number(float(np.median(visited)), 2)} s." if len(visited) else "."),
        )

    def _frame(self, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> None:
        """Equal scales on both axes: a square around the grid."""
        half = max(float(xs[-1] - xs[0]), float(ys[-1] - ys[0])) / 2
        for edges, axis in ((xs, self.drawn.x_range), (ys, self.drawn.y_range)):
            middle = float(edges[0] + edges[-1]) / 2
            axis.update(start=middle - half, end=middle + half)
