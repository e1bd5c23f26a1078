"""The tile of many latents at once: curves or maps of those that rank highest, or of those caught by the lasso."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import panel_material_ui as pmui
from numpy.typing import NDArray

from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_core.tuning import Conditions, TuningCurves, condition_means
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, bytes_of
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.figures import number
from nldisco_explorer.perievent import spoken
from nldisco_explorer.ranking import ranked
from nldisco_explorer.readings import Readings, readings

__all__ = ["Gallery", "gallery_curves"]

STEP = 24
CURVE, MAP = 104, 132


class Gallery:
    """View: small curves or maps of many latents over the selected variable."""

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
        self.draw(_drawing(selection, curves, latents, signs, n_all))


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
) -> TuningCurves:
    """Mean of each latent, or half, in each condition of the variable, over the selected split; not smoothed."""
    code = reads.space(selection.model).csc(selection.instance)[:, latents].astype(np.float64)
    if signs.any():
        code = code.multiply(np.where(signs == 0, 1, signs)[None]).tocsc()
        code.data = np.maximum(code.data, 0)
    used = reads.split_mask(selection.split) & reads.defined(selection.model)
    return condition_means(code, reads.cut(variable), used)


def _drawing(
    selection: Selection, curves: TuningCurves, latents: NDArray[np.int64], signs: NDArray[np.int64], n_all: int
) -> Drawing:
    chosen = curves.conditions
    is_map = chosen.kind == "position" and len(chosen.edges) == 2
    panels = []
    for column, (latent, sign, mean) in enumerate(zip(latents.tolist(), signs.tolist(), curves.mean, strict=True)):
        top = float(np.nanmax(mean)) if np.isfinite(mean).any() else 0.0
        half = {1: " +", -1: " −"}.get(sign, "")
        title = f"{latent}{half}  {number(top, 2)}"
        layers = _map(chosen, mean, top) if is_map else _curve(chosen, mean, top)
        if latent == selection.latent and sign in (0, selection.sign):
            title = f"▸ {title}"
        panels.append(_small(f"{latent}:{sign}", title, column, chosen, layers, top, is_map=is_map))
    unit = "map over" if is_map else "mean activation against"
    return Drawing(
        panels=tuple(panels),
        summary=f"{len(latents)} of {n_all} latents in the order of the table: {unit} {spoken(chosen.variable)}, "
        f"split {selection.split}, each to its own largest mean, which stands beside its number. Click one.",
        rows=(MAP if is_map else CURVE,),
        columns=(1,) * max(len(panels), 8),
        least_column=112,
    )


def _curve(chosen: Conditions, mean: NDArray[np.float64], top: float) -> tuple[Layer, ...]:
    if chosen.kind == "discrete":
        at = np.arange(len(mean))
        return (
            Layer(
                "bars",
                {"left": at - 0.4, "right": at + 0.4, "top": mean},
                colour="activation",
                name="mean",
                labels=list(chosen.labels),
            ),
        )
    return (
        Layer("area", {"x": chosen.centres, "y": mean}, colour="activation", alpha=0.3),
        Layer("line", {"x": chosen.centres, "y": mean}, colour="activation", width=1.5, name="mean"),
    )


def _map(chosen: Conditions, mean: NDArray[np.float64], top: float) -> tuple[Layer, ...]:
    grid = mean.reshape(chosen.grid).T[::-1]
    xs, ys = chosen.edges
    extent = [float(xs[0]), float(xs[-1]), float(ys[0]), float(ys[-1])]
    image = {"image": bytes_of(grid, 0.0, top)}
    return (
        Layer(
            "image",
            image,
            shape=list(grid.shape),
            extent=extent,
            scale="sequence",
            missing=True,
            bottom=0.0,
            top=top,
            name="mean",
        ),
    )


def _small(
    name: str, title: str, column: int, chosen: Conditions, layers: tuple[Layer, ...], top: float, *, is_map: bool
) -> Panel:
    if is_map:
        (x_low, x_high), (y_low, y_high) = ((float(edges[0]), float(edges[-1])) for edges in chosen.edges)
    elif chosen.kind == "discrete":
        (x_low, x_high), (y_low, y_high) = (-0.6, chosen.n_conditions - 0.4), (0.0, 1.08 * (top or 1.0))
    else:
        (x_low, x_high), (y_low, y_high) = (
            (float(chosen.centres[0]), float(chosen.centres[-1])),
            (0.0, 1.08 * (top or 1.0)),
        )
    return Panel(
        id=name,
        title=title,
        column=column,
        x=Axis(
            low=x_low, high=x_high, shown=False, hover="" if is_map or chosen.kind == "discrete" else chosen.variable
        ),
        y=Axis(low=y_low, high=y_high, shown=False),
        layers=layers,
        margins=(22, 8, 6, 6),
        equal=is_map,
        grid=False,
        click=True,
    )
