"""Activity as a tensor of examples, checked against the units a model was fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nldisco_core.binned import Binned
from nldisco_core.errors import IncompatibleData

__all__ = ["Examples", "require_units", "unit_ids"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Training data on one device.

    Attributes
    ----------
    values : (n_rows, n_units) float32; entries that were not observed hold the unit's mean
    observed : (n_rows, n_units) float32, 1 where observed and 0 where not; None where all are
    mean : (n_units,) float32 mean of the observed entries of each unit, 0 for a unit never observed
    """

    values: Tensor
    observed: Tensor | None
    mean: Tensor

    @classmethod
    def of(cls, data: Binned, device: torch.device, *, mean: Tensor | None = None) -> Examples:
        """All bins of `data`.

        Parameters
        ----------
        mean : (n_units,) that of the training data; None where these are the training data

        Raises
        ------
        IncompatibleData
            Sessions with different units, or activity that is not finite.
        """
        activity = np.array(data.activity, dtype=np.float32)
        require_finite(activity)
        observed = data.observed
        counted = np.ones(activity.shape, dtype=bool) if observed is None else observed
        if mean is None:
            total = np.where(counted, activity, 0).sum(axis=0, dtype=np.float64)
            mean = torch.from_numpy((total / np.maximum(counted.sum(axis=0), 1)).astype(np.float32))
        if observed is not None:
            np.copyto(activity, mean.numpy(), where=~observed)
        return cls(
            values=torch.from_numpy(activity).to(device),
            observed=None if observed is None else torch.from_numpy(observed.astype(np.float32)).to(device),
            mean=mean,
        )

    @property
    def n_rows(self) -> int:
        """Training bins."""
        return int(self.values.shape[0])

    @property
    def n_units(self) -> int:
        """Units of the training data."""
        return int(self.values.shape[1])

    def spread(self) -> float:
        """Standard deviation of a unit, root-mean-square over units; 1 for data that do not vary."""
        return float(torch.square(self.values - self.mean.to(self.values.device)).mean()) ** 0.5 or 1.0

    def norm(self) -> float:
        """Root-mean-square norm of a centred bin over all units."""
        return self.spread() * float(self.n_units**0.5)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values and mask of rows (n_instances, n_rows), each (n_instances, n_rows, n_units)."""
        return _taken(self.values, rows), None if self.observed is None else _taken(self.observed, rows)


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
