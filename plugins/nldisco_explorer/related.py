"""Latents related to one latent: nearest ones and families, from the tables of the run, else computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import pandas as pd

from nldisco_core.neighbours import coactive_neighbours, dictionary_neighbours, families

if TYPE_CHECKING:
    from nldisco_core.selection import Selection
    from nldisco_explorer.readings import Readings

__all__ = ["absorbed_by", "family_of", "is_ready", "keep_relations", "neighbours_of"]

N_NEAREST = 8

_kept: WeakKeyDictionary[Readings, dict[tuple[str, str], pd.DataFrame]] = WeakKeyDictionary()


def keep_relations(reads: Readings, model: str) -> None:
    """Have the relations between a model's latents at hand; takes seconds where the run holds no tables of them."""
    for name in ("neighbours", "families"):
        _table(reads, model, name)


def is_ready(reads: Readings, selection: Selection, name: str) -> bool:
    """Whether the table ``neighbours`` or ``families`` of the selected model is at hand, or takes seconds to make."""
    return (selection.model, name) in _kept.get(reads, {}) or len(_held(reads, selection.model, name)) > 0


def neighbours_of(reads: Readings, selection: Selection) -> pd.DataFrame:
    """Rows of the selected latent: ``measure``, ``rank``, ``neighbour`` and ``similarity``, nearest first."""
    found = _table(reads, selection.model, "neighbours")
    mine = found[(found["instance"] == selection.instance) & (found["latent"] == selection.latent)]
    return mine.sort_values(["measure", "rank"], ascending=[False, True])


def family_of(reads: Readings, selection: Selection) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of `nldisco_core.neighbours.families`: parents and children of the selected latent, fullest first."""
    found = _table(reads, selection.model, "families")
    found = found[found["instance"] == selection.instance]
    parents = found[found["child"] == selection.latent].sort_values("containment", ascending=False, kind="stable")
    children = found[found["parent"] == selection.latent].sort_values("share_of_parent", ascending=False, kind="stable")
    return parents, children


def absorbed_by(reads: Readings, selection: Selection) -> pd.DataFrame:
    """Rows of the run's table ``absorption`` with the selected latent as parent; empty where the run has no table."""
    if "absorption" not in reads.run.tables:
        return pd.DataFrame()
    found = _table(reads, selection.model, "absorption")
    if not len(found):
        return found
    return found[(found["instance"] == selection.instance) & (found["parent"] == selection.latent)]


def _table(reads: Readings, model: str, name: str) -> pd.DataFrame:
    """Rows of one model; computed over all bins where the run holds none for it."""
    made = _kept.setdefault(reads, {})
    if (model, name) not in made:
        held = _held(reads, model, name)
        made[model, name] = held if len(held) or name == "absorption" else _computed(reads, model, name)
    return made[model, name]


def _held(reads: Readings, model: str, name: str) -> pd.DataFrame:
    """Rows of one model in a table of the run; none where it has no such table."""
    held = reads.run.table(name) if name in reads.run.tables else pd.DataFrame()
    return held[held["model"] == model] if "model" in held else held if model == "model" else held.iloc[:0]


def _computed(reads: Readings, model: str, name: str) -> pd.DataFrame:
    space, dictionary = reads.space(model), reads.run.part(model).dictionary
    if name == "families":
        return families(space)
    near = [coactive_neighbours(space, k=N_NEAREST)]
    if dictionary is not None:
        near.insert(0, dictionary_neighbours(dictionary, k=N_NEAREST, absolute=space.code_kind == "signed"))
    return pd.concat(near, ignore_index=True)
