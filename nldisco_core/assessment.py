"""All that is measured of one fitted model: its evaluation, its latents, left-out units, and how seeds agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nldisco_core.ablation import latent_metrics
from nldisco_core.absorption import absorption
from nldisco_core.binned import SPLITS, Binned
from nldisco_core.comparison import every_variable
from nldisco_core.contributions import attributed_units, contributing_units, region_weights
from nldisco_core.cosmoothing import co_smoothing
from nldisco_core.dominance import most_attributed, single_unit_dominance
from nldisco_core.fidelity import fidelity
from nldisco_core.histograms import weight_histogram
from nldisco_core.interfaces import Attributes, Dictionary, LatentModel
from nldisco_core.latents import Latents
from nldisco_core.metrics import evaluate
from nldisco_core.neighbours import coactive_neighbours, dictionary_neighbours, families, family_counts
from nldisco_core.relations import (
    activation_match,
    activation_match_null,
    copy_or_composite,
    seed_match,
    seed_match_nulls,
    stability,
)
from nldisco_core.splits import spread_rows
from nldisco_core.unit_activity import co_activity

__all__ = ["Assessment", "assess"]

N_DRAWS = 100
FAMILY_DRAWS = 5
MAX_ROWS = 20_000
DRAWN_LATENTS = 12_800
"""Latents that are matched in all draws of a null together: large dictionaries need fewer draws for one median."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Assessment:
    """Figures of one model.

    Attributes
    ----------
    summary : that of `nldisco_core.metrics.evaluate`, and at the deepest level on the reported split ``example_r2``
        (median over bins), ``spectral_fidelity`` (median over units), ``dead_share_strict`` (share of latents that are
        not alive, see `nldisco_core.ablation.latent_metrics`) and, on validation and reported split,
        ``co_smoothing_bits`` or ``co_smoothing_r2``
    units : that of `evaluate`, with the scores of each unit as left out and its spectral fidelity
    tables : further tables by name: ``latent_metrics``, ``example_metrics``, ``spectra``, ``weight_histogram``,
        ``stability``, ``seed_match`` (one row); ``copies`` with what silencing a unit leaves (`copy_or_composite`,
        `single_unit_dominance`), ``contributions``, ``attribution``, ``region_weights``; ``neighbours``, ``families``,
        ``family_counts`` and ``absorption``; without those that do not apply
    """

    summary: pd.DataFrame
    units: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]


def assess(
    model: LatentModel | None,
    latents: Latents,
    data: Binned,
    *,
    counts: Binned | None,
    dictionary: Dictionary | None,
    leave_units_out: bool,
    seed: int,
) -> Assessment:
    """Measure a model on the data it was given.

    Parameters
    ----------
    model : None for activations whose model is not at hand
    counts : the bins before preprocessing where they are counts
    dictionary : that of the model, None where it has none
    leave_units_out : whether to score units that the encoder is not given
    """
    evaluation = evaluate(model, latents, data, counts=counts)
    summary, units = evaluation.summary, evaluation.units
    split = _reported(latents, data)
    scored = fidelity(model, latents, data, split=split)
    alive = latent_metrics(model, latents, data, split=split)
    tables = {
        "latent_metrics": alive,
        "example_metrics": scored.examples,
        "spectra": scored.spectra,
        **_relations(latents, data, dictionary, split, seed),
        **_behind(model, latents, data, dictionary, split),
        **_between(latents, data, dictionary, split, seed),
    }
    deepest = latents.main.n_levels - 1
    for frame in (_strict(alive), _typical(scored.examples, scored.units)):
        summary = _joined(summary, frame.assign(level=deepest))
    units = _joined(units, scored.units.assign(level=deepest))
    if leave_units_out and model is not None and _can_leave_out(data, split):
        left_out = co_smoothing(model, data, counts=counts, splits=("validation", split), seed=seed)
        summary, units = _joined(summary, left_out.summary), _joined(units, left_out.units)
    return Assessment(
        summary=summary, units=units, tables={name: table for name, table in tables.items() if len(table)}
    )


def _reported(latents: Latents, data: Binned) -> str:
    """The split that results are read on: test where the model speaks of a bin of it, else validation, else train."""
    split, defined = data.split, latents.main.defined
    spoken = split if defined is None else split[defined]
    return next(name for name in reversed(SPLITS) if (spoken == SPLITS.index(name)).any())


def _can_leave_out(data: Binned, split: str) -> bool:
    """Whether there are units to leave out, bins to fit a readout on and others to score it on."""
    return data.shares_units and data.n_units > 1 and (data.split == SPLITS.index("train")).any() and split != "train"


def _joined(table: pd.DataFrame, further: pd.DataFrame) -> pd.DataFrame:
    """A table with further columns for the same keys; keys that the further ones lack hold null."""
    if not len(further) or not len(table):
        return table
    keys = [name for name in ("instance", "level", "split", "unit") if name in further and name in table]
    further = further.astype({"level": "int32"})
    return table.merge(further, on=keys, how="left", validate="many_to_one")


def _strict(latents: pd.DataFrame) -> pd.DataFrame:
    """Share of latents that are not alive, where that is known."""
    known = latents[latents["alive"].notna()]
    share = 1 - known["alive"].astype("float64").groupby([known["instance"], known["split"]]).mean()
    return share.rename("dead_share_strict").reset_index()


def _typical(examples: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """Median R² of a bin and median spectral fidelity of a unit."""
    if not len(examples):
        return pd.DataFrame()
    keys = ["instance", "split"]
    r2 = examples[examples["score"] == "r2"].set_index(keys)["q50"].rename("example_r2")
    return pd.concat([r2, units.groupby(keys)["spectral_fidelity"].median()], axis=1).reset_index()


def _relations(
    latents: Latents, data: Binned, dictionary: Dictionary | None, split: str, seed: int
) -> dict[str, pd.DataFrame]:
    """How weights are distributed, how instances agree, and what copies a unit."""
    space = latents.main
    rows = data.split == SPLITS.index(split)
    tables = {} if dictionary is None else {"weight_histogram": weight_histogram(dictionary)}
    if space.n_instances < 2:
        return tables
    signed = space.code_kind == "signed"
    n_draws = max(min(N_DRAWS, DRAWN_LATENTS // space.n_latents), 5)
    active = activation_match(space, rows=rows, absolute=signed)
    shifted = activation_match_null(space, n_draws=n_draws, seed=seed, rows=rows, absolute=signed)
    decoder = None if dictionary is None else seed_match(dictionary.values, absolute=signed)
    tables["stability"] = stability(decoder, active)
    if decoder is None or dictionary is None:
        return tables
    nulls = seed_match_nulls(dictionary.values, n_draws=n_draws, seed=seed, absolute=signed)
    found = tables["stability"]
    tables["seed_match"] = pd.DataFrame(
        {
            "median": [decoder.median],
            "share_matched": decoder.share_matched,
            "lowest_pair": float(np.median(decoder.pairs, axis=1).min()),
            "highest_pair": float(np.median(decoder.pairs, axis=1).max()),
            "consensus_share": found["decoder_consensus"].astype("float64").mean(),
            "null_gaussian": float(np.median(nulls.gaussian)),
            "null_permuted": float(np.median(nulls.permuted)),
            "activation_median": active.median,
            "activation_share_matched": active.share_matched,
            "activation_consensus_share": found["activation_consensus"].astype("float64").mean(),
            "activation_null_shifted": float(np.median(shifted)),
        }
    )
    return tables


def _behind(
    model: LatentModel | None, latents: Latents, data: Binned, dictionary: Dictionary | None, split: str
) -> dict[str, pd.DataFrame]:
    """Which units stand behind each latent."""
    if not data.shares_units:
        return {}
    space, rows = latents.main, data.split == SPLITS.index(split)
    of_all_units = dictionary is not None and dictionary.unit_ids == (tuple(data.units["id"]),)
    copies = copy_or_composite(space, data, dictionary=dictionary if of_all_units else None, rows=rows)
    tables = {"contributions": contributing_units(co_activity(space, data, rows=rows), data.units)}
    if dictionary is not None:
        tables["region_weights"] = region_weights(dictionary, data.units)
    units = None
    if isinstance(model, Attributes):
        attribution = model.attribution(latents, data, rows=rows)
        tables["attribution"] = attributed_units(attribution)
        units = most_attributed(attribution, data.units)
    if model is not None:
        left = single_unit_dominance(model, latents, data, units=units, rows=rows)
        copies = copies.merge(left, on=["instance", "latent"], validate="one_to_one")
    return {**tables, "copies": copies}


def _between(
    latents: Latents, data: Binned, dictionary: Dictionary | None, split: str, seed: int
) -> dict[str, pd.DataFrame]:
    """How the latents of one instance relate to each other."""
    space, rows = latents.main, data.split == SPLITS.index(split)
    near = [coactive_neighbours(space, rows=rows)]
    if dictionary is not None:
        near.insert(0, dictionary_neighbours(dictionary, absolute=space.code_kind == "signed"))
    tables = {"neighbours": pd.concat(near, ignore_index=True)}
    if space.n_levels > 1:
        tables["families"] = families(space, rows=rows)
        tables["family_counts"] = family_counts(space, n_draws=FAMILY_DRAWS, seed=seed, rows=rows)
        train = data.split == SPLITS.index("train")
        fit = spread_rows(train, at_most=MAX_ROWS) if train.any() else rows
        variables = every_variable(data, fit).values()
        taken_over = [absorption(space, cut, rows=rows, chosen_on=fit) for cut in variables]
        tables["absorption"] = pd.concat(taken_over, ignore_index=True) if taken_over else pd.DataFrame()
    return tables
