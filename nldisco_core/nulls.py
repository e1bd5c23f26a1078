"""What a score would be by chance: relabelled bins, p values and false discoveries.

A null is a set of ways to give bins the labels of other bins. Which one is right depends on where the variable comes
from: signals are shifted in a circle inside their session, conditions of a trial are permuted among trials, events and
phases are shifted in a circle inside each trial. Shifts assume that nothing drifts through the session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special, stats

from nldisco_core.binned import NO_TRIAL, Binned, Covariate

__all__ = [
    "GUARD_TIMES",
    "MIN_EFFECTIVE_SHIFTS",
    "Null",
    "autocorrelation_time",
    "benjamini_hochberg",
    "choose_null",
    "circular_shift",
    "effective_shifts",
    "null_distribution",
    "p_values",
    "trial_permutation",
    "within_trial_shift",
]

MIN_EFFECTIVE_SHIFTS = 20
GUARD_TIMES = 3
_MOST_SHIFTS = 1e6

Statistic = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Null:
    """One way of relabelling bins by chance.

    Attributes
    ----------
    name : ``circular shift``, ``trial permutation`` or ``within-trial shift``
    effective_shifts : number of independent relabellings the recording offers, at most one million
    sources : for n draws gives n arrays (n_bins,) int64: the row whose label each row takes; the same each time it is
        asked
    """

    name: str
    effective_shifts: float
    sources: Callable[[int], Iterator[NDArray[np.int64]]]

    @property
    def refusal(self) -> str | None:
        """Why no p value can be had from it, None where one can."""
        if self.effective_shifts >= MIN_EFFECTIVE_SHIFTS:
            return None
        return (
            f"{self.name}: {self.effective_shifts:.1f} effective independent relabellings; at least "
            f"{MIN_EFFECTIVE_SHIFTS} are needed for a p value. A longer recording, or more trials, has more"
        )


def choose_null(
    covariate: Covariate, data: Binned, *, usable: NDArray[np.bool_], tested: NDArray[np.bool_], seed: int
) -> Null:
    """The null that suits where the variable comes from.

    Signals: `circular_shift`; conditions of a trial: `trial_permutation`; events and phases: `within_trial_shift`.
    Outside of trials there is only the first.

    Parameters
    ----------
    usable : (n_bins,) rows the latents speak of
    tested : (n_bins,) rows the statistic is computed on
    """
    if not (usable & covariate.defined & (data.trial != NO_TRIAL)).any():
        return circular_shift(covariate, data, usable=usable, tested=tested, seed=seed)
    if covariate.source == "trial":
        return trial_permutation(covariate, data, usable=usable, tested=tested, seed=seed)
    if covariate.source in ("event", "phase"):
        return within_trial_shift(covariate, data, usable=usable, tested=tested, seed=seed)
    return circular_shift(covariate, data, usable=usable, tested=tested, seed=seed)


def circular_shift(
    covariate: Covariate, data: Binned, *, usable: NDArray[np.bool_], tested: NDArray[np.bool_], seed: int
) -> Null:
    """Labels of each session turned in a circle by an amount of its own.

    The usable rows where the variable is defined are laid end to end, so a shift never moves a gap onto tested rows.
    Shifts closer to zero than `GUARD_TIMES` autocorrelation times are not drawn; a session without any other keeps
    its labels, which only makes the test more careful. The `effective_shifts` of the tested sessions multiply. The
    draws of a session depend on the seed, the variable's name and the session's id, not on the order of the sessions.
    """
    defined = usable & covariate.defined
    parts: list[tuple[NDArray[np.int64], int, tuple[int, int, int]]] = []
    counts: list[float] = []
    trajectory = _trajectory(covariate)
    for index, rows in enumerate(_rows_by_session(data, defined)):
        shifts = effective_shifts(trajectory[rows])
        if shifts >= 1:
            guard = int(np.ceil(GUARD_TIMES * autocorrelation_time(trajectory[rows])))
            parts.append((rows, guard, _key(seed, covariate, data, index)))
            counts.append(shifts if tested[rows].any() else 1.0)

    def sources(n_draws: int) -> Iterator[NDArray[np.int64]]:
        shifts = [
            np.random.default_rng(key).integers(guard, len(rows) - guard + 1, n_draws) for rows, guard, key in parts
        ]
        for draw in range(n_draws):
            source = np.arange(data.n_bins)
            for (rows, _, _), shift in zip(parts, shifts, strict=True):
                source[rows] = np.roll(rows, shift[draw])
            yield source

    return Null(name="circular shift", effective_shifts=_product(counts), sources=sources)


def trial_permutation(
    covariate: Covariate,
    data: Binned,
    *,
    usable: NDArray[np.bool_],
    tested: NDArray[np.bool_],
    seed: int,
    blocks: NDArray[np.int64] | None = None,
) -> Null:
    """Labels of whole trials dealt out anew among the labelled trials of a session.

    Parameters
    ----------
    blocks : (n_bins,) block of each row; trials change labels only within the block of their first row, for sessions
        where conditions came in blocks. None: the whole session is one block
    """
    rows = np.flatnonzero(usable & covariate.defined & (data.trial != NO_TRIAL))
    session = data.session_of_bin[rows]
    _, first, trial_of_row = np.unique(
        np.stack([session, data.trial[rows]]), axis=1, return_index=True, return_inverse=True
    )
    trial_of_row = trial_of_row.ravel()
    example = rows[first]
    block_of_trial = np.zeros(len(first), dtype=np.int64) if blocks is None else np.asarray(blocks)[example]
    _, group = np.unique(np.stack([session[first], block_of_trial]), axis=1, return_inverse=True)
    groups = [np.flatnonzero(group.ravel() == number) for number in range(int(group.max(initial=-1)) + 1)]
    keys = [
        (*_key(seed, covariate, data, int(session[first[members[0]]])), int(block_of_trial[members[0]]) & 0xFFFFFFFF)
        for members in groups
    ]
    tested_trials = np.bincount(trial_of_row, weights=tested[rows], minlength=len(first)) > 0
    labels = covariate.values[example, 0]
    counts = [_distinct_permutations(labels[members], int(tested_trials[members].sum())) for members in groups]

    def sources(n_draws: int) -> Iterator[NDArray[np.int64]]:
        generators = [np.random.default_rng(key) for key in keys]
        for _ in range(n_draws):
            donor = example.copy()
            for members, generator in zip(groups, generators, strict=True):
                donor[members] = generator.permutation(example[members])
            source = np.arange(data.n_bins)
            source[rows] = donor[trial_of_row]
            yield source

    return Null(name="trial permutation", effective_shifts=_product(counts), sources=sources)


def within_trial_shift(
    covariate: Covariate, data: Binned, *, usable: NDArray[np.bool_], tested: NDArray[np.bool_], seed: int
) -> Null:
    """Labels of each trial turned in a circle by an amount of its own, zero included.

    All usable rows of a trial take part, those without a label too, which is the same as shifting its activations. A
    shift of the whole session would leave trials of one length in step with each other.
    """
    rows = np.flatnonzero(usable & (data.trial != NO_TRIAL))
    session = data.session_of_bin[rows]
    trials, trial_of_row, length = np.unique(
        np.stack([session, data.trial[rows]]), axis=1, return_inverse=True, return_counts=True
    )
    trial_of_row = trial_of_row.ravel()
    order = np.argsort(trial_of_row, kind="stable")
    by_trial, trial_of_row = rows[order], trial_of_row[order]
    start = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64)
    position = np.arange(len(rows)) - start[trial_of_row]
    per_session = [
        (_key(seed, covariate, data, int(index)), int((trials[0] == index).sum())) for index in np.unique(session)
    ]
    tested_trials = np.bincount(trial_of_row, weights=tested[by_trial], minlength=len(length)) > 0
    autocorrelation = autocorrelation_time(np.nan_to_num(_trajectory(covariate)[by_trial]))

    def sources(n_draws: int) -> Iterator[NDArray[np.int64]]:
        generators = [(np.random.default_rng(key), n_trials) for key, n_trials in per_session]
        for _ in range(n_draws):
            turn = np.concatenate([generator.random(n_trials) for generator, n_trials in generators] or [np.empty(0)])
            shift = (turn * length).astype(np.int64)
            source = np.arange(data.n_bins)
            source[by_trial] = by_trial[start[trial_of_row] + (position + shift[trial_of_row]) % length[trial_of_row]]
            yield source

    return Null(
        name="within-trial shift",
        effective_shifts=_product(np.maximum(length[tested_trials] / autocorrelation, 1.0)),
        sources=sources,
    )


def autocorrelation_time(values: NDArray[np.float64]) -> float:
    """Autocorrelation time of a series, in samples.

    ``tau = 1 + 2 sum_k rho(k)**2`` over the lags before the autocorrelation first reaches zero, the channels'
    covariances added before dividing: the correlation of two independent series that are both like this one varies as
    it would over n / tau independent samples (Bartlett, Suppl. J. R. Stat. Soc. 8, 27, 1946). For an exponential
    decay it is the time to 1/e. A constant series has its own length, an empty one 1.

    Parameters
    ----------
    values : (n_samples,) or (n_samples, n_channels), no NaN; angles as cosine and sine, categories as indicator columns
    """
    series = np.asarray(values, dtype=np.float64)
    series = series[:, None] if series.ndim == 1 else series
    n_samples = len(series)
    if n_samples == 0:
        return 1.0
    n_padded = fft.next_fast_len(2 * n_samples, real=True)
    spectrum = fft.rfft(series - series.mean(axis=0), n=n_padded, axis=0)
    covariance = fft.irfft(np.square(np.abs(spectrum)).sum(axis=1), n=n_padded)[:n_samples]
    if not covariance[0] > 1e-12 * np.square(series).sum():
        return float(n_samples)
    rho = covariance[1:] / covariance[0]
    until = int(np.argmax(rho <= 0)) if (rho <= 0).any() else len(rho)
    return float(1 + 2 * np.square(rho[:until]).sum())


def effective_shifts(values: NDArray[np.float64]) -> float:
    """Independent shifts in a circle that a series offers outside the guard around zero.

    ``n_samples / tau - 2 GUARD_TIMES``, never below zero, tau its `autocorrelation_time`; values as there.
    """
    return max(len(values) / autocorrelation_time(values) - 2 * GUARD_TIMES, 0.0)


def null_distribution(
    null: Null,
    statistic: Statistic,
    *,
    n_draws: int,
    codes: NDArray[np.int32],
    n_conditions: int,
    tested: NDArray[np.bool_],
    active_rows: NDArray[np.int64],
    active_columns: NDArray[np.int64],
    n_columns: int,
) -> NDArray[np.float64]:
    """(n_draws, n_columns) a statistic of active bins per condition under a null, all latents at once.

    Time grows with the number of active bins that are tested, whatever the number of conditions.

    Parameters
    ----------
    statistic : from (n_columns, n_conditions) active bins and (n_conditions,) bins of each condition to (n_columns,)
    codes : (n_bins,) condition of each row, -1 for none
    tested : (n_bins,) rows that count
    active_rows, active_columns : (n_active,) tested row and column (latent, of any instance) of each activation
    """
    stride = n_conditions + 1
    base = active_columns.astype(np.int64) * stride + 1
    chance = np.empty((n_draws, n_columns))
    for draw, source in enumerate(null.sources(n_draws)):
        labels = codes[source].astype(np.int64)
        counts = np.bincount(base + labels[active_rows], minlength=n_columns * stride).reshape(n_columns, stride)[:, 1:]
        n_on = np.bincount(labels[tested] + 1, minlength=stride)[1:]
        chance[draw] = statistic(counts, n_on)
    return chance


def p_values(observed: NDArray[np.float64], null: NDArray[np.float64]) -> NDArray[np.float64]:
    """One-sided p of each observed value, ``(1 + #{null >= observed}) / (1 + n)``; NaN where the observed is NaN.

    Parameters
    ----------
    observed : (n_tests,)
    null : (n_draws, n_tests) values by chance; a NaN counts as reached
    """
    reached = (~(null < observed)).sum(axis=0)
    return np.where(np.isnan(observed), np.nan, (1 + reached) / (1 + len(null)))


def benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """False discovery rate at which each p would be called; NaN are no members of the family and stay NaN.

    Benjamini & Hochberg, J. R. Stat. Soc. B 57, 289 (1995).
    """
    q = np.full(np.shape(p), np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = stats.false_discovery_control(np.asarray(p)[tested])
    return q


def _trajectory(covariate: Covariate) -> NDArray[np.float64]:
    """(n_bins, n_channels) the variable as numbers whose covariance means something."""
    if covariate.kind == "circular":
        angle = 2 * np.pi * covariate.values / (covariate.period or 1.0)
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    if covariate.kind == "discrete":
        values = covariate.values[:, 0]
        return np.where(np.isnan(values)[:, None], np.nan, values[:, None] == np.unique(values[~np.isnan(values)]))
    return covariate.values


def _rows_by_session(data: Binned, mask: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    offsets = data.row_offsets
    for start, stop in pairwise(offsets):
        yield np.flatnonzero(mask[start:stop]) + start


def _key(seed: int, covariate: Covariate, data: Binned, session: int) -> tuple[int, int, int]:
    return seed, crc32(covariate.name.encode()), crc32(data.sessions[session].session_id.encode())


def _distinct_permutations(labels: NDArray[np.float64], n_tested: int) -> float:
    """Ways to deal the labels out that the tested trials can tell apart; an upper bound, at most one million."""
    counts = np.unique(labels, return_counts=True)[1]
    log_ways = special.gammaln(len(labels) + 1) - special.gammaln(counts + 1).sum()
    log_ways = min(float(log_ways), n_tested * float(np.log(max(len(counts), 1))))
    return float(np.exp(min(log_ways, np.log(_MOST_SHIFTS))))


def _product(counts: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.exp(min(float(np.log(counts).sum()), np.log(_MOST_SHIFTS)))) if len(counts) else 1.0
