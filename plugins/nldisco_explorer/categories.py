"""Which colour stands for which category, where there may be more of them than colours that are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nldisco_core.colours import PALETTE
from nldisco_explorer.drawing.payload import Layer

__all__ = ["NONE", "category_legend", "colour_keys", "colour_numbers", "few_coloured", "label_strength"]

NONE = 255
"""Number of no colour: a canvas draws it in grey."""


def colour_numbers(weights: ArrayLike) -> NDArray[np.uint8]:
    """(n_categories,) number in the palette of each category; `NONE` of all but the weightiest where there are many.

    A colour that stands for two categories would say that they are one, so none is given twice.

    Parameters
    ----------
    weights : (n_categories,) how much each matters to what is drawn, NaN where that is not known
    """
    heavy = np.argsort(-np.nan_to_num(np.asarray(weights, dtype=np.float64), nan=-np.inf), kind="stable")
    numbers = np.full(len(heavy), NONE, dtype=np.uint8)
    chosen = np.sort(heavy[: len(PALETTE)])
    numbers[chosen] = np.arange(len(chosen))
    return numbers


def colour_keys(numbers: NDArray[np.uint8]) -> list[int | str]:
    """Colours by number as a canvas reads them in a legend or a table."""
    return ["neutral" if number == NONE else int(number) for number in numbers]


def category_legend(labels: Sequence[str], numbers: NDArray[np.uint8]) -> Layer:
    """Names of the categories that have a colour, and that the others are grey where there are others."""
    coloured = [(label, key) for label, key in zip(labels, colour_keys(numbers), strict=False) if key != "neutral"]
    rest = len(labels) - len(coloured)
    named = [*coloured, *([(f"{rest} others", "neutral")] if rest else [])]
    return Layer("legend", names=[name for name, _ in named], colours=[key for _, key in named])


def few_coloured(name: str, n_labels: int, which: str) -> str:
    """What is said where not every label has a colour; nothing where each has one.

    Parameters
    ----------
    which : what tells those that have one, such as ``the most frequent``
    """
    n_colours = len(PALETTE)
    return f"Of {n_labels} labels of {name} the {n_colours} {which} have a colour, the others are grey." * (
        n_labels > n_colours
    )


def label_strength(labels: NDArray[Any], trace: NDArray[Any], n_labels: int) -> NDArray[np.float64]:
    """(n_labels,) mean size of the activation in the bins of each label, NaN of a label without any.

    Parameters
    ----------
    labels : (n_bins,) counted from zero, NaN where there is none
    trace : (n_bins,) activation
    """
    known = ~np.isnan(labels)
    codes = labels[known].astype(np.int64)
    n_bins = np.bincount(codes, minlength=n_labels)
    summed = np.bincount(codes, weights=np.abs(trace[known]), minlength=n_labels)
    return np.asarray(np.divide(summed, n_bins, out=np.full(len(n_bins), np.nan), where=n_bins > 0))
