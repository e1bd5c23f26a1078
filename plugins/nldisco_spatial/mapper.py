"""The spatial mapper: maps of every latent over position and direction, their scores, and what they are by chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import Binned, Covariate
from nldisco_core.columns import Columns, lacking
from nldisco_core.comparison import every_variable, with_comparison
from nldisco_core.discoveries import N_CHOOSING, choosing_rows, stands_out, with_q
from nldisco_core.errors import DataError
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult, mapping_table
from nldisco_core.nulls import Null, choose_null, p_values
from nldisco_core.tuning import one_per_channel
from nldisco_spatial.config import SpatialConfig
from nldisco_spatial.measures import Direction, Measure, Position, Speed

__all__ = ["Spatial"]

MIN_ACTIVE, MIN_VISITS = 50, 10


class Spatial:
    """Scores every latent of every instance on every position, direction and speed.

    The table has a row per (instance, latent, sign, variable, split, statistic), condition null:

    - positions (statistics ``spatial information`` and ``grid score``): ``spatial_information`` (bits per event),
      ``sparsity``, ``kl_from_uniform`` (bits), ``stability`` (Pearson r of the maps of odd and even blocks),
      ``grid_score``, ``border_score``, ``peak`` and where it lies (``preferred_x``, ``preferred_y``)
    - directions (``resultant length``): ``resultant_length``, ``preferred_direction`` (in the variable's own unit), and
      of the polar map what is listed for positions
    - speeds (``absolute speed score``): ``speed_score``
    - ``p`` is of the statistic on the last split, against `n_shifts` relabellings of the kind that suits the variable
      (``null``, ``effective_shifts``); the grid score is tested where it is positive on the first split
    - ``chosen`` marks what stands out on the first split, a second or more away from tested bins, where the statistic
      is held against 99 relabellings
    - ``q`` is Benjamini-Hochberg per instance over all tested rows of supported latents that were chosen
    - ``score`` is the statistic: what the best of a control's latents are compared by
    - ``alone``, ``beyond``, ``beyond_se`` and ``better_explained_by`` hold each mapping against the other variables of
      the data (`nldisco_core.comparison`, conditions as they are by default); what another one explains better is not
      reported as found
    - ``supported``: at least 50 active bins and 10 visits (runs of active bins) where the variable is defined

    Arrays, columns as in `nldisco_core.tuning.rectified`, instances first, over all bins and once more as
    ``…_<split>``: ``<variable>/map`` (n_instances, n_columns, ny, nx) and ``occupancy_s``, ``x_edges``, ``y_edges``;
    ``polar`` (n_instances, n_columns, n_directions) and ``polar_occupancy_s``, ``polar_centres``.
    """

    def __init__(self, config: SpatialConfig) -> None:
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
        task = _Task.of(latents.main, data, self.config)
        tables: list[pd.DataFrame] = []
        arrays: dict[str, NDArray[Any]] = {}
        notes = [] if self.config.n_shifts >= 19 else [f"n_shifts is {self.config.n_shifts}: no p can be .05 or less"]
        variables = list(_variables(data, self.config))
        notes += lacking(data, [variable.name for variable in variables if variable.name in data.covariate_names])
        for covariate in variables:
            try:
                measure = _measure(task, covariate)
            except DataError as error:
                notes.append(f"{covariate.name} is left out: {error}")
                continue
            table, said = _table(task, covariate, measure, seed)
            tables.append(table)
            notes.append(f"{covariate.name}: {said}")
            arrays |= _arrays(task, covariate, measure)
        table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["instance", "latent"])
        table = mapping_table(table.assign(label_use=latents.main.label_use).to_dict("series"))
        if self.config.confounds and tables:
            splits = self.config.splits
            others = every_variable(data, task.rows[splits[0]])
            mapped = table["variable"].unique()
            table, explained = with_comparison(table, task, data, variables=others, mapped=mapped, splits=splits)
            notes += explained
        table, tested = with_q(table, split=self.config.splits[-1], n_shifts=self.config.n_shifts)
        return MapperResult(table=table, arrays=arrays, notes=(*notes, *tested))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task(Columns):
    """What is the same for every variable; `by_row` holds the activations by bin."""

    config: SpatialConfig
    data: Binned
    by_row: sparse.csr_array

    @classmethod
    def of(cls, space: LatentSpace, data: Binned, config: SpatialConfig) -> _Task:
        columns = Columns.collected(space, data, config.splits)
        return cls(config=config, data=data, by_row=columns.activations.tocsr(), **vars(columns))


def _variables(data: Binned, config: SpatialConfig) -> Iterator[Covariate]:
    """The named variables, or all positions, directions and speeds."""
    chosen = data.covariate_names if config.variables is None else config.variables
    for name in chosen:
        for covariate in one_per_channel(data.covariate(name)):
            drawn = covariate.kind in ("position", "circular") or _is_speed(covariate, config)
            if drawn or config.variables is not None:
                yield covariate


def _is_speed(covariate: Covariate, config: SpatialConfig) -> bool:
    named = "speed" in covariate.name.lower() if config.speeds is None else covariate.name in config.speeds
    return named and covariate.kind == "linear"


def _measure(task: _Task, covariate: Covariate) -> Measure:
    """How a variable is scored; `DataError` says why it cannot be."""
    config, by_row = task.config, task.by_row
    for split, rows in task.rows.items():
        if not (rows & covariate.defined).any():
            raise DataError(f"it is not defined on any {split} bin that the latents speak of")
    if covariate.kind == "position":
        return Position.of(covariate, by_row, task.data, task.rows[config.splits[0]], config)
    if covariate.kind == "circular":
        return Direction.of(covariate, by_row, task.data, config)
    if _is_speed(covariate, config):
        return Speed(activations=by_row, values=covariate.values[:, 0])
    raise DataError(f"a {covariate.kind} variable has no map; name a position, a direction, or in `speeds` a speed")


def _table(task: _Task, covariate: Covariate, measure: Measure, seed: int) -> tuple[pd.DataFrame, str]:
    """One row per instance, column, split and statistic, and what there is to say of the test."""
    first, last = task.config.splits[0], task.config.splits[-1]
    scores = {split: measure.scores(rows) for split, rows in task.rows.items()}
    statistics = {split: measure.statistics(of_split, scores[first]) for split, of_split in scores.items()}
    observed = statistics[last]
    null = _null(task, covariate, task.rows[last], seed)
    draws = 0 if null.refusal else task.config.n_shifts
    chance = _by_chance(null, measure, task.rows[last], observed, draws)
    chosen = _chosen(task, covariate, measure, observed, seed) if draws else {}
    parts = []
    for split, values in scores.items():
        shared = {**_columns(task), **values, **_support(task, task.rows[split] & covariate.defined)}
        for statistic, value in statistics[split].items():
            row = pd.DataFrame(shared).assign(
                split=split, statistic=statistic, variable=covariate.name, score=value, chosen=False
            )
            if split == last:
                row = row.assign(null=null.name, effective_shifts=null.effective_shifts)
                row = row.assign(chosen=chosen.get(statistic, True))
                row = row.assign(**_p(value, chance[statistic])) if draws else row
            parts.append(row)
    said = f"p against {draws} {null.name}s; the recording offers {null.offered} independent ones"
    return pd.concat(parts, ignore_index=True), said if draws else f"no p values: {null.refusal or 'n_shifts is 0'}"


def _null(task: _Task, covariate: Covariate, rows: NDArray[np.bool_], seed: int) -> Null:
    """The null that suits the variable, for these bins."""
    return choose_null(covariate, task.data, usable=task.usable, tested=rows & covariate.defined, seed=seed)


def _chosen(
    task: _Task, covariate: Covariate, measure: Measure, tested: Mapping[str, NDArray[np.float64]], seed: int
) -> dict[str, NDArray[np.bool_]]:
    """(n_columns,) what of the tested stands out on the first split, by statistic; nothing where none can be chosen."""
    rows = choosing_rows(task.data, task.rows[task.config.splits[0]], task.rows[task.config.splits[-1]])
    null = None if rows is None else _null(task, covariate, rows, seed)
    if rows is None or null is None or null.refusal is not None:
        return {}
    n_draws = min(N_CHOOSING, task.config.n_shifts)
    observed = measure.by_chance(rows, tested)(np.arange(task.data.n_bins))
    chance = _by_chance(null, measure, rows, tested, n_draws)
    return {name: stands_out(p_values(values, chance[name]), n_draws=n_draws) for name, values in observed.items()}


def _columns(task: _Task) -> dict[str, NDArray[Any]]:
    instance, column = (axis.ravel() for axis in np.indices((task.n_instances, len(task.latent))))
    return {"instance": instance, "latent": task.latent[column], "sign": task.sign[column]}


def _support(task: _Task, rows: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """Active bins of each column on these rows, and the runs of consecutive ones within a stretch."""
    code = task.activations
    column = np.repeat(np.arange(code.shape[1]), np.diff(code.indptr))
    kept = rows[code.indices]
    row, column = code.indices[kept], column[kept]
    stretch = task.data.segments[row]
    follows = (np.diff(row) == 1) & (np.diff(column) == 0) & (np.diff(stretch) == 0)
    starts = np.concatenate([[True], ~follows])[: len(row)]
    n_active = np.bincount(column, minlength=code.shape[1])
    n_visits = np.bincount(column[starts], minlength=code.shape[1])
    return {
        "n_active": n_active,
        "n_visits": n_visits,
        "supported": (n_active >= MIN_ACTIVE) & (n_visits >= MIN_VISITS),
    }


def _by_chance(
    null: Null, measure: Measure, rows: NDArray[np.bool_], observed: Mapping[str, NDArray[np.float64]], n_draws: int
) -> dict[str, NDArray[np.float64]]:
    """(n_draws, n_columns) of each statistic."""
    chance = {name: np.empty((n_draws, len(values))) for name, values in observed.items()}
    under = measure.by_chance(rows, observed)
    for draw, source in enumerate(null.sources(n_draws)):
        for name, values in under(source).items():
            chance[name][draw] = values
    return chance


def _p(observed: NDArray[np.float64], chance: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    known = np.isfinite(chance)
    n_known = known.sum(axis=0)
    mean = np.where(known, chance, 0).sum(axis=0) / np.maximum(n_known, 1)
    return {
        "p": p_values(observed, chance),
        "null_mean": np.where(np.isnan(observed) | (n_known == 0), np.nan, mean),
    }


def _arrays(task: _Task, covariate: Covariate, measure: Measure) -> dict[str, NDArray[Any]]:
    """Maps of all bins and of each split, instances first."""
    shape = (task.n_instances, len(task.latent))
    named: dict[str, NDArray[Any]] = {}
    for name, rows in {"": task.usable, **{f"_{split}": rows for split, rows in task.rows.items()}}.items():
        drawn = measure.drawn(rows)
        by_instance = {array: values.reshape(*shape, *values.shape[1:]) for array, values in drawn.by_column.items()}
        named |= {
            f"{covariate.name}/{array}{name}": values for array, values in {**by_instance, **drawn.shared}.items()
        }
        named |= {f"{covariate.name}/{array}": values for array, values in drawn.axes.items()}
    return named
