"""Stretches of rows with one label, such as the trial number of each bin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["equal_stretches"]


def equal_stretches(labels: NDArray[Any]) -> NDArray[np.int64]:
    """(n_rows,) number of the stretch of equal labels that holds each row, from 0; missing labels are one label.

    >>> equal_stretches(np.array([7, 7, 3, 3, 7])).tolist()
    [0, 0, 1, 1, 2]
    """
    codes = pd.factorize(np.ravel(labels))[0]
    changes: NDArray[np.int64] = np.concatenate([[0], np.cumsum(np.diff(codes) != 0)])[: len(codes)]
    return changes
