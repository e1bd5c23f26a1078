"""Latents beside the cells of the recording: how a spatial score is distributed in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pandas as pd
from bokeh.models import ColumnDataSource
from numpy.typing import NDArray

from nldisco_core.colours import of_series
from nldisco_core.errors import NLDiscoError
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_spatial.mapped import HOW, of_split, spatial_mapping, unit_mapping
from nldisco_spatial.tiles import ScoreTile, plain_figure

__all__ = ["BesideCells"]

SCORES: Mapping[str, str] = MappingProxyType(
    {
        "spatial_information": "spatial information (bits)",
        "resultant_length": "resultant length",
        "stability": "stability",
        "grid_score": "grid score",
        "border_score": "border score",
        "sparsity": "sparsity",
        "speed_score": "speed score",
    }
)
UNITS = "recorded units"


class BesideCells:
    """View: share of latents, of controls and of recorded units that reach a score."""

    title: ClassVar[str] = "Latents beside recorded cells"
    page: ClassVar[str] = "mappings"
    needs: ClassVar[frozenset[str]] = frozenset({"spatial mapping"})
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> ScoreTile:
        """A new tile."""
        return _Distributions(run)


class _Distributions(ScoreTile):
    def __init__(self, run: Run) -> None:
        self._run = run
        self._units: pd.DataFrame | str | None = None
        self.drawn = plain_figure(height=300)
        self.drawn.xaxis.axis_label, self.drawn.yaxis.axis_label = " ", "share that reach it"
        self.source = ColumnDataSource({name: [] for name in ("xs", "ys", "colour", "who")}, name="beside-cells")
        self.drawn.multi_line("xs", "ys", source=self.source, line_color="colour", line_width=2.5, legend_field="who")
        self.drawn.legend.background_fill_alpha = self.drawn.legend.border_line_alpha = 0
        super().__init__(self.drawn, SCORES)

    def draw(self, selection: Selection) -> None:
        if spatial_mapping(self._run, selection.model) is None:
            self.say_alone(HOW)
            return
        found = {who: np.sort(values) for who, values in self._values(selection) if len(values)}
        everything = np.concatenate(list(found.values()) or [np.empty(0)])
        low, high = (float(everything.min()), float(everything.max())) if len(everything) else (0.0, 1.0)
        margin = 0.03 * (high - low) or 1.0
        self.drawn.x_range.update(start=low - margin, end=high + margin)
        self.drawn.xaxis.axis_label = SCORES[self.score.value]
        curves = [_reaching(values, low - margin, high + margin) for values in found.values()]
        self.source.data = {
            "xs": [x for x, _ in curves],
            "ys": [y for _, y in curves],
            "colour": [of_series(index) for index in range(len(found))],
            "who": list(found),
        }
        said = "; ".join(f"{who} {np.median(v):.2f} (n = {len(v)})" for who, v in found.items())
        self.say(
            f"Medians: {said}." if found else "Nobody has this score for the chosen variable.",
            "Supported latents and units alone, the same bins for all.",
            self._units if isinstance(self._units, str) else "",
        )

    def _values(self, selection: Selection) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Who, and the scores of its supported latents."""
        for name in ("model", *self._run.controls):
            result = spatial_mapping(self._run, name)
            if result is not None:
                yield ("latents" if name == "model" else name), self._supported(result.table, selection)
        units = self._recorded()
        if isinstance(units, pd.DataFrame):
            yield UNITS, self._supported(units, selection, instance=0)

    def _supported(
        self, table: pd.DataFrame, selection: Selection, *, instance: int | None = None
    ) -> NDArray[np.float64]:
        chosen = selection if instance is None else replace(selection, instance=instance)
        rows = of_split(table, chosen, kind=self.score.value)
        values = rows.loc[rows["supported"].astype(bool), self.score.value] if len(rows) else pd.Series(dtype=float)
        return np.asarray(values.dropna(), dtype=np.float64)

    def _recorded(self) -> pd.DataFrame | str:
        """Scores of the recorded units, made the first time they are asked for; a sentence where there are none."""
        if self._units is None:
            try:
                self._units = unit_mapping(self._run)
            except NLDiscoError as error:
                self._units = f"Recorded units are not drawn: {error}."
        return self._units


def _reaching(values: NDArray[np.float64], low: float, high: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps of the share of sorted values at or above each x."""
    share = 1 - np.arange(len(values) + 1) / len(values)
    return np.concatenate([[low], np.repeat(values, 2), [high]]), np.repeat(share, 2)
