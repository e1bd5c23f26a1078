"""Latents as a mapper takes them: rectified columns of all instances side by side, and the bins of each split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import SPLITS, Binned
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.latents import LatentSpace
from nldisco_core.tuning import rectified, rectified_columns

__all__ = ["Columns"]


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


def _rows_of_split(data: Binned, split: str) -> NDArray[np.bool_]:
    if split == "all":
        return np.ones(data.n_bins, dtype=bool)
    rows = np.asarray(data.split == SPLITS.index(split))
    if not rows.any():
        raise DataError(f"the {split} split holds no bins; split the data, or set splits = ['all'] to explore")
    return rows
