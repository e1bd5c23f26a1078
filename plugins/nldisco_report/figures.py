"""Tuning of one latent as a figure: a curve, a polar plot, a rate map or bars, with interval and occupancy.

Drawn from `nldisco_core.condition_curves`, as the explorer does. Nothing here depends on the time or on the machine, so
that the same run gives the same bytes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from numpy.typing import NDArray

from nldisco_core.binned import SPLITS, Covariate
from nldisco_core.colours import ACTIVATION, BEHAVIOUR
from nldisco_core.condition_curves import Curve, Visits, blocks_of, cut, drawn_as
from nldisco_core.errors import DataError, RunError, unknown_name
from nldisco_core.runs import Run
from nldisco_core.summary import Findings
from nldisco_core.tuning import Conditions, one_per_channel, rectified, rectified_columns
from nldisco_report.style import INK, MUTED, styled

__all__ = ["Tuning", "save_figure", "tuning", "tuning_figure"]

LETTERS = 64
"""Of a line of small print, in a figure of usual width."""

_NO_TIME = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuning:
    """What a figure shows.

    Attributes
    ----------
    covariate, conditions : the variable, and the conditions it is cut into
    curve : mean activation in each, its 95 % interval, and the time spent there
    split : the bins it is of, ``all`` or a split by name
    n_active : active bins among these in which the variable is defined
    """

    covariate: Covariate
    conditions: Conditions
    curve: Curve
    split: str
    n_active: int


def tuning(
    run: Run,
    *,
    latent: int,
    variable: str,
    model: str = "model",
    instance: int = 0,
    sign: int = 0,
    split: str | None = None,
) -> Tuning:
    """Mean activation of a latent in each condition of a variable.

    Parameters
    ----------
    variable : of the run, or one channel of it as mappers call it, such as ``velocity.x``
    model : ``model``, or the name of a control
    sign : +1 or -1 for a half of a signed code, of which 0 takes the positive one
    split : ``all`` or a split by name; None for the one that is reported

    Raises
    ------
    DataError
        An unknown variable, a variable without a value on these bins, or a split that holds none.
    RunError
        No such instance or latent.
    """
    data, space = run.counts, run.part(model).latents.main
    if instance >= space.n_instances or latent >= space.n_latents:
        raise RunError(
            f"instance {instance}, latent {latent} of {model}: it has {space.n_instances} instances of "
            f"{space.n_latents} latents, counted from 0"
        )
    split = split or Findings.of(run).split
    mask = np.ones(data.n_bins, dtype=bool) if split == "all" else data.split == _code(split)
    mask = mask if space.defined is None else mask & space.defined
    covariate = _variable(run, variable)
    if not (mask & covariate.defined).any():
        raise DataError(f"{variable} has no value on any {split} bin; choose another --split")
    chosen = cut(covariate)
    visits = Visits(chosen, mask=mask, blocks=blocks_of(data), bin_s=data.bin_s)
    latents, signs = rectified_columns(space)
    column = np.flatnonzero((latents == latent) & ((signs == sign) | (signs == 0) | ((sign == 0) & (signs == 1))))[0]
    code = rectified(space, instance)[:, [column]]
    curve = visits.of_latent(code.indices, code.data)
    n_active = int((mask & covariate.defined)[code.indices].sum())
    return Tuning(covariate=covariate, conditions=chosen, curve=curve, split=split, n_active=n_active)


def _code(split: str) -> int:
    if split not in SPLITS:
        raise DataError(unknown_name("split", split, ("all", *SPLITS)))
    return SPLITS.index(split)


def _variable(run: Run, name: str) -> Covariate:
    known = {
        part.name: part for own in run.counts.covariate_names for part in one_per_channel(run.counts.covariate(own))
    }
    if name not in known:
        raise DataError(unknown_name("variable", name, known))
    return known[name]


def tuning_figure(
    run: Run,
    *,
    latent: int,
    variable: str,
    model: str = "model",
    instance: int = 0,
    sign: int = 0,
    split: str | None = None,
) -> Figure:
    """A figure of what `tuning` gives; see there for parameters and errors."""
    return draw(tuning(run, latent=latent, variable=variable, model=model, instance=instance, sign=sign, split=split))


def draw(shown: Tuning) -> Figure:
    """The figure that suits the kind of variable."""
    with styled():
        figure = _drawn(shown)
        figure.supxlabel(textwrap.fill(drawn_as(shown.conditions), LETTERS), fontsize=6, color=MUTED)
        return figure


def _drawn(shown: Tuning) -> Figure:
    if shown.covariate.kind == "circular":
        return _polar(shown)
    if shown.covariate.kind == "discrete":
        return _bars(shown)
    return _map(shown) if len(shown.conditions.grid) == 2 else _line(shown)


def save_figure(figure: Figure, stem: Path, formats: Iterable[str]) -> list[Path]:
    """Write a figure as ``stem.svg``, ``.pdf`` or ``.png``; the paths that were written.

    Raises
    ------
    RunError
        The folder cannot be written.
    """
    written = []
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for name in formats:
            path = stem.with_name(f"{stem.name.replace(' ', '_').replace('/', '_')}.{name}")
            with styled():
                figure.savefig(path, format=name, facecolor="white", metadata=_NO_TIME[name])
            written.append(path)
    except OSError as error:
        raise RunError(f"{stem.parent} cannot be written: {error.strerror}; choose another folder") from error
    return written


def _labelled(covariate: Covariate, channel: str | None = None) -> str:
    name = (channel or covariate.name).replace("_", " ")
    return f"{name} ({covariate.physical_unit})" if covariate.physical_unit else name


def _occupancy(axes: Axes) -> None:
    axes.set_ylabel("time (s)")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="y", nbins=2)


def _line(shown: Tuning) -> Figure:
    figure = Figure(figsize=(3.4, 2.7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    curve, edges = shown.curve, shown.conditions.edges[0]
    centres = (edges[:-1] + edges[1:]) / 2
    mean, low, high, time = (values.ravel() for values in (curve.mean, curve.low, curve.high, curve.occupancy_s))
    above.fill_between(centres, low, high, color=ACTIVATION, alpha=0.25, linewidth=0)
    above.plot(centres, mean, color=ACTIVATION, marker="o", markersize=2.6)
    above.set_ylim(bottom=0)
    above.set_ylabel("mean activation")
    below.bar(edges[:-1], time, width=np.diff(edges), align="edge", color=MUTED, alpha=0.55, linewidth=0)
    below.set_xlabel(_labelled(shown.covariate))
    _occupancy(below)
    return figure


def _polar(shown: Tuning) -> Figure:
    figure = Figure(figsize=(3.2, 2.9), layout="constrained")
    axes: Any = figure.add_subplot(projection="polar")
    turn = 2 * np.pi / (shown.covariate.period or 1.0)
    edges = shown.conditions.edges[0] * turn
    centres = (edges[:-1] + edges[1:]) / 2
    around = np.append(np.arange(len(centres)), 0)
    curve, top = shown.curve, float(np.nanmax([shown.curve.top, np.nanmax(_known(shown.curve.high))]))
    axes.fill_between(centres[around], curve.low[around], curve.high[around], color=ACTIVATION, alpha=0.25, linewidth=0)
    axes.plot(centres[around], curve.mean[around], color=ACTIVATION)
    time = curve.occupancy_s / max(float(curve.occupancy_s.max()), 1e-12)
    axes.bar(centres, 0.16 * top * time, width=np.diff(edges), bottom=1.12 * top, color=MUTED, alpha=0.55, linewidth=0)
    if curve.peak is not None:
        resultant = np.angle(np.nansum(curve.unsmoothed * np.exp(1j * centres)))
        axes.plot([resultant, resultant], [0, curve.top], color=BEHAVIOUR, linewidth=1.8, solid_capstyle="round")
    _frame_polar(axes, shown, top)
    return figure


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.append(values[np.isfinite(values)], 0.0)


def _frame_polar(axes: PolarAxes, shown: Tuning, top: float) -> None:
    quarter = (shown.covariate.period or 1.0) / 4
    in_degrees = shown.covariate.physical_unit == "rad"
    unit = "°" if in_degrees or shown.covariate.physical_unit in ("deg", "°") else ""
    labels = [f"{number * (90 if in_degrees else quarter):g}{unit}" for number in range(4)]
    axes.set_ylim(0, 1.3 * top)
    axes.set_xticks(np.arange(4) * np.pi / 2, labels)
    axes.set_yticks([top / 2, top], [f"{top / 2:.2g}", f"{top:.2g}"])
    axes.set_rlabel_position(52)
    axes.tick_params(axis="y", labelsize=7)
    axes.spines["polar"].set_visible(False)
    longest = float(shown.curve.occupancy_s.max())
    axes.set_title(f"{shown.covariate.name.replace('_', ' ')}; outer ring: time, at most {longest:.3g} s", fontsize=7.5)


def _bars(shown: Tuning) -> Figure:
    curve, labels = shown.curve, shown.conditions.labels
    figure = Figure(figsize=(3.4, 1.0 + 0.24 * len(labels)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
    places = np.arange(len(labels))
    lengths = np.nan_to_num(curve.mean)
    bounds = np.abs(np.nan_to_num(np.stack([curve.mean - curve.low, curve.high - curve.mean])))
    left.barh(places, lengths, color=ACTIVATION, height=0.62)
    left.errorbar(lengths, places, xerr=bounds, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2)
    left.set_yticks(places, [label if len(label) < 26 else f"{label[:24]}…" for label in labels])
    left.invert_yaxis()
    left.set_xlim(left=0)
    left.set_xlabel("mean activation")
    left.set_title(shown.covariate.name.replace("_", " "), loc="left")
    right.barh(places, curve.occupancy_s, color=MUTED, alpha=0.55, height=0.62)
    right.set_xlabel("time (s)")
    right.locator_params(axis="x", nbins=2)
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
    return figure


def _map(shown: Tuning) -> Figure:
    figure = Figure(figsize=(3.4, 2.9), layout="constrained")
    axes = figure.subplots()
    xs, ys = shown.conditions.edges
    extent = (float(xs[0]), float(xs[-1]), float(ys[0]), float(ys[-1]))
    image = axes.imshow(
        shown.curve.mean.T, origin="lower", extent=extent, cmap="viridis", vmin=0, vmax=shown.curve.top, aspect="equal"
    )
    axes.spines[["left", "bottom"]].set_visible(False)
    channels = shown.covariate.channels
    axes.set_xlabel(_labelled(shown.covariate, channels[0]))
    axes.set_ylabel(_labelled(shown.covariate, channels[1]))
    axes.locator_params(nbins=4)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.03)
    bar.set_label("mean activation")
    bar.outline.set_visible(False)
    visited = shown.curve.occupancy_s[shown.curve.occupancy_s > 0]
    n_cells = shown.curve.occupancy_s.size
    axes.set_title(f"{len(visited)} of {n_cells} cells visited, median {np.median(visited):.2g} s", fontsize=7.5)
    return figure
