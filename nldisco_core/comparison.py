"""The comparison of each mapping with the other variables of the data, put into the table of a mapper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import Binned
from nldisco_core.columns import Columns, independent_stretches
from nldisco_core.confounds import Part, compare
from nldisco_core.errors import DataError
from nldisco_core.tuning import Conditions, conditions, halves, one_per_channel

__all__ = ["MAX_CONDITIONS", "every_variable", "with_comparison"]

CLAIMED = 0.05
MAX_CONDITIONS = 200


def every_variable(
    data: Binned, rows: NDArray[np.bool_], known: Mapping[str, Conditions] | None = None
) -> dict[str, Conditions]:
    """Every variable of the data cut into conditions, those left out that have one value or more than 200 conditions.

    Parameters
    ----------
    rows : (n_bins,) bins that the conditions are cut on
    known : variables that are cut already, which stay as they are
    """
    found = dict(known or {})
    for name in data.covariate_names:
        for covariate in one_per_channel(data.covariate(name)):
            if covariate.name in found or not (covariate.defined & rows).any():
                continue
            try:
                found[covariate.name] = conditions(covariate, rows=rows)
            except DataError:  # a variable that cannot be cut explains nothing
                continue
    return {name: cut for name, cut in found.items() if 2 <= cut.n_conditions <= MAX_CONDITIONS}


def with_comparison(
    table: pd.DataFrame,
    columns: Columns,
    data: Binned,
    *,
    variables: Mapping[str, Conditions],
    mapped: Iterable[str],
    splits: Sequence[str],
) -> tuple[pd.DataFrame, list[str]]:
    """The table with what each variable says beyond the others, and notes on mappings that others explain.

    Fitted on the bins of the first split and held against those of the last (against its later half where there is one
    split only), for supported latents unless every p of theirs is above .05. Rows of the whole variable on the last
    split get ``alone``, ``beyond``, ``beyond_se`` (bits per active bin) and ``better_explained_by``, see
    `nldisco_core.confounds.compare`.

    Parameters
    ----------
    table : rows of the columns `instance`, `latent`, `sign`, `variable`, `condition`, `split`, `p`, `supported`
    variables : all variables that a mapping may be explained by, cut into conditions
    mapped : names of those that were mapped
    """
    first, last = splits[0], splits[-1]
    masks = halves(columns.rows[first], data) if first == last else (columns.rows[first], columns.rows[last])
    fit, held_out = (Part.of(columns.activations, mask) for mask in masks)
    tested = table["condition"].isna() & (table["split"] == last)
    column = columns.of_rows(table)
    claimed = tested & table["supported"].astype(bool) & ~table["p"].gt(CLAIMED)
    wanted = {}
    for name in mapped:
        if name in variables:
            wanted[name] = np.zeros(columns.activations.shape[1], dtype=bool)
            wanted[name][column[claimed & (table["variable"] == name)]] = True
    compared = compare(variables, fit=fit, held_out=held_out, blocks=independent_stretches(data), wanted=wanted)
    table = table.assign(alone=np.nan, beyond=np.nan, beyond_se=np.nan)
    table["better_explained_by"] = pd.array([pd.NA], dtype="string").repeat(len(table))
    notes = []
    for name, of in compared.items():
        rows = tested & (table["variable"] == name)
        for score in ("alone", "beyond", "beyond_se"):
            table.loc[rows, score] = getattr(of, score)[column[rows]]
        table.loc[rows, "better_explained_by"] = pd.array(of.better[column[rows]], dtype="string")
        others = pd.Series(of.better).dropna().value_counts()
        if len(others):
            by = ", ".join(f"{other} ({n})" for other, n in others.items())
            notes.append(f"{name}: {others.sum()} of {wanted[name].sum()} mappings are better explained by {by}")
    return table, notes
