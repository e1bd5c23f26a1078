"""The tile of the map: latents beside each other, coloured by a score; a click selects, a lasso fills the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import panel_material_ui as pmui
from numpy.typing import NDArray

from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.categories import NONE, category_legend, colour_numbers, few_coloured
from nldisco_explorer.drawing.background import beside
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, around, bytes_of
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.latent_map import (
    HAS_UMAP,
    METHODS,
    LatentMap,
    Scores,
    is_kept,
    latent_map,
    score_names,
    scores,
)
from nldisco_explorer.perievent import spoken
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.wording import number, share

__all__ = ["MapOfLatents"]

HEIGHT, LEGEND = 560, 42
SMALLEST, LARGEST = 2.4, 9.0


class MapOfLatents:
    """View: latents on a plane."""

    title: ClassVar[str] = "Map of latents"
    page: ClassVar[str] = "map"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _MapTile(readings(run))


class _MapTile(CanvasTile):
    tile = "latent-map"

    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        self._selection: Selection | None = None
        self._method = pmui.Select(label="laid out by", options=list(METHODS), size="small", width=140, margin=0)
        self._colour = pmui.Select(label="coloured by", options=["density"], size="small", width=220, margin=0)
        self._clear = pmui.Button(label="clear lasso", size="small", variant="outlined", margin=0)
        self._clear.on_click(lambda _: self.select(lasso=None))
        for name, picker in (("layout", self._method), ("colour", self._colour)):
            picker.param.watch(lambda event, name=name: self.set(self._selection, name, event.new), "value")
        super().__init__(self._method, self._colour, self._clear)

    def show(self, selection: Selection) -> None:
        """Draw all latents of the selected instance, the selected one ringed."""
        self._selection = selection
        names = {spoken(name): name for name in score_names(self._reads, selection)}
        with self.filling():
            self._clear.visible = selection.lasso is not None
            scored = list(names.values())
            chosen = self.setting(selection, "colour", scored) or _first_score(scored)
            self._colour.param.update(options=names, value=chosen)
            self._method.value = self.setting(selection, "layout", METHODS) or METHODS[0]
        self._redraw()

    def done(self, what: Mapping[str, Any]) -> None:
        """A click selects the latent under it; a lasso fills the table, an empty one clears it."""
        if what.get("kind") == "click" and what.get("item") is not None:
            self.select(latent=int(what["item"]))
        elif what.get("kind") == "lasso":
            self.select(lasso=tuple(sorted(map(int, what["items"]))) or None)

    def _redraw(self) -> None:
        selection = self._selection
        if selection is None or self._filling:
            return
        wanted = (selection.model, selection.instance, str(self._method.value))
        if wanted[2] == "PCA" or is_kept(self._reads, *wanted):
            self._draw(latent_map(self._reads, *wanted))
            return
        self.say(f"{wanted[2]} is computed; the rest of the explorer stays usable.")
        beside(lambda: latent_map(self._reads, *wanted), lambda made: self._arrived(wanted, made), self._failed)

    def _arrived(self, wanted: tuple[str, int, str], made: LatentMap) -> None:
        """Draws a map that was computed meanwhile, unless another one is wanted by now."""
        if self._selection is not None:
            now = (self._selection.model, self._selection.instance, self._method.value)
            if wanted == now:
                self._draw(made)

    def _failed(self, error: BaseException) -> None:
        self.say(f"The map could not be made: {error}.")

    def _draw(self, made: LatentMap) -> None:
        assert self._selection is not None  # shown before
        score = scores(self._reads, self._selection, self._colour.value)
        density = self._reads.density(self._selection.model)[self._selection.instance]
        self.draw(map_drawing(self._selection, made, score, density, method=self._method.value))


def _first_score(names: list[str]) -> str:
    return next((name for name in ("mutual_information", "youden", "auroc") if name in names), names[0])


def map_drawing(
    selection: Selection, made: LatentMap, score: Scores, density: NDArray[np.float64], *, method: str
) -> Drawing:
    """Points of all latents that have a place, the small ones on top; their legend above."""
    placed = np.flatnonzero(np.isfinite(made.places).all(axis=1))
    placed = placed[np.argsort(-density[placed], kind="stable")]
    caught = np.isin(placed, selection.lasso) if selection.lasso is not None else np.ones(len(placed), dtype=bool)
    values, style, legend = _colours(score)
    size = SMALLEST + (LARGEST - SMALLEST) * np.sqrt(density / (density.max() or 1.0))
    layers = []
    for chosen, alpha in ((placed[~caught], 0.14), (placed[caught], 0.85)):
        x, y = made.places[chosen].T
        layers.append(
            Layer(
                "points",
                {"x": x, "y": y, "size": size[chosen], "values": values[chosen]},
                alpha=alpha,
                edge=True,
                items=chosen.tolist(),
                labels=[_label(latent, score, density) for latent in chosen],
                **style,
            )
        )
    pinned = tuple(latent for latent, _ in selection.pinned)
    for latents, colour in (((selection.latent,), "behaviour"), (pinned, "text")):
        ringed = [each for each in latents if each is not None and each in set(placed.tolist())]
        if ringed:
            x, y = made.places[ringed].T
            layers.append(Layer("rings", {"x": x, "y": y}, colour=colour, size=12))
    (x_low, x_high), (y_low, y_high) = (around(made.places[placed, axis]) for axis in (0, 1))
    panel = Panel(
        id="map",
        x=Axis(low=x_low, high=x_high, label=made.axes[0], shown=method == "PCA"),
        y=Axis(low=y_low, high=y_high, label=made.axes[1], shown=method == "PCA"),
        layers=tuple(layers),
        row=1,
        margins=(6, 14, 44, 62),
        equal=True,
        drag="lasso",
        click=True,
    )
    return Drawing(
        panels=(legend, panel), summary=_summary(selection, made, score, placed, caught, method), rows=(LEGEND, HEIGHT)
    )


def _colours(score: Scores) -> tuple[NDArray[np.uint8], dict[str, Any], Panel]:
    """Bytes of the points' colours, how they are read, and the legend."""
    flat = Axis(low=0, high=1, shown=False)
    if score.labels:
        codes = np.where(np.isnan(score.values), -1, np.nan_to_num(score.values)).astype(np.int64)
        numbers = colour_numbers(np.bincount(codes[codes >= 0], minlength=len(score.labels)))
        values, layer = np.append(numbers, NONE)[codes], category_legend(score.labels, numbers)
        style: dict[str, Any] = {"scale": "categories"}
    else:
        low, high = _reach(score.values)
        values, style = bytes_of(score.values, low, high), {"scale": "visible", "missing": True}
        layer = Layer("ramp", scale="visible", low=number(low), high=number(high), name=score.name)
    return values, style, Panel(x=flat, y=flat, layers=(layer,), margins=(2, 14, 4, 62), grid=False, frame=False)


def _reach(values: NDArray[np.float64]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _label(latent: int, score: Scores, density: NDArray[np.float64]) -> str:
    value = score.values[latent]
    said = score.labels[int(value)] if score.labels and value == value else number(float(value))
    return f"latent {latent}\n{score.name} {said}\nactive {share(float(density[latent]))}"


def _summary(
    selection: Selection,
    made: LatentMap,
    score: Scores,
    placed: NDArray[np.int64],
    caught: NDArray[np.bool_],
    method: str,
) -> str:
    n_all = len(made.places)
    scored = int(np.isfinite(score.values[placed]).sum())
    said = [
        f"{len(placed)} of {n_all} latents by {method} of their {made.basis};",
        f"{scored} have a {score.name}, others are grey.",
        "Larger points are active more often.",
        f"{int(caught.sum())} caught by the lasso fill the table." if selection.lasso is not None else "",
        few_coloured(score.name, len(score.labels or ()), "most frequent"),
        "Click a point to select its latent, draw round some to fill the table.",
    ]
    if method != "PCA":
        said.append("Only near neighbours mean something here: distances between far groups and their sizes do not.")
    if not HAS_UMAP:
        said.append("UMAP is offered once umap-learn is installed.")
    return " ".join(each for each in said if each)
