"""The tile of many latents at once: small plots of those that rank highest, or of those caught by the lasso."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import panel_material_ui as pmui
from numpy.typing import NDArray

from nldisco_core.binned import Covariate
from nldisco_core.condition_curves import Curve, drawn_as
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_core.tuning import Conditions
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, bytes_of
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.perievent import spoken
from nldisco_explorer.polar import angles_of, arrow, between, circle, direction_of, outline
from nldisco_explorer.ranking import ranked
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.value_axis import value_axis
from nldisco_explorer.visited import visited_part
from nldisco_explorer.wording import number

__all__ = ["Gallery", "gallery_curves"]

STEP = 24
CURVE, SQUARE = 104, 132
REACH, CORNER = 1.12, (1.1, -0.98)
"""Half the side of a polar plot, and the corner where its degrees stand, in radii of the outer circle."""


class Gallery:
    """View: small polar plots, curves, bars or maps of many latents over the selected variable."""

    title: ClassVar[str] = "Gallery"
    page: ClassVar[str] = "map"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _GalleryTile(readings(run))


class _GalleryTile(CanvasTile):
    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        self._selection: Selection | None = None
        self._n_shown = STEP
        self._key: tuple[Any, ...] = ()
        self._more = pmui.Button(label=f"{STEP} more", size="small", variant="outlined", margin=0)
        self._more.on_click(lambda _: self._show_more())
        super().__init__(self._more)

    def show(self, selection: Selection) -> None:
        """Draw the latents of the table in its order, and ring the selected one."""
        self._selection = selection
        key = (
            selection.model,
            selection.instance,
            selection.variable,
            selection.mapper,
            selection.lasso,
            selection.split,
        )
        if key != self._key:
            self._key, self._n_shown = key, STEP
        self._redraw()

    def done(self, what: Mapping[str, Any]) -> None:
        """Go to the latent that was clicked."""
        latent, _, sign = str(what.get("panel", "")).partition(":")
        if what.get("kind") == "click" and latent.isdigit():
            self.select(latent=int(latent), sign=int(sign), page="latent")

    def _show_more(self) -> None:
        self._n_shown += STEP
        self._redraw()

    def _redraw(self) -> None:
        selection, reads = self._selection, self._reads
        if selection is None:
            return
        variable = _drawable(reads, selection.variable)
        if variable is None:
            self.say("No variable of this run can be drawn against.")
            return
        latents, signs = _order(reads, selection)
        n_all = len(latents)
        self._more.visible = n_all > self._n_shown
        latents, signs = latents[: self._n_shown], signs[: self._n_shown]
        if not len(latents):
            self.say("No latent to show.")
            return
        curves = gallery_curves(reads, selection, variable, latents, signs)
        drawn = _drawing(selection, reads.covariate(variable), reads.cut(variable), curves, latents, signs, n_all)
        self.draw(drawn)


def _drawable(reads: Readings, wanted: str | None) -> str | None:
    names = [
        name
        for name in reads.variables()
        if reads.covariate(name).kind == "position" or len(reads.covariate(name).channels) == 1
    ]
    return wanted if wanted in names else next(iter(names), None)


def _order(reads: Readings, selection: Selection) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Latents and halves: as the table ranks them, else by number."""
    rows = ranked(reads, selection)
    if len(rows):
        return rows["latent"].to_numpy(np.int64), rows["sign"].to_numpy(np.int64)
    space = reads.space(selection.model)
    latents = np.array(selection.lasso if selection.lasso is not None else range(space.n_latents), dtype=np.int64)
    return latents, np.full(len(latents), 1 if space.code_kind == "signed" else 0)


def gallery_curves(
    reads: Readings, selection: Selection, variable: str, latents: NDArray[np.int64], signs: NDArray[np.int64]
) -> list[Curve]:
    """Mean of each latent, or half, in each condition of the variable, over the selected split, as the tuning tiles."""
    visits = reads.visits(variable, selection.model, selection.split)
    pairs = zip(latents.tolist(), signs.tolist(), strict=True)
    chosen = (replace(selection, latent=latent, sign=sign) for latent, sign in pairs)
    return [visits.mean_of_latent(each.rows, each.values) for each in map(reads.activations, chosen)]


def _drawing(
    selection: Selection,
    covariate: Covariate,
    chosen: Conditions,
    curves: list[Curve],
    latents: NDArray[np.int64],
    signs: NDArray[np.int64],
    n_all: int,
) -> Drawing:
    panels = []
    for column, (latent, sign, curve) in enumerate(zip(latents.tolist(), signs.tolist(), curves, strict=True)):
        half = {1: " +", -1: " −"}.get(sign, "")
        title = f"{latent}{half}  {number(0.0 if curve.peak is None else curve.largest, 2)}"
        if latent == selection.latent and sign in (0, selection.sign):
            title = f"▸ {title}"
        small = _small(covariate, chosen, curve)
        panels.append(replace(small, id=f"{latent}:{sign}", title=title, column=column))
    return Drawing(
        panels=tuple(panels),
        summary=f"{len(latents)} of {n_all} latents in the order of the table: {_said(chosen)}, "
        f"split {selection.split}, each to its own largest; beside its number the largest mean. "
        f"{drawn_as(chosen)} Click one.".replace("  ", " "),
        rows=(SQUARE if chosen.kind == "circular" or _is_map(chosen) else CURVE,),
        columns=(1,) * max(len(panels), 8),
        least_column=112,
    )


def _said(chosen: Conditions) -> str:
    name = spoken(chosen.variable)
    if chosen.kind == "circular":
        return f"polar plots over {name}, with the mean direction (orange, as long as the resultant) and its degrees"
    if _is_map(chosen):
        return f"map over {name}"
    along = " in equal steps of quantiles" if chosen.edges and value_axis(chosen).is_by_quantile else ""
    return f"mean activation against {name}{along}"


def _is_map(chosen: Conditions) -> bool:
    return chosen.kind == "position" and len(chosen.edges) == 2


def _small(covariate: Covariate, chosen: Conditions, curve: Curve) -> Panel:
    """A polar plot of angles, a map of places, bars of labels, a line of numbers; without ticks."""
    if chosen.kind == "circular":
        return _polar(angles_of(chosen, covariate), curve)
    if _is_map(chosen):
        return _map(chosen, curve.mean, curve.top)
    draw = _bars if chosen.kind == "discrete" else _line
    return draw(chosen, curve.mean, curve.top)


def _polar(angles: NDArray[np.float64], curve: Curve) -> Panel:
    radius = curve.mean / curve.top
    around = outline(angles, radius, curve.mean)
    layers = [
        Layer("line", circle(1.0), colour="grid", width=1),
        Layer("patch", between(angles, np.zeros(len(angles)), radius), colour="activation", alpha=0.3),
        Layer("line", around, colour="activation", width=1.5),
    ]
    if curve.peak is not None:
        towards = f"{np.rad2deg(direction_of(curve.unsmoothed, angles)[0]):.0f}°"
        layers.append(arrow(curve.unsmoothed, angles, colour="behaviour", width=2.5))
        layers.append(Layer("words", x=[CORNER[0]], y=[CORNER[1]], text=[towards], align="right"))
    return _frame((-REACH, REACH), (-REACH, REACH), *layers, equal=True, frame=False)


def _bars(chosen: Conditions, mean: NDArray[np.float64], top: float) -> Panel:
    at = np.arange(len(mean))
    bars = {"left": at - 0.4, "right": at + 0.4, "top": mean}
    layer = Layer("bars", bars, colour="activation", name="mean", labels=list(chosen.labels))
    return _frame((-0.6, chosen.n_conditions - 0.4), (0.0, 1.08 * top), layer)


def _line(chosen: Conditions, mean: NDArray[np.float64], top: float) -> Panel:
    along = value_axis(chosen)
    points = {"x": along.centres, "y": mean}
    layers = (
        Layer("area", points, colour="activation", alpha=0.3),
        Layer("line", points, colour="activation", width=1.5, name="mean"),
    )
    ends = (float(along.edges[0]), float(along.edges[-1]))
    hover = "" if along.is_by_quantile else chosen.variable
    return _frame(ends, (0.0, 1.08 * top), *layers, hover=hover)


def _map(chosen: Conditions, mean: NDArray[np.float64], top: float) -> Panel:
    part, (xs, ys) = visited_part(mean.reshape(chosen.grid), chosen.edges)
    grid = part.T[::-1]
    (left, right), (bottom, above) = ((float(edges[0]), float(edges[-1])) for edges in (xs, ys))
    image = {"image": bytes_of(grid, 0.0, top)}
    style = {"scale": "sequence", "missing": True, "bottom": 0.0, "top": top, "name": "mean"}
    layer = Layer("image", image, shape=list(grid.shape), extent=[left, right, bottom, above], **style)
    return replace(_frame((left, right), (bottom, above), layer, equal=True), hug=True)


def _frame(
    x: tuple[float, float],
    y: tuple[float, float],
    *layers: Layer,
    equal: bool = False,
    frame: bool = True,
    hover: str = "",
) -> Panel:
    return Panel(
        x=Axis(low=x[0], high=x[1], shown=False, hover=hover),
        y=Axis(low=y[0], high=y[1], shown=False),
        layers=layers,
        margins=(22, 8, 6, 6),
        equal=equal,
        frame=frame,
        grid=False,
        click=True,
    )
