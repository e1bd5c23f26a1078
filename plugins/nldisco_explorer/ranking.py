"""Which latents to look at first: the rows of a mapping for one choice of model, variable and value, best first."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.beside_controls import AS_GOOD
from nldisco_core.selection import Selection
from nldisco_explorer.evidence import OFTEN, unit_called
from nldisco_explorer.readings import Readings

__all__ = ["KEY", "latent_of", "ranked", "row_beside", "scored_split", "with_best"]

KEY = "key"
SIGNS = 4
SAID = (
    *("latent", "sign", "active", "supported", "chosen", "better_explained_by"),
    *("score", "best_control", "best_control_score"),
)
"""Columns that the notes rest on."""

MOST_RANKINGS = 64
"""Rankings that are kept for all browser sessions."""

Keys = TypeVar("Keys", int, NDArray[np.int64])


def ranked(reads: Readings, selection: Selection) -> pd.DataFrame:
    """Rows of the selected mapping for its model, instance, variable, split, condition and lasso, best first.

    Where nothing was scored, all latents, the most active first. A column ``key`` tells rows apart (see `latent_of`);
    ``note`` says what a reader must know of a latent: dead, too little support, active in over half the time, not
    chosen for the test, better explained by another variable, equalled by a control, copy of a unit; ``flags`` the same
    in a word each; ``name`` and ``stars`` what people wrote of it, where they wrote of any. Scores no row has are left
    out.
    The frame is kept for the next call and is not to be changed.
    """
    mapped = selection.mapper is not None and reads.is_mapped(selection.model, selection.mapper)
    key = (
        *(selection.model, selection.instance, selection.variable, selection.split, selection.condition),
        *(selection.lasso, reads.notes.stamp),
        id(reads.scored(selection.model, selection.mapper or "")) if mapped else None,
    )
    if key not in reads.rankings:
        if len(reads.rankings) >= MOST_RANKINGS:
            reads.rankings.clear()
        reads.rankings[key] = _rank(reads, selection)
    return reads.rankings[key]


def _rank(reads: Readings, selection: Selection) -> pd.DataFrame:
    chosen = _scored(reads, selection)
    chosen = _by_density(reads, selection) if chosen is None else chosen
    if selection.lasso is not None:
        chosen = chosen[chosen["latent"].isin(selection.lasso)]
    density = _density(reads, selection, chosen)
    key = chosen["latent"].astype(np.int64) * SIGNS + chosen["sign"] + 1
    chosen = chosen.assign(key=key, active=density)
    chosen = chosen.assign(**_notes(reads, selection, chosen), **_written(reads, selection, chosen))
    if (chosen["sign"] != 0).any():
        chosen.insert(chosen.columns.get_loc("latent") + 1, "half", chosen["sign"].map({1: "+", -1: "−"}))
    first = ("q", "youden", "mutual_information", "auroc") if selection.condition is None else ("youden", "auroc")
    by = [name for name in first if name in chosen and chosen[name].notna().any()]
    ordered = chosen.sort_values(by, ascending=[name == "q" for name in by], kind="stable") if by else chosen
    if "supported" in ordered:
        ordered = ordered.sort_values("supported", ascending=False, kind="stable")
    return ordered.dropna(axis=1, how="all").reset_index(drop=True)


def latent_of(key: Keys) -> tuple[Keys, Keys]:
    """Latent and sign of a row, or of rows, of `ranked` with this key."""
    return key // SIGNS, key % SIGNS - 1


def scored_split(reads: Readings, selection: Selection) -> str | None:
    """The split whose scores are ranked: the selected one or else the reported one; None where nothing was scored."""
    if selection.mapper is None or not reads.is_mapped(selection.model, selection.mapper):
        return None
    scored, asked = reads.scored(selection.model, selection.mapper), (selection.split, "test", "all")
    return next((each for each in asked if scored.has(selection.variable, each, selection.condition)), None)


def _scored(reads: Readings, selection: Selection) -> pd.DataFrame | None:
    """Rows of the selected mapping; None where it has none."""
    split = scored_split(reads, selection)
    if split is None or selection.mapper is None:
        return None
    rows = reads.scored(selection.model, selection.mapper).rows(selection.variable, split, selection.condition)
    return rows[rows["instance"] == selection.instance]


def _density(reads: Readings, selection: Selection, rows: pd.DataFrame) -> NDArray[np.float64]:
    """(n_rows,) share of bins in which the latent of each row, or its half, is active."""
    found = np.full(len(rows), np.nan)
    for sign in rows["sign"].unique().tolist():
        mine = (rows["sign"] == sign).to_numpy()
        latents = rows["latent"].to_numpy(np.int64)[mine]
        found[mine] = reads.density(selection.model, int(sign))[selection.instance][latents]
    return found


def _by_density(reads: Readings, selection: Selection) -> pd.DataFrame:
    """A row per latent, or per half of a signed code, the most active first."""
    signs = (1, -1) if reads.space(selection.model).code_kind == "signed" else (0,)
    n_latents = reads.space(selection.model).n_latents
    rows = pd.DataFrame({"latent": np.repeat(np.arange(n_latents), len(signs)), "sign": np.tile(signs, n_latents)})
    return rows.iloc[np.argsort(-_density(reads, selection, rows), kind="stable")].reset_index(drop=True)


def row_beside(rows: pd.DataFrame, selection: Selection, by: int) -> tuple[int, int] | None:
    """Latent and sign so many rows on from the selected one, stopping at the ends; None where there is no row."""
    if not len(rows):
        return None
    at = np.flatnonzero((rows["latent"] == selection.latent) & (rows["sign"] == selection.sign))
    to = min(max(int(at[0]) + by, 0), len(rows) - 1) if len(at) else 0
    return int(rows["latent"].iloc[to]), int(rows["sign"].iloc[to])


def with_best(reads: Readings, selection: Selection, *, of_latent: int | None = None) -> Selection:
    """The same at the latent that ranks first, or at the half that does of one latent."""
    rows = ranked(reads, selection)
    if of_latent is not None:
        rows = rows[rows["latent"] == of_latent]
    if len(rows):
        return replace(selection, latent=int(rows["latent"].iloc[0]), sign=int(rows["sign"].iloc[0]))
    signed = reads.space(selection.model).code_kind == "signed"
    return replace(selection, latent=of_latent or 0, sign=1 if signed else 0)


def _written(reads: Readings, selection: Selection, rows: pd.DataFrame) -> dict[str, list[Any]]:
    """Names and stars that people gave; nothing where they wrote about no latent of this instance."""
    current = reads.notes.current()
    found = [
        current.get((selection.model, selection.instance, latent, sign))
        for latent, sign in zip(rows["latent"].astype(int), rows["sign"].astype(int), strict=True)
    ]
    if not any(found):
        return {}
    return {
        "name": [note.name if note else "" for note in found],
        "stars": ["★" * note.stars if note else "" for note in found],
    }


def _notes(reads: Readings, selection: Selection, rows: pd.DataFrame) -> dict[str, list[str]]:
    """Columns ``note`` and ``flags``."""
    said = [_said(reads, selection, row) for row in rows[[name for name in SAID if name in rows]].to_dict("records")]
    return {
        "note": ["; ".join(each.values()) for each in said],
        "flags": [", ".join(filter(None, each)) for each in said],
    }


def _said(reads: Readings, selection: Selection, row: dict[Hashable, Any]) -> dict[str, str]:
    """What a reader must know of one row, most important first: in a word, and in full."""
    known = {name: value for name, value in row.items() if not pd.isna(value)}
    density = row["active"]
    if density == 0:
        return {"dead": "dead"}
    found = {}
    if not known.get("supported", True):
        found["too few"] = "too few active bins or visits"
    elif not known.get("chosen", True):
        found[""] = "not chosen on train, so not tested"  # in a word: no q
    if density > OFTEN:
        found["dense"] = "active in over half the time"
    if "better_explained_by" in known:
        found["explained"] = f"better explained by {known['better_explained_by']}"
    if "score" in known and known.get("best_control_score", -math.inf) >= known["score"] - AS_GOOD:
        found["control"] = f"the control {known['best_control']} scores as high"
    copied = reads.of_latent("copies", replace(selection, latent=int(row["latent"]), sign=int(row["sign"])))
    if copied.get("copy") and "unit" in copied:
        found["copy"] = f"copy of {unit_called(copied['unit'])}"
    return found
