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
from nldisco_explorer.timeline import TIME, SessionTime, session_times
from nldisco_explorer.wording import listed, number, share

__all__ = ["ActivationHistogram", "ActivationTrace", "ContributingUnits"]

WINDOW_S = 90.0
MOST_POINTS = 3000
MOST_BINS = 6000
"""Active bins whose z is averaged; of more, every second, third, … is taken."""

N_STEPS = 40
LEAST_COUNT = 0.7
MOST_NAMED = 12
LETTER = 6.4  # width of a letter of a tick (px)
TILE_HEIGHT = 300


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
        which = "the" if step == 1 else f"every {_ordinal(step)} of the"
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


def _ordinal(number: int) -> str:
    """``second``, ``third``, ``4th``, ``21st``."""
    if number in (2, 3):
        return ("second", "third")[number - 2]
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"


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

    """Shows the window in which the latent is active most, until a person moves it; the strip is the whole session.

    The window is chosen among the bins of the selected split; what is drawn is of all splits, with that one tinted.
    """

    def __init__(self, reads: Readings) -> None:
        super().__init__()
        self._reads = reads
        self._shown: Selection | None = None
        self._session = 0

    def show(self, selection: Selection) -> None:
        """Draw the selected latent in the window in which it is active most, or in the selected window."""
        self._shown = selection
        of_split = self._reads.activations(selection).trace(self._reads.run.counts.n_bins)
        self._session, start_s = self._busiest(of_split)
        self._draw(selection, selection.window_s or (start_s, start_s + WINDOW_S))

    def done(self, what: Mapping[str, Any]) -> None:
        """The window was moved or stretched."""
        if what["kind"] == "range" and self._shown is not None:
            self._draw(self._shown, (float(what["low"]), float(what["high"])))

    def _draw(self, selection: Selection, window_s: tuple[float, float]) -> None:
        time = session_times(self._reads, self._session)
        span = min(window_s[1] - window_s[0], time.high_s - time.low_s)
        start_s = min(max(window_s[0], time.low_s), time.high_s - span)
        window = (start_s, start_s + span)
        active = self._reads.activations(replace(selection, split="all"))
        trace = active.trace(self._reads.run.counts.n_bins)[time.rows]
        chosen = self._reads.split_mask(selection.split)[time.rows]
        drawn = time.activation(trace, window, name="activation", row=1, colour="activation")
        panels = [time.strip(trace, chosen, window), replace(drawn, layers=(*time.tinted(chosen), *drawn.layers))]
        left = 58.0
        if (variable := self._variable(selection)) is not None:
            covariate = self._reads.covariate(variable)
            left = _room_of(_named(covariate))
            panels.append(self._behaviour(covariate, time, window))
        self.draw(
            Drawing(
                panels=tuple(replace(each, margins=(*each.margins[:3], left)) for each in panels),
                summary=self._said(selection, time, trace, chosen, window),
                rows=(52, 118, 150 if variable is not None else 34),
                limits={TIME: (time.low_s, time.high_s, min(2.0, time.high_s - time.low_s))},
            )
        )

    def _said(
        self,
        selection: Selection,
        time: SessionTime,
        trace: NDArray[np.float32],
        chosen: NDArray[np.bool_],
        window: tuple[float, float],
    ) -> str:
        sessions, inside = self._reads.run.counts.sessions, time.inside(*window)
        active, mine = trace[inside] != 0, chosen[inside]
        of_all = f"{np.count_nonzero(active)} of {len(active)} bins"
        where = f"Session {sessions[self._session].session_id}, " if len(sessions) > 1 else ""
        counted = f"{where}{number(window[0], 4)} to {number(window[1], 4)} s: active in "
        if selection.split == "all":
            said = [f"{counted}{of_all}."]
        else:
            of_split = f"{np.count_nonzero(active & mine)} of {np.count_nonzero(mine)} {selection.split} bins"
            said = [f"{counted}{of_split} (tinted), in {of_all} of all splits, which are all drawn."]
        said.append("Grey: gaps in the recording." if time.stretch[-1] else "")
        said.append("The strip is the whole session; press in it to move the window.")
        variable = self._variable(selection)
        said.append("" if variable is None else f"Below: {variable.replace('_', ' ')}.")
        return " ".join(each for each in said if each)

    def _behaviour(self, covariate: Covariate, time: SessionTime, window: tuple[float, float]) -> Panel:
        inside = time.inside(*window)
        values, unit = covariate.values[time.rows][inside], covariate.physical_unit or ""
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
            for x, y in (_thinned(time.start_s[inside], column),)
        )
        return Panel(
            x=time.axis(*window, last=True),
            y=Axis(low=low, high=high, label=f"{name} ({unit})" if unit else name, ticks=ticks),
            layers=(time.gaps(), *layers),
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
    step = -(-len(x) // MOST_POINTS) or 1
    return x[::step], y[::step]
