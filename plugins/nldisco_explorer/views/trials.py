"""The tile of trials: every trial as a row and the mean of each group, aligned to events side by side."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import panel_material_ui as pmui

from nldisco_core.colours import PALETTE
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, around, bytes_of
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.evidence import latent_name
from nldisco_explorer.perievent import Aligned, Groups, aligned, bootstrap_means, groups_at, merged_rows, spoken
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.wording import number

__all__ = ["AlignedTrials"]

MOST_EVENTS = 3
ANY = "any value"
CHOSEN = "as chosen"
"""Stands for trials that no value of a column picks out, as a link may name them."""

MOST_ROWS = 500
RASTER, MEANS, LEGEND = 290, 190, 24


class AlignedTrials:
    """View: trials aligned to events, sorted by a condition, with the mean of each condition."""

    title: ClassVar[str] = "Trials around events"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset({"trials"})
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _TrialsTile(readings(run))


class _TrialsTile(CanvasTile):
    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        events = reads.trials.events
        self._align = self.picker("aligned to", "align", options={spoken(each): each for each in events})
        by = {"no groups": "", **{spoken(each): each for each in reads.groupings}}
        self._by = self.picker("grouped by", "by", options=by)
        self._columns = {"all": "", **{f"by {spoken(each)}": each for each in reads.trials.groupings}}
        self._column = pmui.Select(label="trials", options=self._columns, size="small", width=190, margin=0)
        self._column.param.watch(lambda event: self._choose(event.new), "value")
        self._value = pmui.Select(label="with", options={ANY: ""}, size="small", width=150, margin=0, visible=False)
        self._value.param.watch(lambda event: self._only(event.new), "value")
        super().__init__(self._align, self._by, self._column, self._value)

    def _choose(self, column: str) -> None:
        """A column was chosen, whose values are then on offer; or all trials are."""
        if self._filling or column == CHOSEN:
            return
        self._fill_values(column, "")
        self.select(trial_filter=None)

    def _only(self, value: str) -> None:
        """A value was chosen."""
        self.select(trial_filter=self._reads.trials.by_value(self._column.value).get(value) if value else None)

    def _fill_values(self, column: str, value: str) -> None:
        with self.filling():
            offers = [*self._reads.trials.by_value(column)] if column else []
            self._value.param.update(options={ANY: "", **{each: each for each in offers}}, value=value)
            self._value.visible = bool(column)

    def _show_filter(self, trials: tuple[int, ...] | None) -> None:
        """Which trials are drawn; a column that waits for its value stays as it is."""
        waiting = "" if self._value.value or self._column.value == CHOSEN else self._column.value
        found = self._reads.trials.value_of(trials)
        column, value = found or (waiting if trials is None else CHOSEN, "")
        with self.filling():
            others = {"as chosen": CHOSEN} if column == CHOSEN else {}
            self._column.param.update(options=self._columns | others, value=column)
        self._fill_values("" if column == CHOSEN else column, value)

    def show(self, selection: Selection) -> None:
        """Draw the selected latent."""
        reads, events = self._reads, self._reads.trials.events
        first = selection.align if selection.align in events else events[0]
        by = selection.by if selection.by in reads.groupings else None
        with self.filling():
            self._align.value, self._by.value = first, by or ""
        self._show_filter(selection.trial_filter)
        beside = [first, *(event for event in events if event != first)][:MOST_EVENTS]
        groups = groups_at(reads, by, first)
        self.draw(trial_drawing(reads, selection, [aligned(reads, selection, each, groups) for each in beside], groups))


def trial_drawing(reads: Readings, selection: Selection, events: list[Aligned], groups: Groups) -> Drawing:
    """Rasters above means, a column for each event that any trial has; the groups' names above them."""
    having = [each for each in events if len(each.trials)]
    if not having:
        which = "" if selection.split == "all" else f" of the {selection.split} split"
        return Drawing(panels=(), summary=f"No trial{which} has this event and a group.", rows=(0,))
    strongest = _strongest(having)
    means = [_means(each, strongest) for each in having]
    finite = [mean[np.isfinite(mean)] for of_event in means for triple in of_event.values() for mean in triple]
    low, high = around(np.concatenate(finite), include=0.0)
    largest = [float(np.nanpercentile(np.abs(each.values), 99.5)) for each in having]
    peak = max(largest) or max(float(np.nanmax(np.abs(each.values))) for each in having) or 1.0
    colours: dict[int, int | str] = {
        code: groups.colours[code] if groups.colours else i for i, code in enumerate(strongest)
    }
    panels: list[Panel] = []
    for column, (each, of_event) in enumerate(zip(having, means, strict=True)):
        panels.append(_raster(each, groups, colours, peak, column))
        panels.append(_curves(each, of_event, groups, colours, (low, high), column))
    names = [groups.labels[code] for code in colours]
    if len(groups.labels) > 1:
        panels.append(_legend(spoken(selection.by or ""), names, list(colours.values()), len(having)))
    return Drawing(
        panels=tuple(panels),
        summary=_summary(reads, selection, having[0], means[0], groups),
        rows=(LEGEND if len(groups.labels) > 1 else 0, RASTER, MEANS),
        columns=(1,) * len(having),
        least_column=260,
    )


def _strongest(events: list[Aligned]) -> list[int]:
    """The groups, in their order: all where each can have a colour, else those with the largest mean at the first."""
    present = [int(code) for code in np.unique(np.concatenate([each.codes for each in events]))]
    if len(present) > len(PALETTE):
        first = events[0]
        tops = {int(code): float(np.abs(_plain_mean(first, code)).max(initial=0.0)) for code in np.unique(first.codes)}
        present = sorted(sorted(present, key=lambda code: -tops.get(code, -1.0))[: len(PALETTE)])
    return present


def _means(each: Aligned, codes: list[int]) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Mean and bounds by group, of those of these groups that have trials."""
    return {code: bootstrap_means(each.values[each.codes == code]) for code in codes if code in each.codes}


def _plain_mean(each: Aligned, code: int) -> np.ndarray:
    chosen = each.values[each.codes == code]
    known = ~np.isnan(chosen)
    return np.asarray(np.nan_to_num(chosen).sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def _raster(each: Aligned, groups: Groups, colours: dict[int, int | str], peak: float, column: int) -> Panel:
    values, per_row = merged_rows(each.values, MOST_ROWS)
    n_rows = len(values)
    signed = bool((np.nan_to_num(each.values) < 0).any())
    half = float(each.times_s[1] - each.times_s[0]) / 2
    first = np.searchsorted(each.codes, np.unique(each.codes)) / per_row
    bounds = [
        (n_rows - stop, n_rows - start)
        for start, stop in zip(first, [*first[1:], len(each.codes) / per_row], strict=True)
    ]
    shown = [colours.get(int(code), "neutral") for code in np.unique(each.codes)]
    layers = [
        Layer(
            "image",
            {
                "image": bytes_of(values, -peak if signed else 0.0, peak),
                "trial": each.trials[::per_row],
                "group": each.codes[::per_row].astype(np.uint8),
            },
            shape=[n_rows, values.shape[1]],
            extent=[float(each.times_s[0]) - half, float(each.times_s[-1]) + half, 0, n_rows],
            scale="diverging" if signed else "ink",
            bottom=-peak if signed else 0.0,
            top=peak,
            missing=True,
            name="activation",
            per_row=per_row,
            groups=list(groups.labels) if len(groups.labels) > 1 else [],
        ),
        Layer("rules", x=[0], colour="behaviour", width=1.5),
    ]
    if len(groups.labels) > 1:
        layers.append(Layer("stripes", bounds=bounds, colours=shown))
    rows = "trials" if per_row == 1 else f"trials, {per_row} a row"
    return Panel(
        id="raster",
        title=f"{spoken(each.event)} (n = {len(each.trials)})",
        row=1,
        column=column,
        margins=(24, 14, 8, 58),
        x=Axis(
            low=float(each.times_s[0]) - half,
            high=float(each.times_s[-1]) + half,
            link="time",
            shown=False,
            hover="time (s)",
        ),
        y=Axis(low=0, high=n_rows, label=rows, shown=False),
        layers=tuple(layers),
        grid=False,
    )


def _curves(
    each: Aligned,
    means: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]],
    groups: Groups,
    colours: dict[int, int | str],
    reach: tuple[float, float],
    column: int,
) -> Panel:
    half = float(each.times_s[1] - each.times_s[0]) / 2
    bands, lines = [], []
    alpha = 0.24 if len(means) <= 2 else 0.15 if len(means) <= 4 else 0.08
    for code, (mean, low, high) in means.items():
        colour = colours[code]
        bands.append(Layer("band", {"x": each.times_s, "low": low, "high": high}, colour=colour, alpha=alpha))
        lines.append(Layer("line", {"x": each.times_s, "y": mean}, colour=colour, width=2, name=groups.labels[code]))
    return Panel(
        id="means",
        row=2,
        column=column,
        margins=(4, 14, 42, 58),
        x=Axis(
            low=float(each.times_s[0]) - half,
            high=float(each.times_s[-1]) + half,
            link="time",
            label=f"time from {spoken(each.event)} (s)",
            hover="time (s)",
        ),
        y=Axis(low=reach[0], high=reach[1], label="mean activation" if column == 0 else ""),
        layers=(*bands, *lines, Layer("rules", x=[0], colour="behaviour", width=1.5)),
    )


def _legend(title: str, names: list[str], colours: list[int | str], span: int) -> Panel:
    flat = Axis(low=0, high=1, shown=False)
    return Panel(
        x=flat,
        y=flat,
        span=span,
        margins=(2, 14, 2, 58),
        layers=(Layer("legend", title=title, names=names, colours=colours),),
        grid=False,
        frame=False,
    )


def _chosen(reads: Readings, trials: tuple[int, ...]) -> str:
    """Which trials are drawn, in words."""
    found = reads.trials.value_of(trials)
    return f"{len(trials)} chosen trials" if found is None else f"trials with {spoken(found[0])} {found[1]}"


def _summary(
    reads: Readings,
    selection: Selection,
    each: Aligned,
    means: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]],
    groups: Groups,
) -> str:
    n_all = len(reads.trials.frame)
    where = "" if selection.split == "all" else f" of the {selection.split} split"
    said = [f"{latent_name(selection)} around {spoken(each.event)}: {len(each.trials)} of {n_all} trials{where}."]
    if selection.trial_filter is not None:
        said.append(f"Only {_chosen(reads, selection.trial_filter)} are drawn here; other tiles draw all bins.")
    peaks = {code: (float(np.nanmax(mean)), int(np.nanargmax(mean))) for code, (mean, _, _) in means.items()}
    code = max(peaks, key=lambda code: peaks[code][0])
    value, at = peaks[code]
    low, high = (number(float(bound[at])) for bound in means[code][1:])
    which = f" for {groups.labels[code]}" if len(groups.labels) > 1 else ""
    if value > 0:
        said.append(
            f"Largest mean {number(value)} (95 % interval {low} to {high}) "
            f"{number(float(each.times_s[at]), 2)} s from it{which}."
        )
    else:
        said.append("Silent in all of them.")
    n_groups = len(np.unique(each.codes))
    if n_groups > len(means):
        n_trials = [int((each.codes == code).sum()) for code in means]
        said.append(
            f"Means of the {len(means)} groups with the largest, of {n_groups}, the others are grey; of "
            f"{min(n_trials)} to {max(n_trials)} trials each and chosen as the largest, they promise too much."
        )
    said.append("Bands: 95 % bootstrap interval over trials, not corrected for the number of bins or groups.")
    return " ".join(said)
