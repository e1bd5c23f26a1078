"""How activations depend on a variable: conditions, tuning and polar curves with occupancy, and what is read off them.

Columns of curves: the latents, for signed codes their positive halves followed by their negative halves (see
`rectified`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from nldisco_core.binned import Binned, Covariate
from nldisco_core.errors import DataError
from nldisco_core.latents import LatentSpace
from nldisco_core.session import SignalKind

__all__ = [
    "Conditions",
    "TuningCurves",
    "circular_conditions",
    "condition_means",
    "conditions",
    "halves",
    "mutual_information",
    "one_per_channel",
    "polar_curve",
    "preferred_direction",
    "rectified",
    "rectified_columns",
    "resultant_length",
    "stability",
    "tuning_curve",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditions:
    """A variable cut into conditions.

    Attributes
    ----------
    variable, kind : the variable and its kind
    codes : (n_rows,) int32, condition of each row, -1 where the variable is not defined
    labels : one per condition, with the physical unit
    centres : (n_conditions,) in the variable's own unit, (n_conditions, n_channels) for positions of several channels;
        category codes for discrete variables
    edges : per channel the borders in the variable's own unit, first and last included; none for discrete variables.
        Values beyond the outer ones belong to the outer conditions
    """

    variable: str
    kind: SignalKind
    codes: NDArray[np.int32]
    labels: tuple[str, ...]
    centres: NDArray[np.float64]
    edges: tuple[NDArray[np.float64], ...] = ()

    @property
    def n_conditions(self) -> int:
        """Conditions there are, visited or not."""
        return len(self.labels)

    @property
    def grid(self) -> tuple[int, ...]:
        """Conditions along each channel; the product is `n_conditions`."""
        return tuple(len(edges) - 1 for edges in self.edges) or (self.n_conditions,)


@dataclass(frozen=True, kw_only=True, eq=False)
class TuningCurves:
    """Mean activation per condition.

    Attributes
    ----------
    mean : (n_columns, n_conditions) mean activation over the rows of each condition, silent ones included; NaN where
        unvisited
    n_bins : (n_conditions,) rows of each condition: the occupancy, counted from zero
    conditions : the conditions
    """

    mean: NDArray[np.float64]
    n_bins: NDArray[np.int64]
    conditions: Conditions

    def occupancy_s(self, bin_s: float) -> NDArray[np.float64]:
        """(n_conditions,) time spent in each condition (s)."""
        return np.asarray(self.n_bins * bin_s, dtype=np.float64)


def conditions(
    covariate: Covariate,
    *,
    n_quantiles: int = 10,
    n_circular: int = 12,
    n_position: int = 5,
    rows: NDArray[np.bool_] | None = None,
) -> Conditions:
    """A variable cut into conditions, by its kind.

    Discrete: the categories that occur. Linear: quantiles, equal ones merged, or the
    values themselves where there are no more than `n_quantiles`. Circular: equal parts of the period from 0.
    Position: a grid of equal cells over the range, `n_position` to a side; ``n_position**2`` cells on a line.

    Parameters
    ----------
    rows : (n_rows,) rows that quantiles and ranges are taken from, such as those of the train split; None: all

    Raises
    ------
    DataError
        The variable is nowhere defined on these rows, or has several channels and is not a position.
    """
    seen = covariate.defined if rows is None else covariate.defined & rows
    if not seen.any():
        raise DataError(
            f"variable {covariate.name!r} is not defined on any of the rows; nothing to cut into conditions"
        )
    if covariate.kind == "position":
        n_channels = len(covariate.channels)
        return _position_conditions(covariate, seen, n_position if n_channels > 1 else n_position**2)
    if len(covariate.channels) > 1:
        raise DataError(f"variable {covariate.name!r} has {len(covariate.channels)} channels; cut them one by one")
    if covariate.kind == "discrete":
        return _discrete_conditions(covariate)
    if covariate.kind == "circular":
        return circular_conditions(covariate, n_circular)
    return _quantile_conditions(covariate, seen, n_quantiles)


def circular_conditions(covariate: Covariate, n_bins: int, *, start: float = 0.0) -> Conditions:
    """Equal parts of the period of a circular variable, from `start` in its own unit."""
    period = covariate.period or 1.0
    turn = (covariate.values[:, 0] - start) / period % 1.0
    codes = np.full(len(turn), -1, dtype=np.int32)
    codes[covariate.defined] = np.minimum(turn[covariate.defined] * n_bins, n_bins - 1).astype(np.int32)
    edges = start + np.arange(n_bins + 1) * period / n_bins
    shown, unit = (np.rad2deg(edges), "°") if covariate.physical_unit == "rad" else (edges, _unit(covariate))
    return Conditions(
        variable=covariate.name,
        kind="circular",
        codes=codes,
        labels=tuple(f"{low} to {high}{unit}" for low, high in _spans(shown)),
        centres=(edges[:-1] + edges[1:]) / 2,
        edges=(edges,),
    )


def _discrete_conditions(covariate: Covariate) -> Conditions:
    values = covariate.values[:, 0]
    present, inverse = np.unique(values[covariate.defined], return_inverse=True)
    first = ~_same_as_before(present)
    present, inverse = present[first], np.cumsum(first)[inverse] - 1
    codes = np.full(len(values), -1, dtype=np.int32)
    codes[covariate.defined] = inverse
    names = covariate.categories
    labels = tuple(f"{value:.12g}" if names is None else names[int(value)] for value in present)
    return Conditions(variable=covariate.name, kind="discrete", codes=codes, labels=labels, centres=present)


def _quantile_conditions(covariate: Covariate, seen: NDArray[np.bool_], n_quantiles: int) -> Conditions:
    values, unit = covariate.values[:, 0], _unit(covariate)
    low, high = values[seen].min(), values[seen].max()
    inner = np.unique(values[seen])
    if len(inner) > n_quantiles:
        inner = np.unique(np.quantile(values[seen], np.arange(1, n_quantiles) / n_quantiles, method="higher"))
    inner = inner[(inner > low) & ~_same_as_before(np.append(low, inner))[1:]]
    codes = np.where(covariate.defined, np.searchsorted(inner, values, side="right"), -1).astype(np.int32)
    edges = np.concatenate([[low], inner, [high]])
    between = [f"{a} to {b}{unit}" for a, b in _spans(inner)]
    outer = [f"{_numbers(inner)[0]}{unit}", f"{_numbers(inner)[-1]}{unit}"] if len(inner) else []
    return Conditions(
        variable=covariate.name,
        kind="linear",
        codes=codes,
        labels=(f"below {outer[0]}", *between, f"{outer[1]} and above") if outer else ("all",),
        centres=(edges[:-1] + edges[1:]) / 2,
        edges=(edges,),
    )


def _same_as_before(ascending: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n_values,) which values differ from the one before by rounding alone, as 1.3 from 5.4 - 4.1.

    A difference of two times carries the rounding of the times: one that is 1e-12 of the largest value is none.
    """
    largest = np.abs(ascending[[0, -1]]).max() if len(ascending) else 0.0
    return np.asarray(np.diff(ascending, prepend=-np.inf) <= 1e-12 * largest)


def _position_conditions(covariate: Covariate, seen: NDArray[np.bool_], n_cells: int) -> Conditions:
    edges = tuple(np.linspace(column.min(), column.max(), n_cells + 1) for column in covariate.values[seen].T)
    cells = [
        np.clip(np.searchsorted(border, column, side="right") - 1, 0, n_cells - 1)
        for border, column in zip(edges, covariate.values.T, strict=True)
    ]
    shape = (n_cells,) * len(edges)
    codes = np.where(covariate.defined, np.ravel_multi_index(cells, shape), -1).astype(np.int32)
    names = ("",) if len(edges) == 1 else tuple(f"{channel} " for channel in covariate.channels)
    spans = [[f"{name}{a} to {b}" for a, b in _spans(border)] for name, border in zip(names, edges, strict=True)]
    centres = np.stack(np.meshgrid(*((b[:-1] + b[1:]) / 2 for b in edges), indexing="ij"), axis=-1)
    return Conditions(
        variable=covariate.name,
        kind="position",
        codes=codes,
        labels=tuple(
            ", ".join(span[i] for span, i in zip(spans, cell, strict=True)) + _unit(covariate)
            for cell in np.ndindex(shape)
        ),
        centres=centres.reshape(-1, len(edges)) if len(edges) > 1 else centres.ravel(),
        edges=edges,
    )


def _unit(covariate: Covariate) -> str:
    return f" {covariate.physical_unit}" if covariate.physical_unit else ""


def _numbers(values: NDArray[np.float64]) -> list[str]:
    """Numbers to a hundredth of their smallest step or better."""
    step = np.diff(values).min(initial=np.inf, where=np.diff(values) > 0)
    decimals = int(np.clip(2 - np.floor(np.log10(step)), 0, 15)) if np.isfinite(step) else 3
    texts = (f"{value:z.{decimals}f}" for value in values)
    return [text.rstrip("0").rstrip(".") if "." in text else text for text in texts]


def _spans(edges: NDArray[np.float64]) -> Iterator[tuple[str, str]]:
    texts = _numbers(edges)
    return pairwise(texts)


def one_per_channel(covariate: Covariate) -> tuple[Covariate, ...]:
    """The variables mapped for a covariate: itself, or one ``name.channel`` per channel if it is no position."""
    if covariate.kind == "position" or len(covariate.channels) == 1:
        return (covariate,)
    return tuple(
        replace(covariate, name=f"{covariate.name}.{channel}", values=covariate.values[:, [index]], channels=(channel,))
        for index, channel in enumerate(covariate.channels)
    )


def rectified(space: LatentSpace, instance: int) -> sparse.csc_array:
    """(n_rows, n_columns) float64 activations above zero, by column; what means nothing is left out.

    Non-negative codes: a column per latent. Signed codes: ``max(a, 0)`` of every latent, then ``max(-a, 0)`` of every
    latent.
    """
    code = space.csc(instance).astype(np.float64)
    parts = [_positive(code)] if space.code_kind == "nonnegative" else [_positive(code), _positive(-code)]
    return parts[0] if len(parts) == 1 else sparse.csc_array(sparse.hstack(parts, format="csc"))


def _positive(code: sparse.csc_array) -> sparse.csc_array:
    keep = code.data > 0
    if keep.all():
        return code
    kept_before = np.concatenate([[0], np.cumsum(keep)])
    return sparse.csc_array((code.data[keep], code.indices[keep], kept_before[code.indptr]), shape=code.shape)


def rectified_columns(space: LatentSpace) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Latent and sign (0 for a code as it is, +1 and -1 for halves) of each column of `rectified`."""
    latent = np.arange(space.n_latents, dtype=np.int32)
    if space.code_kind == "nonnegative":
        return latent, np.zeros(space.n_latents, dtype=np.int8)
    return np.tile(latent, 2), np.repeat(np.array([1, -1], dtype=np.int8), space.n_latents)


def tuning_curve(space: LatentSpace, instance: int, chosen: Conditions, rows: NDArray[np.bool_]) -> TuningCurves:
    """Mean activation of each column per condition, over the chosen rows that the model speaks of.

    Parameters
    ----------
    rows : (n_rows,) bool
    """
    used = rows if space.defined is None else rows & space.defined
    return condition_means(rectified(space, instance), chosen, used)


def condition_means(
    activations: sparse.csc_array, chosen: Conditions, rows: NDArray[np.bool_], *, smooth_bins: float = 0.0
) -> TuningCurves:
    """Mean of each column of (n_rows, n_columns) activations per condition.

    Sum of the activation over occupancy; with `smooth_bins` both are smoothed along the circle of conditions before the
    division (Gaussian, sigma in conditions), and conditions never visited stay NaN.
    """
    used = np.flatnonzero(rows & (chosen.codes >= 0))
    codes = chosen.codes[used]
    onehot = sparse.csr_array(
        (np.ones(len(used)), codes, np.searchsorted(used, np.arange(len(rows) + 1))),
        shape=(len(rows), chosen.n_conditions),
    )
    total = np.asarray((activations.T @ onehot).toarray())
    n_bins = np.bincount(codes, minlength=chosen.n_conditions)
    occupancy = n_bins.astype(np.float64)
    if smooth_bins > 0:
        total = ndimage.gaussian_filter1d(total, smooth_bins, axis=1, mode="wrap")
        occupancy = ndimage.gaussian_filter1d(occupancy, smooth_bins, mode="wrap")
    mean = _quotient(total, np.broadcast_to(occupancy, total.shape), np.broadcast_to(n_bins > 0, total.shape))
    return TuningCurves(mean=mean, n_bins=n_bins, conditions=chosen)


def polar_curve(
    space: LatentSpace,
    instance: int,
    covariate: Covariate,
    rows: NDArray[np.bool_],
    *,
    n_bins: int = 60,
    smooth_bins: float = 0.0,
) -> TuningCurves:
    """Mean activation per direction, in equal bins of ``[-period / 2, period / 2)``; unvisited ones are NaN.

    Parameters
    ----------
    smooth_bins : sigma of the circular Gaussian in bins, applied to activation and occupancy before the division
    """
    used = rows if space.defined is None else rows & space.defined
    directions = circular_conditions(covariate, n_bins, start=-(covariate.period or 1.0) / 2)
    return condition_means(rectified(space, instance), directions, used, smooth_bins=smooth_bins)


def resultant_length(curves: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_columns,) ``|sum_i r_i exp(i theta_i)| / sum_i r_i`` of non-negative curves; NaN for silent ones.

    Parameters
    ----------
    curves : (n_columns, n_bins), NaN bins are left out
    angles : (n_bins,) centres of the bins (rad)
    """
    length, total = np.abs(_resultant(curves, angles)), np.nansum(curves, axis=1)
    return _quotient(length, total, total > 0)


def preferred_direction(curves: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_columns,) angle (rad, in [0, 2 pi)) of the resultant of each curve; NaN for silent ones.

    Parameters
    ----------
    curves, angles : as in `resultant_length`
    """
    direction = np.mod(np.angle(_resultant(curves, angles)), 2 * np.pi)
    return np.where(np.nansum(curves, axis=1) > 0, direction, np.nan)


def _resultant(curves: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.complex128]:
    return np.asarray(np.nan_to_num(curves) @ np.exp(1j * angles))


def mutual_information(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(...,) bits that two discrete variables tell of each other, corrected for the bias of small samples.

    ``sum p(x, y) log2(p(x, y) / (p(x) p(y)))`` plus the Miller-Madow correction ``(K_x + K_y - K_xy - 1) / (2 n ln
    2)``, where K are the numbers of values that occur (Miller, Information Theory in Psychology, 1955). The
    correction takes rows for independent, so that it is too small for autocorrelated ones; estimates can fall below
    zero. NaN without rows.

    Parameters
    ----------
    counts : (..., n_values_x, n_values_y) rows of each pair of values
    """
    total = counts.sum(axis=(-2, -1), dtype=np.float64)
    by_x, by_y = counts.sum(axis=-1), counts.sum(axis=-2)

    def entropy_nats(cells: NDArray[np.int64], axes: tuple[int, ...]) -> NDArray[np.float64]:
        """n times the entropy, plus half the number of values that occur."""
        logs = np.log(np.where(cells > 0, cells, 1))
        occupied = (cells > 0).sum(axis=axes)
        return np.asarray(total * np.log(np.where(total > 0, total, 1)) - (cells * logs).sum(axis=axes) + occupied / 2)

    nats = entropy_nats(by_x, (-1,)) + entropy_nats(by_y, (-1,)) - entropy_nats(counts, (-2, -1)) - 0.5
    return _quotient(nats, total * np.log(2), total > 0)


def stability(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_columns,) Pearson r of two sets of curves over the conditions both visited.

    NaN for fewer than three such conditions or a flat curve.
    """
    both = np.isfinite(one).all(axis=0) & np.isfinite(other).all(axis=0)
    if both.sum() < 3:
        return np.full(len(one), np.nan)
    one, other = one[:, both], other[:, both]
    a, b = one - one.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
    spread = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    rounding = 1e-12 * np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return _quotient((a * b).sum(axis=1), spread, spread > rounding)


def halves(rows: NDArray[np.bool_], data: Binned) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The earlier and the later half of the chosen rows of every session, as two (n_bins,) masks."""
    first = np.zeros_like(rows)
    offsets: Sequence[int] = data.row_offsets.tolist()
    for start, stop in pairwise(offsets):
        chosen = np.flatnonzero(rows[start:stop]) + start
        first[chosen[: len(chosen) // 2]] = True
    return first, rows & ~first


def _quotient(above: NDArray[np.float64], below: NDArray[np.float64], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    quotient: NDArray[np.float64] = np.full(np.shape(above), np.nan)
    return np.divide(above, below, out=quotient, where=where)
