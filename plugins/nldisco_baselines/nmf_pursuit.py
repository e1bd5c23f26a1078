"""NMF atoms coded by non-negative matching pursuit: what a parts-based dictionary gives at the same sparsity."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import nnls

from nldisco_baselines.baseline import Floats
from nldisco_baselines.config import NMFOMPConfig
from nldisco_baselines.linear import NMF
from nldisco_core.config import ModelConfig

__all__ = ["NMFOMP"]

TOLERANCE = 1e-9


class NMFOMP(NMF):
    """The dictionary of `NMF`, with at most `k` atoms in each bin and no negative coefficient.

    Non-negative orthogonal matching pursuit (Bruckstein, Elad & Zibulevsky 2008): the atom with the largest positive
    product with the residual joins, then the non-negative least squares solution on the atoms so far makes the next
    residual. Each bin is coded by itself.
    """

    name: ClassVar[str] = "nmf-omp"
    config_class: ClassVar[type[ModelConfig]] = NMFOMPConfig
    config: NMFOMPConfig

    def _encode(self, activity: Floats) -> tuple[sparse.csc_array, ...]:
        return tuple(self._pursue(activity, atoms) for atoms in self._atoms())

    def _pursue(self, activity: Floats, atoms: Floats) -> sparse.csc_array:
        codes = np.zeros((len(activity), len(atoms)))
        taken = np.zeros((len(activity), 0), dtype=np.int64)
        rows = np.arange(len(activity))
        least = TOLERANCE * np.linalg.norm(activity, axis=1)
        for _ in range(min(self.config.k, len(atoms))):
            residual = activity[rows] - _products(codes[rows], atoms)
            gain = _products(residual, atoms.T)
            np.put_along_axis(gain, taken, -np.inf, axis=1)
            best = gain.argmax(axis=1)
            going_on = gain[np.arange(len(rows)), best] > least[rows]
            rows, taken = rows[going_on], np.column_stack([taken[going_on], best[going_on]])
            codes[rows[:, None], taken] = _solved(activity[rows], atoms, taken)
        return sparse.csc_array(codes.astype(np.float32))


def _products(rows: Floats, matrix: Floats) -> Floats:
    """One vector-matrix product per row: the rounding of a matrix product depends on how many rows it has."""
    return np.asarray(np.matmul(rows[:, None, :], matrix)[:, 0])


def _solved(activity: Floats, atoms: Floats, taken: NDArray[np.int64]) -> Floats:
    """(n_bins, n_taken) non-negative least squares coefficients of each bin on the atoms it has taken."""
    chosen = atoms[taken]
    gram = np.matmul(chosen, chosen.swapaxes(1, 2))
    found: Floats = np.linalg.solve(gram, np.matmul(chosen, activity[:, :, None]))[:, :, 0]
    for row in np.flatnonzero((found < 0).any(axis=1)):  # elsewhere least squares is the non-negative optimum as it is
        found[row] = nnls(chosen[row].T, activity[row])[0]
    return found
