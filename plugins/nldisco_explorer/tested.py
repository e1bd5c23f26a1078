"""What the run's own test says of a latent and a variable, for the caption of a plot of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nldisco_explorer.wording import number

if TYPE_CHECKING:
    from nldisco_core.selection import Selection
    from nldisco_explorer.readings import Readings

__all__ = ["said_of_test"]


def said_of_test(reads: Readings, selection: Selection, variable: str) -> str:
    """A sentence: q and null of the selected mapper, or of the first that tested the latent, or that none did."""
    if selection.latent is None:
        return ""
    latent = (selection.instance, selection.latent, selection.sign)
    mappers = sorted(reads.mappers, key=lambda name: name != selection.mapper)
    rows = {
        name: row
        for name in mappers
        if reads.is_mapped(selection.model, name)
        and (row := reads.scored(selection.model, name).of_latent(variable, "test", latent))
    }
    for mapper, row in rows.items():
        if "q" in row:
            q, null = number(float(row["q"]), 2), row.get("null", "its null")
            return f"Tested by {mapper} on {row['split']} bins: q {q} against {null} ({row.get('statistic', 'score')})."
    return f"Not tested in this run: {_why(next(iter(rows.values()), None))}."


def _why(scores: dict[str, Any] | None) -> str:
    if scores is None:
        return "no mapper scored this variable"
    if scores.get("supported") is False:
        return "too little support"
    return "it does not stand out on train bins" if scores.get("chosen") is False else "scored without a null"
