"""Tiles of the Overview page that draw the units of a recording and their activity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import pandas as pd
import panel_material_ui as pmui
from numpy.typing import NDArray

from nldisco_core.binned import Binned
from nldisco_core.colours import of_series
from nldisco_core.histograms import active_shares, count_histogram, unit_activity
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.drawing.legend import series_legend
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, bytes_of
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.histograms import MARGINS, counts_axis, decades, histogram_panel, log_axis
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.wording import listed, number, share

__all__ = ["ActivityExamples", "CountHistogram", "StillTile", "UnitRates", "histogram_edges", "spread"]

HEIGHT, ENTRIES_ROW, NONZERO_ROW, EXAMPLE_ROW = 260, 200, 150, 290
WIDE_MARGINS = (8.0, 14.0, 44.0, 72.0)  # room for shares as small as 0.0001
MOST_NAMES = 8  # regions that are named beside their colours

SHOWN_BINS, SHOWN_UNITS = 240, 300
"""Bins and units of an example of the activity."""

_ENTRIES = 2_000_000  # of continuous activity and of variables that a histogram is made of

Floats = NDArray[np.float64]


@lru_cache(maxsize=16)
def _units(reads: Readings) -> pd.DataFrame:
    """What `unit_activity` says of a run, once per process."""
    table = unit_activity(reads.run.counts)
    return table.assign(region=table["region"].fillna("").astype(str).replace("", "region not stated"))


@lru_cache(maxsize=16)
def _counts(reads: Readings) -> pd.DataFrame:
    run = reads.run
    return run.table("count_histogram") if "count_histogram" in run.tables else count_histogram(run.counts)


class UnitRates:
    """View: how many units of which region, and how much they fire."""

    title: ClassVar[str] = "Units and their firing rates"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _UnitTile(readings(run))


class StillTile(CanvasTile):
    """A drawing that speaks of the recording and not of a selection."""

    def show(self, selection: Selection) -> None:
        """Nothing: the recording is the same for every selection."""


class _UnitTile(StillTile):
    """Stacked histogram over regions: of rates on a logarithmic axis, of mean activity where it is continuous."""

    def __init__(self, reads: Readings) -> None:
        super().__init__()
        units, spiking = _units(reads), reads.run.counts.activity_kind != "continuous"
        mean = units["mean"].to_numpy()
        drawn_units = units[np.isfinite(mean) & (mean > 0)] if spiking else units[np.isfinite(mean)]
        edges = histogram_edges(drawn_units["mean"].to_numpy(), logarithmic=spiking, n_bins=24)
        regions = units["region"].value_counts()
        counts = {
            str(region): np.histogram(drawn_units["mean"][drawn_units["region"] == region], bins=edges)[0]
            for region in regions.index
        }
        names = [f"{region} ({n})" for region, n in regions.items()]
        panel = _stacked(edges, counts, spiking=spiking)
        panels = (series_legend(names), replace(panel, row=1)) if len(names) <= MOST_NAMES else (panel,)
        rows = (None, HEIGHT) if len(names) <= MOST_NAMES else (HEIGHT,)
        silent, known = int((mean == 0).sum()) if spiking else 0, mean[np.isfinite(mean)]
        said = [
            f"{len(units)} units: {listed((f'{n} {region}' for region, n in regions.items()), 8)}.",
            f"{'Rates' if spiking else 'Means'} {spread(known)}{' spikes/s' if spiking else ''}.",
            f"{silent} silent in all bins." if silent else "",
            f"{int((~np.isfinite(mean)).sum())} never observed." if len(known) < len(mean) else "",
        ]
        self.draw(Drawing(panels=panels, rows=rows, summary=" ".join(filter(None, said))))


def _stacked(edges: Floats, counts: Mapping[str, NDArray[np.int64]], *, spiking: bool) -> Panel:
    """Bars of each region on top of those before."""
    places = np.log10(edges) if spiking else edges
    layers, below = [], np.zeros(len(edges) - 1)
    for index, (region, n_units) in enumerate(counts.items()):
        bars = {"left": places[:-1], "right": places[1:], "bottom": below, "top": below + n_units}
        layers.append(Layer("bars", bars, colour=of_series(index), name=region))
        below = below + n_units
    label = "mean rate (spikes/s)" if spiking else "mean activity"
    ends = float(edges[0]), float(edges[-1])
    x = log_axis(*ends, label) if spiking else Axis(low=ends[0], high=ends[1], label=label)
    return Panel(x=x, y=counts_axis(below, "units"), layers=tuple(layers), margins=MARGINS)


class CountHistogram:
    """View: how many spikes a bin holds, and in how many bins each unit is active at all."""

    title: ClassVar[str] = "Activity per bin"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _CountTile(readings(run))


class _CountTile(StillTile):
    """Bins and units by count, on a logarithmic axis; below it, units by their share of non-zero bins."""

    def __init__(self, reads: Readings) -> None:
        super().__init__()
        data, kind = reads.run.counts, reads.run.counts.activity_kind
        left, right, n_entries = _entries_by_count(reads) if kind == "counts" else _entries_by_value(data)
        entries = _entries_panel(left, right, n_entries / max(n_entries.sum(), 1), kind, data.bin_s)
        if kind == "continuous":
            said = f"Continuous activity from {number(float(left[0]))} to {number(float(right[-1]))}."
            self.draw(Drawing(panels=(entries,), rows=(ENTRIES_ROW,), summary=said))
            return
        nonzero = _units(reads)["nonzero_share"].dropna().to_numpy()
        stated = reads.run.about.get("active_shares") or active_shares(data)
        said = (
            f"{share(stated['entries'])} of all entries (one unit in one bin) are not zero; "
            f"any unit is active in {share(stated['bins'])} of the bins. "
            f"Units are active in {spread(100 * nonzero)} % of their bins."
        )
        said += f" Most in one bin: {int(right[-1] - 0.5)}." if kind == "counts" else ""
        panels = (entries, _nonzero_panel(nonzero))
        self.draw(Drawing(panels=panels, rows=(ENTRIES_ROW, NONZERO_ROW), summary=said))


def _entries_panel(left: Floats, right: Floats, shares: Floats, kind: str, bin_s: float) -> Panel:
    """Shares of entries by what they hold, as far above the smallest of them as their logarithms are."""
    lowest = float(np.log10(shares[shares > 0].min(initial=1.0) / 2))
    with np.errstate(divide="ignore"):
        above = np.where(shares > 0, np.log10(shares) - lowest, 0.0)
    ticks = tuple((at - lowest, words) for at, words in decades(lowest, np.log10(1.4)))
    label = f"spikes in a bin of {1000 * bin_s:g} ms" if kind == "counts" else f"activity ({kind})"
    told = [
        f"{number(float(middle))}: {share(float(each))} of entries"
        for middle, each in zip((left + right) / 2, shares, strict=True)
    ]
    bars = {"left": left, "right": right, "top": above, "share": shares}
    return Panel(
        x=Axis(low=float(left[0]), high=float(right[-1]), label=label),
        y=Axis(low=0.0, high=float(np.log10(1.4)) - lowest, label="share of entries", ticks=ticks),
        layers=(Layer("bars", bars, colour="activation", tips=told),),
        margins=WIDE_MARGINS,
    )


def _nonzero_panel(nonzero: Floats) -> Panel:
    edges = np.linspace(0.0, 1.0, 26)
    n_units = np.histogram(nonzero, bins=edges)[0]
    x = Axis(low=0.0, high=1.0, label="share of a unit's bins that are not zero")
    drawn = histogram_panel(edges, n_units, x=x, y=counts_axis(n_units, "units"), row=1, colour=2, name="units")
    return replace(drawn, margins=WIDE_MARGINS)


def _entries_by_count(reads: Readings) -> tuple[Floats, Floats, NDArray[np.int64]]:
    table = _counts(reads)
    count = table["count"].to_numpy(np.float64)
    return count - 0.5, count + 0.5, table["n_entries"].to_numpy(np.int64)


def _entries_by_value(data: Binned) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Entries in 60 bins of equal width; of long recordings every so many-th bin."""
    parts = []
    for session in data.sessions:
        step = max(session.activity.size // _ENTRIES, 1)
        values = session.activity[::step]
        parts.append(values[np.isfinite(values) if session.observed is None else session.observed[::step]])
    n_entries, edges = np.histogram(np.concatenate([part.ravel() for part in parts]), bins=60)
    return edges[:-1], edges[1:], n_entries


class ActivityExamples:
    """View: the activity of all units over some seconds in which they are quiet, as usual, and busy."""

    title: ClassVar[str] = "Examples of the activity"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _ExampleTile(readings(run))


class _ExampleTile(StillTile):
    def __init__(self, reads: Readings) -> None:
        self._data = reads.run.counts
        self._session = self._data.sessions[0]
        units = _units(reads).iloc[: self._session.n_units]
        order = units.sort_values(["region", "mean"], ascending=[True, False], kind="stable").index.to_numpy()
        self._order = order[:: max(-(-len(order) // SHOWN_UNITS), 1)]
        shown = reads.units.iloc[self._order] if self._data.shares_units else self._session.units.iloc[self._order]
        self._names = [f"unit {each}" for each in shown["id"].astype(str)]
        self._n_shown = min(SHOWN_BINS, self._session.n_bins)
        names = list(self._places())
        self._picker = pmui.Select(label="which seconds", options=names, size="small", width=220, margin=0)
        self._picker.param.watch(lambda event: self._draw(event.new), "value")
        super().__init__(self._picker)
        self._draw(names[0])

    def _places(self) -> Mapping[str, int]:
        """First bin of three examples, by what is typical of them."""
        step = max(self._session.n_bins // (50 * self._n_shown), 1) * self._n_shown
        starts = np.arange(0, self._session.n_bins - self._n_shown + 1, step)
        sums = np.array([np.abs(self._session.activity[at : at + self._n_shown]).sum(dtype=float) for at in starts])
        order = np.argsort(sums, kind="stable")
        return {"usual": starts[order[len(order) // 2]], "busy": starts[order[-1]], "quiet": starts[order[0]]}

    def _draw(self, which: str) -> None:
        at = self._places()[which]
        values = np.asarray(self._session.activity[at : at + self._n_shown][:, self._order], dtype=np.float32)
        low, high = np.quantile(values, [0.0, 0.995])
        bottom = min(float(low), 0.0)
        top = max(float(high), bottom + 1.0)
        length_s, n_units = self._n_shown * self._data.bin_s, len(self._order)
        image = Layer(
            "image",
            {"image": bytes_of(values.T, bottom, top)},
            shape=[n_units, self._n_shown],
            extent=[0.0, length_s, n_units, 0.0],  # the upright axis runs downwards, the first unit is the first row
            scale="ink",
            missing=True,
            bottom=bottom,
            top=top,
            name="activity",
            rows=self._names,
        )
        panel = Panel(
            x=Axis(low=0.0, high=length_s, label="bins one after the other (s)", hover="s"),
            y=Axis(low=n_units, high=0.0, label="units, by region and rate"),
            layers=(image,),
            margins=MARGINS,
            grid=False,
        )
        left_out = self._session.n_units - n_units
        said = [
            f"{which.capitalize()} {number(length_s)} s of session "
            f"{self._session.session_id} from {number(self._session.start_ns[at] * 1e-9, 6)} s on.",
            f"{share(float((values != 0).mean()))} of the entries are not zero, the largest is",
            f"{number(float(values.max()))}; all from {number(top)} on look alike.",
            f"{left_out} units are left out of the picture." if left_out else "",
        ]
        self.draw(Drawing(panels=(panel,), rows=(EXAMPLE_ROW,), summary=" ".join(filter(None, said))))


def histogram_edges(values: Floats, *, n_bins: int, logarithmic: bool = False) -> Floats:
    """Edges of bins of equal width, on a logarithmic scale of equal ratio, from the smallest value to the largest."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (1.0, 1.0)
    if logarithmic:
        return np.geomspace(low / 1.05, high * 1.05, n_bins + 1)
    margin = 0.5 * (low == high)
    return np.linspace(low - margin, high + margin, n_bins + 1)


def spread(values: Floats) -> str:
    """Median, lowest and highest of the values in words."""
    if not len(values):
        return "not defined"
    low, middle, high = np.quantile(values, [0.0, 0.5, 1.0])
    return f"{number(middle)} (median; {number(low)} to {number(high)})"
