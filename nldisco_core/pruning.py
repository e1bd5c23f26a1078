"""Leave out units that a model reconstructs poorly, so that it can be fitted again on the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.errors import ModelError
from nldisco_core.metrics import Evaluation

__all__ = ["Pruning", "poorly_reconstructed"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pruning:
    """Which units are kept.

    Attributes
    ----------
    table : one row per unit: unit, r2 and whether it was kept
    dropped : (n_dropped,) columns of the units that are left out
    note : the counts in words
    """

    table: pd.DataFrame
    dropped: NDArray[np.int64]
    note: str


def poorly_reconstructed(found: Evaluation, *, min_r2: float) -> Pruning:
    """Units whose R² on training bins is `min_r2` or less, in the first instance at the deepest level, mean over lags.

    A constant unit, whose R² is not defined, is left out as well.

    Raises
    ------
    ModelError
        No unit is reconstructed better.
    """
    units = found.units
    first = units[(units["split"] == "train") & (units["instance"] == 0) & (units["level"] == units["level"].max())]
    r2 = first.groupby("unit", sort=False)["r2"].mean()
    kept = (r2 > min_r2).to_numpy()
    if not kept.any():
        raise ModelError(
            f"no unit is reconstructed with R² above {min_r2:g} on training bins (best {r2.max():.2f}); lower "
            "prune.min_r2, smooth more or choose a larger model"
        )
    table = pd.DataFrame({"unit": r2.index.astype("string"), "r2": r2.to_numpy(), "kept": kept})
    end = "none was dropped" if kept.all() else "the others were dropped and the model was fitted again"
    note = (
        f"{kept.sum()} of {len(kept)} units ({kept.mean():.0%}) were reconstructed with R² above {min_r2:g} on "
        f"training bins; {end}."
    )
    return Pruning(table=table, dropped=np.flatnonzero(~kept), note=note)
