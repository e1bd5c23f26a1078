"""Panels of a pair of latents: where it stands among all pairs, and how both depend on a variable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.tuning import Conditions, condition_means
from nldisco_explorer.drawing.payload import Axis, Layer, Panel, around, bytes_of
from nldisco_explorer.figures import number
from nldisco_explorer.perievent import spoken

if TYPE_CHECKING:
    from nldisco_core.binned import Covariate
    from nldisco_core.selection import Selection
    from nldisco_explorer.pairing import Pairing
    from nldisco_explorer.readings import Readings

__all__ = ["COLOURS", "ranking_panel", "tuning_panels"]

COLOURS = ("activation", "behaviour")
"""Of a latent and of its partner."""


def ranking_panel(found: Pairing, latent: int | None) -> Panel:
    """Similarity of all pairs by rank, above what pairs of that rank reach by chance; the selected one is ringed."""
    table = found.table
    rank = np.arange(1, len(table) + 1)
    labels = [
        f"latent {a} and {b}\n{found.measure} {number(r)}, {number(null)} by chance"
        for a, b, r, null in table[["latent", "partner", "similarity", "null"]].itertuples(index=False)
    ]
    layers = [
        Layer("points", {"x": rank, "y": table["null"]}, colour="neutral", size=1.8),
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
        title=f"{found.measure} of pairs (blue) and by chance (grey)",
        x=Axis(low=0, high=len(table) + 1, label="pairs, most alike first"),
        y=Axis(low=low, high=1.04, label=found.measure),
        layers=tuple(layers),
        margins=(26, 14, 42, 54),
        click=True,
    )


def tuning_panels(
    reads: Readings, selection: Selection, matrix: sparse.csc_array, partner: int, found: Pairing
) -> list[Panel]:
    """Means of both in each condition of the selected variable, over the shared bins of the selected split.

    Each is drawn relative to its largest. No panel where no variable of the run can be drawn against.

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
        return []
    name = selection.variable if selection.variable in drawable else next(iter(drawable))
    chosen = reads.cut(name)
    used = np.zeros(matrix.shape[0], dtype=bool)
    used[found.rows] = reads.split_mask(selection.split)[found.rows]
    mean = condition_means(sparse.csc_array(matrix.astype(np.float64)), chosen, used).mean
    relative = mean / np.maximum(np.abs(np.nan_to_num(mean)).max(axis=1, keepdims=True), 1e-12)
    latents = selection.latent or 0, partner
    if chosen.kind == "position" and len(chosen.edges) == 2:
        return _maps(relative.reshape(2, *chosen.grid), chosen.edges, latents)
    return [_curves(relative, chosen, drawable[name], latents)]


def _curves(relative: NDArray[np.float64], chosen: Conditions, covariate: Covariate, latents: tuple[int, int]) -> Panel:
    ticks, centres, unit = None, chosen.centres, covariate.physical_unit
    if chosen.kind == "circular":
        centres, unit = centres * 360 / (covariate.period or 1.0), "°"
    if chosen.kind == "discrete":
        centres = np.arange(chosen.n_conditions, dtype=np.float64)
        ticks = tuple((float(i), label) for i, label in enumerate(chosen.labels))
    layers = []
    for values, colour, latent in zip(relative, COLOURS, latents, strict=True):
        style: dict[str, Any] = {} if colour == COLOURS[0] else {"dash": [7, 4]}
        points = {"x": centres, "y": values}
        layers.append(Layer("line", points, colour=colour, width=2.2, name=f"latent {latent}", **style))
        layers.append(Layer("points", points, colour=colour, size=2.6))
    name = spoken(covariate.name)
    low, high = around(centres, share=0.02)
    label = f"{name} ({unit})" if unit else name
    return Panel(
        id="tuning",
        title="Mean activation, each relative to its largest",
        column=1,
        x=Axis(low=low, high=high, label=label, hover=name if ticks is None else "", ticks=ticks),
        y=Axis(low=1.05 * min(0.0, float(np.nan_to_num(relative).min())), high=1.08, label="relative"),
        layers=tuple(layers),
        margins=(26, 14, 42, 54),
    )


def _maps(maps: NDArray[np.float64], edges: tuple[NDArray[np.float64], ...], latents: tuple[int, int]) -> list[Panel]:
    """Both maps over a position, one beside the other."""
    xs, ys = edges
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
