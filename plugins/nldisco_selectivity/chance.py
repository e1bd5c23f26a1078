"""What the largest correlation of a latent with a condition is by chance, and which mappings are worth that test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import Covariate
from nldisco_core.confounds import Part
from nldisco_core.discoveries import N_CHOOSING, stands_out
from nldisco_core.nulls import Null, choose_null, null_distribution, p_values
from nldisco_core.tuning import Conditions
from nldisco_selectivity.scores import Scores, large_enough, max_mcc
from nldisco_selectivity.task import Task

__all__ = ["tested"]


def tested(
    task: Task, covariate: Covariate, chosen: Conditions, scores: Mapping[str, Scores], seed: int
) -> tuple[dict[str, Any], list[str]]:
    """Chance of the largest MCC on the last split, all columns at once; NaN, and a note, where the null is refused."""
    last = task.config.splits[-1]
    observed = scores[last]
    null = _null(task, covariate, chosen, task.rows[last], seed)
    undefined = np.full(len(observed.max_mcc), np.nan)
    found: dict[str, Any] = {"p": undefined, "null_mean": undefined, "effective_shifts": null.effective_shifts}
    found["null"] = pd.array([null.name], dtype="string").repeat(len(undefined))
    found["chosen"] = np.ones(len(undefined), dtype=bool)
    refusal = null.refusal
    if chosen.n_conditions < 2:
        refusal = "it has one value only"
    elif not large_enough(observed.n_on).any():
        refusal = "no condition has 5 bins inside and 20 outside on the tested split"
    if refusal is not None:
        return found, [f"no p values: {refusal}"]
    if task.config.n_shifts == 0:
        return found, []
    by_chance = _by_chance(task.part(last), chosen, null, task.config.n_shifts)
    found["p"] = p_values(observed.max_mcc, by_chance)
    found["null_mean"] = np.where(np.isnan(observed.max_mcc), np.nan, by_chance.mean(axis=0))
    if task.choosing is not None:
        found["chosen"] = _chosen(task, task.choosing, covariate, chosen, seed)
    return found, [f"p against {null.name}s; the recording offers {null.offered} independent ones"]


def _chosen(task: Task, part: Part, covariate: Covariate, chosen: Conditions, seed: int) -> NDArray[np.bool_]:
    """(n_columns,) what stands out on the bins that the choice is made on; all where there is no null for it."""
    null = _null(task, covariate, chosen, part.rows, seed)
    if null.refusal is not None:
        return np.ones(len(part.starts) - 1, dtype=bool)
    n_draws = min(N_CHOOSING, task.config.n_shifts)
    codes = np.where(part.rows, chosen.codes, -1)
    counts = part.counts(codes, chosen.n_conditions)
    observed = max_mcc(counts, np.bincount(codes[codes >= 0], minlength=chosen.n_conditions))
    p = p_values(np.where(counts.any(axis=1), observed, np.nan), _by_chance(part, chosen, null, n_draws))
    return stands_out(p, n_draws=n_draws)


def _null(task: Task, covariate: Covariate, chosen: Conditions, rows: NDArray[np.bool_], seed: int) -> Null:
    """The null that suits the variable, for these bins."""
    tested = rows & (chosen.codes >= 0)
    return choose_null(covariate, task.data, usable=task.usable, tested=tested, seed=seed, blocks=task.blocks)


def _by_chance(part: Part, chosen: Conditions, null: Null, n_draws: int) -> NDArray[np.float64]:
    """(n_draws, n_columns) largest MCC on some bins under the null."""
    return null_distribution(
        null,
        max_mcc,
        n_draws=n_draws,
        codes=chosen.codes,
        n_conditions=chosen.n_conditions,
        tested=part.rows,
        active_starts=part.starts,
        active_rows=part.active_rows,
    )
