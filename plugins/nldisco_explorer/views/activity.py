"""Tiles that show when a latent is active, how strongly, and which units go with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nldisco_core.binned import Covariate
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.categories import colour_keys, colour_numbers
from nldisco_explorer.drawing.legend import legend_panel
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, around
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.wording import listed, number, share

__all__ = ["ActivationHistogram", "ActivationTrace", "ContributingUnits", "envelope"]

WINDOW_S = 90.0
STRIP_POINTS = 3000
MOST_BINS = 6000
"""Active bins whose z is averaged; of more, every second, third, … is taken."""

N_STEPS = 40
LEAST_COUNT = 0.7
MOST_NAMED = 12
LETTER = 6.4  # width of a letter of a tick (px)
TILE_HEIGHT = 300


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

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _UnitsTile(readings(run))


class _UnitsTile(CanvasTile):
    def __init__(self, reads: Readings) -> None:
        super().__init__()
        self._reads = reads
        regions = reads.units["region"]
        self._order = regions.sort_values(kind="stable").index.to_numpy()
        self._regions = list(dict.fromkeys(regions.iloc[self._order]))
        numbers = colour_numbers(regions.value_counts()[self._regions])
        self._keys = colour_keys(numbers)
        self._colours = regions.iloc[self._order].map(dict(zip(self._regions, numbers, strict=True))).to_numpy(np.uint8)
        self._labels = [f"{unit} {region}" for unit, region in reads.units.iloc[self._order].itertuples(index=False)]

    def show(self, selection: Selection) -> None:
        """Draw the selected latent."""
        active, order = self._reads.activations(selection), self._order
        weight, what = self._weights(selection)
        step = -(-len(active.rows) // MOST_BINS) or 1
        mean, sem = mean_and_error(self._reads.activity, active.rows[::step])
        n_units = len(order)
        x = np.arange(n_units)
        reach = Axis(low=-0.6, high=n_units - 0.4, shown=False)
        low, high = around(weight, include=0.0)
        drawn = Panel(
            x=reach,
            y=Axis(low=low, high=high, label="weight"),
            layers=(
                Layer(
                    "bars",
                    {"left": x - 0.38, "right": x + 0.38, "top": np.nan_to_num(weight[order]), "values": self._colours},
                    scale="categories",
                    name="weight",
                    labels=self._labels,
                ),
            ),
            row=1,
            margins=(6, 14, 4, 58),
        )
        low, high = around(np.concatenate([mean - sem, mean + sem]), include=0.0)
        ends = np.stack([mean - sem, mean + sem, np.full(n_units, np.nan)], axis=1)[order]
        dots = {"x": x, "y": mean[order], "values": self._colours}
        when_active = Panel(
            x=Axis(low=reach.low, high=reach.high, label="unit", ticks=self._ticks()),
            y=Axis(low=low, high=high, label="z when active"),
            layers=(
                Layer("line", {"x": np.repeat(x, 3), "y": ends.ravel()}, colour="muted", width=1),
                Layer("points", dots, scale="categories", size=2.2, labels=self._labels, name="z"),
            ),
            row=2,
            margins=(8, 14, 42, 58),
        )
        names = Layer("legend", names=self._regions, colours=self._keys)
        units, top = self._reads.units, np.argsort(-np.abs(np.nan_to_num(weight)), kind="stable")[:3]
        named = (f"{units['id'][i]} ({units['region'][i]}, {number(float(weight[i]), 2)})" for i in top)
        which = "the" if step == 1 else f"every {step}th of the"
        said = (
            f"Bars: {what}. Largest: {listed(named)}. Dots: mean z of each unit over {which} {len(active.rows)} active "
            "bins, with the standard error over visits."
        )
        panels = (legend_panel(names), drawn, when_active) if len(self._regions) > 1 else (drawn, when_active)
        self.draw(Drawing(panels=panels, summary=said, rows=(None, 130, 148)))

    def _ticks(self) -> tuple[tuple[float, str], ...]:
        if len(self._order) <= 24:
            return tuple((float(i), str(self._reads.units["id"].iloc[unit])) for i, unit in enumerate(self._order))
        step = -(-len(self._order) // 8)
        return tuple((float(i), str(i + 1)) for i in range(step - 1, len(self._order), step))

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
        missing = "this model has no decoder weights"
        if scale == 0:
            return np.full(n_units, np.nan), f"{missing}, and a silent latent correlates with nothing"
        correlation = (trace - trace.mean()) @ self._reads.activity / (len(trace) * scale)
        return np.asarray(correlation, dtype=np.float64), f"{missing}; shown is the correlation with each unit"


def mean_and_error(
    activity: NDArray[np.float32], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of (n_bins, n_units) activity over some bins, and its standard error over visits.

    A visit is a stretch of bins without a gap; bins of one visit are not independent, so that the error is that of the
    sums over visits, ``sqrt(sum_v (sum_{i in v} (z_i - mean))^2) / n`` (the cluster-robust error of a mean). NaN
    without bins, and for a single visit.

    Parameters
    ----------
    rows : (n_rows,) ascending
    """
    n_units = activity.shape[1]
    if not len(rows):
        return np.full(n_units, np.nan), np.full(n_units, np.nan)
    z = np.asarray(activity[rows])
    mean = z.mean(axis=0, dtype=np.float64)
    apart = np.diff(rows)
    usual = int(np.median(apart)) if len(apart) else 1
    first = np.flatnonzero(np.concatenate([[True], apart > max(usual, 1)]))
    if len(first) < 2:
        return mean, np.full(n_units, np.nan)
    summed = np.add.reduceat(z - mean.astype(np.float32), first, axis=0).astype(np.float64)
    return mean, np.sqrt(np.square(summed).sum(axis=0)) / len(rows)


class ActivationHistogram:
    """View: how strong the activations are."""

    title: ClassVar[str] = "Activation strength"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _HistogramTile(readings(run))


class _HistogramTile(CanvasTile):
    def __init__(self, reads: Readings) -> None:
        super().__init__()
        self._reads = reads

    def show(self, selection: Selection) -> None:
        """Draw the selected latent."""
        active = self._reads.activations(selection)
        spoken = int(active.defined.sum())
        if not len(active.rows):
            self.say(f"Never active in the {spoken} bins of this split.")
            return
        counts, edges = np.histogram(active.values, bins=N_STEPS, range=(0.0, float(active.values.max())))
        said = (
            f"Active in {len(active.rows)} of {spoken} bins ({share(len(active.rows) / max(spoken, 1))}); "
            f"median activation {number(float(np.median(active.values)))}, "
            f"largest {number(float(active.values.max()))}. Upright: number of bins, on a logarithmic axis."
        )
        self.draw(Drawing(panels=(_counts_panel(counts, edges),), summary=said, rows=(TILE_HEIGHT,)))


def _counts_panel(counts: NDArray[np.int64], edges: NDArray[np.float64]) -> Panel:
    """Bars of counts on a logarithmic axis."""
    floor = np.log10(LEAST_COUNT)
    top = np.where(counts > 0, np.log10(np.maximum(counts, 1)) - floor, 0.0)
    high = float(top.max()) + 0.15
    steps = [1, 3] if high < 3 else [1]
    values = [step * 10**power for power in range(int(high + floor) + 1) for step in steps]
    ticks = tuple((float(np.log10(v) - floor), f"{v:,}") for v in values if np.log10(v) - floor <= high)
    bars = Layer("bars", {"left": edges[:-1], "right": edges[1:], "top": top}, colour="activation", alpha=0.85)
    return Panel(
        x=Axis(low=0.0, high=float(edges[-1]), label="activation, where active"),
        y=Axis(low=0.0, high=high, label="bins", ticks=ticks),
        layers=(bars,),
        margins=(10, 14, 44, 58),
    )


class ActivationTrace:
    """View: activation and behaviour on one time axis."""

    title: ClassVar[str] = "Activation beside behaviour"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _TraceTile(readings(run))


class _TraceTile(CanvasTile):
    follows_window = True

    """Shows the window in which the latent is active most, until a person moves it; the strip is the whole session."""

    def __init__(self, reads: Readings) -> None:
        super().__init__()
        self._reads = reads
        self._shown: Selection | None = None

    def show(self, selection: Selection) -> None:
        """Draw the selected latent in the window in which it is active most, or in the selected window."""
        self._shown = selection
        trace = self._reads.activations(selection).trace(self._reads.run.counts.n_bins)
        session, start_s = self._busiest(trace)
        self._draw(selection, trace, session, selection.window_s or (start_s, start_s + WINDOW_S))

    def done(self, what: Mapping[str, Any]) -> None:
        """The window was moved or stretched."""
        if what["kind"] == "range" and self._shown is not None:
            trace = self._reads.activations(self._shown).trace(self._reads.run.counts.n_bins)
            session = self._busiest(trace)[0]
            self._draw(self._shown, trace, session, (float(what["low"]), float(what["high"])))

    def _draw(
        self, selection: Selection, trace: NDArray[np.float32], session: int, window_s: tuple[float, float]
    ) -> None:
        counts, rows = self._reads.run.counts, self._rows(session)
        times = self._reads.start_s[rows]
        first_s, last_s = float(times[0]), float(times[-1]) + counts.bin_s
        span = min(window_s[1] - window_s[0], last_s - first_s)
        start_s = min(max(window_s[0], first_s), last_s - span)
        stop_s = start_s + span
        inside = slice(*(np.searchsorted(times, [start_s - counts.bin_s, stop_s]) + rows.start))
        time = Axis(low=start_s, high=stop_s, link="time", hover="time (s)", shown=False)
        variable = self._variable(selection)
        panels = [self._strip(times, trace[rows], (start_s, stop_s)), self._trace(trace, inside, time)]
        left = 58.0
        if variable is not None:
            covariate = self._reads.covariate(variable)
            left = _room_of(_named(covariate))
            panels.append(self._behaviour(covariate, inside, time))
        n_active = int(np.count_nonzero(trace[inside]))
        where = f"Session {counts.sessions[session].session_id}, " if len(counts.sessions) > 1 else ""
        said = (
            f"{where}{number(start_s, 4)} to {number(stop_s, 4)} s: active in {n_active} of "
            f"{inside.stop - inside.start} bins. The strip is the whole session; press in it to move the window."
            + ("" if variable is None else f" Below: {variable.replace('_', ' ')}.")
        )
        least = min(2.0, last_s - first_s)
        self.draw(
            Drawing(
                panels=tuple(replace(each, margins=(*each.margins[:3], left)) for each in panels),
                summary=said,
                rows=(52, 118, 150 if variable is not None else 34),
                limits={"time": (first_s, last_s, least)},
            )
        )

    def _strip(self, times: NDArray[np.float64], trace: NDArray[np.float32], window: tuple[float, float]) -> Panel:
        x, y = envelope(times, trace, STRIP_POINTS)
        top = float(y.max(initial=0.0)) or 1.0
        return Panel(
            x=Axis(low=float(times[0]), high=float(times[-1])),
            y=Axis(low=0, high=1.05 * top, shown=False),
            layers=(
                Layer("line", {"x": x, "y": y}, colour="activation", width=1),
                Layer("window", link="time", range=list(window)),
            ),
            margins=(4, 14, 22, 58),
            grid=False,
            strip="time",
        )

    def _trace(self, trace: NDArray[np.float32], inside: slice, time: Axis) -> Panel:
        x, y = self._reads.start_s[inside], trace[inside]
        if len(x) > STRIP_POINTS:
            x, y = envelope(x, y, STRIP_POINTS)
        top = 1.08 * (float(y.max(initial=0.0)) or 1.0)
        arrays: dict[str, NDArray[Any]] = {"x": x, "y": y}
        return Panel(
            x=time,
            y=Axis(low=0, high=top, label="activation"),
            layers=(
                Layer("area", arrays, colour="activation", alpha=0.3, step=True),
                Layer("line", arrays, colour="activation", width=1.5, step=True, name="activation"),
            ),
            row=1,
            margins=(6, 14, 6, 58),
            drag="pan",
        )

    def _behaviour(self, covariate: Covariate, inside: slice, time: Axis) -> Panel:
        values, unit = covariate.values[inside], covariate.physical_unit or ""
        ticks = None
        if covariate.kind == "circular":
            values, unit = ((values / (covariate.period or 1) + 0.5) % 1 - 0.5) * 360, "°"
            low, high, ticks = -180.0, 180.0, tuple((float(at), f"{at}") for at in (-180, -90, 0, 90, 180))
        else:
            low, high = around(covariate.values)
        if covariate.kind == "discrete" and covariate.categories:
            ticks = tuple((float(code), label) for code, label in enumerate(_named(covariate)))
        name = covariate.name.replace("_", " ")
        layers = tuple(
            Layer("points", {"x": x, "y": y}, colour=colour, size=1.5)
            for colour, column in zip(("behaviour", "neutral", 2, 3, 4, 5), values.T, strict=False)
            for x, y in (_thinned(self._reads.start_s[inside], column),)
        )
        return Panel(
            x=Axis(low=time.low, high=time.high, link="time", hover=time.hover, label="time in the session (s)"),
            y=Axis(low=low, high=high, label=f"{name} ({unit})" if unit else name, ticks=ticks),
            layers=layers,
            row=2,
            margins=(6, 14, 42, 58),
            drag="pan",
        )

    def _variable(self, selection: Selection) -> str | None:
        names = self._reads.variables()
        return selection.variable if selection.variable in names else next(iter(names), None)

    def _busiest(self, trace: NDArray[np.float32]) -> tuple[int, float]:
        """Session and start (s) of the window that holds most activation."""
        counts = self._reads.run.counts
        length = max(int(WINDOW_S / counts.bin_s), 1)
        best = (0, float(self._reads.start_s[0]), -1.0)
        for session in range(len(counts.sessions)):
            rows = self._rows(session)
            summed = np.cumsum(np.append(np.float64(0), trace[rows]))
            inside = summed[length:] - summed[:-length] if len(summed) > length else summed[-1:]
            at = int(np.argmax(inside))
            if inside[at] > best[2]:
                best = (session, float(self._reads.start_s[rows][at]), float(inside[at]))
        return best[0], best[1]

    def _rows(self, session: int) -> slice:
        offsets = self._reads.run.counts.row_offsets
        return slice(int(offsets[session]), int(offsets[session + 1]))


def _named(covariate: Covariate) -> tuple[str, ...]:
    """Labels that are written beside an axis: those of a discrete variable that has few."""
    labels = covariate.categories or ()
    return labels if covariate.kind == "discrete" and len(labels) <= MOST_NAMED else ()


def _room_of(labels: Sequence[str]) -> float:
    """Room left of a frame (px) for its ticks and, left of them, what the axis is called."""
    return float(np.clip(LETTER * max(map(len, labels), default=0) + 34, 58, 190))


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    step = -(-len(x) // STRIP_POINTS) or 1
    return x[::step], y[::step]
