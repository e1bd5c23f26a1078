"""The selectivity mapper: every latent against every condition of every variable, and one p per latent and variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import NO_TRIAL, Binned, Covariate
from nldisco_core.comparison import every_variable, with_comparison
from nldisco_core.discoveries import with_q
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult, mapping_table
from nldisco_core.relations import copy_or_composite
from nldisco_core.tuning import (
    Conditions,
    circular_conditions,
    condition_means,
    preferred_direction,
    resultant_length,
)
from nldisco_selectivity.chance import tested
from nldisco_selectivity.config import SelectivityConfig
from nldisco_selectivity.intervals import bootstrap_intervals
from nldisco_selectivity.scores import Scores, large_enough, score
from nldisco_selectivity.task import Task, Variable, variables_of

__all__ = ["Selectivity"]

MIN_ACTIVE, MIN_VISITS = 50, 10
N_DIRECTIONS = 60
STATISTIC = "max mcc"


class Selectivity:
    """Scores every latent of every instance against every condition of the variables.

    The table has a row per (instance, latent, sign, variable, condition, split) with the scores of
    `nldisco_selectivity.scores.score`; ``top`` marks the best latents of a condition. A row with condition null
    speaks of the whole variable:

    - ``preferred`` is the condition with the largest MCC on the first split; the scores are those of this condition
    - ``p`` is the chance of ``max_mcc``, the largest MCC of all conditions, on the last split, against `n_shifts`
      relabellings of the kind that suits the variable (``null``, ``effective_shifts``)
    - ``chosen`` marks what stands out on the first split, a second or more away from tested bins, where ``max_mcc`` is
      held against 99 relabellings
    - ``q`` is Benjamini-Hochberg per instance over the supported and chosen rows of all variables
    - ``score`` is what the best of a control's latents are compared by: ``max_mcc``, and ``mcc`` of a condition
    - ``supported``: at least 50 active bins and 10 visits; ``n_active`` and ``n_visits`` are of the whole variable
    - ``resultant_length`` and ``preferred_direction`` (in the variable's own unit) are of the curve over 60 directions;
      ``mutual_information`` (bits) and ``stability`` are of the conditions
    - ``alone`` and ``beyond`` (bits per active bin, ``beyond_se``) say what the variable tells of held-out bins by
      itself and beyond the other variables of the data, mapped or not, and ``better_explained_by`` names the one that
      leaves nothing for this variable to tell (`nldisco_core.comparison`; for supported latents unless p > .05): such a
      mapping is not reported as found (`nldisco_core.discoveries.found`)
    - ``unit`` is the recorded unit that the latent follows most (``unit_correlation``, ``copy``, ``n_effective_units``)

    Arrays, columns as in `nldisco_core.tuning.rectified`, instances first: ``<variable>/curve`` over all bins and
    ``curve_<split>`` (mean activation per condition), ``occupancy_s``, ``centres``, ``labels``; ``polar``,
    ``polar_occupancy_s`` and ``polar_centres`` of circular variables (60 directions over ``[-period/2, period/2)``);
    ``map`` and ``map_occupancy_s`` on the grid of positions in a plane.
    """

    def __init__(self, config: SelectivityConfig) -> None:
        self.config = config

    def map(self, latents: Latents, data: Binned, *, seed: int) -> MapperResult:
        """Scores of the space ``latents``.

        Raises
        ------
        DataError
            An unknown variable, or a split without bins.
        IncompatibleData
            Latents whose rows are not the bins of the data.
        """
        config = self.config
        task = Task.of(latents.main, data, config)
        notes = [] if config.n_shifts >= 19 else [f"n_shifts is {config.n_shifts}: no p can be .05 or less"]
        variables, left_out = variables_of(task)
        found = {variable.name: _map_variable(task, variable, seed) for variable in variables}
        notes += [*left_out, *(f"{name}: {note}" for name, of in found.items() for note in of.notes)]
        tables = [of.table for of in found.values()]
        table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["instance", "latent"])
        table = _with_units(table, latents.main, data)
        if config.confounds and tables:
            own = {variable.name: variable.conditions for variable in variables if not variable.derived}
            table, explained = with_comparison(
                table,
                task,
                data,
                variables=every_variable(data, task.rows[config.splits[0]], own),
                mapped=own,
                splits=config.splits,
            )
            notes += explained
        table = mapping_table(table.assign(label_use=latents.main.label_use).to_dict("series"))
        arrays = {f"{name}/{key}": values for name, of in found.items() for key, values in of.arrays.items()}
        table, called = with_q(table, split=config.splits[-1], n_shifts=config.n_shifts)
        return MapperResult(table=table, arrays=arrays, notes=(*notes, *called))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    table: pd.DataFrame
    arrays: dict[str, NDArray[Any]]
    notes: list[str]


def _map_variable(task: Task, variable: Variable, seed: int) -> _Found:
    config, covariate, chosen = task.config, variable.covariate, variable.conditions
    by_trial = covariate.source != "signal" and bool((task.data.trial != NO_TRIAL).any())
    scores = {
        split: score(
            task.active[split],
            chosen,
            rows,
            first_half=task.first_half[split],
            segments=task.segments,
            by_trial=by_trial,
        )
        for split, rows in task.rows.items()
    }
    test, notes = tested(task, covariate, chosen, scores, seed)
    for split, of_split in scores.items():
        if config.n_bootstrap:
            of_split.by_condition.update(
                bootstrap_intervals(
                    task.active[split],
                    chosen,
                    task.rows[split],
                    blocks=task.stretches,
                    n_bootstrap=config.n_bootstrap,
                    seed=seed,
                )
            )
    whole = [_whole_rows(task, covariate, chosen, scores, split, test) for split in config.splits]
    table = pd.concat([_condition_rows(task, chosen, scores), *whole], ignore_index=True)
    table["variable"] = pd.array([covariate.name], dtype="string").repeat(len(table))
    table["kind"] = pd.array([covariate.kind], dtype="string").repeat(len(table))
    return _Found(table=table, arrays=_arrays(task, covariate, chosen), notes=notes)


def _condition_rows(task: Task, chosen: Conditions, scores: Mapping[str, Scores]) -> pd.DataFrame:
    """One row per (instance, column, condition, split), conditions that no split ever visits left out."""
    visited = np.flatnonzero(sum(found.n_on for found in scores.values()))
    shape = (task.n_instances, len(task.latent), len(visited))
    instance, column, condition = (axis.ravel() for axis in np.indices(shape))
    labels = pd.array(chosen.labels, dtype="string")
    top = _top(task, scores[task.config.splits[0]])[..., visited].ravel()
    parts = []
    for split, found in scores.items():
        values = {name: part[:, visited].ravel() for name, part in found.by_condition.items()}
        support = (values["n_active"] >= MIN_ACTIVE) & (values["n_visits"] >= MIN_VISITS)
        parts.append(
            pd.DataFrame(
                {
                    "instance": instance,
                    "latent": task.latent[column],
                    "sign": task.sign[column],
                    "condition": labels.take(visited[condition]),
                    "split": pd.array([split], dtype="string").repeat(len(instance)),
                    "n_on": found.n_on[visited[condition]],
                    "n_off": found.n_off[visited[condition]],
                    **values,
                    "score": values["mcc"],
                    "supported": support,
                    "top": top,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _top(task: Task, scores: Scores) -> NDArray[np.bool_]:
    """(n_instances, n_columns, n_conditions) the best latents of each condition and instance by Youden's J."""
    coverage, youden = scores.by_condition["coverage"], scores.by_condition["youden"]
    worth = task.by_instance(np.where(coverage >= task.config.min_activation_frac, youden, np.nan))
    rank = np.argsort(np.argsort(-np.nan_to_num(worth, nan=-np.inf), axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray((rank < task.config.top_n) & ~np.isnan(worth))


def _whole_rows(
    task: Task,
    covariate: Covariate,
    chosen: Conditions,
    scores: Mapping[str, Scores],
    split: str,
    test: Mapping[str, Any],
) -> pd.DataFrame:
    found = scores[split]
    instance, column = (axis.ravel() for axis in np.indices((task.n_instances, len(task.latent))))
    preferred = _preferred(scores[task.config.splits[0]])
    known = preferred >= 0
    at_preferred = {
        name: np.where(known, values[np.arange(len(preferred)), preferred], np.nan)
        for name, values in found.by_condition.items()
        if name not in ("n_active", "n_visits")
    }
    table = pd.DataFrame(
        {
            **at_preferred,
            "n_on": pd.array(found.n_on[preferred], dtype="Int64"),
            "n_off": pd.array(found.n_off[preferred], dtype="Int64"),
            "instance": instance,
            "latent": task.latent[column],
            "sign": task.sign[column],
            "split": pd.array([split], dtype="string").repeat(len(instance)),
            "statistic": pd.array([STATISTIC], dtype="string").repeat(len(instance)),
            "max_mcc": found.max_mcc,
            "score": found.max_mcc,
            "n_active": found.n_active,
            "n_visits": found.n_visits,
            "supported": (found.n_active >= MIN_ACTIVE) & (found.n_visits >= MIN_VISITS),
            "top": False,
            "preferred": pd.array(chosen.labels, dtype="string").take(preferred, allow_fill=True),
            "mutual_information": found.mutual_information,
            "stability": found.stability,
        }
    )
    table.loc[~known, ["n_on", "n_off"]] = pd.NA
    if split == task.config.splits[-1]:
        table = table.assign(**test)
    if covariate.kind == "circular":
        directions = _directions(covariate)
        period = covariate.period or 1.0
        curves = condition_means(task.activations, directions, task.rows[split]).mean
        angles = directions.centres * 2 * np.pi / period
        table["resultant_length"] = resultant_length(curves, angles)
        table["preferred_direction"] = preferred_direction(curves, angles) * period / (2 * np.pi)
    return table


def _preferred(scores: Scores) -> NDArray[np.int64]:
    """(n_columns,) condition with the largest MCC among those large enough, -1 where there is none."""
    mcc = np.where(large_enough(scores.n_on), scores.by_condition["mcc"], np.nan)
    known = ~np.isnan(mcc).all(axis=1)
    return np.where(known, np.argmax(np.nan_to_num(mcc, nan=-np.inf), axis=1), -1)


def _directions(covariate: Covariate) -> Conditions:
    return circular_conditions(covariate, N_DIRECTIONS, start=-(covariate.period or 1.0) / 2)


def _arrays(task: Task, covariate: Covariate, chosen: Conditions) -> dict[str, NDArray[Any]]:
    everything = condition_means(task.activations, chosen, task.usable)
    curve, occupancy_s = task.by_instance(everything.mean), everything.occupancy_s(task.data.bin_s)
    arrays = {
        "curve": curve,
        "occupancy_s": occupancy_s,
        "centres": chosen.centres,
        "labels": np.array(chosen.labels),
    }
    for split, rows in task.rows.items():
        arrays[f"curve_{split}"] = task.by_instance(condition_means(task.activations, chosen, rows).mean)
    if covariate.kind == "circular":
        directions = _directions(covariate)
        polar = condition_means(task.activations, directions, task.usable)
        arrays["polar"] = task.by_instance(polar.mean)
        arrays["polar_occupancy_s"] = polar.occupancy_s(task.data.bin_s)
        arrays["polar_centres"] = directions.centres
    if covariate.kind == "position" and len(chosen.grid) == 2:
        arrays["map"] = curve.reshape(*curve.shape[:2], *chosen.grid)
        arrays["map_occupancy_s"] = occupancy_s.reshape(chosen.grid)
    return arrays


def _with_units(table: pd.DataFrame, space: LatentSpace, data: Binned) -> pd.DataFrame:
    """The whole-variable rows with the recorded unit each latent follows most; halves of a latent share it."""
    if not data.shares_units or table.empty:
        return table
    copies = copy_or_composite(space, data).rename(columns={"correlation": "unit_correlation"})
    whole = table["condition"].isna()
    merged = table.loc[whole, ["instance", "latent"]].merge(copies, on=["instance", "latent"], how="left")
    merged.index = table.index[whole]
    return table.join(merged[["unit", "unit_correlation", "copy", "n_effective_units"]])
