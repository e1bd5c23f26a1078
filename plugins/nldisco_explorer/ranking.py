"""Which latents to look at first: the rows of a mapping for one choice of model, variable and value, best first."""

from __future__ import annotations

import pandas as pd

from nldisco_core.selection import Selection
from nldisco_explorer.evidence import OFTEN
from nldisco_explorer.readings import Readings

__all__ = ["KEY", "ranked"]

KEY = "key"


def ranked(reads: Readings, selection: Selection) -> pd.DataFrame:
    """Rows of the selected mapping for its model, instance, variable, split, condition and lasso, best first.

    A column ``key`` holds each row's position in the whole mapping table; ``note`` says what a reader must know of a
    latent: too little support, dead or active in over half the time, copy of a unit. Scores that no row has are left
    out.
    """
    nothing = pd.DataFrame({KEY: [], "latent": [], "sign": [], "note": []})
    if selection.mapper is None or not reads.is_mapped(selection.model, selection.mapper):
        return nothing
    table = reads.mapping(selection.model, selection.mapper).table
    chosen = table[
        table["latent"].notna()
        & (table["instance"] == selection.instance)
        & (table["variable"] == selection.variable)
        & (table["split"] == selection.split)
        & (table["condition"].isna() if selection.condition is None else table["condition"] == selection.condition)
    ]
    if selection.lasso is not None:
        chosen = chosen[chosen["latent"].isin(selection.lasso)]
    if not len(chosen):
        return nothing
    chosen = chosen.assign(key=chosen.index, note=_notes(reads, selection, chosen))
    if (chosen["sign"] != 0).any():
        chosen.insert(chosen.columns.get_loc("latent") + 1, "half", chosen["sign"].map({1: "+", -1: "−"}))
    first = ("q", "youden", "mutual_information", "auroc") if selection.condition is None else ("youden", "auroc")
    by = [name for name in first if name in chosen and chosen[name].notna().any()]
    ordered = chosen.sort_values(by, ascending=[name == "q" for name in by], kind="stable") if by else chosen
    if "supported" in ordered:
        ordered = ordered.sort_values("supported", ascending=False, kind="stable")
    return ordered.dropna(axis=1, how="all").reset_index(drop=True)


def _notes(reads: Readings, selection: Selection, rows: pd.DataFrame) -> list[str]:
    density = reads.density(selection.model)[selection.instance]
    copies = reads.copies
    unit_of: dict[int, str] = {}
    if copies is not None and "unit" in copies:
        same = copies[(copies["model"] == selection.model) & (copies["instance"] == selection.instance)]
        same = same[same["copy"].astype("boolean").fillna(False).astype(bool)]
        unit_of = dict(zip(same["latent"].astype(int), same["unit"].astype(str), strict=True))
    supported = (
        rows["supported"].astype("boolean").fillna(True) if "supported" in rows else pd.Series(True, index=rows.index)
    )
    notes = []
    for latent, enough in zip(rows["latent"].astype(int), supported, strict=True):
        said = ["dead"] if density[latent] == 0 else ["too few"] if not enough else []
        said += ["dense"] if density[latent] > OFTEN else []
        said += [f"copy of {unit_of[latent]}"] if latent in unit_of else []
        notes.append(", ".join(said))
    return notes
