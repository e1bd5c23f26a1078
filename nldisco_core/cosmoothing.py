"""Co-smoothing: how well latents foretell units that their encoder was not given.

Every unit in turn is left out of what a model reads, and a readout from the latents to that unit is fitted on training
bins and scored on others. Why a readout of its own: a model whose dictionary copies units predicts a unit from that
unit alone, and says nothing of it once it is hidden. On the head-direction recording (7 units of the anterodorsal
nucleus left out one by one, test blocks, mean over units) 16 latents reach -.7 bits per spike through their own
decoder, 1.0 through a linear readout and 1.34 through this one, Poisson regression, which gives a model what its codes
hold and not what its output function is good at. Leaving the unit out of training too (`co_smoothing_retrained`) gives
1.34 as well.

Hiding a unit at the input alone can be unfair to a control: 16 NMF atoms, solved for bins whose hidden unit holds its
mean, give .93, and 1.38 when the factorisation never saw the unit. So models are compared by `co_smoothing_retrained`.
With as many latents as units it cannot tell good codes from trivial ones: the raw units give 1.38 there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import LinAlgWarning
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import PoissonRegressor, Ridge

from nldisco_core.accumulation import RATE_FLOOR
from nldisco_core.binned import SPLITS, Binned, UnitStatistics
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.interfaces import LatentModel
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.splits import RUN_OF_ROWS, spread_rows

__all__ = ["CoSmoothing", "co_smoothing", "co_smoothing_retrained", "leave_out", "without_units"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Measure = Literal["co_smoothing_bits", "co_smoothing_r2"]

LEAVE_ONE_OUT = 32
"""Units up to which each is left out by itself."""

N_FOLDS = 10
SCORED_OF_FOLD = 2
"""Units of a fold that are scored: with 1,024 latents one regression takes a quarter of a second."""
MAX_ROWS = 4_000
NEWTON_LATENTS = 64
"""Latents up to which Newton's method is the faster solver; it then works on dense codes."""
PENALTIES = (1e-3, 1e-1, 1e1)
"""L2 penalties of the readout on latents of unit spread; a quarter of the training bins chooses, the first for few."""

FEW_ROWS = 400


@dataclass(frozen=True, kw_only=True, eq=False)
class CoSmoothing:
    """Scores of units that were left out.

    Attributes
    ----------
    measure : ``co_smoothing_bits``, bits per spike ``(logL - logL0) / (n_spikes ln 2)`` with the Poisson likelihoods of
        the counts under readout and under the unit's mean training count (Pei et al. 2021); without counts
        ``co_smoothing_r2`` = 1 - SSE / SSE0, SSE0 about the unit's training mean
    units : one row per (instance, level, split, unit) with that measure; NaN for a unit without spikes, or constant
    summary : one row per (instance, level, split): the measure over all units, its two sums added up before dividing
    """

    measure: Measure
    units: pd.DataFrame
    summary: pd.DataFrame


def co_smoothing(
    model: LatentModel,
    data: Binned,
    *,
    counts: Binned | None,
    splits: Sequence[str] = ("validation", "test"),
    levels: Sequence[int] | None = None,
    seed: int = 0,
) -> CoSmoothing:
    """Scores of units hidden from a fitted model, which reads their training mean in place of them.

    One unit at a time up to 32 units; beyond, ten folds of units drawn with `seed`, of which two units each are scored.
    Readouts are fitted on about 4,000 training bins and scored on as many bins of each split.

    Parameters
    ----------
    data : what the model was given, with splits
    counts : the same bins before smoothing and normalising, None where the activity is no counts
    splits : those to score; those without bins are left out
    levels : levels of a nested model, None for the deepest alone

    Raises
    ------
    DataError
        No training bins, no bins in any of the splits, or a single unit.
    IncompatibleData
        The sessions do not share their units, or `counts` are other bins.
    """
    rows, data, counts = _thinned(data, counts, splits)
    readings = ((fold[:SCORED_OF_FOLD], model.transform(leave_out(data, fold))) for fold in _folds(data.n_units, seed))
    return _scored(readings, data, counts, rows, levels)


def co_smoothing_retrained(
    fit: Callable[[Binned], LatentModel],
    data: Binned,
    *,
    counts: Binned | None,
    splits: Sequence[str] = ("validation", "test"),
    levels: Sequence[int] | None = None,
    units: Collection[str] | None = None,
    seed: int = 0,
) -> CoSmoothing:
    """As `co_smoothing`, with a model of its own for every fold of units that never saw them.

    Parameters
    ----------
    fit : gives a fitted model for data with fewer units
    units : ids to score; folds without any of them are not fitted. None for all
    """
    folds = _folds(data.n_units, seed)
    if units is not None:
        folds = [fold for fold in folds if data.units["id"].iloc[fold].isin(set(units)).any()]
    models = [fit(without_units(data, fold)) for fold in folds]
    rows, data, counts = _thinned(data, counts, splits)
    scored = [
        fold[:SCORED_OF_FOLD] if units is None else fold[data.units["id"].iloc[fold].isin(set(units)).to_numpy()]
        for fold in folds
    ]
    readings = (
        (chosen, model.transform(without_units(data, fold)))
        for chosen, fold, model in zip(scored, folds, models, strict=True)
    )
    return _scored(readings, data, counts, rows, levels)


def leave_out(data: Binned, units: NDArray[np.int64]) -> Binned:
    """The same bins with these units marked as not observed; models then read their training mean."""

    def hidden(values: NDArray[Any]) -> NDArray[Any]:
        values = values.copy()
        values[:, units] = 0
        return values

    return replace(
        data,
        sessions=tuple(
            replace(
                session,
                activity=hidden(session.activity),
                observed=hidden(
                    np.ones(session.activity.shape, dtype=bool) if session.observed is None else session.observed
                ),
            )
            for session in data.sessions
        ),
    )


def without_units(data: Binned, units: NDArray[np.int64]) -> Binned:
    """The same bins without these units."""
    kept = np.setdiff1d(np.arange(data.n_units), units)
    statistics = tuple(
        UnitStatistics(offset=known.offset[kept], scale=known.scale[kept]) for known in data.preprocessing.statistics
    )
    sessions = tuple(
        replace(
            session,
            activity=session.activity[:, kept],
            units=session.units.iloc[kept],
            observed=None if session.observed is None else session.observed[:, kept],
        )
        for session in data.sessions
    )
    return replace(data, sessions=sessions, preprocessing=replace(data.preprocessing, statistics=statistics))


def _folds(n_units: int, seed: int) -> list[NDArray[np.int64]]:
    if n_units < 2:
        raise DataError(f"co-smoothing leaves units out and the data hold {n_units}; expected at least 2")
    order = np.arange(n_units) if n_units <= LEAVE_ONE_OUT else np.random.default_rng(seed).permutation(n_units)
    return np.array_split(order, n_units if n_units <= LEAVE_ONE_OUT else N_FOLDS)


def _thinned(
    data: Binned, counts: Binned | None, splits: Sequence[str]
) -> tuple[dict[str, Mask], Binned, Binned | None]:
    """Rows of training and of each split among what is kept of the bins, and the bins that are kept."""
    if counts is not None and (counts.activity_kind != "counts" or counts.n_bins != data.n_bins):
        raise IncompatibleData(
            f"counts hold {counts.n_bins} bins of {counts.activity_kind} for {data.n_bins} bins; give the same bins "
            "before preprocessing, or None where the activity is no counts"
        )
    split = data.split
    wanted = {name: split == SPLITS.index(name) for name in dict.fromkeys(("train", *splits))}
    wanted = {name: spread_rows(mask, at_most=MAX_ROWS) for name, mask in wanted.items() if mask.any()}
    if "train" not in wanted or len(wanted) < 2:
        raise DataError(
            f"co-smoothing fits on training bins and scores {' and '.join(splits)} bins; there are bins of "
            f"{', '.join(wanted) or 'none of them'}: set [split]"
        )
    kept = np.logical_or.reduce(list(wanted.values()))
    rows = {name: mask[kept] for name, mask in wanted.items()}
    return rows, data.rows(kept), None if counts is None else counts.rows(kept)


def _scored(
    readings: Iterator[tuple[NDArray[np.int64], Latents]],  # units to score, and latents that did not see them
    data: Binned,
    counts: Binned | None,
    rows: dict[str, Mask],
    levels: Sequence[int] | None,
) -> CoSmoothing:
    measure: Measure = "co_smoothing_r2" if counts is None else "co_smoothing_bits"
    gains = _squares_explained if counts is None else _bits_gained
    choose = _fixed_penalty if counts is None else _chosen_penalty
    target = (data if counts is None else counts).activity
    seen, unit_ids = data.observed, data.units["id"].to_numpy(dtype=object)
    found = []
    for units, latents in readings:
        space = latents.main
        for instance in range(space.n_instances):
            for level in range(space.n_levels)[-1:] if levels is None else levels:
                codes = _codes(space, instance, level, rows["train"])
                penalty: float | None = None  # one for all units of a fold: the first of them chooses
                for unit in units:
                    usable = _usable(space, None if seen is None else seen[:, unit])
                    fitted = rows["train"] & usable
                    scored = {split: mask & usable for split, mask in rows.items() if split != "train"}
                    values = target[:, unit].astype(np.float64)
                    penalty = penalty or choose(codes[fitted], values[fitted])
                    for split, pair in gains(codes, values, fitted, scored, penalty).items():
                        found.append((instance, level, split, unit_ids[unit], *pair))
    table = pd.DataFrame(found, columns=["instance", "level", "split", "unit", "gain", "scale"])
    keys = ["instance", "level", "split"]
    summary = table.groupby(keys, as_index=False)[["gain", "scale"]].sum()
    ordered = table.sort_values(keys, kind="stable", ignore_index=True)
    return CoSmoothing(measure=measure, units=_divided(ordered, measure), summary=_divided(summary, measure))


def _divided(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    score = table["gain"] / table["scale"].where(table["scale"] > 0)
    types = {"instance": "int32", "level": "int32", "split": "string", "unit": "string"}
    typed = table.drop(columns=["gain", "scale"]).assign(**{measure: score})
    return typed.astype({name: kind for name, kind in types.items() if name in typed})


def _codes(space: LatentSpace, instance: int, level: int, train: Mask) -> Any:
    """(n_rows, n_latents) codes of one level over their spread on training rows; constant latents stay as they are."""
    source = space.csr(instance, level=level) if space.is_sparse else space.dense(instance, level=level)
    codes: Any = source.astype(np.float64)
    part: Any = codes[train]
    mean, square = (np.asarray(values.sum(axis=0)) / max(part.shape[0], 1) for values in (part, part * part))
    spread = np.sqrt(np.maximum(square.ravel() - mean.ravel() ** 2, 0))
    spread = np.where(spread > 0, spread, 1)
    if not space.is_sparse or codes.shape[1] > NEWTON_LATENTS:
        return codes @ sparse.diags_array(1 / spread) if space.is_sparse else codes / spread
    return codes.toarray() / spread


def _usable(space: LatentSpace, seen: Mask | None) -> Mask:
    """(n_rows,) rows the model speaks of and in which the unit was observed."""
    usable = np.ones(space.n_rows, dtype=bool) if space.defined is None else space.defined
    return usable if seen is None else usable & seen


def _bits_gained(
    codes: Any, counts: Floats, fitted: Mask, scored: dict[str, Mask], penalty: float
) -> dict[str, tuple[float, float]]:
    """Per split the bits gained over the mean training count, and the spikes."""
    null = max(float(counts[fitted].mean()) if fitted.any() else 0.0, RATE_FLOOR)
    readout = _regression(codes[fitted], counts[fitted], penalty)
    return {
        split: (_gain(readout, codes[mask], counts[mask], null), float(counts[mask].sum()))
        for split, mask in scored.items()
    }


@dataclass(frozen=True, kw_only=True)
class _Readout:
    """A Poisson regression and the largest count it was fitted on, beyond which it would extrapolate."""

    regression: PoissonRegressor
    largest: float


def _gain(readout: _Readout | None, codes: Any, counts: Floats, null: float) -> float:
    """Bits gained over a constant rate; none where there is no readout."""
    if readout is None or not len(counts):
        return 0.0
    with np.errstate(over="ignore"):
        rate = np.clip(readout.regression.predict(codes), RATE_FLOOR, readout.largest)
    return float((counts * np.log(rate / null) - rate + null).sum() / np.log(2))


def _chosen_penalty(codes: Any, counts: Floats) -> float:
    """The penalty that foretells a quarter of the training bins best."""
    if len(counts) < FEW_ROWS:
        return PENALTIES[0]
    held = np.arange(len(counts)) // RUN_OF_ROWS % 4 == 3
    null = max(float(counts[~held].mean()), RATE_FLOOR)
    tried = [_regression(codes[~held], counts[~held], penalty) for penalty in PENALTIES]
    return PENALTIES[int(np.argmax([_gain(one, codes[held], counts[held], null) for one in tried]))]


def _fixed_penalty(codes: Any, activity: Floats) -> float:
    return PENALTIES[0]


def _regression(codes: Any, counts: Floats, penalty: float) -> _Readout | None:
    """Poisson regression of counts on codes; None where there is no spike."""
    if not counts.any():
        return None
    solver = "newton-cholesky" if codes.shape[1] <= NEWTON_LATENTS else "lbfgs"
    regression = PoissonRegressor(alpha=penalty, solver=solver)
    with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):  # steps too far are taken back
        warnings.simplefilter("ignore", ConvergenceWarning)  # an iteration more moves the score by less than is printed
        warnings.simplefilter("ignore", LinAlgWarning)
        regression.fit(codes, counts)
    if not (np.isfinite(regression.coef_).all() and np.isfinite(regression.intercept_)):
        return None
    return _Readout(regression=regression, largest=max(float(counts.max()), RATE_FLOOR))


def _squares_explained(
    codes: Any, activity: Floats, fitted: Mask, scored: dict[str, Mask], penalty: float
) -> dict[str, tuple[float, float]]:
    """Per split the squares explained beyond the training mean, and the squares about it."""
    if not fitted.any():
        return dict.fromkeys(scored, (0.0, 0.0))
    null = float(activity[fitted].mean())
    readout = Ridge(alpha=penalty * int(fitted.sum())).fit(codes[fitted], activity[fitted])
    explained = {}
    for split, mask in scored.items():
        y = activity[mask]
        error = y - readout.predict(codes[mask]) if len(y) else y
        total = float(np.square(y - null).sum())
        explained[split] = (total - float(np.square(error).sum()), total)
    return explained
