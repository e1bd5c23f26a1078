"""What is known of one latent: the scores, supports and warnings that stand beside every claim about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nldisco_core.beside_controls import AS_GOOD
from nldisco_core.selection import Selection
from nldisco_explorer.readings import Readings
from nldisco_explorer.scored import known

__all__ = ["MIN_ACTIVE_BINS", "OFTEN", "Evidence", "evidence", "latent_name", "unit_called"]

MIN_ACTIVE_BINS = 50
OFTEN = 0.5  # active in a larger share of bins than this says little by being active


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Facts about the selected latent, as far as the run holds them.

    Attributes
    ----------
    level, n_levels : first level of a nested model that holds it, counted from 1
    n_active, density : active bins of the selected split, and their share
    scores : the mapper's row for the whole of the selected variable on the selected split, empty where there is none
    of_value : the row of the selected value of that variable alone, empty where none is selected or scored
    held_out : the same as `scores` on test bins, where the test of the mapper stands
    copy : the copy-or-composite row of the run's table ``copies``, empty where there is none
    seeds : how well other instances hold the latent too, the row of the run's table ``stability``
    seeds_by_chance : what the median latent reaches when nothing is shared, see `Readings.seeds_by_chance`
    best_control : name, column and value of the best score any latent of a control reaches, None where it is unknown;
        the column is ``score`` where the mapper itself held its score against the controls
    label_use : what the model was told about behaviour
    """

    level: int
    n_levels: int
    n_active: int
    density: float
    scores: dict[str, Any]
    of_value: dict[str, Any]
    held_out: dict[str, Any]
    copy: dict[str, Any]
    seeds: dict[str, Any]
    seeds_by_chance: dict[str, float]
    best_control: tuple[str, str, float] | None
    label_use: str

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing anything about this latent."""
        found = []
        if self.n_active == 0:
            found.append("dead: never active in these bins")
        elif self.density > OFTEN:
            found.append("active in over half the time")
        if self.scores.get("supported") is False or 0 < self.n_active < MIN_ACTIVE_BINS:
            found.append("too little support: under 50 active bins or 10 visits")
        if (equalled := self.equalled_by) is not None:
            found.append(f"a latent of the control {equalled} scores as high")
        if "better_explained_by" in self.scores:
            found.append(f"better explained by {self.scores['better_explained_by']}")
        if self.label_use != "none":
            found.append(f"the model was given labels at {self.label_use}")
        return found

    @property
    def equalled_by(self) -> str | None:
        """The control whose best latent scores as high, None where none does or nothing was compared."""
        if self.best_control is None or self.best_control[1] not in self.scores:
            return None
        name, score, value = self.best_control
        return name if value >= self.scores[score] - AS_GOOD else None


def latent_name(selection: Selection) -> str:
    """What a latent is called: its number, with the half of a signed code."""
    half = {1: " (+)", -1: " (−)"}.get(selection.sign, "")
    return "No latent" if selection.latent is None else f"Latent {selection.latent}{half}"


def unit_called(unit: object) -> str:
    """A unit's id with the word before it, where the id is no more than a number."""
    return f"unit {unit}" if str(unit).isdigit() else str(unit)


def evidence(reads: Readings, selection: Selection) -> Evidence:
    """Gather what the run says of the selected latent, by the selected mapper or else the first."""
    mapper = selection.mapper or next(iter(reads.mappers), None)
    space = reads.space(selection.model)
    active = reads.activations(selection)
    considered = int((active.defined & reads.split_mask(selection.split)).sum())
    scores = _scores(reads, selection, mapper, selection.split)
    return Evidence(
        level=int(space.level_of_latent[selection.latent or 0]) + 1,
        n_levels=space.n_levels,
        n_active=len(active.rows),
        density=len(active.rows) / considered if considered else float("nan"),
        scores=scores,
        of_value=_of_value(reads, selection, mapper),
        held_out=scores if scores.get("split") == "test" else _scores(reads, selection, mapper, "test"),
        copy=reads.of_latent("copies", selection),
        seeds=reads.of_latent("stability", selection),
        seeds_by_chance=reads.seeds_by_chance(selection.model),
        best_control=_best_control(reads, selection, mapper, scores),
        label_use=space.label_use,
    )


def _best_control(
    reads: Readings, selection: Selection, mapper: str | None, scores: dict[str, Any]
) -> tuple[str, str, float] | None:
    """As the mapper found it, else the best of its table; a control is not held against itself."""
    if "best_control_score" in scores and selection.model == "model":
        return str(scores["best_control"]), "score", float(scores["best_control_score"])
    found = reads.best_control(mapper, selection.variable, selection.split)
    return None if found is None or found[0] == selection.model else found


def _scores(reads: Readings, selection: Selection, mapper: str | None, split: str) -> dict[str, Any]:
    if mapper is None or not reads.is_mapped(selection.model, mapper) or selection.latent is None:
        return {}
    latent = (selection.instance, selection.latent, selection.sign)
    return reads.scored(selection.model, mapper).of_latent(selection.variable, split, latent)


def _of_value(reads: Readings, selection: Selection, mapper: str | None) -> dict[str, Any]:
    """Scores of the selected value on the selected split, or else on the one that is reported."""
    if mapper is None or selection.condition is None or not reads.is_mapped(selection.model, mapper):
        return {}
    scored, asked = reads.scored(selection.model, mapper), (selection.split, "test", "all")
    split = next((each for each in asked if scored.has(selection.variable, each, selection.condition)), None)
    if split is None or selection.latent is None:
        return {}
    rows = scored.by_condition(selection.variable, split, (selection.instance, selection.latent, selection.sign))
    mine = rows[rows["condition"] == selection.condition]
    return known(mine.iloc[0]) if len(mine) else {}
