"""The tile of one variable: the latent, its top and its bottom unit, and how it is scored at each value."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nldisco_core.condition_curves import drawn_as
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.curves import curve_panel
from nldisco_explorer.drawing.payload import Drawing
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.evidence import latent_name
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.score_intervals import has_interval, with_interval
from nldisco_explorer.score_panels import score_panel
from nldisco_explorer.value_axis import value_axis
from nldisco_explorer.views.activity import MOST_BINS, mean_and_error
from nldisco_explorer.wording import number

__all__ = ["LatentAndUnits"]

HEIGHT = 250
KINDS = ("discrete", "circular", "linear")


class LatentAndUnits:
    """View: mean activation, z of the top and the bottom unit, and selectivity, over the selected variable."""

    title: ClassVar[str] = "Latent and units over the variable"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _UnitsTile(readings(run))


class _UnitsTile(CanvasTile):
    def __init__(self, reads: Readings) -> None:
        super().__init__()
        self._reads = reads

    def show(self, selection: Selection) -> None:
        """Draw the selected latent over the selected variable, or over the first that is no position."""
        reads = self._reads
        names = [name for name in reads.variables() if reads.covariate(name).kind in KINDS]
        active = reads.activations(selection)
        if not names or not len(active.rows):
            self.say("No variable to draw it over." if not names else "Never active in these bins.")
            return
        name = selection.variable if selection.variable in names else names[0]
        covariate, chosen = reads.covariate(name), reads.cut(name)
        visits = reads.visits(name, selection.model, selection.split)
        z, _ = mean_and_error(reads.activity, active.rows[:: -(-len(active.rows) // MOST_BINS)])
        top, bottom = int(np.argmax(z)), int(np.argmin(z))
        panels = [curve_panel(covariate, chosen, visits.of_latent(active.rows, active.values), label="mean activation")]
        for column, (unit, which) in enumerate(((top, "top"), (bottom, "bottom")), start=1):
            curve = visits.of_signal(reads.activity[:, unit])
            label = f"z of {reads.units['id'][unit]} ({which})"
            panels.append(curve_panel(covariate, chosen, curve, label=label, colour="behaviour", column=column))
        scores = self._scores(selection, name)
        if len(scores):
            panels.append(score_panel(scores, covariate))
        said = (
            f"{latent_name(selection)} over {name.replace('_', ' ')}. Units whose mean z is largest and smallest when "
            f"it is active: {reads.units['id'][top]} ({number(float(z[top]), 2)}) and {reads.units['id'][bottom]} "
            f"({number(float(z[bottom]), 2)}). Pale bands and lines: 95 % interval over blocks of time. "
            f"{value_axis(chosen).said if covariate.kind == 'linear' else drawn_as(chosen)}"
        ).rstrip()
        if len(scores):
            best = scores["selectivity"].idxmax() if scores["selectivity"].notna().any() else scores.index[0]
            said += (
                f" Selectivity is largest for {scores.loc[best, 'condition']} "
                f"({number(float(scores.loc[best, 'selectivity']))}){_interval(scores, best)}; dots: coverage."
            )
        else:
            said += " No mapper scored its values one by one."
        self.draw(
            Drawing(panels=tuple(panels), summary=said, rows=(HEIGHT,), columns=(1,) * len(panels), least_column=205)
        )

    def _scores(self, selection: Selection, name: str) -> pd.DataFrame:
        """Rows of the first mapper that scored the latent at each value, on the selected split or the reported one."""
        latent = (selection.instance, selection.latent or 0, selection.sign)
        for mapper in self._reads.mappers:
            if not self._reads.is_mapped(selection.model, mapper):
                continue
            for split in (selection.split, "test", "all"):
                rows = self._reads.scored(selection.model, mapper).by_condition(name, split, latent)
                if len(rows) and "selectivity" in rows and rows["selectivity"].notna().any():
                    return with_interval(self._reads, selection, mapper, rows)
        return pd.DataFrame()


def _interval(scores: pd.DataFrame, best: Any) -> str:
    """The interval of one score, or that there is none."""
    if not has_interval(scores):
        return ", without an interval: too few blocks of time, or values that cannot be cut as the mapper cut them"
    low, high = (number(float(scores.loc[best, f"selectivity_{end}"])) for end in ("low", "high"))
    return f", 95 % interval {low} to {high} over blocks of time"
