"""The comparison of each mapping with the other variables, put into the mapping table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from nldisco_core.tuning import Conditions
from nldisco_selectivity.confounds import Part, compare
from nldisco_selectivity.scores import Active
from nldisco_selectivity.task import Task

__all__ = ["with_comparison"]

CLAIMED = 0.05


def with_comparison(task: Task, table: pd.DataFrame, variables: Sequence[Conditions]) -> tuple[pd.DataFrame, list[str]]:
    """The tested rows with what each variable says beyond the others, and notes on mappings that others explain."""
    first, last = task.config.splits[0], task.config.splits[-1]
    if first == last:
        rows = (task.first_half[first], task.rows[first] & ~task.first_half[first])
        fit, held_out = (Part(active=Active.of(task.activations, mask), rows=mask) for mask in rows)
    else:
        fit, held_out = (Part(active=task.active[split], rows=task.rows[split]) for split in (first, last))
    tested = table["condition"].isna() & (table["split"] == last)
    claimed = table["supported"] & ~table["p"].gt(CLAIMED)
    wanted = {
        chosen.variable: claimed[tested & (table["variable"] == chosen.variable)].to_numpy(dtype=bool)
        for chosen in variables
    }
    compared = compare(
        {chosen.variable: chosen for chosen in variables},
        fit=fit,
        held_out=held_out,
        blocks=task.stretches,
        wanted=wanted,
    )
    notes = []
    table = table.assign(alone=np.nan, beyond=np.nan, beyond_se=np.nan)
    table["better_explained_by"] = pd.array([pd.NA], dtype="string").repeat(len(table))
    for name, of in compared.items():
        rows_ = table.index[tested & (table["variable"] == name)]
        for column in ("alone", "beyond", "beyond_se"):
            table.loc[rows_, column] = getattr(of, column)
        table.loc[rows_, "better_explained_by"] = pd.array(of.better, dtype="string")
        others = pd.Series(of.better).dropna().value_counts()
        if len(others):
            by = ", ".join(f"{other} ({n})" for other, n in others.items())
            notes.append(f"{name}: {others.sum()} of {wanted[name].sum()} mappings are better explained by {by}")
    return table, notes
