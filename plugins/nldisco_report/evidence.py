"""Which latents of a run are shown, in which order, and all that is known of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from nldisco_core.beside_controls import AS_GOOD
from nldisco_core.binned import SPLITS
from nldisco_core.contributions import contributing_units
from nldisco_core.discoveries import found
from nldisco_core.latents import LatentSpace
from nldisco_core.runs import Run
from nldisco_core.summary import Findings
from nldisco_core.unit_activity import co_activity

__all__ = ["BINS_OF", "Evidence", "Shown", "evidence"]

BINS_OF = MappingProxyType({"test": "test bins", "validation": "validation bins", "train": "training bins"})
"""What the bins of a split are called."""

N_UNITS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """One latent and the mapping that speaks for it.

    Attributes
    ----------
    latent, sign : which it is
    row : the mapper's row for the whole variable on the reported split, with ``mapper`` and ``equalled``
    others : further variables that it was found to tell
    copy, match : its rows of the run's tables ``copies`` and ``stability``; empty where there are none
    units : the units that are most active with it, most first: unit, region, mean_z, sem_blocks
    """

    latent: int
    sign: int
    row: Mapping[str, Any]
    others: tuple[str, ...] = ()
    copy: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    match: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    units: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What a run found of one instance of its model.

    Attributes
    ----------
    instance, n_instances : which, and of how many
    split : bins that the figures are of
    shown : the best latents
    n_found : latents of the instance with a mapping that counts as found
    n_supported : latents with enough active bins for some variable
    n_latents : all of the instance, halves of a signed code counted apart
    n_found_elsewhere : found latents of each other instance
    """

    instance: int
    n_instances: int
    split: str
    shown: tuple[Shown, ...]
    n_found: int
    n_supported: int
    n_latents: int
    n_found_elsewhere: tuple[int, ...]


def evidence(run: Run, *, n_latents: int, instance: int = 0) -> Evidence:
    """The best latents of an instance: those that no control equals first, then by q, then by held-out score.

    Only latents are shown with a mapping that counts as found (`nldisco_core.discoveries.found`), each by its best one.
    """
    space, split = run.latents.main, Findings.of(run).split
    rows = _whole_rows(run, split)
    per_instance = [_latents(rows[rows["found"] & (rows["instance"] == i)]) for i in range(space.n_instances)]
    own = rows[(rows["instance"] == instance) & rows["found"]]
    order = own.sort_values(["equalled", "q", "score"], ascending=[True, True, False], kind="stable")
    best = order.drop_duplicates(["latent", "sign"]).head(n_latents)
    shown = [_shown(run, row, order) for row in best.to_dict("records")]
    supported = rows[(rows["instance"] == instance) & rows["supported"]]
    return Evidence(
        instance=instance,
        n_instances=space.n_instances,
        split=split,
        shown=tuple(_with_units(run, shown, instance, split)),
        n_found=per_instance[instance],
        n_supported=_latents(supported),
        n_latents=space.n_latents * (2 if space.code_kind == "signed" else 1),
        n_found_elsewhere=tuple(n for i, n in enumerate(per_instance) if i != instance),
    )


def _latents(rows: pd.DataFrame) -> int:
    return len(rows.drop_duplicates(["latent", "sign"]))


def _whole_rows(run: Run, split: str) -> pd.DataFrame:
    """Rows of all mappers that speak of one latent and a whole variable on a split."""
    parts = [pd.DataFrame(columns=["instance", "latent", "sign", "q", "score", "found", "supported", "equalled"])]
    for mapper in run.mappings:
        table = run.mapping(mapper).table
        table = table[table["latent"].notna() & table["condition"].isna() & (table["split"] == split)]
        if len(table):
            supported = table["supported"] if "supported" in table else pd.Series(True, index=table.index)
            given = {name: table.get(name, np.nan) for name in ("score", "best_control_score")}
            parts.append(
                table.assign(
                    mapper=mapper,
                    found=found(table),
                    supported=supported.astype("boolean").fillna(False).astype(bool),
                    equalled=given["best_control_score"] >= given["score"] - AS_GOOD,
                    score=given["score"],
                )
            )
    if len(parts) == 1:
        return parts[0].astype({"found": bool, "supported": bool})
    rows = pd.concat(parts[1:], ignore_index=True)
    return rows.assign(found=rows["found"] & ~_explained(rows))


def _explained(rows: pd.DataFrame) -> pd.Series[bool]:
    """Whether any mapper says of a latent and a variable that another variable explains the mapping better."""
    keys = ["instance", "latent", "sign", "variable"]
    if "better_explained_by" not in rows:
        return pd.Series(False, index=rows.index)
    known = rows["better_explained_by"].notna()
    return known.groupby([rows[key] for key in keys]).transform("any")


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        str(name): getattr(value, "item", lambda value=value: value)() for name, value in row.items() if pd.notna(value)
    }


def _shown(run: Run, row: Mapping[str, Any], order: pd.DataFrame) -> Shown:
    latent, sign, instance = int(row["latent"]), int(row["sign"]), int(row["instance"])
    same = order[(order["latent"] == latent) & (order["sign"] == sign) & (order["variable"] != row["variable"])]
    return Shown(
        latent=latent,
        sign=sign,
        row=MappingProxyType(_known(row)),
        others=tuple(dict.fromkeys(same["variable"].astype(str))),
        copy=MappingProxyType(_of_table(run, "copies", instance, latent, sign)),
        match=MappingProxyType(_of_table(run, "stability", instance, latent, sign)),
    )


def _of_table(run: Run, name: str, instance: int, latent: int, sign: int) -> dict[str, Any]:
    if name not in run.tables:
        return {}
    table = run.table(name)
    table = table[(table["model"] == "model") & (table["instance"] == instance) & (table["latent"] == latent)]
    table = table[table["sign"] == sign] if "sign" in table else table
    return _known(table.iloc[0].to_dict()) if len(table) else {}


def _with_units(run: Run, shown: list[Shown], instance: int, split: str) -> list[Shown]:
    """The same latents with the units that are active with them; unchanged where sessions hold different units."""
    data = run.binned
    if not shown or not data.shares_units:
        return shown
    space = run.latents.main
    codes = space.csc(instance)[:, [one.latent for one in shown]]
    positive = [-1.0 if one.sign < 0 else 1.0 for one in shown]
    part = LatentSpace(
        codes=((codes * np.array(positive)).tocsc(),),
        session_ids=space.session_ids,
        row_offsets=space.row_offsets,
        defined=space.defined,
        code_kind=space.code_kind,
    )
    units = contributing_units(
        co_activity(part, data, rows=data.split == SPLITS.index(split)), data.units, n_units=N_UNITS
    )
    top = units[units["end"] == "top"]
    return [
        replace(one, units=tuple(_known(row) for row in top[top["latent"] == place].to_dict("records")))
        for place, one in enumerate(shown)
    ]
