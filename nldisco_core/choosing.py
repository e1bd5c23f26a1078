"""Which of several configurations of a model to take: the smallest whose latents foretell units they were not given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nldisco_core.binned import SPLITS, Binned
from nldisco_core.config import ModelConfig
from nldisco_core.cosmoothing import CoSmoothing, co_smoothing
from nldisco_core.errors import ConfigError
from nldisco_core.interfaces import LatentModel

__all__ = ["Choice", "choose"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """What was chosen, and from what.

    Attributes
    ----------
    label : of the candidate that was chosen
    config : its configuration, with the seeds that were asked for
    table : one row per candidate, smallest first: candidate, n_latents, l0 (validation bins), the measure of
        `nldisco_core.cosmoothing.CoSmoothing`, ``behind`` and ``behind_se`` (mean over units by which the candidate
        lies behind the best one, and its standard error) and whether it was chosen
    notes : what it says in words
    """

    label: str
    config: ModelConfig
    table: pd.DataFrame
    notes: tuple[str, ...]


def choose(
    fit: Callable[[str, ModelConfig], LatentModel],
    candidates: Mapping[str, ModelConfig],
    data: Binned,
    *,
    counts: Binned | None,
    seeds: tuple[int, ...],
) -> Choice:
    """The smallest candidate that lies no more than one standard error behind the best on validation bins.

    Every candidate is fitted on the training bins with the first seed. The measure is co-smoothing, the error that of
    the paired differences over units (one-standard-error rule, Breiman et al. 1984): a larger model must foretell left
    out units clearly better to be taken.

    Parameters
    ----------
    fit : gives a model fitted on the training bins, from a candidate's label and configuration
    candidates : configurations by label
    data, counts : as for `nldisco_core.cosmoothing.co_smoothing`, with all splits
    seeds : those of the configuration that is chosen

    Raises
    ------
    ConfigError
        There are no validation bins to choose on.
    """
    if not (data.split == SPLITS.index("validation")).any():
        raise ConfigError("sizes are chosen on validation bins and there are none; set split.validation above 0")
    rows, by_unit = [], {}
    for label, config in candidates.items():
        model = fit(label, config.model_copy(update={"seeds": seeds[:1]}))
        found = co_smoothing(model, data, counts=counts, splits=("validation",))
        space = model.transform(data.part("validation")).main
        l0 = space.csc().nnz / space.n_rows
        rows.append((label, space.n_latents, l0, float(found.summary[found.measure].iloc[0])))
        by_unit[label] = _of_units(found)
    table = pd.DataFrame(rows, columns=["candidate", "n_latents", "l0", found.measure])
    best = table["candidate"][table[found.measure].idxmax()]
    behind = pd.DataFrame(by_unit[best].to_numpy()[:, None] - pd.DataFrame(by_unit), columns=list(by_unit))
    table["behind"] = behind.mean().to_numpy()
    table["behind_se"] = (behind.std() / np.sqrt(behind.notna().sum())).fillna(0).to_numpy()
    table = table.sort_values(["n_latents", "l0"], ignore_index=True)
    label = str(table["candidate"][(table["behind"] <= table["behind_se"]).idxmax()])
    table["chosen"] = table["candidate"] == label
    return Choice(
        label=label,
        config=candidates[label].model_copy(update={"seeds": seeds}),
        table=table,
        notes=_notes(table, measure=found.measure),
    )


def _of_units(found: CoSmoothing) -> pd.Series[float]:
    return found.units.set_index("unit")[found.measure]


def _notes(table: pd.DataFrame, *, measure: str) -> tuple[str, ...]:
    chosen = table[table["chosen"]].iloc[0]
    unit = "bits per spike" if measure == "co_smoothing_bits" else "R²"
    said = (
        f"{chosen['candidate']} was chosen of {len(table)} sizes: left-out units are foretold with "
        f"{chosen[measure]:.2f} {unit} on validation bins (best of all {table[measure].max():.2f})."
    )
    larger = table[table["n_latents"] > chosen["n_latents"]]
    if not len(larger):
        return (said, f"The largest size tried was needed: more than {chosen['n_latents']} latents may do better.")
    best = larger.loc[larger[measure].idxmax()]
    return (
        said,
        f"This recording is too small for {int(larger['n_latents'].min())} latents and more: the best of them "
        f"({best['candidate']}) gives {best[measure]:.2f} {unit}, no clear gain.",
    )
