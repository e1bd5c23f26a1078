"""What each latent adds to a reconstruction, and which latents are alive in the strict sense."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import SPLITS, Binned
from nldisco_core.errors import DataError, IncompatibleData, ModelError, unknown_name
from nldisco_core.interfaces import HasDictionary, LatentModel, Reconstructs
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.splits import spread_rows

__all__ = ["MIN_ACTIVE", "ablation_importance", "latent_metrics"]

MIN_ACTIVE = 50
"""Active bins below which nothing is said of a latent: it does not count as alive."""

MAX_ROWS = 10_000
LINEAR_TOLERANCE = 1e-4

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def ablation_importance(model: LatentModel, latents: Latents, data: Binned, *, split: str) -> Floats:
    """(n_instances, n_latents) rise of the error when one latent is left out and all others keep their codes.

    ``(SSE_without - SSE) / SST`` over the observed entries of about 10,000 bins of one split, at the deepest level.
    Where the reconstruction is ``offset + codes @ dictionary``, with residuals e, codes a and dictionary rows w,
    ``SSE_without_j - SSE = sum_t 2 a_tj e_t·w_j + a_tj² |w_j|²``. For any other output the bins in which a latent is
    active are reconstructed once more without it; no other bin changes. NaN where the activity is constant.

    Raises
    ------
    ModelError
        The model reconstructs nothing, or other bins than the one it encodes.
    IncompatibleData
        The rows of latents and data differ.
    DataError
        No such split, or no bin in it.
    """
    if not isinstance(model, Reconstructs):
        raise ModelError(f"{type(model).__name__} reconstructs no activity; ablation compares reconstructions")
    part, whole = _split_part(model, latents, data, split)
    linear = _linear_weights(model, part, whole)
    rise = _by_reconstruction(model, part, whole) if linear is None else _by_formula(part, whole, linear)
    return np.asarray(rise / part.total if part.total > 0 else np.full(rise.shape, np.nan))


def latent_metrics(model: LatentModel | None, latents: Latents, data: Binned, *, split: str) -> pd.DataFrame:
    """One row per (instance, latent): what is active in a split, and what would be lost without it.

    Returns
    -------
    DataFrame
        ``n_active``, bins of the split in which the latent is not zero; ``density``, their share; ``mean_active``, its
        mean there; ``importance``, see `ablation_importance`, NaN for models it does not apply to; ``alive``, at least
        50 active bins and positive importance, null where the importance is not known.

    Raises
    ------
    DataError, IncompatibleData
        As `ablation_importance`.
    """
    space = latents.main
    chosen = _chosen(space, data, split)
    importance = np.full((space.n_instances, space.n_latents), np.nan)
    if isinstance(model, Reconstructs) and (not isinstance(model, HasDictionary) or _lags_s(model) == (0.0,)):
        importance = ablation_importance(model, latents, data, split=split)
    tables = []
    for instance, values in enumerate(importance):
        n_active, total = _activity_of(space, instance, chosen)
        known = ~np.isnan(values)
        tables.append(
            pd.DataFrame(
                {
                    "instance": np.full(len(values), instance, dtype=np.int32),
                    "latent": np.arange(len(values), dtype=np.int32),
                    "split": pd.Series([split] * len(values), dtype="string"),
                    "n_active": n_active,
                    "density": n_active / chosen.sum(),
                    "mean_active": np.divide(total, n_active, out=np.full(len(values), np.nan), where=n_active > 0),
                    "importance": values,
                    "alive": pd.Series((n_active >= MIN_ACTIVE) & (values > 0), dtype="boolean").where(known),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """The bins of a split that are ablated: (n_rows, n_units) activity and weights of its entries, and its SST."""

    latents: Latents
    activity: Floats
    weight: Floats
    total: float


def _split_part(model: Reconstructs, latents: Latents, data: Binned, split: str) -> tuple[_Part, NDArray[np.float32]]:
    """The units of a split that the model predicts, and their (n_instances, n_rows, n_units) reconstruction."""
    rows = spread_rows(_chosen(latents.main, data, split), at_most=MAX_ROWS)
    kept, part = Latents.of(latents.main.rows(rows)), data.rows(rows)
    whole, columns = _deepest(model, kept)
    activity = part.activity[:, columns].astype(np.float64)
    seen = np.ones(activity.shape, dtype=bool) if part.observed is None else part.observed[:, columns]
    mean = (activity * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    total = float(np.square((activity - mean) * seen).sum())
    rounding = 1e-24 * float(np.square(activity).sum())
    return _Part(
        latents=kept,
        activity=activity,
        weight=seen.astype(np.float64),
        total=total if total > rounding else 0.0,
    ), whole


def _chosen(space: LatentSpace, data: Binned, split: str) -> Mask:
    """(n_bins,) bins of a split that the model speaks of."""
    if space.n_rows != data.n_bins:
        raise IncompatibleData(
            f"latents of {space.n_rows} {space.row_kind}s for {data.n_bins} bins; give the bins they were made of"
        )
    if split not in SPLITS:
        raise DataError(unknown_name("split", split, SPLITS))
    chosen = data.split == SPLITS.index(split)
    chosen = chosen if space.defined is None else chosen & space.defined
    if not chosen.any():
        raise DataError(f"the {split} split holds no bins the model speaks of; choose another")
    return np.asarray(chosen)


def _lags_s(model: HasDictionary) -> tuple[float, ...]:
    return tuple(model.dictionary().lags_s)


def _deepest(model: Reconstructs, latents: Latents) -> tuple[NDArray[np.float32], NDArray[np.int64] | slice]:
    """(n_instances, n_rows, n_units) reconstruction of the deepest level, and the columns of the data it speaks of."""
    space = latents.main
    columns: NDArray[np.int64] | slice = slice(None)
    found: dict[tuple[int, int], NDArray[np.float32]] = {}
    for block in model.reconstruct(latents):
        if block.lags_s != (0.0,):
            raise ModelError(f"the reconstruction is of lags {block.lags_s} s; ablation is for models of single bins")
        if block.level == space.n_levels - 1:
            columns = slice(None) if block.columns is None else block.columns
            found[block.instance, block.rows.start] = block.values.reshape(len(block.values), -1)
    whole = [np.concatenate([found[key] for key in sorted(found) if key[0] == i]) for i in range(space.n_instances)]
    return np.stack(whole), columns


def _linear_weights(model: Reconstructs, part: _Part, whole: NDArray[np.float32]) -> Floats | None:
    """(n_instances, n_latents, n_units) dictionary, where codes @ dictionary is all but a constant; None elsewhere."""
    if not isinstance(model, HasDictionary):
        return None
    weights = model.dictionary().values.astype(np.float64)
    if weights.ndim != 3:
        return None
    for instance, predicted in enumerate(whole):
        offset = predicted - _codes(part.latents.main, instance) @ weights[instance]
        scale = float(np.abs(predicted).max(initial=0)) + float(np.finfo(np.float32).tiny)
        if np.ptp(offset, axis=0).max() > LINEAR_TOLERANCE * scale:
            return None
    return weights


def _by_formula(part: _Part, whole: NDArray[np.float32], weights: Floats) -> Floats:
    rise = np.empty(weights.shape[:2])
    for instance, (predicted, rows) in enumerate(zip(whole, weights, strict=True)):
        codes = _codes(part.latents.main, instance)
        residual = (part.activity - predicted) * part.weight
        square = (codes * codes).T @ part.weight
        rise[instance] = (2 * (codes.T @ residual) * rows + square * rows**2).sum(axis=1)
    return rise


def _by_reconstruction(model: Reconstructs, part: _Part, whole: NDArray[np.float32]) -> Floats:
    space = part.latents.main
    rise = np.zeros((space.n_instances, space.n_latents))
    error = np.square(part.activity - whole) * part.weight
    for latent in range(space.n_latents):
        active = np.stack(list(_active_rows(space, latent)))
        rows: Mask = np.asarray(active.any(axis=0))
        if not rows.any():
            continue
        without, _ = _deepest(model, Latents.of(_without(space.rows(rows), latent)))
        change = np.square(part.activity[rows] - without) * part.weight[rows] - error[:, rows]
        rise[:, latent] = (change.sum(axis=2) * active[:, rows]).sum(axis=1)
    return rise


def _active_rows(space: LatentSpace, latent: int) -> Iterator[Mask]:
    """Per instance the rows (n_rows,) in which a latent is not zero."""
    for code in space.codes:
        active = np.zeros(space.n_rows, dtype=bool)
        if isinstance(code, np.ndarray):
            active[:] = code[:, latent] != 0
        else:
            active[code.indices[code.indptr[latent] : code.indptr[latent + 1]]] = True
        yield active


def _without(space: LatentSpace, latent: int) -> LatentSpace:
    """The same latents with one of them at zero in all instances."""
    if isinstance(space.codes, np.ndarray):
        dense = space.codes.copy()
        dense[:, :, latent] = 0
        return replace(space, codes=dense)
    kept = [np.ones(code.nnz, dtype=bool) for code in space.codes]
    for code, keep in zip(space.codes, kept, strict=True):
        keep[code.indptr[latent] : code.indptr[latent + 1]] = False
    codes = []
    for code, keep in zip(space.codes, kept, strict=True):
        starts = np.concatenate([[0], np.cumsum(keep)])[code.indptr]
        codes.append(sparse.csc_array((code.data[keep], code.indices[keep], starts), shape=code.shape))
    masks = space.level_masks and tuple(m[keep] for m, keep in zip(space.level_masks, kept, strict=True))
    return replace(space, codes=tuple(codes), level_masks=masks)


def _codes(space: LatentSpace, instance: int) -> Any:
    """(n_rows, n_latents) float64 activations at the deepest level, sparse or dense as they come."""
    return (space.csr(instance) if space.is_sparse else space.dense(instance)).astype(np.float64)


def _activity_of(space: LatentSpace, instance: int, chosen: Mask) -> tuple[NDArray[np.int64], Floats]:
    """(n_latents,) bins in which each latent is not zero, and the sum of its activations, over the chosen bins."""
    if not space.is_sparse:
        values = space.dense(instance)[chosen]
        return np.asarray(np.count_nonzero(values, axis=0)), np.asarray(values.sum(axis=0, dtype=np.float64))
    codes = space.csc(instance)
    inside = chosen[codes.indices]
    latent = np.repeat(np.arange(codes.shape[1]), np.diff(codes.indptr))[inside]
    n_active = np.bincount(latent, minlength=codes.shape[1]).astype(np.int64)
    total = np.bincount(latent, weights=codes.data[inside], minlength=codes.shape[1])
    return n_active, total.astype(np.float64)
