"""Activity as examples: single bins or windows, what is put in and what is to come out, as views of the bins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nldisco_core.binned import Binned
from nldisco_core.errors import IncompatibleData
from nldisco_sae.windows import ExampleShape

__all__ = ["Examples", "require_finite", "require_units", "unit_ids"]

SINGLE_BINS = ExampleShape()


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Training data on one device; no window is ever copied but into a batch.

    Attributes
    ----------
    values : (n_bins, n_inputs a bin) float32; entries that were not observed hold the unit's mean
    mean : (n_inputs a bin,) float32 mean of the observed entries of each unit, 0 for a unit never observed
    observed : (n_bins, n_targets a bin) float32, 1 where the target was observed and 0 where not; None where all were
    target_values, target_mean : the same of what is to be predicted; None where that is `values`
    shape : which bins make an example
    starts : (n_rows,) int64 first bin of each example; None where each bin is one
    """

    values: Tensor
    mean: Tensor
    observed: Tensor | None = None
    target_values: Tensor | None = None
    target_mean: Tensor | None = None
    shape: ExampleShape = SINGLE_BINS
    starts: Tensor | None = None

    @classmethod
    def of(
        cls,
        data: Binned,
        device: torch.device,
        *,
        shape: ExampleShape | None = None,
        like: Examples | None = None,
    ) -> Examples:
        """All examples of `data`.

        Parameters
        ----------
        shape : single bins of all units where there is none
        like : the training examples, whose means these take; None where these are the training examples

        Raises
        ------
        IncompatibleData
            Sessions with different units, no unit or window as `shape` asks for, or activity that is not finite.
        """
        shape = shape or SINGLE_BINS
        inputs, targets = shape.columns(data.units)
        values, mean, seen = _filled(data, inputs, None if like is None else like.mean)
        same = np.array_equal(inputs, targets)
        expected, expected_mean = values, mean
        if not same:
            known = None if like is None else like.target_mean
            expected, expected_mean, seen = _filled(data, targets, known)
        starts = shape.starts(data)
        return cls(
            values=torch.from_numpy(values).to(device),
            mean=mean,
            observed=None if seen is None else torch.from_numpy(seen.astype(np.float32)).to(device),
            target_values=None if same else torch.from_numpy(expected).to(device),
            target_mean=None if same else expected_mean,
            shape=shape,
            starts=None if starts is None else torch.from_numpy(starts).to(device),
        )

    @cached_property
    def inputs(self) -> Tensor:
        """(n_places, n_inputs) strided view: row p holds bins p to p + window, oldest first."""
        return _windows(self.values, n_bins=self.shape.window, first=0, n_rows=self._n_places)

    @cached_property
    def targets(self) -> Tensor:
        """(n_places, n_targets) strided view of what row p of `inputs` is to predict."""
        return self._targets_of(self.target_bins)

    @cached_property
    def seen(self) -> Tensor | None:
        """(n_places, n_targets) strided view of `observed`, None where all targets were."""
        return None if self.observed is None else self._targets_of(self.observed)

    @property
    def target_bins(self) -> Tensor:
        """(n_bins, n_targets a bin) the bins that targets are views of."""
        return self.values if self.target_values is None else self.target_values

    @property
    def target_bin_mean(self) -> Tensor:
        """(n_targets a bin,) mean of each of them."""
        return self.mean if self.target_mean is None else self.target_mean

    @property
    def reconstructs(self) -> bool:
        """Whether the targets are the inputs."""
        return self.target_values is None and self.shape.reconstructs

    @property
    def n_rows(self) -> int:
        """Examples."""
        return self._n_places if self.starts is None else len(self.starts)

    @property
    def n_inputs(self) -> int:
        """Values put in for an example."""
        return int(self.values.shape[1]) * self.shape.window

    @property
    def n_targets(self) -> int:
        """Values to be predicted for an example."""
        return int(self.targets.shape[1])

    @property
    def input_mean(self) -> Tensor:
        """(n_inputs,) mean of each input."""
        return self.mean.repeat(self.shape.window)

    @property
    def output_mean(self) -> Tensor:
        """(n_targets,) mean of each target."""
        return self.target_bin_mean.repeat(self.shape.n_target_bins)

    def spread(self) -> float:
        """Standard deviation of a unit that is put in, root-mean-square over units; 1 for data that do not vary."""
        return float(torch.square(self.values - self.mean.to(self.values.device)).mean()) ** 0.5 or 1.0

    def norm(self) -> float:
        """Root-mean-square norm of a centred example."""
        return self.spread() * float(self.n_inputs**0.5)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Inputs, targets and mask of examples (n_instances, n_rows), each with a last axis of inputs or targets.

        The targets are the inputs, not a copy, where the model reconstructs.
        """
        places = rows if self.starts is None else self.starts[rows]
        x = _taken(self.inputs, places)
        y = x if self.reconstructs else _taken(self.targets, places)
        return x, y, None if self.seen is None else _taken(self.seen, places)

    @property
    def _n_places(self) -> int:
        return int(self.values.shape[0]) - self.shape.reach + 1

    def _targets_of(self, values: Tensor) -> Tensor:
        return _windows(values, n_bins=self.shape.n_target_bins, first=self.shape.first_target, n_rows=self._n_places)


def _windows(values: Tensor, *, n_bins: int, first: int, n_rows: int) -> Tensor:
    """(n_rows, n_bins·n_units) view whose row p is bins p + first to p + first + n_bins."""
    n_units = values.shape[1]
    return values.as_strided((n_rows, n_bins * n_units), (n_units, 1), first * n_units)


def _filled(
    data: Binned, columns: NDArray[np.int64], mean: Tensor | None
) -> tuple[NDArray[np.float32], Tensor, NDArray[np.bool_] | None]:
    """Activity of some units, float32, with the mean where it was not observed; the mean; and what was observed."""
    every = len(columns) == data.n_units
    activity = np.array(data.activity if every else data.activity[:, columns], dtype=np.float32, order="C")
    require_finite(activity)
    observed = data.observed if data.observed is None or every else data.observed[:, columns]
    if mean is None:
        counted = np.True_ if observed is None else observed
        total = np.sum(activity, axis=0, dtype=np.float64, where=counted)
        n_seen = len(activity) if observed is None else observed.sum(axis=0)
        mean = torch.from_numpy((total / np.maximum(n_seen, 1)).astype(np.float32))
    if observed is not None:
        np.copyto(activity, mean.numpy(), where=~observed)
    return activity, mean, observed


def _taken(table: Tensor, rows: Tensor) -> Tensor:
    return table.index_select(0, rows.reshape(-1)).view(*rows.shape, table.shape[1])


def require_finite(activity: NDArray[np.float32]) -> None:
    """Refuse activity with NaN or infinity: `IncompatibleData`."""
    if not np.isfinite(activity).all():
        row, unit = np.argwhere(~np.isfinite(activity))[0]
        raise IncompatibleData(
            f"activity of unit {unit} in bin {row} is {activity[row, unit]}; expected finite values: "
            "mark what was not recorded in `observed`"
        )


def unit_ids(data: Binned) -> tuple[str, ...]:
    """Ids of the units that all sessions share; `IncompatibleData` where they do not."""
    return tuple(str(unit) for unit in data.units["id"])


def require_units(data: Binned, fitted: tuple[str, ...]) -> None:
    """Refuse data of other units than a model was fitted on.

    Raises
    ------
    IncompatibleData
        Another number of units, other ids or another order.
    """
    found = unit_ids(data)
    if len(found) != len(fitted):
        raise IncompatibleData(f"fitted on {len(fitted)} units; this data has {len(found)}")
    different = [(a, b) for a, b in zip(fitted, found, strict=True) if a != b]
    if different:
        known, other = different[0]
        raise IncompatibleData(
            f"fitted on {len(fitted)} units, {len(different)} of which are others here: unit {other!r} stands where "
            f"{known!r} was; give the same units in the same order"
        )
