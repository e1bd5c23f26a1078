"""The tile of example moments: what was going on when a latent was active strongly, usually and weakly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nldisco_core.binned import Covariate
from nldisco_core.colours import PALETTE
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.categories import category_legend, colour_numbers, label_strength
from nldisco_explorer.decimation import decimated
from nldisco_explorer.drawing.legend import legend_panel
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, around
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.evidence import latent_name
from nldisco_explorer.perievent import spoken
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.timeline import CHANNELS, session_times
from nldisco_explorer.wording import number

__all__ = ["ExampleMoments", "moments_at"]

QUANTILES = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1)
HALF_BINS = 40
LEAST_HALF_S = 1.0
ACTIVATION_ROW, BEHAVIOUR_ROW = 120, 112
LEFT = 44


def moments_at(
    values: NDArray[np.float32], rows: NDArray[np.int64], quantiles: tuple[float, ...], apart: int
) -> NDArray[np.int64]:
    """(n_moments,) bins whose activation is nearest to each quantile of the active ones, no two of them close together.

    Parameters
    ----------
    values, rows : (n_active,) activations and their bins
    apart : bins that two moments are more than this apart; a quantile that has no such bin left is left out
    """
    chosen: list[int] = []
    for wanted in np.quantile(values, quantiles):
        for at in rows[np.argsort(np.abs(values - wanted), kind="stable")]:
            if all(abs(int(at) - other) > apart for other in chosen):
                chosen.append(int(at))
                break
    return np.array(chosen, dtype=np.int64)


class ExampleMoments:
    """View: activation and a variable around moments of strong, usual and weak activation."""

    title: ClassVar[str] = "Example moments"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _MomentsTile(readings(run))


class _MomentsTile(CanvasTile):
    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        self._windows: list[tuple[str, float, float]] = []
        super().__init__()

    def show(self, selection: Selection) -> None:
        """Draw six moments, from the strongest activation to the weak ones."""
        reads, counts = self._reads, self._reads.run.counts
        active = reads.activations(selection)
        if not len(active.rows):
            self.say(f"{latent_name(selection)} is never active in these bins.")
            return
        half = max(HALF_BINS, round(LEAST_HALF_S / counts.bin_s))
        at = moments_at(active.values, active.rows, QUANTILES, half)
        trace = reads.activations(replace(selection, split="all")).trace(counts.n_bins)
        of_split = reads.split_mask(selection.split)
        names = reads.variables()
        variable = selection.variable if selection.variable in names else next(iter(names), None)
        panels: list[Panel] = []
        self._windows = []
        colours, legend = (None, None) if variable is None else _colours(reads.covariate(variable), trace)
        for column, row in enumerate(at):
            index = int(counts.session_of_bin[row])
            time, session = session_times(reads, index), counts.sessions[index]
            middle = float(time.start_s[row - time.rows.start])
            window = (middle - half * counts.bin_s, middle + (half + 1) * counts.bin_s)
            self._windows.append((session.session_id, *window))
            inside = time.inside(*window)
            rows = np.arange(inside.start, inside.stop) + time.rows.start
            since = time.start_s[inside] - middle
            title = f"{number(float(trace[row]), 2)} at {number(middle, 5)} s"
            stretch, veil = time.stretch[inside], time.veiled(of_split[time.rows], inside, middle)
            drawn = _activation(since, stretch, trace[rows], float(trace.max()), title, column, variable is None)
            panels.append(replace(drawn, layers=(time.gaps(middle), *drawn.layers, *veil)))
            if variable is not None:
                drawn = _behaviour(reads, variable, rows, since, stretch, column, colours)
                panels.append(replace(drawn, layers=(time.gaps(middle), *drawn.layers)))
        if legend is not None:
            panels.append(legend_panel(legend, row=2, span=len(at), left=LEFT))
        self.draw(
            Drawing(
                panels=tuple(panels),
                summary=f"{len(at)} moments of {latent_name(selection).lower()}, from the strongest to quantile "
                f"{QUANTILES[len(at) - 1]:g} of them{'' if variable is None else f', with {spoken(variable)}'}"
                f"{_said(selection.split)} Click one to see it in the session.",
                rows=(ACTIVATION_ROW, BEHAVIOUR_ROW, None) if variable is not None else (ACTIVATION_ROW + 30,),
                columns=(1,) * len(at),
                least_column=150,
            )
        )

    def done(self, what: Mapping[str, Any]) -> None:
        """Go to the moment in the session."""
        if what.get("kind") == "click" and str(what.get("panel", "")).isdigit():
            session, low, high = self._windows[int(what["panel"])]
            self.select(session=session, window_s=(round(low, 3), round(high, 3)), page="session")


def _said(split: str) -> str:
    return "." if split == "all" else f", chosen among {split} bins; bins of other splits are drawn paler."


def _activation(
    since: NDArray[Any],
    stretch: NDArray[np.int64],
    values: NDArray[Any],
    top: float,
    title: str,
    column: int,
    last: bool,
) -> Panel:
    x, y = decimated(since, values, stretch, len(values))
    return Panel(
        id=str(column),
        title=title,
        column=column,
        x=_time(since, shown=last),
        y=Axis(low=0, high=1.08 * top, shown=column == 0),
        layers=(
            Layer("rules", x=[0], colour="neutral", dash=[3, 3]),
            Layer("area", {"x": x, "y": y}, colour="activation", alpha=0.35, step=True),
            Layer("line", {"x": x, "y": y}, colour="activation", width=1.4, step=True, name="activation"),
        ),
        margins=(24, 8, 6, LEFT),
        click=True,
    )


def _colours(covariate: Covariate, trace: NDArray[Any]) -> tuple[NDArray[np.uint8] | None, Layer | None]:
    """Number in the palette of each label of a discrete variable, and the legend of them; None of all others."""
    if covariate.kind != "discrete" or covariate.categories is None:
        return None, None
    n_labels = len(covariate.categories)
    is_many = n_labels > len(PALETTE)
    numbers = colour_numbers(label_strength(covariate.values[:, 0], trace, n_labels) if is_many else np.ones(n_labels))
    return numbers, category_legend(covariate.categories, numbers)


def _behaviour(
    reads: Readings,
    variable: str,
    rows: NDArray[np.int64],
    since: NDArray[Any],
    stretch: NDArray[np.int64],
    column: int,
    colours: NDArray[np.uint8] | None,
) -> Panel:
    covariate = reads.covariate(variable)
    values = covariate.values[rows]
    ticks: tuple[tuple[float, str], ...] | None = None
    if covariate.kind == "circular":
        values = ((values / (covariate.period or 1.0) + 0.5) % 1 - 0.5) * 360
        low, high, ticks = -190.0, 190.0, tuple((float(d), f"{d}°".replace("-", "−")) for d in (-180, 0, 180))
    elif covariate.kind == "discrete":
        low, high = -0.5, max(float(np.nanmax(covariate.values)), 0.0) + 0.5
        ticks = () if covariate.categories else None  # the legend names them
    else:
        low, high = around(covariate.values)
    kind = "line" if covariate.kind in ("linear", "position") else "points"
    layers = [
        Layer(
            kind,
            dict(zip("xy", decimated(since, each, stretch, len(each)), strict=True)),
            colour=colour,
            size=1.5,
            width=1.6,
            name=channel if len(values.T) > 1 else variable,
        )
        for each, channel, colour in zip(values.T, covariate.channels, CHANNELS, strict=False)
    ]
    if colours is not None and covariate.categories is not None:
        known = np.flatnonzero(~np.isnan(values[:, 0]))
        codes = values[known, 0].astype(np.int64)
        at = {"x": since[known], "y": codes, "values": colours[codes]}
        labels = [covariate.categories[code] for code in codes]
        layers = [Layer("points", at, scale="categories", size=2.2, labels=labels, name=variable)]
    return Panel(
        id=str(column),
        row=1,
        column=column,
        x=_time(since, shown=True, label="s from the moment"),
        y=Axis(low=low, high=high, shown=column == 0, ticks=ticks),
        layers=(Layer("rules", x=[0], colour="neutral", dash=[3, 3]), *layers),
        margins=(4, 8, 38, LEFT),
        click=True,
    )


def _time(since: NDArray[Any], *, shown: bool, label: str = "") -> Axis:
    return Axis(low=float(since[0]), high=float(since[-1]), shown=shown, label=label, link="moment", hover="s from it")
