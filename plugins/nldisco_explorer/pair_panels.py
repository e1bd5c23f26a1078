"""Panels of a pair of latents: where it stands among all pairs, and how both depend on a variable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.condition_curves import Visits, drawn_as
from nldisco_core.tuning import Conditions
from nldisco_explorer.curves import ticks_of
from nldisco_explorer.drawing.payload import Axis, Layer, Panel, bytes_of
from nldisco_explorer.perievent import spoken
from nldisco_explorer.polar import angles_of, arrow, circle, outline, polar_ground
from nldisco_explorer.value_axis import value_axis
from nldisco_explorer.visited import visited_part
from nldisco_explorer.wording import number

if TYPE_CHECKING:
    from nldisco_core.binned import Covariate
    from nldisco_core.selection import Selection
    from nldisco_explorer.pairing import Pairing
    from nldisco_explorer.readings import Readings

__all__ = ["COLOURS", "ranking_panel", "tuning_panels"]

COLOURS = ("activation", "behaviour")
"""Of a latent and of its partner."""
STYLES: tuple[dict[str, Any], ...] = ({"colour": COLOURS[0]}, {"colour": COLOURS[1], "dash": [7, 4]})
REACH, NAMES_AT = 1.35, 1.2
"""Half the side of a polar plot, and how far its directions are named from the centre, in radii of the outer circle."""

Floats = NDArray[np.float64]


def ranking_panel(found: Pairing, latent: int | None) -> Panel:
    """Similarity of all pairs by rank, above what pairs of that rank reach by chance; the selected one is ringed."""
    table = found.table
    rank = np.arange(1, len(table) + 1)
    labels = [
        f"latent {a} and {b}\n{found.measure} {number(r)}"
        + (f", {number(null)} by chance" if found.is_whole else "")
        + (f"; p {number(p, 2)}" if p == p else "")
        for a, b, r, null, p in table[["latent", "partner", "similarity", "null", "p"]].itertuples(index=False)
    ]
    drawn = len(table) if found.is_whole else 0
    layers = [
        Layer("points", {"x": rank[:drawn], "y": table["null"].to_numpy()[:drawn]}, colour="neutral", size=1.8),
        Layer(
            "points",
            {"x": rank, "y": table["similarity"]},
            colour="activation",
            size=3,
            items=table["latent"].tolist(),
            labels=labels,
        ),
    ]
    chosen = np.flatnonzero(table["latent"] == latent)
    if len(chosen):
        layers.append(
            Layer("rings", {"x": rank[chosen], "y": table["similarity"].to_numpy()[chosen]}, colour="behaviour", size=8)
        )
    low = min(0.0, float(table[["similarity", "null"]].min().min()) if len(table) else 0.0)
    return Panel(
        id="pairs",
        title=f"{found.measure} of pairs (blue)" + (" and by chance (grey)" if found.is_whole else ""),
        x=Axis(low=0, high=len(table) + 1, label="pairs, most alike first"),
        y=Axis(low=low, high=1.04, label=found.measure),
        layers=tuple(layers),
        margins=(26, 14, 42, 54),
        click=True,
    )


def tuning_panels(
    reads: Readings, selection: Selection, matrix: sparse.csc_array, partner: int, found: Pairing
) -> tuple[list[Panel], str]:
    """Means of both in each condition of the selected variable, over the shared bins of the selected split.

    Each is drawn relative to its largest. No panel where no variable of the run can be drawn against. Beside the
    panels, what must be said of their axis.

    Parameters
    ----------
    matrix : (n_bins, 2) the latent and its partner on the bins of this run
    """
    drawable = {
        name: covariate
        for name in reads.variables()
        if len((covariate := reads.covariate(name)).channels) == 1 or covariate.kind == "position"
    }
    if not drawable:
        return [], ""
    name = selection.variable if selection.variable in drawable else next(iter(drawable))
    chosen = reads.cut(name)
    used = np.zeros(matrix.shape[0], dtype=bool)
    used[found.rows] = reads.split_mask(selection.split)[found.rows]
    visits = Visits(chosen, mask=used, blocks=reads.blocks, bin_s=reads.run.counts.bin_s)
    ends = matrix.indptr
    columns = [slice(ends[column], ends[column + 1]) for column in range(2)]
    curves = [visits.mean_of_latent(matrix.indices[each], matrix.data[each]) for each in columns]
    mean, unsmoothed = np.stack([c.mean for c in curves]), np.stack([c.unsmoothed for c in curves])
    largest = np.abs(np.nan_to_num(mean)).reshape(2, -1).max(axis=1)
    relative = mean / np.maximum(largest, 1e-12).reshape(2, *(1 for _ in chosen.grid))
    latents = selection.latent or 0, partner
    if chosen.kind == "position" and len(chosen.edges) == 2:
        return _maps(relative, chosen.edges, latents), drawn_as(chosen)
    if chosen.kind == "circular":
        return [_polar(relative, unsmoothed, angles_of(chosen, drawable[name]))], drawn_as(chosen)
    said = value_axis(chosen).said if chosen.kind == "linear" else drawn_as(chosen)
    return [_curves(relative, chosen, drawable[name], latents)], said


def _curves(relative: Floats, chosen: Conditions, covariate: Covariate, latents: tuple[int, int]) -> Panel:
    """Bars of labels, lines of numbers."""
    if chosen.kind == "discrete":
        return _bars(relative, chosen, covariate, latents)
    return _lines(relative, chosen, covariate, latents)


def _polar(relative: Floats, unsmoothed: Floats, angles: Floats) -> Panel:
    """Both round one centre, which is zero, or the smallest value where there are negative ones.

    Parameters
    ----------
    relative, unsmoothed : (2, n_conditions) what is drawn, and what the directions are read off
    """
    low = min(0.0, float(np.nan_to_num(relative).min()))
    layers = polar_ground(NAMES_AT)
    for values, means, style in zip(relative, unsmoothed, STYLES, strict=True):
        around = outline(angles, (values - low) / (1 - low), values)
        layers.append(Layer("line", around, width=2.2, **style))
        if low == 0 and np.nansum(means) > 0:
            layers.append(arrow(means, angles, width=3, **style))
    if low < 0:
        layers.append(Layer("line", circle(-low / (1 - low)), colour="muted", width=1, dash=[3, 3]))
    side = Axis(low=-REACH, high=REACH, shown=False)
    panel = _framed(side, side, layers)
    return replace(panel, margins=(26, 14, 8, 54), equal=True, grid=False, frame=False)


def _bars(relative: Floats, chosen: Conditions, covariate: Covariate, latents: tuple[int, int]) -> Panel:
    """Two bars for each label, side by side."""
    place = np.arange(chosen.n_conditions, dtype=np.float64)
    layers = []
    for values, colour, latent, from_ in zip(relative, COLOURS, latents, (-0.4, 0.0), strict=True):
        bars = {"left": place + from_, "right": place + from_ + 0.4, "top": values}
        labels = [f"latent {latent}, {label}" for label in chosen.labels]
        layers.append(Layer("bars", bars, colour=colour, name=f"latent {latent}", labels=labels))
    high, ticks = chosen.n_conditions - 0.4, ticks_of(chosen.labels)
    return _framed(Axis(low=-0.6, high=high, label=spoken(covariate.name), ticks=ticks), _upright(relative), layers)


def _lines(relative: Floats, chosen: Conditions, covariate: Covariate, latents: tuple[int, int]) -> Panel:
    along = value_axis(chosen)
    layers = []
    for values, style, latent in zip(relative, STYLES, latents, strict=True):
        points = {"x": along.centres, "y": values}
        layers.append(Layer("line", points, width=2.2, name=f"latent {latent}", **style))
        layers.append(Layer("points", points, colour=style["colour"], size=2.6, labels=list(chosen.labels)))
    return _framed(along.axis(covariate), _upright(relative), layers)


def _upright(relative: Floats) -> Axis:
    return Axis(low=1.05 * min(0.0, float(np.nan_to_num(relative).min())), high=1.08, label="relative")


def _framed(x: Axis, y: Axis, layers: Sequence[Layer]) -> Panel:
    title = "Mean activation, each relative to its largest"
    return Panel(id="tuning", title=title, column=1, x=x, y=y, layers=tuple(layers), margins=(26, 14, 42, 54))


def _maps(maps: Floats, edges: tuple[NDArray[np.float64], ...], latents: tuple[int, int]) -> list[Panel]:
    """Both maps over a position, one beside the other."""
    maps, (xs, ys) = visited_part(maps, edges)
    width = float(xs[-1] - xs[0]) * 1.06
    layers = []
    for place, each in enumerate(maps):
        bottom = min(0.0, float(np.nan_to_num(each).min()))
        image = bytes_of(each.T[::-1], bottom, 1.0)
        extent = [place * width, place * width + float(xs[-1] - xs[0]), float(ys[0]), float(ys[-1])]
        layers.append(
            Layer(
                "image",
                {"image": image},
                shape=list(each.T.shape),
                extent=extent,
                scale="sequence",
                missing=True,
                bottom=bottom,
                top=1.0,
                name="relative",
            )
        )
    return [
        Panel(
            id="tuning",
            title=f"Mean activation over position: latent {latents[0]}, then {latents[1]}",
            column=1,
            x=Axis(low=0, high=2 * width, shown=False),
            y=Axis(low=float(ys[0]), high=float(ys[-1]), shown=False),
            layers=tuple(layers),
            margins=(26, 14, 42, 24),
            equal=True,
            grid=False,
            frame=False,
        )
    ]
