"""Each mapping of a model beside the best latent of any control, and beside the same latent without any spikes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.zero_input import ZERO_INPUT

__all__ = ["AS_GOOD", "beside_controls"]

AS_GOOD = 0.01
"""How far the score of a control may lie below that of a latent and still count as equal."""

_SAID = ["variable", "condition", "split", "statistic"]


def beside_controls(table: pd.DataFrame, controls: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A model's mapping table with what its controls reach in the same variable, condition, split and statistic.

    - ``best_control``, ``best_control_score``: the control whose best supported latent has the largest ``score`` there,
      mean over its instances, and that score; rows of all latents together are compared with such rows
    - ``zero_input_score``: the ``score`` of the same latent when the model got labels and no activity; where the
      control `ZERO_INPUT` was mapped

    Tables without a column ``score`` say nothing, and a model table without one stays as it is.

    Parameters
    ----------
    table : of the model, from one mapper
    controls : tables of the same mapper by name of the control
    """
    scored = {name: found for name, found in controls.items() if "score" in found}
    if "score" not in table or not scored:
        return table
    best = pd.concat([_best(found).assign(best_control=name) for name, found in scored.items()], ignore_index=True)
    best = best.sort_values("best_control_score", ascending=False, kind="stable").drop_duplicates([*_SAID, "all"])
    described = _keyed(table).merge(best, on=[*_SAID, "all"], how="left", validate="many_to_one")
    beside = table.assign(
        best_control=described["best_control"].astype("string").array,
        best_control_score=described["best_control_score"].to_numpy(),
    )
    if ZERO_INPUT in scored:
        beside["zero_input_score"] = _of_same_latent(table, scored[ZERO_INPUT])
    return beside


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    """What each row speaks of, without nulls, and whether it speaks of all latents together."""
    return table[_SAID].astype("string").fillna("").assign(all=table["latent"].isna().to_numpy())


def _best(table: pd.DataFrame) -> pd.DataFrame:
    """Largest score of a supported latent for each thing to speak of, mean over instances."""
    supported = table["supported"].astype("boolean").fillna(True).astype(bool) if "supported" in table else True
    chosen = table[table["score"].notna() & supported]
    of_instance = _keyed(chosen).assign(instance=chosen["instance"].to_numpy(), score=chosen["score"].to_numpy())
    largest = of_instance.groupby([*_SAID, "all", "instance"])["score"].max()
    return largest.groupby([*_SAID, "all"]).mean().rename("best_control_score").reset_index()


def _of_same_latent(table: pd.DataFrame, zero: pd.DataFrame) -> NDArray[np.float64]:
    """(n_rows,) score of the row of the same name in another table."""
    keys = ["instance", "latent", "sign", *_SAID]
    known = zero[[*keys, "score"]].rename(columns={"score": "known"})
    found = table[keys].merge(known, on=keys, how="left", validate="many_to_one")["known"]
    return np.asarray(found, dtype=np.float64)
