"""Intervals of the selectivity that a mapper's table holds without any, from the blocks of time that curves use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.condition_curves import Visits
from nldisco_core.tuning import Conditions, conditions

if TYPE_CHECKING:
    from nldisco_core.selection import Selection
    from nldisco_explorer.readings import Readings

__all__ = ["has_interval", "with_interval"]

BOUNDS = ["selectivity_low", "selectivity_high"]
ROUNDING = 1e-6

Places = dict[str, int]

_kept: WeakKeyDictionary[Readings, dict[tuple[str, ...], tuple[Visits, Places] | None]] = WeakKeyDictionary()


def has_interval(scores: pd.DataFrame) -> bool:
    """Whether any score has its bounds."""
    return set(BOUNDS) <= set(scores) and bool(scores[BOUNDS].notna().any(axis=None))


def with_interval(reads: Readings, selection: Selection, mapper: str, scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of one latent at each value with ``selectivity_low`` and ``selectivity_high``, the 95 % interval.

    The mapper's own bounds where it has any. Else those of `Visits.selectivity`, if the variable, cut anew, gives the
    very selectivity of the table; without bounds where it does not.

    Parameters
    ----------
    scores : rows of one variable on one split, such as `Scored.by_condition` gives
    """
    if has_interval(scores):
        return scores
    variable, split = str(scores["variable"].iloc[0]), str(scores["split"].iloc[0])
    made, key = _kept.setdefault(reads, {}), (selection.model, mapper, variable, split)
    if key not in made:
        made[key] = _visits(reads, *key)
    if (found := made[key]) is None:
        return scores
    visits, places = found
    at = [places[label] for label in scores["condition"]]
    counted = visits.selectivity(reads.activations(replace(selection, split="all")).rows)
    told = scores["selectivity"].to_numpy(np.float64, na_value=np.nan)
    if not np.allclose(counted.value[at], told, atol=ROUNDING, equal_nan=True):
        return scores
    return scores.assign(selectivity_low=counted.low[at], selectivity_high=counted.high[at])


def _visits(reads: Readings, model: str, mapper: str, variable: str, split: str) -> tuple[Visits, Places] | None:
    """The bins of a split by the mapper's own conditions, and the place of each; None where these are not known."""
    if (chosen := _cut_as(reads, model, mapper, variable)) is None:
        return None
    mask = reads.split_mask(split) & reads.defined(model)
    visits = Visits(chosen, mask=mask, blocks=reads.blocks, bin_s=reads.run.counts.bin_s)
    return visits, {label: place for place, label in enumerate(chosen.labels)}


def _cut_as(reads: Readings, model: str, mapper: str, variable: str) -> Conditions | None:
    """The variable cut as finely as the run's record of the mapper says, on train bins or on all; None if in vain."""
    labels = reads.scored(model, mapper).conditions(variable)
    if variable not in reads.variables() or not labels:
        return None
    covariate, config = reads.covariate(variable), reads.run.about.get("mappers", {}).get(mapper, {}).get("config", {})
    n_quantiles = config.get("n_quantiles_of", {}).get(variable, config.get("n_quantiles", len(labels)))
    n_circular = config.get("n_circular", len(labels))
    masks: list[NDArray[np.bool_]] = [reads.split_mask("train"), reads.split_mask("all")]
    for rows in masks:
        if (rows & covariate.defined).any():
            chosen = conditions(covariate, n_quantiles=n_quantiles, n_circular=n_circular, rows=rows)
            if set(labels) <= set(chosen.labels):
                return chosen
    return None
