"""Tiles of the Overview page that draw what was recorded beside the activity: trials and behaviour."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pandas as pd
import panel_material_ui as pmui
from numpy.typing import NDArray

from nldisco_core.binned import Binned, Covariate
from nldisco_core.colours import ACTIVATION
from nldisco_core.runs import Run
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.histograms import MARGINS, counts_axis, histogram_panel
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.views.overview import WrittenTile
from nldisco_explorer.views.recording import StillTile, histogram_edges, spread
from nldisco_explorer.wording import listed, number, share

__all__ = ["Behaviour", "Trials"]

MOST_CONDITIONS = 40
"""Distinct values up to which a column of fractional numbers is drawn value by value."""
MOST_BARS = 200
"""Distinct values of other columns that are drawn."""

_MOST_SAMPLES = 200_000  # of a variable that its histogram is made of
ROW = 260
_N_BARS, _BAR, _HEIGHT = 30, 5, 30
_LEFT = 'style="text-align: left; width: 60%"'


class Trials:
    """View: how long trials are, when their events come, and how many there are of each condition."""

    title: ClassVar[str] = "Trials and conditions"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset({"trials"})

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _TrialTile(readings(run))


class _TrialTile(StillTile):
    def __init__(self, reads: Readings) -> None:
        data = reads.run.counts
        self._columns = {name: column for name, column in _trial_columns(data) if column.notna().any()}
        self._n_trials = sum(len(session.trials) for session in data.sessions if session.trials is not None)
        self._n_used = sum(1 for _ in data.by_trial())
        names = list(self._columns)
        self._picker = pmui.Select(label="of each trial", options=names, size="small", width=260, margin=0)
        self._picker.param.watch(lambda event: self._draw(event.new), "value")
        super().__init__(self._picker)
        self._draw(names[0])

    def _draw(self, name: str) -> None:
        values = self._columns[name].dropna()
        most = MOST_CONDITIONS if pd.api.types.is_float_dtype(values) else MOST_BARS
        is_spread = pd.api.types.is_numeric_dtype(values) and values.nunique() > most
        panel, told = (_by_value if is_spread else _by_label)(name, values)
        missing = len(self._columns[name]) - len(values)
        said = [
            f"{self._n_trials} trials, {self._n_used} of them with bins; all are counted, however few are drawn.",
            told,
            f"{missing} trials without one." if missing else "",
        ]
        self.draw(Drawing(panels=(panel,), rows=(ROW,), summary=" ".join(filter(None, said))))


def _by_value(name: str, values: pd.Series) -> tuple[Panel, str]:
    """Trials in thirty bins of a number."""
    numbers = values.to_numpy(np.float64)
    edges = histogram_edges(numbers, n_bins=30)
    n_trials = np.histogram(numbers, bins=edges)[0]
    x = Axis(low=float(edges[0]), high=float(edges[-1]), label=name, hover=name)
    panel = histogram_panel(edges, n_trials, x=x, y=counts_axis(n_trials, "trials"), colour="behaviour", name="trials")
    return panel, f"{name}: {spread(numbers)}."


def _by_label(name: str, values: pd.Series) -> tuple[Panel, str]:
    """Trials of each value, the first of them where there are many."""
    found = values.value_counts().sort_index()
    drawn = found.iloc[:MOST_BARS]
    n_trials, labels = drawn.to_numpy(), [str(label) for label in drawn.index]
    place = np.arange(len(drawn), dtype=np.float64)
    every = max(-(-sum(map(len, labels)) // 60), 1)  # labels that are longer than the axis are thinned out
    ticks = tuple((float(at), labels[at]) for at in range(0, len(labels), every))
    bars = {"left": place - 0.46, "right": place + 0.46, "top": n_trials}
    panel = Panel(
        x=Axis(low=-0.5, high=len(drawn) - 0.5, label=name, ticks=ticks),
        y=counts_axis(n_trials, "trials"),
        layers=(Layer("bars", bars, colour="behaviour", name="trials", labels=labels),),
        margins=MARGINS,
    )
    said = f"{name}: {values.nunique()} values, of {found.min()} to {found.max()} trials each."
    return panel, said + (f" The first {MOST_BARS} are drawn." if len(found) > MOST_BARS else "")


def _trial_columns(data: Binned) -> Iterator[tuple[str, pd.Series]]:
    """Durations, times of events after the start of their trial, then every other column of the trial tables."""
    tables = [session.trials for session in data.sessions if session.trials is not None]
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    yield "duration (s)", frame["stop_s"] - frame["start_s"]
    events = dict.fromkeys(name for table in tables for name in table.events)
    units = {name: unit for table in tables for name, unit in table.physical_units.items()}
    for name in events:
        yield f"{name.removesuffix('_s')} after start (s)", frame[name] - frame["start_s"]
    for name in frame.columns.difference(["start_s", "stop_s", *events], sort=False):
        yield f"{name} ({units[name]})" if name in units else str(name), frame[name]


class Behaviour:
    """View: kind, physical unit, range and distribution of every variable on the run's bins."""

    title: ClassVar[str] = "Behaviour and other variables"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> WrittenTile:
        """A new tile."""
        reads = readings(run)
        rows = "".join(row for name in reads.variables() for row in _variable_rows(reads.covariate(name)))
        if not rows:
            return WrittenTile("<p>This run holds no variables.</p>")
        head = ("variable", "kind", "unit", "lowest", "median", "highest", "missing")
        cells = "".join(f'<th scope="col">{name}</th>' for name in head)
        cells += f'<th scope="col" {_LEFT}>how its values are distributed</th>'
        return WrittenTile(
            f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>'
        )


def _variable_rows(covariate: Covariate) -> Iterator[str]:
    for channel, values in zip(covariate.channels, covariate.values.T, strict=True):
        name = covariate.name if len(covariate.channels) == 1 else f"{covariate.name}, {channel}"
        known = values[np.isfinite(values)]
        missing = share(1 - len(known) / max(len(values), 1)) if len(known) < len(values) else "none"
        if covariate.categories is None:
            low, middle, high = (number(each) for each in _quantiles(known))
            picture = _bars(_distribution(known), label=f"{name}: {low} to {high}, median {middle}")
        else:
            low, middle, high = "", f"{len(covariate.categories)} values", ""
            n_bins = np.bincount(known.astype(np.int64), minlength=len(covariate.categories))
            named = (f"{label} {share(n / max(len(known), 1))}" for label, n in _most_frequent(covariate, n_bins))
            said = listed(named, 6)
            picture = _bars(n_bins[:_N_BARS], label=f"{name}: {said}") + f"<br><small>{html.escape(said)}</small>"
        unit = covariate.physical_unit or ("–" if covariate.kind == "discrete" else "not stated")
        turn = f", one turn is {number(covariate.period)}" if covariate.period is not None else ""
        texts = (name, covariate.kind + turn, unit, low, middle, high, missing)
        yield f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in texts)}<td {_LEFT}>{picture}</td></tr>"


def _quantiles(known: NDArray[np.float64]) -> tuple[float, float, float]:
    if not len(known):
        return (np.nan,) * 3
    return float(known.min()), float(np.median(known)), float(known.max())


def _most_frequent(covariate: Covariate, n_bins: NDArray[np.int64]) -> list[tuple[str, int]]:
    assert covariate.categories is not None  # asked only of discrete variables
    return [(covariate.categories[code], int(n_bins[code])) for code in np.argsort(-n_bins, kind="stable")]


def _distribution(known: NDArray[np.float64]) -> NDArray[np.int64]:
    """Values in bins of equal width; of long recordings every so many-th value."""
    values = known[:: max(len(known) // _MOST_SAMPLES, 1)]
    return np.histogram(values, bins=histogram_edges(values, n_bins=_N_BARS))[0]


def _bars(heights: NDArray[np.int64], *, label: str) -> str:
    """A small histogram whose colours stand out from both themes' grounds, described for those who do not see it."""
    tall = np.ceil(_HEIGHT * heights / max(int(heights.max(initial=0)), 1)).astype(int)
    bars = "".join(
        f'<rect x="{_BAR * at}" y="{_HEIGHT - each}" width="{_BAR - 1}" height="{each}"/>'
        for at, each in enumerate(tall.tolist())
    )
    return (
        f'<svg role="img" aria-label="{html.escape(label)}" width="{_BAR * len(heights)}" height="{_HEIGHT}" '
        f'fill="{ACTIVATION}">{bars}</svg>'
    )
