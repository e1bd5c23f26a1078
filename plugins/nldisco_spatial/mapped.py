"""What the views read of a run: its spatial mappings, and the same scores of the units that were recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import Binned
from nldisco_core.config import parse
from nldisco_core.errors import IncompatibleData
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_spatial.config import SpatialConfig
from nldisco_spatial.mapper import Spatial

__all__ = ["HOW", "MAPPER", "of_split", "spatial_mapping", "unit_mapping"]

MAPPER = "spatial"
HOW = "This model was not mapped: nldisco map RUN --mapper spatial draws the maps."


def spatial_mapping(run: Run, model: str) -> MapperResult | None:
    """What the spatial mapper found for a model of the run, None where it was not run."""
    part = run.part(model)
    return part.mapping(MAPPER) if MAPPER in part.mappings else None


def of_split(table: pd.DataFrame, selection: Selection, *, kind: str) -> pd.DataFrame:
    """Rows of one variable, statistic, split and instance, in the order of the columns of the arrays.

    The selected variable and split where they were mapped, else the first variable and the last split.

    Parameters
    ----------
    kind : a score that the wanted variables have, such as ``resultant_length`` of directions
    """
    if kind not in table:
        return table.iloc[:0]
    fitting = table[table["variable"].isin(table.loc[table[kind].notna(), "variable"])]
    names, splits = fitting["variable"].unique(), fitting["split"].unique()
    if not len(names):
        return fitting
    name = selection.variable if selection.variable in names else names[0]
    split = selection.split if selection.split in splits else splits[-1]
    chosen = fitting[(fitting["variable"] == name) & (fitting["split"] == split)]
    first = chosen["statistic"] == chosen["statistic"].iloc[0]
    return chosen[first & (chosen["instance"] == selection.instance)].reset_index(drop=True)


def unit_mapping(run: Run) -> pd.DataFrame:
    """The table of scores of the recorded units, mapped as the latents were, without p; ``region`` beside each.

    Units that were not observed throughout have no row.

    Raises
    ------
    IncompatibleData
        The sessions hold different units.
    """
    data = run.counts
    if not data.shares_units:
        raise IncompatibleData("the sessions hold different units, which have no common maps")
    record = run.about.get("mappers", {}).get(MAPPER, {}).get("config", {})
    config = parse(SpatialConfig, {**record, "n_shifts": 0})
    table = Spatial(config).map(Latents.of(_unit_space(data)), data, seed=0).table
    whole = np.ones(data.n_units, dtype=bool) if data.observed is None else np.asarray(data.observed.all(axis=0))
    region = data.units.get("region", pd.Series("", index=data.units.index)).fillna("").astype(str).to_numpy()
    unit = table["latent"].to_numpy(dtype=np.int64)
    kept = table.assign(region=region[unit])[whole[unit] & (table["sign"] >= 0).to_numpy()]
    return kept.reset_index(drop=True)


def _unit_space(data: Binned) -> LatentSpace:
    """The recorded activity as latents, its positive part where it is not a count or a rate."""
    activity: NDArray[Any] = np.asarray(data.activity)
    return LatentSpace(
        codes=(sparse.csc_array(np.maximum(activity, 0).astype(np.float32)),),
        session_ids=tuple(session.session_id for session in data.sessions),
        row_offsets=data.row_offsets,
    )
