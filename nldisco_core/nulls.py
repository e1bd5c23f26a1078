"""What a score would be by chance: relabelled bins, p values and false discoveries.

A null is a set of ways to give bins the labels of other bins. Which one is right depends on where the variable comes
from: signals are shifted in a circle inside their session, conditions of a trial are permuted among trials, events and
phases are shifted in a circle inside each trial. Shifts assume that nothing drifts, so they stay inside stretches of
the session wherever these are long enough; conditions that came in a row are not permuted but shifted along the trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from nldisco_core.autocorrelation import (
    autocorrelation_time,
    effective_shifts,
    stretches,
    trajectory,
    trend_share,
)
from nldisco_core.binned import NO_TRIAL, Binned, Covariate
from nldisco_core.counting import count_relabelled

__all__ = [
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
    "trial_shift",
    "within_trial_shift",
]

MIN_EFFECTIVE_SHIFTS = 20
_MOST_DRIFT = 0.1
_SERIAL_Z = 3.0
_MOST_SHIFTS = 1e6
_DRAWS_AT_ONCE = 16

Statistic = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Null:
    """One way of relabelling bins by chance.

    Attributes
    ----------
    name : ``circular shift``, ``trial permutation``, ``trial shift`` or ``within-trial shift``
    effective_shifts : number of independent relabellings the recording offers, at most one million
    drift : why the variable drifts too much for this null, None where it does not
    sources : for n draws gives n arrays (n_bins,) int64: the row whose label each row takes; the same each time it is
        asked
    """

    name: str
    effective_shifts: float
    sources: Callable[[int], Iterator[NDArray[np.int64]]]
    drift: str | None = None

    @property
    def offered(self) -> str:
        """How many independent relabellings the recording offers, in words."""
        return "a million or more" if round(self.effective_shifts) >= _MOST_SHIFTS else f"{self.effective_shifts:,.0f}"

    @property
    def refusal(self) -> str | None:
        """Why no p value can be had from it, None where one can."""
        if self.effective_shifts >= MIN_EFFECTIVE_SHIFTS:
            return None if self.drift is None else f"{self.name}: {self.drift}"
        return (
            f"{self.name}: {self.effective_shifts:.1f} effective independent relabellings; at least "
            f"{MIN_EFFECTIVE_SHIFTS} are needed for a p value. A longer recording, or more trials, has more"
        )


def choose_null(
    covariate: Covariate,
    data: Binned,
    *,
    usable: NDArray[np.bool_],
    tested: NDArray[np.bool_],
    seed: int,
    blocks: NDArray[np.int64] | None = None,
) -> Null:
    """The null that suits where the variable comes from.

    Signals: `circular_shift`; conditions of a trial: `trial_permutation`, or `trial_shift` where the conditions of
    successive trials depend on each other and no blocks are given; events and phases: `within_trial_shift`. Outside of
    trials there is only the first.

    Parameters
    ----------
    usable : (n_bins,) rows the latents speak of
    tested : (n_bins,) rows the statistic is computed on
    blocks : (n_bins,) block of the session of each row, within which conditions were drawn at random
    """
    if covariate.source == "signal" or not (usable & covariate.defined & (data.trial != NO_TRIAL)).any():
        return circular_shift(covariate, data, usable=usable, tested=tested, seed=seed)
    if covariate.source in ("event", "phase"):
        return within_trial_shift(covariate, data, usable=usable, tested=tested, seed=seed)
    if blocks is None and _come_in_a_row(covariate, data, usable):
        return trial_shift(covariate, data, usable=usable, tested=tested, seed=seed)
    return trial_permutation(covariate, data, usable=usable, tested=tested, seed=seed, blocks=blocks)


def circular_shift(
    covariate: Covariate, data: Binned, *, usable: NDArray[np.bool_], tested: NDArray[np.bool_], seed: int
) -> Null:
    """Labels turned in a circle, by an amount of its own, inside each stretch of each session.

    The usable rows where the variable is defined are laid end to end, so a shift never moves a gap onto tested rows.
    A session is cut into 32, 16, 8, 4 or 2 equal stretches if each then holds at least `BLOCK_TIMES` autocorrelation
    times of the variable less its mean there: what drifts through the session in both the variable and a latent then
    stays in step and tells nothing. A straight trend that explains a share R² of the variable leaves ``R²/n²`` inside
    n stretches; where that is more than a tenth of the standard error of a correlation, ``sqrt(tau/n_bins)``, the null
    is refused.

    Shifts near zero are drawn too: without them the others make up for what the observed one has above the mean of all,
    and the test calls too often where one condition decides. A session shorter than two autocorrelation times keeps
    its labels, which only makes the test more careful. The `effective_shifts` of the tested
    stretches multiply. The draws of a session depend on the seed, the variable's name and the session's id, not on the
    order of the sessions.
    """
    series = trajectory(covariate)
    parts: list[_Part] = []
    counts: list[float] = []
    drift = None
    for index, of_session in enumerate(_rows_by_session(data, usable & covariate.defined)):
        if not len(of_session):
            continue
        parts_of_session, tau = stretches(series[of_session])
        if tested[of_session].any():
            session = data.sessions[index].session_id
            drift = _drift(covariate.name, session, series[of_session], parts_of_session, tau) or drift
        for number, stretch in enumerate(parts_of_session):
            rows = of_session[stretch]
            shifts = len(rows) / tau
            if shifts >= 2:
                parts.append(_Part(rows=rows, key=(*_key(seed, covariate, data, index), number)))
                counts.append(shifts if tested[rows].any() else 1.0)

    def sources(n_draws: int) -> Iterator[NDArray[np.int64]]:
        shifts = [part.shifts(n_draws) for part in parts]
        for draw in range(n_draws):
            source = np.arange(data.n_bins)
            for part, shift in zip(parts, shifts, strict=True):
                source[part.rows] = np.roll(part.rows, shift[draw])
            yield source

    return Null(name="circular shift", effective_shifts=_product(counts), sources=sources, drift=drift)


def _drift(name: str, session: str, series: NDArray[np.float64], parts: Sequence[slice], tau: float) -> str | None:
    """Why a variable drifts too much through a session to be shifted inside parts of it, None where it does not."""
    trend = trend_share(series)
    if trend / len(parts) ** 2 <= _MOST_DRIFT * np.sqrt(tau / len(series)):
        return None
    return (
        f"a trend through session {session!r} explains {trend:.0%} of {name!r}, which is too slow to be shifted inside "
        "parts of it; remove it (`detrend`)"
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Rows, or trials, that are shifted together."""

    rows: NDArray[np.int64]
    key: tuple[int, ...]

    def shifts(self, n_draws: int) -> NDArray[np.int64]:
        return np.random.default_rng(self.key).integers(0, len(self.rows), n_draws)


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
    rows, example, trial_of_row = _labelled_trials(covariate, data, usable)
    session = data.session_of_bin[example]
    block_of_trial = np.zeros(len(example), dtype=np.int64) if blocks is None else np.asarray(blocks)[example]
    _, group = np.unique(np.stack([session, block_of_trial]), axis=1, return_inverse=True)
    groups = [np.flatnonzero(group.ravel() == number) for number in range(int(group.max(initial=-1)) + 1)]
    keys = [
        (*_key(seed, covariate, data, int(session[members[0]])), int(block_of_trial[members[0]]) & 0xFFFFFFFF)
        for members in groups
    ]
    tested_trials = np.bincount(trial_of_row, weights=tested[rows], minlength=len(example)) > 0
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


def trial_shift(
    covariate: Covariate, data: Binned, *, usable: NDArray[np.bool_], tested: NDArray[np.bool_], seed: int
) -> Null:
    """Labels of whole trials turned in a circle along the labelled trials of a session.

    For conditions that came in a row, where trials cannot be exchanged. Otherwise as `circular_shift`, in trials.
    """
    rows, example, trial_of_row = _labelled_trials(covariate, data, usable)
    session, series = data.session_of_bin[example], trajectory(covariate)[example]
    tested_trials = np.bincount(trial_of_row, weights=tested[rows], minlength=len(example)) > 0
    parts: list[_Part] = []
    counts: list[float] = []
    for index in np.unique(session):
        members = np.flatnonzero(session == index)
        shifts = effective_shifts(series[members])
        if shifts >= 2:
            parts.append(_Part(rows=members, key=_key(seed, covariate, data, int(index))))
            counts.append(shifts if tested_trials[members].any() else 1.0)

    def sources(n_draws: int) -> Iterator[NDArray[np.int64]]:
        shifts = [part.shifts(n_draws) for part in parts]
        for draw in range(n_draws):
            donor = example.copy()
            for part, shift in zip(parts, shifts, strict=True):
                donor[part.rows] = np.roll(example[part.rows], shift[draw])
            source = np.arange(data.n_bins)
            source[rows] = donor[trial_of_row]
            yield source

    return Null(name="trial shift", effective_shifts=_product(counts), sources=sources)


def _labelled_trials(
    covariate: Covariate, data: Binned, usable: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows of labelled trials, the first such row of each trial in order, and the trial of each of the rows."""
    rows = np.flatnonzero(usable & covariate.defined & (data.trial != NO_TRIAL))
    trial = np.stack([data.session_of_bin[rows], data.trial[rows]])
    _, first, trial_of_row = np.unique(trial, axis=1, return_index=True, return_inverse=True)
    return rows, rows[first], trial_of_row.ravel()


def _come_in_a_row(covariate: Covariate, data: Binned, usable: NDArray[np.bool_]) -> bool:
    """Whether labels of successive trials agree in some session more than by chance (three standard errors).

    The autocorrelation of n independent labels at lag one has a standard error of ``1 / sqrt(n)``.
    """
    _, example, _ = _labelled_trials(covariate, data, usable)
    session, series = data.session_of_bin[example], trajectory(covariate)[example]
    for index in np.unique(session):
        centred = series[session == index] - series[session == index].mean(axis=0)
        variance = np.square(centred).sum()
        if variance > 0 and (centred[1:] * centred[:-1]).sum() / variance * np.sqrt(len(centred)) > _SERIAL_Z:
            return True
    return False


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
    autocorrelation = autocorrelation_time(np.nan_to_num(trajectory(covariate)[by_trial]))

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


def null_distribution(
    null: Null,
    statistic: Statistic,
    *,
    n_draws: int,
    codes: NDArray[np.int32],
    n_conditions: int,
    tested: NDArray[np.bool_],
    active_starts: NDArray[np.int64],
    active_rows: NDArray[np.int32],
) -> NDArray[np.float64]:
    """(n_draws, n_columns) a statistic of active bins per condition under a null, all latents at once.

    Time grows with the number of active bins that are tested, whatever the number of conditions.

    Parameters
    ----------
    statistic : from (n_columns, n_conditions) active bins and (n_conditions,) bins of each condition to (n_columns,)
    codes : (n_bins,) condition of each row, -1 for none
    tested : (n_bins,) rows that count
    active_starts, active_rows : (n_columns + 1,) and (n_active,) tested rows of the active bins, ordered by column, see
        `nldisco_core.counting`
    """
    n_columns, stride = len(active_starts) - 1, n_conditions + 1
    chance = np.empty((n_draws, n_columns))
    at_once = min(_DRAWS_AT_ONCE, np.iinfo(np.uint16).max // stride)
    sources = null.sources(n_draws)
    for start in range(0, n_draws, at_once):
        labels = np.stack([codes[source] + 1 for source in islice(sources, at_once)], axis=1)
        cells = (labels + stride * np.arange(labels.shape[1])).astype(np.uint16)
        counts = count_relabelled(active_starts, active_rows, cells, stride * labels.shape[1])
        seen = np.bincount(cells[tested].ravel(), minlength=counts.shape[1]).reshape(-1, stride)[:, 1:]
        for draw, n_on in enumerate(seen):
            chance[start + draw] = statistic(counts[:, draw * stride + 1 : (draw + 1) * stride].astype(np.int64), n_on)
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
