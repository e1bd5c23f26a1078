"""Galleries: the maps of many latents at once, best first."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d
from bokeh.palettes import Viridis256
from numpy.typing import NDArray

from nldisco_core.colours import ACTIVATION, BEHAVIOUR, LABEL, NEUTRAL
from nldisco_core.mapping import MapperResult
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_spatial.mapped import HOW, of_split, spatial_mapping
from nldisco_spatial.tiles import ScoreTile, plain_figure

__all__ = ["MapGallery", "PolarGallery"]

N_ACROSS, N_DOWN = 12, 4
ROW = 130
GAP = 0.12


class MapGallery:
    """View: rate maps of many latents, each from zero to its own peak."""

    title: ClassVar[str] = "Maps of many latents"
    page: ClassVar[str] = "mappings"
    needs: ClassVar[frozenset[str]] = frozenset({"position", "spatial mapping"})
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> ScoreTile:
        """A new tile."""
        return _Maps(run)


class PolarGallery:
    """View: polar maps of many latents, each from zero to its own peak."""

    title: ClassVar[str] = "Directions of many latents"
    page: ClassVar[str] = "mappings"
    needs: ClassVar[frozenset[str]] = frozenset({"circular", "spatial mapping"})
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> ScoreTile:
        """A new tile."""
        return _Polars(run)


class _Gallery(ScoreTile):
    """Latents in rows of twelve, numbered, with their score; the selected one is framed."""

    kind: ClassVar[str]
    scores: ClassVar[Mapping[str, str]]

    def __init__(self, run: Run) -> None:
        self._run = run
        drawn = plain_figure(
            height=ROW * N_DOWN, x_range=Range1d(-0.05, N_ACROSS + 0.05), y_range=Range1d(-N_DOWN - 0.05, 0.15)
        )
        drawn.axis.visible = drawn.grid.visible = False
        self.labels = ColumnDataSource({name: [] for name in ("x", "y", "text")}, name="gallery-labels")
        self.frame = ColumnDataSource({"x": [], "y": []}, name="gallery-selected")
        self.drawn = drawn
        self.add_maps()
        size = 1 - GAP
        drawn.rect(
            "x", "y", width=size, height=size, source=self.frame, fill_alpha=0, line_color=BEHAVIOUR, line_width=2.5
        )
        drawn.text("x", "y", "text", source=self.labels, text_font_size="10px", text_align="center", text_color=LABEL)
        super().__init__(drawn, self.scores)

    def add_maps(self) -> None:
        """Make the glyphs of the maps."""
        raise NotImplementedError

    def draw_maps(self, result: MapperResult, name: str, rows: pd.DataFrame, at: tuple[Any, Any]) -> None:
        """Draw the maps of these rows, `name` ending the names of arrays, with their middles at these places."""
        raise NotImplementedError

    def draw(self, selection: Selection) -> None:
        result = spatial_mapping(self._run, selection.model)
        rows = of_split(result.table, selection, kind=self.kind) if result else pd.DataFrame()
        if result is None or rows.empty:
            self.say_alone(HOW if result is None else "None of the latents is active where such a variable is defined.")
            return
        alive = rows[rows[self.score.value].notna()].sort_values(self.score.value, ascending=False, kind="stable")
        best = alive.head(N_ACROSS * N_DOWN)
        order = np.arange(len(best))
        n_rows = max(-(-len(best) // N_ACROSS), 1)
        self.drawn.height, self.drawn.y_range.start = ROW * n_rows, -n_rows - 0.05
        x, y = order % N_ACROSS + 0.5, -(order // N_ACROSS) - 0.5
        first = rows.iloc[0]
        self.draw_maps(result, f"{first['variable']}/{{}}_{first['split']}", best, (x, y))
        half = best["sign"].map({0: "", 1: "+", -1: "−"})
        texts = [
            f"{latent}{sign} · {value:.2f}"
            for latent, sign, value in zip(best["latent"], half, best[self.score.value], strict=True)
        ]
        self.labels.data = {"x": x, "y": y + 0.45, "text": texts}
        chosen = ((best["latent"] == selection.latent) & (best["sign"] == selection.sign)).fillna(False).to_numpy(bool)
        self.frame.data = {"x": x[chosen], "y": y[chosen]}
        self.say(
            f"{first['variable']}, {first['split']} bins: {len(best)} of {len(rows)} latents, best first by",
            f"{self.scores[self.score.value]}; {len(rows) - len(alive)} without one.",
            "Each map runs from zero to its own peak. A high score alone is no finding: p and the controls are in the"
            " table.",
        )


class _Maps(_Gallery):
    kind = "border_score"
    scores = MappingProxyType(
        {
            "spatial_information": "spatial information (bits)",
            "grid_score": "grid score",
            "border_score": "border score",
            "stability": "stability",
            "kl_from_uniform": "KL from uniform (bits)",
        }
    )

    def add_maps(self) -> None:
        colours = LinearColorMapper(palette=Viridis256, low=0, high=1, nan_color="rgba(0, 0, 0, 0)")
        self.source = ColumnDataSource({name: [] for name in ("image", "x", "y", "dw", "dh")}, name="gallery-maps")
        self.drawn.image("image", x="x", y="y", dw="dw", dh="dh", source=self.source, color_mapper=colours)

    def draw_maps(self, result: MapperResult, name: str, rows: pd.DataFrame, at: tuple[Any, Any]) -> None:
        maps = result.arrays[name.format("map")][int(rows["instance"].iloc[0])][rows.index] if len(rows) else []
        width, height = np.array(maps[0].shape[::-1]) / max(maps[0].shape) * (1 - 2 * GAP) if len(maps) else (0, 0)
        self.source.data = {
            "image": [_to_peak(each) for each in maps],
            "x": at[0] - width / 2,
            "y": at[1] - height / 2 - GAP / 3,
            "dw": np.full(len(maps), width),
            "dh": np.full(len(maps), height),
        }


class _Polars(_Gallery):
    kind = "resultant_length"
    scores = MappingProxyType(
        {
            "resultant_length": "resultant length",
            "stability": "stability",
            "spatial_information": "information (bits)",
            "kl_from_uniform": "KL from uniform (bits)",
        }
    )

    def add_maps(self) -> None:
        self.source = ColumnDataSource({name: [] for name in ("xs", "ys")}, name="gallery-polars")
        self.rings = ColumnDataSource({"x": [], "y": []}, name="gallery-rings")
        self.drawn.ellipse(
            "x", "y", width=1 - 2 * GAP, height=1 - 2 * GAP, source=self.rings, fill_alpha=0, line_color=NEUTRAL,
            line_alpha=0.4,
        )  # fmt: skip
        self.drawn.patches("xs", "ys", source=self.source, color=ACTIVATION, fill_alpha=0.35, line_width=1.5)

    def draw_maps(self, result: MapperResult, name: str, rows: pd.DataFrame, at: tuple[Any, Any]) -> None:
        curves = result.arrays[name.format("polar")][int(rows["instance"].iloc[0])][rows.index] if len(rows) else []
        centres = result.arrays[name.format("polar_centres").rpartition("_")[0]]
        period = len(centres) * float(centres[1] - centres[0])
        turn = np.exp(2j * np.pi * centres / period) * (0.5 - GAP)
        outlines = [np.nan_to_num(_to_peak(curve)) * turn for curve in curves]
        y = at[1] - GAP / 3
        self.rings.data = {"x": at[0], "y": y}
        self.source.data = {
            "xs": [outline.real + x for outline, x in zip(outlines, at[0], strict=True)],
            "ys": [outline.imag + each for outline, each in zip(outlines, y, strict=True)],
        }


def _to_peak(values: NDArray[Any]) -> NDArray[np.float32]:
    peak = float(np.nanmax(values, initial=0))
    return np.asarray(values / (peak or 1.0), dtype=np.float32)
