"""Any model's latents brought to a given sparsity by a threshold, so that dense codes can stand beside sparse ones."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.errors import DataError
from nldisco_core.latents import LatentSpace
from nldisco_core.tuning import rectified

__all__ = ["RULES", "Rule", "at_sparsity"]

Rule = Literal["common", "scaled", "own", "per-row"]

RULES: tuple[Rule, ...] = get_args(Rule)
"""The rules of `at_sparsity`."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def at_sparsity(space: LatentSpace, *, l0: float, rule: Rule, chosen_on: Mask) -> LatentSpace:
    """The latents with about `l0` of them active per row; what is below the threshold becomes zero.

    Signed codes enter as rectified halves, each of which becomes a latent. With n rows and D latents on the rows
    `chosen_on`, an activation stays where it is above zero and

    - ``common``: among the n·l0 largest activations of all latents;
    - ``scaled``: the same of activations over their latent's root mean square;
    - ``own``: among its latent's n·l0/D largest, so that all latents are active equally often;
    - ``per-row``: among the l0 largest (rounded) of its row, of activations over their latent's root mean square.

    The thresholds of the first three are fixed on `chosen_on` and hold for every row. Activations that tie with a
    threshold stay; where fewer are above zero, fewer stay.

    Parameters
    ----------
    chosen_on : (n_rows,) mask, such as that of the train split

    Raises
    ------
    DataError
        No row to choose on, or an `l0` that is not above 0.
    """
    rows = chosen_on if space.defined is None else chosen_on & space.defined
    if not l0 > 0 or not rows.any():
        raise DataError(f"l0 {l0:g} on {int(rows.sum())} rows; expected l0 above 0 and rows to choose the threshold on")
    codes = tuple(_sparsified(rectified(space, i).toarray(), l0, rule, rows) for i in range(space.n_instances))
    return LatentSpace(
        codes=codes,
        session_ids=space.session_ids,
        row_offsets=space.row_offsets,
        row_kind=space.row_kind,
        defined=space.defined,
        label_use=space.label_use,
    )


def _sparsified(values: Floats, l0: float, rule: Rule, rows: Mask) -> sparse.csc_array:
    compared = values if rule in ("common", "own") else _scaled(values, rows)
    known, n_latents = compared[rows], values.shape[1]
    threshold: Any
    if rule == "per-row":
        threshold = _kth_largest(compared, l0, axis=1)
    elif rule == "own":
        threshold = _kth_largest(known, len(known) * l0 / n_latents, axis=0)
    else:
        threshold = _kth_largest(known, len(known) * l0, axis=None)
    return sparse.csc_array(np.where(compared >= threshold, values, 0.0))


def _scaled(values: Floats, rows: Mask) -> Floats:
    size = np.sqrt(np.square(values[rows]).mean(axis=0))
    return np.asarray(np.divide(values, size, out=np.zeros_like(values), where=size > 0))


def _kth_largest(values: Floats, k: float, *, axis: int | None) -> Floats:
    """The round(k)-th largest value along an axis, or the smallest."""
    n = values.size if axis is None else values.shape[axis]
    place = n - min(max(round(k), 1), n)
    return np.asarray(np.partition(values, place, axis=axis).take([place], axis=axis or 0))
