"""Which bins and units make an example: windows that end at a bin, and the targets they are to predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import Binned
from nldisco_core.errors import IncompatibleData, unknown_name

if TYPE_CHECKING:
    from nldisco_sae.config import SparseCodeConfig

__all__ = ["ExampleShape", "Units"]

Units = Mapping[str, tuple[str, ...]]
"""Columns of the unit table and the values that are wanted of them."""


@dataclass(frozen=True, kw_only=True)
class ExampleShape:
    """The bins and units of an example.

    An example belongs to the last bin of its window, its anchor: nothing later is put in.

    Attributes
    ----------
    window : consecutive bins put in
    target : ``window`` predicts as many bins, ``last`` the anchor alone
    target_lag : bins by which the targets are later
    input_units, target_units : which units are put in and predicted; None means all
    """

    window: int = 1
    target: Literal["window", "last"] = "window"
    target_lag: int = 0
    input_units: Units | None = None
    target_units: Units | None = None

    @classmethod
    def of(cls, config: SparseCodeConfig) -> Self:
        """The examples that a configuration asks for."""
        return cls(
            window=config.window,
            target=config.target,
            target_lag=config.target_lag,
            input_units=config.input_units,
            target_units=config.target_units,
        )

    @property
    def reach(self) -> int:
        """Consecutive bins that an example touches."""
        return self.window + self.target_lag

    @property
    def n_target_bins(self) -> int:
        """Bins that are predicted."""
        return self.window if self.target == "window" else 1

    @property
    def first_target(self) -> int:
        """Bins from the window's first to the first that is predicted."""
        return self.target_lag + self.window - self.n_target_bins

    @property
    def reconstructs(self) -> bool:
        """Whether the bins predicted are the bins put in."""
        return self.target_lag == 0 and self.n_target_bins == self.window

    def lags(self) -> tuple[int, ...]:
        """Bins from the anchor to each predicted bin."""
        first = self.first_target - (self.window - 1)
        return tuple(range(first, first + self.n_target_bins))

    def starts(self, data: Binned) -> NDArray[np.int64] | None:
        """(n_rows,) first stacked bin of each example; None where each bin is one.

        Raises
        ------
        IncompatibleData
            No stretch of the data is long enough.
        """
        if self.reach == 1:
            return None
        starts = data.window_starts(self.reach)
        if not len(starts):
            raise IncompatibleData(
                f"no {self.reach} consecutive bins of {data.bin_s:g} s lie in one trial, session and split; "
                "choose a smaller window, or bin with a smaller bin_s"
            )
        return starts

    def columns(self, units: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Columns of the units put in and of those predicted.

        Raises
        ------
        IncompatibleData
            The unit table lacks a column, or no unit has the values asked for.
        """
        return _chosen(units, self.input_units), _chosen(units, self.target_units)

    def anchored(self, data: Binned) -> NDArray[np.bool_] | None:
        """(n_bins,) bins at which a whole window ends; None where each is one."""
        if self.window == 1:
            return None
        anchored = np.zeros(data.n_bins, dtype=bool)
        anchored[data.window_starts(self.window) + self.window - 1] = True
        return anchored


def _chosen(units: pd.DataFrame, wanted: Units | None) -> NDArray[np.int64]:
    chosen = np.ones(len(units), dtype=bool)
    for column, values in (wanted or {}).items():
        if column not in units:
            raise IncompatibleData(unknown_name("column of the unit table", column, units.columns))
        found = units[column].astype(str)
        missing = sorted(set(values) - set(found))
        if missing:
            raise IncompatibleData(unknown_name(f"{column} of a unit", missing[0], sorted(set(found))))
        chosen &= found.isin(values).to_numpy()
    if not chosen.any():
        raise IncompatibleData(f"no unit has {dict(wanted or {})}; choose other input_units or target_units")
    return np.flatnonzero(chosen)
