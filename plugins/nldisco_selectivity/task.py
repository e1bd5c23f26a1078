"""What the selectivity mapper works on: activations, the bins of each split, and variables cut into conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nldisco_core.autocorrelation import detrended
from nldisco_core.binned import Binned, Covariate
from nldisco_core.columns import Columns, independent_stretches, lacking
from nldisco_core.comparison import MAX_CONDITIONS
from nldisco_core.confounds import Part
from nldisco_core.discoveries import choosing_rows
from nldisco_core.errors import DataError
from nldisco_core.latents import LatentSpace
from nldisco_core.tuning import Conditions, conditions, halves, one_per_channel
from nldisco_selectivity.config import SelectivityConfig
from nldisco_selectivity.derived import around_event, conjunction
from nldisco_selectivity.scores import Active

__all__ = ["Task", "Variable", "variables_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Variable:
    """A variable to map.

    Attributes
    ----------
    covariate, conditions : its values, and the conditions they are cut into
    derived : whether it is made of other variables, a conjunction or a window around an event
    """

    covariate: Covariate
    conditions: Conditions
    derived: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return self.covariate.name


@dataclass(frozen=True, kw_only=True, eq=False)
class Task(Columns):
    """What is the same for every variable.

    Attributes
    ----------
    first_half : by split the earlier half of its usable bins
    active : by split the active bins
    choosing : bins of the first split on which mappings are chosen for the test, None where all are tested
    segments, stretches : (n_bins,) contiguous stretches, and pieces of them of at most 10 s
    blocks : (n_bins,) block of the session in which conditions were drawn at random, None where that is not known
    latent, sign : of each column of one instance
    """

    config: SelectivityConfig
    data: Binned
    first_half: Mapping[str, NDArray[np.bool_]]
    active: Mapping[str, Active]
    choosing: Part | None
    segments: NDArray[np.int32]
    stretches: NDArray[np.int32]
    blocks: NDArray[np.int64] | None

    @classmethod
    def of(cls, space: LatentSpace, data: Binned, config: SelectivityConfig) -> Task:
        """Of the latents whose rows are the bins of the data; see `Selectivity.map` for errors."""
        columns = Columns.collected(space, data, config.splits)
        first, last = columns.rows[config.splits[0]], columns.rows[config.splits[-1]]
        choosing = choosing_rows(data, first, last)
        return cls(
            config=config,
            data=data,
            first_half={split: halves(mask, data)[0] for split, mask in columns.rows.items()},
            active={split: Active.of(columns.activations, mask) for split, mask in columns.rows.items()},
            choosing=None if choosing is None else Part.of(columns.activations, choosing),
            segments=data.segments,
            stretches=independent_stretches(data),
            blocks=None if config.blocks is None else _blocks(data, config.blocks),
            **vars(columns),
        )

    def part(self, split: str) -> Part:
        """Where columns are active on the bins of a split."""
        active = self.active[split]
        return Part(rows=self.rows[split], starts=active.starts, active_rows=active.rows)

    def by_instance(self, values: NDArray[Any]) -> NDArray[Any]:
        """(n_instances, n_columns, …) of values for all columns of all instances."""
        return values.reshape(self.n_instances, len(self.latent), *values.shape[1:])


def _blocks(data: Binned, name: str) -> NDArray[np.int64]:
    """(n_bins,) values of the variable that names the blocks of the session, -1 where it is not defined."""
    values = data.covariate(name).values[:, 0]
    return np.unique(np.nan_to_num(values, nan=-np.inf), return_inverse=True)[1].astype(np.int64)


def variables_of(task: Task) -> tuple[list[Variable], list[str]]:
    """The variables with their conditions, and why others cannot be mapped.

    Raises
    ------
    DataError
        An unknown variable or event.
    """
    config, data = task.config, task.data
    names = data.covariate_names if config.variables is None else config.variables
    for name in (*config.n_quantiles_of, *config.detrend, *(name for pair in config.conjunctions for name in pair)):
        data.covariate(name)  # an unknown name is an error
    own = [covariate for name in names for covariate in one_per_channel(_detrended(task, name))]
    windows = [around_event(data, event, *window) for event, window in config.windows.items()]
    found: list[Variable] = []
    notes = [f"{name}: less its slow drift through each session" for name in names if name in config.detrend]
    notes += lacking(data, names)
    for covariate in (*own, *windows):
        try:
            derived = covariate in windows
            found.append(Variable(covariate=covariate, conditions=_cut(task, covariate), derived=derived))
        except DataError as error:
            notes.append(f"{covariate.name} is left out: {error}")
    for names_of_pair in config.conjunctions:
        try:
            one, other = ((part, _cut(task, part)) for part in (_detrended(task, name) for name in names_of_pair))
            both = conjunction(one, other)
            found.append(Variable(covariate=both, conditions=_cut(task, both), derived=True))
        except DataError as error:
            notes.append(f"{' & '.join(names_of_pair)} is left out: {error}")
    return found, notes


def _detrended(task: Task, name: str) -> Covariate:
    """A variable of the data, less its drift where that is asked for."""
    covariate = task.data.covariate(name)
    return detrended(covariate, task.data) if name in task.config.detrend else covariate


def _cut(task: Task, covariate: Covariate) -> Conditions:
    """Conditions of a variable, cut on the first split."""
    config, rows = task.config, task.rows[task.config.splits[0]]
    chosen = conditions(
        covariate,
        n_quantiles=config.n_quantiles_of.get(covariate.name, config.n_quantiles),
        n_circular=config.n_circular,
        n_position=config.n_position,
        rows=rows,
    )
    n_bins = int((rows & (chosen.codes >= 0)).sum())
    if chosen.n_conditions > min(MAX_CONDITIONS, n_bins):
        raise DataError(
            f"{chosen.n_conditions} conditions in {n_bins} bins; at most {MAX_CONDITIONS} are mapped, and no more than "
            "there are bins. Group its values"
        )
    return chosen
