"""Physical unit and kind of a signal, from its name and values, where nobody states them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import pi
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.session import SignalKind
from nldisco_files.arrays import numbers, texts
from nldisco_files.config import SignalLayout

__all__ = ["coded", "guessed_kind", "guessed_unit"]

MOST_CODES = 20
"""Whole numbers of at most this many different values are taken for labels."""

_UNITS = re.compile(
    r"[_ (\[](mm|cm|m|um|px|pixels?|rad|radians?|deg|degrees?|s|ms|hz|v|mv|au|cm_s|mm_s|m_s)[)\]]?$", re.I
)
_PLACE = re.compile(r"(^|_)(pos|position|location|place|xy|xyz)(_|$)", re.I)
_DIRECTION = re.compile(r"(^|_)(heading|direction|angle|orientation|theta|yaw|hd|azimuth|phase)(_|$)", re.I)
_TURNS = {"rad": 2 * pi, "deg": 360.0}


def guessed_unit(name: str) -> str | None:
    """The physical unit that a name ends in, such as ``cm`` of ``position_cm`` or ``speed (cm)``; None for none.

    >>> guessed_unit("pos_px"), guessed_unit("angle [deg]"), guessed_unit("target")
    ('px', 'deg', None)
    """
    found = _UNITS.search(name)
    return None if found is None else found[1].lower().replace("_", "/")


def guessed_kind(
    name: str, values: NDArray[Any], physical_unit: str | None, stated: SignalLayout
) -> tuple[SignalKind, float | None]:
    """Kind and period: what is stated, or what unit, name and values suggest.

    - discrete: texts, truth values, and whole numbers of at most 20 different values in one channel;
    - circular: one channel in radians or degrees, within one turn, with a name such as heading or angle;
    - position: two or three channels with a name such as position;
    - linear: anything else.
    """
    turn = _TURNS.get((physical_unit or "").lower()[:3])
    if stated.kind is not None or stated.period is not None:
        kind: SignalKind = stated.kind or "circular"
        return kind, (stated.period or turn) if kind == "circular" else None
    n_channels = 1 if values.ndim == 1 else values.shape[1]
    if _is_label(values, n_channels):
        return "discrete", None
    if n_channels == 1 and turn is not None and _DIRECTION.search(name) and _within(numbers(values, name), turn):
        return "circular", turn
    return ("position" if n_channels in (2, 3) and _PLACE.search(name) else "linear"), None


def coded(values: NDArray[Any]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Codes (n_samples,) into the sorted distinct labels, NaN where a label is missing or empty, and the labels."""
    said = np.ravel(values)
    if said.dtype.kind in "OSU":
        said = np.array([label or None for label in texts(said)], dtype=object)
    codes, labels = pd.factorize(said, sort=True)
    return np.where(codes < 0, np.nan, codes).astype(np.float64), tuple(texts(np.asarray(labels)))


def _is_label(values: NDArray[Any], n_channels: int) -> bool:
    if n_channels != 1:
        return False
    if values.dtype.kind in "OSUb":
        return not _are_numbers(values)
    return values.dtype.kind in "iu" and len(np.unique(values)) <= MOST_CODES


def _are_numbers(values: NDArray[Any]) -> bool:
    said: Sequence[Any] = [value for value in np.ravel(values) if value is not None and value == value]
    return bool(said) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in said)


def _within(values: NDArray[np.float64], turn: float) -> bool:
    known = values[np.isfinite(values)]
    if not len(known):
        return False
    return bool(known.min() >= -turn / 2 and known.max() <= turn and known.max() - known.min() <= turn * (1 + 1e-6))
