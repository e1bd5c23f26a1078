"""Which mappings count as found: chosen on one split, tested on another, and not better explained by another variable.

Without a choice nothing could be found among thousands of latents: with 1,000 relabellings no p is below .001, and
Benjamini-Hochberg over 1,000 tests asks for twenty of them at once. So a mapping enters the family only where it stands
out on the bins the choice is made on, which the test never sees.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import Binned
from nldisco_core.nulls import benjamini_hochberg

__all__ = ["CHOSEN_P", "DISTANCE_S", "N_CHOOSING", "Q_LEVEL", "choosing_rows", "found", "stands_out", "with_q"]

DISTANCE_S = 1.0
"""Least time between a bin that the choice is made on and a tested one (s)."""

N_CHOOSING = 99
"""Relabellings by which a mapping is judged on the first split."""

CHOSEN_P = 0.1
"""p there up to which it is chosen for the test."""

Q_LEVEL = 0.05


def choosing_rows(data: Binned, first: NDArray[np.bool_], last: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """(n_bins,) bins of the first split that keep `DISTANCE_S` from those of the last.

    None where the splits are one, or where less than half of the bins would be left: then nothing can be chosen.
    """
    kept = np.zeros_like(first)
    least_ns = round(DISTANCE_S * 1e9) + data.bin_ns
    for session, (start, stop) in zip(data.sessions, pairwise(data.row_offsets.tolist()), strict=True):
        times, tested = session.start_ns, session.start_ns[last[start:stop]]
        place = np.searchsorted(tested, times)
        bounds = np.concatenate([[times[:1].min(initial=0) - least_ns], tested, [times[-1:].max(initial=0) + least_ns]])
        away = np.minimum(times - bounds[place], bounds[place + 1] - times)
        kept[start:stop] = first[start:stop] & (away >= least_ns)
    return kept if 2 * kept.sum() >= first.sum() and kept.any() else None


def stands_out(p: NDArray[np.float64], *, n_draws: int) -> NDArray[np.bool_]:
    """(n_tests,) which p of the first split are at most `CHOSEN_P`; all where too few draws could ever be."""
    return np.asarray(p <= CHOSEN_P) if (1 + n_draws) * CHOSEN_P >= 1 else np.ones(len(p), dtype=bool)


def with_q(table: pd.DataFrame, *, split: str, n_shifts: int) -> tuple[pd.DataFrame, list[str]]:
    """The table with ``q``, Benjamini-Hochberg per instance over the supported mappings that were chosen, and notes.

    Parameters
    ----------
    table : a mapper's, with columns ``supported`` and ``chosen``
    split : where the test is made
    n_shifts : relabellings behind each p
    """
    if table.empty:
        return table, []
    table = table.assign(chosen=table["chosen"].astype("boolean"))
    tested = (
        table["condition"].isna() & (table["split"] == split) & table["supported"].astype(bool) & table["p"].notna()
    )
    family = tested & table["chosen"].fillna(False).astype(bool)
    q = table.loc[family].groupby("instance")["p"].transform(lambda p: benjamini_hochberg(p.to_numpy()))
    notes = []
    if tested.any():
        notes.append(
            f"q over the {family.sum()} of {tested.sum()} supported mappings that stand out on the first split"
        )
    largest = int(table.loc[family].groupby("instance").size().max()) if family.any() else 0
    if largest > Q_LEVEL * (n_shifts + 1):
        least = int(np.ceil(largest / (Q_LEVEL * (n_shifts + 1))))
        notes.append(
            f"with {largest} tests and {n_shifts} relabellings q < {Q_LEVEL:g} takes {least} mappings of the smallest "
            f"p; n_shifts = {int(np.ceil(largest / Q_LEVEL))} would let one alone be found"
        )
    return table.assign(q=q.reindex(table.index).astype(np.float64)), notes


def found(table: pd.DataFrame) -> pd.Series:
    """Whether each row is a mapping to report: supported, q < .05, and not better explained by another variable."""
    supported = table["supported"] if "supported" in table else pd.Series(True, index=table.index)
    counts = supported.astype("boolean").fillna(False).astype(bool) & (table["q"] < Q_LEVEL)
    return counts & table["better_explained_by"].isna() if "better_explained_by" in table else counts
