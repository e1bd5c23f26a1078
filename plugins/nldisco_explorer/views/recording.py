"""Tiles of the Overview page that draw the units of a recording and their activity."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d
from bokeh.palettes import Cividis256
from numpy.typing import NDArray

from nldisco_core.binned import Binned
from nldisco_core.histograms import active_shares, count_histogram, unit_activity
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.figures import (
    ACTIVATION,
    PALETTE,
    FigureTile,
    listed,
    number,
    plain_figure,
    share,
)
from nldisco_explorer.readings import Readings, readings

__all__ = ["ActivityExamples", "CountHistogram", "StillTile", "UnitRates", "histogram_edges", "legend_above", "spread"]

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

    def build(self, run: Run) -> FigureTile:
        """A new tile."""
        return _UnitTile(readings(run))


class StillTile(FigureTile):
    """A figure that speaks of the recording and not of a selection."""

    def say(self, *sentences: str) -> None:
        """Set the text summary; sentences that have nothing to say are empty."""
        super().say(*filter(None, sentences))

    def show(self, selection: Selection) -> None:
        """Nothing: the recording is the same for every selection."""


class _UnitTile(StillTile):
    """Stacked histogram over regions: of rates on a logarithmic axis, of mean activity where it is continuous."""

    def __init__(self, reads: Readings) -> None:
        units, spiking = _units(reads), reads.run.counts.activity_kind != "continuous"
        mean = units["mean"].to_numpy()
        drawn_units = units[np.isfinite(mean) & (mean > 0)] if spiking else units[np.isfinite(mean)]
        edges = histogram_edges(drawn_units["mean"].to_numpy(), logarithmic=spiking, n_bins=24)
        drawn = plain_figure(
            height=260,
            x_axis_type="log" if spiking else "auto",
            x_range=Range1d(float(edges[0]), float(edges[-1])),
            x_label="mean rate (spikes/s)" if spiking else "mean activity",
            y_label="units",
        )
        below = np.zeros(len(edges) - 1)
        regions = units["region"].value_counts()
        for index, region in enumerate(regions.index):
            n_units = np.histogram(drawn_units["mean"][drawn_units["region"] == region], bins=edges)[0]
            source = ColumnDataSource(
                {"left": edges[:-1], "right": edges[1:], "bottom": below, "top": below + n_units},
                name=f"units-of-{region}",
            )
            colour = PALETTE[index % len(PALETTE)]
            drawn.quad(
                left="left", right="right", bottom="bottom", top="top", source=source, fill_color=colour,
                line_color=None, legend_label=f"{region} ({regions[region]})",
            )  # fmt: skip
            below = below + n_units
        drawn.y_range.end = 1.08 * max(float(below.max(initial=0)), 1.0)
        legend_above(drawn, shown=len(regions) <= 6)
        super().__init__(drawn)
        silent = int((mean == 0).sum()) if spiking else 0
        known = mean[np.isfinite(mean)]
        self.say(
            f"{len(units)} units: {listed((f'{n} {region}' for region, n in regions.items()), 8)}.",
            f"{'Rates' if spiking else 'Means'} {spread(known)}{' spikes/s' if spiking else ''}.",
            f"{silent} silent in all bins." if silent else "",
            f"{int((~np.isfinite(mean)).sum())} never observed." if len(known) < len(mean) else "",
        )


class CountHistogram:
    """View: how many spikes a bin holds, and in how many bins each unit is active at all."""

    title: ClassVar[str] = "Activity per bin"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> FigureTile:
        """A new tile."""
        return _CountTile(readings(run))


class _CountTile(StillTile):
    """Bins and units by count, on a logarithmic axis; below it, units by their share of non-zero bins."""

    def __init__(self, reads: Readings) -> None:
        data, kind = reads.run.counts, reads.run.counts.activity_kind
        left, right, n_entries = _entries_by_count(reads) if kind == "counts" else _entries_by_value(data)
        shares = n_entries / max(n_entries.sum(), 1)
        lowest = float(shares[shares > 0].min(initial=1.0)) / 2
        entries = plain_figure(
            height=200,
            y_axis_type="log",
            x_range=Range1d(float(left[0]), float(right[-1])),
            y_range=Range1d(lowest, 1.4),
            x_label=f"spikes in a bin of {1000 * data.bin_s:g} ms" if kind == "counts" else f"activity ({kind})",
            y_label="share of entries",
        )
        source = ColumnDataSource(
            {"left": left, "right": right, "top": np.where(shares > 0, shares, lowest)}, name="count-histogram"
        )
        entries.quad(
            left="left", right="right", bottom=lowest, top="top", source=source, fill_color=ACTIVATION, line_color=None
        )
        if kind == "continuous":
            super().__init__(entries)
            self.say(f"Continuous activity from {number(float(left[0]))} to {number(float(right[-1]))}.")
            return
        nonzero = _units(reads)["nonzero_share"].dropna().to_numpy()
        super().__init__(entries, _nonzero_figure(nonzero))
        stated = reads.run.about.get("active_shares") or active_shares(data)
        self.say(
            f"{share(stated['entries'])} of all entries (one unit in one bin) are not zero;",
            f"any unit is active in {share(stated['bins'])} of the bins.",
            f"Units are active in {spread(100 * nonzero)} % of their bins.",
            f"Most in one bin: {int(right[-1] - 0.5)}." if kind == "counts" else "",
        )


def _nonzero_figure(nonzero: Floats) -> Any:
    edges = np.linspace(0.0, 1.0, 26)
    n_units = np.histogram(nonzero, bins=edges)[0]
    drawn = plain_figure(
        height=150,
        x_label="share of a unit's bins that are not zero",
        y_label="units",
        y_range=Range1d(0, 1.08 * max(int(n_units.max()), 1)),
    )
    source = ColumnDataSource({"left": edges[:-1], "right": edges[1:], "top": n_units}, name="nonzero-shares")
    drawn.quad(left="left", right="right", bottom=0, top="top", source=source, fill_color=PALETTE[2], line_color=None)
    return drawn


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

    def build(self, run: Run) -> FigureTile:
        """A new tile."""
        return _ExampleTile(readings(run))


class _ExampleTile(StillTile):
    def __init__(self, reads: Readings) -> None:
        self._data = reads.run.counts
        self._session = self._data.sessions[0]
        units = _units(reads).iloc[: self._session.n_units]
        order = units.sort_values(["region", "mean"], ascending=[True, False], kind="stable").index.to_numpy()
        self._order = order[:: max(-(-len(order) // SHOWN_UNITS), 1)]
        self._n_shown = min(SHOWN_BINS, self._session.n_bins)
        self._mapper = LinearColorMapper(palette=Cividis256, low=0, high=1)
        self.drawn = plain_figure(
            height=290,
            x_range=Range1d(0, self._n_shown * self._data.bin_s),
            y_range=Range1d(len(self._order), 0),
            x_label="bins one after the other (s)",
            y_label="units, by region and rate",
        )
        self.drawn.grid.visible = False
        self.source = ColumnDataSource({name: [] for name in ("image", "dw", "dh")}, name="activity-example")
        self.drawn.image("image", x=0, y=0, dw="dw", dh="dh", source=self.source, color_mapper=self._mapper)
        super().__init__(self.drawn)
        names = list(self._places())
        self._picker = pmui.Select(label="which seconds", options=names, size="small", width=220, margin=(0, 0, 4, 0))
        self._picker.param.watch(lambda event: self._draw(event.new), "value")
        self.panel.insert(0, self._picker)
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
        lowest = min(float(low), 0.0)
        self._mapper.update(low=lowest, high=max(float(high), lowest + 1.0))
        # the vertical axis runs downwards, so the first unit is the first row of the image
        self.source.data = {"image": [values.T], "dw": [self._n_shown * self._data.bin_s], "dh": [len(self._order)]}
        left_out = self._session.n_units - len(self._order)
        self.say(
            f"{which.capitalize()} {number(self._n_shown * self._data.bin_s)} s of session "
            f"{self._session.session_id} from {number(self._session.start_ns[at] * 1e-9, 6)} s on.",
            f"{share(float((values != 0).mean()))} of the entries are not zero, the largest is",
            f"{number(float(values.max()))}.",
            f"{left_out} units are left out of the picture." if left_out else "",
        )


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


def legend_above(drawn: Any, *, shown: bool) -> None:
    """Put a figure's legend above its frame; hide it where it would be too long."""
    if drawn.legend:
        legend = drawn.legend[0]
        legend.update(orientation="horizontal", padding=0, margin=0, border_line_color=None, visible=shown)
        drawn.add_layout(legend, "above")
