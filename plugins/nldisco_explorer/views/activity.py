"""Tiles that show when a latent is active, how strongly, and which units go with it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from bokeh.events import Tap
from bokeh.models import BasicTicker, ColumnDataSource, FixedTicker, LogTicker, Range1d
from numpy.typing import NDArray

from nldisco_core.binned import Covariate
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.figures import (
    ACTIVATION,
    BEHAVIOUR,
    NEUTRAL,
    PALETTE,
    FigureTile,
    listed,
    number,
    plain_figure,
    share,
)
from nldisco_explorer.readings import Readings, readings

__all__ = ["ActivationHistogram", "ActivationTrace", "ContributingUnits", "envelope"]

WINDOW_S = 90.0
STRIP_POINTS = 3000


def envelope(times: NDArray[np.float64], values: NDArray[Any], n_points: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Times and values of at most about `n_points` points that keep the extremes: minimum and maximum of each stretch.

    Parameters
    ----------
    times, values : (n_samples,)
    """
    n_chunks = n_points // 2
    if len(values) <= n_points:
        return times, values
    size = -(-len(values) // n_chunks)
    padded = np.pad(values, (0, -len(values) % size), mode="edge").reshape(-1, size)
    low, high = padded.argmin(axis=1), padded.argmax(axis=1)
    picked = np.sort(np.stack([low, high], axis=1), axis=1) + np.arange(len(padded))[:, None] * size
    picked = np.minimum(picked.ravel(), len(values) - 1)
    return times[picked], values[picked]


class ContributingUnits:
    """View: what the latent adds to each unit, by region; correlations where the model has no weights."""

    title: ClassVar[str] = "Contributing units"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> FigureTile:
        """A new tile."""
        return _UnitsTile(readings(run))


class _UnitsTile(FigureTile):
    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        units = reads.units
        self._order = units.sort_values(["region"], kind="stable").index.to_numpy()
        ordered = units.loc[self._order]
        regions = list(dict.fromkeys(ordered["region"]))
        colour = {region: PALETTE[i % len(PALETTE)] for i, region in enumerate(regions)}
        n_units = len(units)
        self.drawn = plain_figure(
            height=190, x_range=Range1d(-0.6, n_units - 0.4), y_label="weight", min_border_bottom=4
        )
        self.when_active = plain_figure(
            height=150, x_range=self.drawn.x_range, y_label="z when active", min_border_bottom=60
        )
        self.drawn.xaxis.visible = False
        for each in (self.drawn, self.when_active):
            each.xgrid.visible = False
        self._label_units(ordered)
        self.source = ColumnDataSource(
            {
                "x": np.arange(n_units),
                "weight": np.zeros(n_units),
                "z": np.zeros(n_units),
                "low": np.zeros(n_units),
                "high": np.zeros(n_units),
                "colour": [colour[region] for region in ordered["region"]],
                "region": ordered["region"].tolist(),
            },
            name="units",
        )
        self.drawn.vbar(
            x="x",
            top="weight",
            width=0.75,
            source=self.source,
            fill_color="colour",
            line_color=None,
            legend_group="region",
        )
        legend = self.drawn.legend[0]
        legend.update(orientation="horizontal", padding=0, margin=0, border_line_color=None, visible=len(regions) <= 6)
        self.drawn.add_layout(legend, "above")
        self.when_active.segment(
            x0="x", x1="x", y0="low", y1="high", source=self.source, line_color="colour", line_width=1.5
        )
        self.when_active.scatter("x", "z", source=self.source, size=6, fill_color="colour", line_color=None)
        super().__init__(self.drawn, self.when_active)

    def _label_units(self, ordered: pd.DataFrame) -> None:
        axis = self.when_active.xaxis[0]
        axis.axis_label = "unit"
        if len(ordered) <= 40:
            labels = dict(enumerate(ordered["id"]))
            axis.major_label_orientation = 0.9 if max(map(len, ordered["id"])) > 2 else 0.0
        else:
            positions = (
                pd.Series(np.arange(len(ordered))).groupby(ordered["region"].to_numpy()).mean().round().astype(int)
            )
            labels = {int(position): str(region) for region, position in positions.items()}
        axis.ticker = FixedTicker(ticks=list(labels))
        axis.major_label_overrides = labels

    def show(self, selection: Selection) -> None:
        """Draw the selected latent."""
        active = self._reads.activations(selection)
        weight, what = self._weights(selection)
        z = self._reads.activity[active.rows]
        mean, sem = (z.mean(axis=0), z.std(axis=0) / np.sqrt(len(z))) if len(z) else np.full((2, z.shape[1]), np.nan)
        low, high = mean - sem, mean + sem
        order = self._order
        self.source.data = dict(self.source.data) | {
            "weight": weight[order].astype(np.float32),
            "z": mean[order].astype(np.float32),
            "low": low[order].astype(np.float32),
            "high": high[order].astype(np.float32),
        }
        _fit(self.drawn.y_range, np.append(weight, 0))
        _fit(self.when_active.y_range, np.concatenate([low, high, [0]]))
        units = self._reads.units
        top = np.argsort(-np.abs(np.nan_to_num(weight)), kind="stable")[:3]
        named = (f"{units['id'][i]} ({units['region'][i]}, {number(float(weight[i]), 2)})" for i in top)
        self.say(
            f"Bars: {what}.",
            f"Largest: {listed(named)}.",
            f"Dots: mean z of each unit over the {len(active.rows)} active bins, with the standard error over bins.",
        )

    def _weights(self, selection: Selection) -> tuple[NDArray[np.float64], str]:
        """(n_units,) weight of the latent to each unit, and what it is."""
        dictionary = self._reads.run.part(selection.model).dictionary
        latent, sign = selection.latent or 0, selection.sign or 1
        n_units = len(self._reads.units)
        if dictionary is not None and dictionary.values.shape[2] == n_units:
            values = np.asarray(dictionary.values[selection.instance, latent], dtype=np.float64)
            summed = values if values.ndim == 1 else values.sum(axis=1)
            return sign * summed, "decoder weight to each unit" + ("" if values.ndim == 1 else ", summed over lags")
        active = self._reads.activations(selection)
        trace = active.trace(len(self._reads.activity))
        scale = float(trace.std())
        if scale == 0:
            return np.full(
                n_units, np.nan
            ), "this model has no decoder weights, and a silent latent correlates with nothing"
        correlation = (trace - trace.mean()) @ self._reads.activity / (len(trace) * scale)
        return np.asarray(
            correlation, dtype=np.float64
        ), "this model has no decoder weights; shown is the correlation with each unit"


def _fit(axis: Range1d, values: NDArray[np.float64]) -> None:
    """Range that holds all values, of which one at least is finite."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        axis.update(start=-1.0, end=1.0)
        return
    pad = 0.08 * (high - low)
    axis.update(start=low - (pad if low < 0 else 0), end=high + pad)


class ActivationHistogram:
    """View: how strong the activations are."""

    title: ClassVar[str] = "Activation strength"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> FigureTile:
        """A new tile."""
        return _HistogramTile(readings(run))


class _HistogramTile(FigureTile):
    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        self.drawn = plain_figure(
            height=310, x_label="activation, where active", y_label="bins", y_axis_type="log", y_range=Range1d(0.7, 10)
        )
        self.source = ColumnDataSource({name: [] for name in ("left", "right", "top")}, name="activation-histogram")
        self.drawn.quad(
            left="left",
            right="right",
            top="top",
            bottom=0.7,
            source=self.source,
            fill_color=ACTIVATION,
            fill_alpha=0.8,
            line_color=None,
        )
        self.drawn.yaxis.ticker = LogTicker(base=10, mantissas=[1, 3])
        super().__init__(self.drawn)

    def show(self, selection: Selection) -> None:
        """Draw the selected latent."""
        active = self._reads.activations(selection)
        spoken = int(active.defined.sum())
        if not len(active.rows):
            self.source.data = {name: [] for name in ("left", "right", "top")}
            self.say(f"Never active in the {spoken} bins of this split.")
            return
        counts, edges = np.histogram(active.values, bins=40, range=(0.0, float(active.values.max())))
        filled = counts > 0
        self.source.data = {"left": edges[:-1][filled], "right": edges[1:][filled], "top": counts[filled]}
        self.drawn.x_range.end = float(edges[-1])
        self.drawn.y_range.end = 1.6 * float(counts.max())
        self.say(
            f"Active in {len(active.rows)} of {spoken} bins ({share(len(active.rows) / max(spoken, 1))});",
            f"median activation {number(float(np.median(active.values)))},",
            f"largest {number(float(active.values.max()))}.",
        )


class ActivationTrace:
    """View: activation and behaviour on one time axis."""

    title: ClassVar[str] = "Activation beside behaviour"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> FigureTile:
        """A new tile."""
        return _TraceTile(readings(run))


class _TraceTile(FigureTile):
    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        self._shown: Selection | None = None
        self._labelled: str | None = None
        time = Range1d(0, WINDOW_S)
        self.strip = plain_figure(height=62, min_border_bottom=20, y_label=" ")
        self.strip.yaxis.major_label_text_alpha = 0
        self.strip.ygrid.visible = False
        self.trace = plain_figure(height=130, x_range=time, y_label="activation", min_border_bottom=6)
        self.trace.xaxis.visible = False
        self.behaviour = plain_figure(height=150, x_range=time, x_label="time in the session (s)", y_label=" ")
        self.strip_source = ColumnDataSource({"x": [], "y": []}, name="activation-strip")
        self.box = ColumnDataSource({"left": [], "right": []}, name="window")
        self.source = ColumnDataSource({"x": [], "y": []}, name="activation-trace")
        self.dots = ColumnDataSource({"x": [], "y": [], "colour": []}, name="behaviour")
        self.strip.quad(
            left="left",
            right="right",
            bottom=0,
            top=1,
            source=self.box,
            fill_color=BEHAVIOUR,
            fill_alpha=0.3,
            line_color=BEHAVIOUR,
        )
        self.strip.line("x", "y", source=self.strip_source, line_color=ACTIVATION, line_width=1)
        self.trace.varea_step(
            x="x", y1=0, y2="y", source=self.source, fill_color=ACTIVATION, fill_alpha=0.35, step_mode="after"
        )
        self.trace.step(x="x", y="y", source=self.source, line_color=ACTIVATION, line_width=1.5, mode="after")
        self.behaviour.scatter("x", "y", source=self.dots, size=3, fill_color="colour", line_color=None)
        self.strip.on_event(Tap, self._move)
        super().__init__(self.strip, self.trace, self.behaviour)

    def show(self, selection: Selection) -> None:
        """Draw the selected latent in the window in which it is active most, or in the selected window."""
        self._shown = selection
        trace = self._reads.activations(selection).trace(self._reads.run.counts.n_bins)
        session, start_s = self._busiest(trace)
        if selection.window_s is not None:
            start_s = selection.window_s[0]
        inside = self._rows(session)
        times = self._reads.run.counts.start_s[inside]
        x, y = envelope(times, trace[inside], STRIP_POINTS)
        self.strip_source.data = {"x": x, "y": (y / (float(y.max()) or 1.0)).astype(np.float32)}
        self.strip.x_range.update(start=float(times[0]), end=float(times[-1]))
        self._draw_window(selection, trace, session, start_s)

    def _move(self, event: Tap) -> None:
        """Centre the window on the place clicked in the strip."""
        if self._shown is not None and event.x is not None:
            trace = self._reads.activations(self._shown).trace(self._reads.run.counts.n_bins)
            self._draw_window(self._shown, trace, self._busiest(trace)[0], event.x - WINDOW_S / 2)

    def _draw_window(self, selection: Selection, trace: NDArray[np.float32], session: int, start_s: float) -> None:
        counts = self._reads.run.counts
        rows = self._rows(session)
        times = counts.start_s[rows]
        start_s = float(np.clip(start_s, times[0], max(times[-1] - WINDOW_S, times[0])))
        stop_s = start_s + WINDOW_S
        inside = np.arange(rows.start, rows.stop)[(times >= start_s) & (times < stop_s)]
        self.source.data = {"x": counts.start_s[inside], "y": trace[inside]}
        self.trace.x_range.update(start=start_s, end=stop_s)
        self.trace.y_range.end = 1.08 * (float(trace[inside].max(initial=0)) or 1.0)
        self.box.data = {"left": [start_s], "right": [stop_s]}
        name = self._variable(selection)
        if name is not None:
            self._draw_behaviour(self._reads.covariate(name), inside)
            if name != self._labelled:
                self._label_codes(self._reads.covariate(name))
                self._labelled = name
        where = f"Session {counts.sessions[session].session_id}, " if len(counts.sessions) > 1 else ""
        self.say(
            f"{where}{number(start_s, 4)} to {number(stop_s, 4)} s:",
            f"active in {int((trace[inside] > 0).sum())} of {len(inside)} bins.",
            "The strip is the whole session; click in it to move the window.",
            "" if name is None else f"Below: {name}.",
        )

    def _variable(self, selection: Selection) -> str | None:
        names = self._reads.variables()
        return selection.variable if selection.variable in names else next(iter(names), None)

    def _draw_behaviour(self, covariate: Covariate, rows: NDArray[np.int64]) -> None:
        values = covariate.values[rows]
        unit = covariate.physical_unit or ""
        if covariate.kind == "circular":
            values, unit = ((values / (covariate.period or 1) + 0.5) % 1 - 0.5) * 360, "°"
            self.behaviour.y_range.update(start=-180, end=180)
        else:
            low, high = np.nanmin(covariate.values), np.nanmax(covariate.values)
            pad = 0.05 * (high - low or 1.0)
            self.behaviour.y_range.update(start=float(low - pad), end=float(high + pad))
        times = self._reads.run.counts.start_s[rows]
        colours = [BEHAVIOUR, NEUTRAL, *PALETTE[2:]]
        self.dots.data = {
            "x": np.tile(times, values.shape[1]),
            "y": values.T.ravel().astype(np.float32),
            "colour": [
                colours[channel % len(colours)] for channel in range(values.shape[1]) for _ in range(len(values))
            ],
        }
        self.behaviour.yaxis.axis_label = f"{covariate.name} ({unit})" if unit else covariate.name

    def _label_codes(self, covariate: Covariate) -> None:
        axis = self.behaviour.yaxis[0]
        labels = covariate.categories if covariate.kind == "discrete" else None
        if covariate.kind == "circular":
            axis.ticker = FixedTicker(ticks=[-180, -90, 0, 90, 180])
        else:
            axis.ticker = (
                BasicTicker(desired_num_ticks=4) if labels is None else FixedTicker(ticks=list(range(len(labels))))
            )
        axis.major_label_overrides = dict(enumerate(labels or ()))

    def _busiest(self, trace: NDArray[np.float32]) -> tuple[int, float]:
        """Session and start (s) of the window that holds most activation."""
        counts = self._reads.run.counts
        length = max(int(WINDOW_S / counts.bin_s), 1)
        best = (0, float(counts.start_s[0]), -1.0)
        for session in range(len(counts.sessions)):
            rows = self._rows(session)
            summed = np.cumsum(np.append(0.0, trace[rows]))
            inside = summed[length:] - summed[:-length] if len(summed) > length else summed[-1:]
            at = int(np.argmax(inside))
            if inside[at] > best[2]:
                best = (session, float(counts.start_s[rows][at]), float(inside[at]))
        return best[0], best[1]

    def _rows(self, session: int) -> slice:
        offsets = self._reads.run.counts.row_offsets
        return slice(int(offsets[session]), int(offsets[session + 1]))
