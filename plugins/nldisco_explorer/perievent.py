"""Activations of one latent around an event: trials as rows, means by group, and their 95 % bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

if TYPE_CHECKING:
    from nldisco_core.binned import Covariate
    from nldisco_core.selection import Selection
    from nldisco_explorer.readings import Readings

__all__ = ["Aligned", "Groups", "aligned", "bootstrap_means", "groups_at", "merged_rows", "spoken", "window_s"]

N_BOOTSTRAP = 300
SEED = 0
SPARSE_SHARE = 0.1
MOST_VALUES = 12
N_QUANTILES, N_SECTORS = 4, 8

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """What trials are grouped by.

    Attributes
    ----------
    codes : (n_trials,) group of each trial, -1 where it has none
    labels : one per group
    colours : one per group where they have an order or a direction, as a canvas reads them; else empty
    """

    codes: NDArray[np.int32]
    labels: tuple[str, ...]
    colours: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Aligned:
    """One latent around one event.

    Attributes
    ----------
    event : name of the event
    times_s : (n_offsets,) centre of each bin relative to the event (s)
    trials : (n_rows,) trial of each row, by group, then in the order in which they were run
    codes : (n_rows,) group of each row
    values : (n_rows, n_offsets) activation; NaN where there is no bin, or one of another split or not spoken of
    """

    event: str
    times_s: Floats
    trials: NDArray[np.int64]
    codes: NDArray[np.int32]
    values: Floats


def spoken(event: str) -> str:
    """The name of an event or column as it is read out: ``go_cue_s`` is ``go cue``."""
    return event.removesuffix("_s").removesuffix("_time").replace("_", " ")


def window_s(reads: Readings) -> tuple[float, float]:
    """From a third of a usual trial before an event to two thirds after it; 30 bins at least, 3 s at most."""
    bin_s = reads.run.counts.bin_s
    frame = reads.trials.frame
    usual_s = float((frame["stop_s"] - frame["start_s"]).median())
    third = round(min(max(usual_s, 30 * bin_s), max(3.0, 30 * bin_s)) / 3 / bin_s)
    return -third * bin_s, 2 * third * bin_s


def groups_at(reads: Readings, by: str | None, event: str) -> Groups:
    """Groups of all trials: by a column of the trial table, or by the value of a variable at the event.

    Directions are cut into eight sectors, other numbers of more than 12 different values into quarters of the trials;
    labels of a discrete variable are kept, however many there are.
    """
    frame = reads.trials.frame
    if by is None:
        return Groups(codes=np.zeros(len(frame), dtype=np.int32), labels=("all trials",))
    covariate = reads.covariate(by) if by in reads.variables() else None
    column = frame[by] if by in frame else _at_event(reads, reads.covariate(by), event)
    if covariate is not None and covariate.kind == "circular" and pd.api.types.is_numeric_dtype(column):
        return _sectors(column / (covariate.period or 1.0))
    return _groups(column, cut=covariate is None or covariate.kind != "discrete")


def _at_event(reads: Readings, covariate: Covariate, event: str) -> pd.Series:
    """Value or name of a variable in the bin that holds the event of each trial, missing where there is none."""
    at = reads.trials.around(event, 0.0, reads.run.counts.bin_s)[:, 0]
    codes = pd.Series(np.where(at >= 0, covariate.values[at, 0], np.nan))
    return codes.map(dict(enumerate(covariate.categories))) if covariate.categories else codes


def _sectors(turns: pd.Series) -> Groups:
    """Directions, in whole turns, by the nearest of eight; in the colours of the circle."""
    known = turns.notna().to_numpy()
    codes = np.where(known, np.rint(turns.fillna(0.0).to_numpy(np.float64) * N_SECTORS) % N_SECTORS, -1)
    places = np.arange(N_SECTORS) / N_SECTORS
    return Groups(
        codes=codes.astype(np.int32),
        labels=tuple(f"{360 * place:g}°" for place in places),
        colours=tuple(f"cycle@{place:g}" for place in places),
    )


def _groups(column: pd.Series, *, cut: bool) -> Groups:
    if cut and pd.api.types.is_float_dtype(column) and column.nunique() > MOST_VALUES:
        quarter, edges = pd.qcut(column, N_QUANTILES, labels=False, retbins=True, duplicates="drop")
        labels = tuple(f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges))
        places = np.linspace(0, 1, len(labels))
        colours = tuple(f"visible@{place:.3g}" for place in places)
        return Groups(codes=quarter.fillna(-1).to_numpy(np.int32), labels=labels, colours=colours)
    codes, values = pd.factorize(column, sort=True)
    labels = tuple(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    return Groups(codes=codes.astype(np.int32), labels=labels)


def aligned(reads: Readings, selection: Selection, event: str, groups: Groups) -> Aligned:
    """Rows of the trials that have the event, a group, and at least one bin of the selected split."""
    bin_s = reads.run.counts.bin_s
    start_s, stop_s = window_s(reads)
    rows = reads.trials.around(event, start_s, stop_s)
    active = reads.activations(selection)
    trace = active.trace(len(active.defined))
    values = np.where((rows >= 0) & active.defined[rows], trace[rows], np.nan)
    kept = (groups.codes >= 0) & ~np.isnan(values).all(axis=1)
    if selection.trial_filter is not None:
        kept &= np.isin(np.arange(len(kept)), selection.trial_filter)
    trials = np.flatnonzero(kept)
    trials = trials[np.argsort(groups.codes[trials], kind="stable")]
    times_s = np.asarray(start_s + (np.arange(rows.shape[1]) + 0.5) * bin_s, dtype=np.float64)
    return Aligned(event=event, times_s=times_s, trials=trials, codes=groups.codes[trials], values=values[trials])


def bootstrap_means(values: Floats, *, seed: int = SEED) -> tuple[Floats, Floats, Floats]:
    """Mean over trials, and the bounds of its 95 % interval: 300 resamplings of whole trials, percentiles 2.5 and 97.5.

    Parameters
    ----------
    values : (n_trials, n_offsets), NaN where a trial has no bin

    Returns
    -------
    mean, low, high : (n_offsets,); the mean is NaN where no trial has a bin, the bounds where fewer than two have one
    """
    known = ~np.isnan(values)
    n_known = known.sum(axis=0)
    mean = np.divide(np.nansum(values, axis=0), n_known, out=np.full(len(n_known), np.nan), where=n_known > 0)
    drawn = _resampled_means(values, known, _resamplings(len(values), seed))
    low, high = np.full((2, len(n_known)), np.nan)
    certain = (n_known > 1) & ~np.isnan(drawn).any(axis=0)
    rare = (n_known > 1) & ~certain  # so few trials that some resamplings hold none of them
    for chosen, percentile in ((certain, np.percentile), (rare, np.nanpercentile)):
        if chosen.any():
            low[chosen], high[chosen] = percentile(drawn[:, chosen], [2.5, 97.5], axis=0)
    return mean, low, high


def _resampled_means(values: Floats, known: NDArray[np.bool_], times: NDArray[np.float32]) -> Floats:
    """(n_draws, n_offsets) means of resamplings."""
    summed = _sums(np.where(known, values, 0.0), times)
    weight = len(values) - _sums(~known, times)
    return np.asarray(np.divide(summed, weight, out=np.full(summed.shape, np.nan), where=weight > 0.5))


def _sums(values: NDArray[Any], times: NDArray[np.float32]) -> Floats:
    """(n_draws, n_offsets) ``times.T @ values``, of few values without looking at the zeros."""
    values = values.astype(np.float32)
    few = np.count_nonzero(values) < SPARSE_SHARE * values.size
    summed = (sparse.csr_array(values.T) @ times).T if few else times.T @ values
    return np.asarray(summed, dtype=np.float64)


@lru_cache(maxsize=32)
def _resamplings(n_trials: int, seed: int) -> NDArray[np.float32]:
    """(n_trials, 300) how often each trial is drawn in each resampling."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_trials, np.full(n_trials, 1 / max(n_trials, 1)), size=N_BOOTSTRAP)
    return np.ascontiguousarray(drawn.T, dtype=np.float32)


def merged_rows(values: Floats, most: int) -> tuple[Floats, int]:
    """At most `most` rows: means of so many neighbouring ones, NaN where none has a value."""
    per_row = -(-len(values) // most)
    if per_row <= 1:
        return values, 1
    firsts = np.arange(0, len(values), per_row)
    n_known = np.add.reduceat(~np.isnan(values), firsts, axis=0)
    summed = np.add.reduceat(np.nan_to_num(values), firsts, axis=0)
    return np.divide(summed, n_known, out=np.full(summed.shape, np.nan), where=n_known > 0), per_row
