"""Latents as a mapper takes them: rectified columns of all instances side by side, and the bins of each split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import SPLITS, Binned
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.latents import LatentSpace
from nldisco_core.tuning import rectified, rectified_columns

__all__ = ["Columns", "independent_stretches", "lacking"]

STRETCH_S = 10.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """What is the same for every variable that latents are mapped to.

    Attributes
    ----------
    usable : (n_bins,) bins the latents speak of
    rows : by split its usable bins
    activations : (n_bins, n_columns) rectified activations, the columns of one instance after those of another
    n_instances : number of instances
    latent, sign : of each column of one instance
    """

    usable: NDArray[np.bool_]
    rows: Mapping[str, NDArray[np.bool_]]
    activations: sparse.csc_array
    n_instances: int
    latent: NDArray[np.int32]
    sign: NDArray[np.int8]

    @staticmethod
    def collected(space: LatentSpace, data: Binned, splits: Iterable[str]) -> Columns:
        """Of latents whose rows are the bins of the data.

        Parameters
        ----------
        splits : names of splits; ``all`` stands for every bin

        Raises
        ------
        IncompatibleData
            The rows of the latents are not the bins of the data.
        DataError
            A split without bins.
        """
        if space.row_kind != "bin" or space.n_rows != data.n_bins:
            raise IncompatibleData(
                f"latents of {space.n_rows} {space.row_kind}s for {data.n_bins} bins; map the bins they were made of"
            )
        usable = np.ones(data.n_bins, dtype=bool) if space.defined is None else np.asarray(space.defined)
        latent, sign = rectified_columns(space)
        return Columns(
            usable=usable,
            rows={split: usable & _rows_of_split(data, split) for split in splits},
            activations=sparse.csc_array(
                sparse.hstack([rectified(space, instance) for instance in range(space.n_instances)], format="csc")
            ),
            n_instances=space.n_instances,
            latent=latent,
            sign=sign,
        )

    def of_rows(self, table: pd.DataFrame) -> NDArray[np.int64]:
        """(n_rows,) column of `activations` that each row of a mapping table speaks of."""
        instance, column = (axis.ravel() for axis in np.indices((self.n_instances, len(self.latent))))
        keys = pd.MultiIndex.from_arrays([instance, self.latent[column], self.sign[column]])
        rows = pd.MultiIndex.from_arrays([table[name].astype("int64") for name in ("instance", "latent", "sign")])
        return np.asarray(keys.get_indexer(rows), dtype=np.int64)


def lacking(data: Binned, names: Iterable[str]) -> list[str]:
    """Notes on variables that some sessions do not have."""
    without = {
        name: [session.session_id for session in data.sessions if name not in session.covariates] for name in names
    }
    return [f"{name}: not in session {', '.join(of)}, whose bins do not count" for name, of in without.items() if of]


def independent_stretches(data: Binned) -> NDArray[np.int32]:
    """(n_bins,) stretches of at most 10 s that count as independent; none goes beyond a trial, a gap or a split."""
    new = np.diff(data.segments, prepend=-1).astype(bool) | np.diff(data.split, prepend=data.split[:1]).astype(bool)
    begin = np.flatnonzero(new)
    place = np.arange(data.n_bins) - np.repeat(begin, np.diff(np.append(begin, data.n_bins)))
    return np.cumsum(new | (place % max(round(STRETCH_S / data.bin_s), 1) == 0)).astype(np.int32)


def _rows_of_split(data: Binned, split: str) -> NDArray[np.bool_]:
    if split == "all":
        return np.ones(data.n_bins, dtype=bool)
    rows = np.asarray(data.split == SPLITS.index(split))
    if not rows.any():
        raise DataError(f"the {split} split holds no bins; split the data, or set splits = ['all'] to explore")
    return rows
