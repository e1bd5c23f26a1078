"""From recorded sessions to bins: activity, behaviour, trials and events on one grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from nldisco_core.activity import grid_activity
from nldisco_core.alignment import align_signals
from nldisco_core.binned import NO_SPLIT, NO_TRIAL, Binned, BinnedSession, Covariate
from nldisco_core.errors import DataError, InvalidRecording, unknown_name
from nldisco_core.scratch import rows_of
from nldisco_core.session import IntervalTable, Session
from nldisco_core.trials import (
    assign_trials,
    event_covariate,
    phase_covariate,
    trial_covariates,
    under_free_names,
)

__all__ = ["bin_session", "bin_sessions"]


def bin_session(
    session: Session,
    *,
    bin_s: float,
    epoch: str | None = None,
    trials: str | None = None,
    only_trials: bool = False,
    signals: Sequence[str] | None = None,
) -> BinnedSession:
    """One session on half-open bins ``[t, t + bin_s)``; all times are compared in integer nanoseconds.

    Parameters
    ----------
    bin_s : width of a bin (s)
    epoch : label in the ``epochs`` table, each of its intervals a stretch with a grid of its own; None: the whole span
    trials : interval table whose rows are the trials; a bin belongs to the trial that wholly holds it
    only_trials : keep only bins that belong to a trial
    signals : signals to align, None for all

    Returns
    -------
    BinnedSession
        Activity (n_bins, n_units), silent bins kept, 0 and marked unobserved where a unit was not recorded throughout
        the bin; covariates: the signals, ``<position>_speed``, ``event``, ``phase`` and the columns of the trial table,
        a taken name preceded by ``trial_``. No bin has a split yet.

    Raises
    ------
    DataError
        Unknown epoch or signal, no room for a bin, no bin inside any trial where only trials are wanted, or a width
        that a binned source cannot give.
    InvalidRecording
        Trials asked for where there are none.
    """
    table = _trial_table(session, trials, only_trials=only_trials)
    gridded = grid_activity(session, bin_s=bin_s, epoch=epoch)
    grid, activity, observed = gridded.grid, gridded.values, gridded.observed
    warnings = [*_too_narrow(session, bin_s)]
    derived: list[Covariate | None] = []
    trial = np.full(grid.n_bins, NO_TRIAL, dtype=np.int32)
    if table is not None:
        trial, n_contested = assign_trials(table, grid)
        if n_contested:
            warnings.append(
                f"{n_contested} bins lie in more than one of the overlapping {trials!r}; the first to start has them"
            )
    kept = _inside_trials(session, trial, trials, bin_s) if only_trials else slice(None)
    del gridded  # of long recordings, what is not kept goes before the rest comes
    observed = _where_not_all(observed, kept)
    activity = activity if isinstance(kept, slice) else rows_of(activity, kept)
    aligned = align_signals(session, grid, signals)
    covariates = {name: _rows(aligned.pop(name), kept) for name in tuple(aligned)}
    event, event_warnings = event_covariate(table, session.events, grid)
    if table is not None:
        columns, column_warnings = trial_covariates(table, trial)
        derived = [phase_covariate(table, trial, grid), *columns]
        warnings += column_warnings
    found = [_rows(covariate, kept) for covariate in (event, *derived) if covariate is not None]
    covariates |= {covariate.name: covariate for covariate in under_free_names(found, covariates)}
    return BinnedSession(
        session_id=session.session_id,
        activity=activity,
        units=session.units,
        start_ns=grid.start_ns[kept],
        trial=trial[kept],
        split=np.full(len(activity), NO_SPLIT, dtype=np.int8),
        observed=observed,
        trials=table,
        covariates=MappingProxyType(covariates),
        warnings=(*warnings, *event_warnings),
    )


def bin_sessions(
    sessions: Iterable[Session],
    *,
    bin_s: float,
    epoch: str | None = None,
    trials: str | None = None,
    only_trials: bool = False,
    signals: Sequence[str] | None = None,
) -> Binned:
    """Several sessions on bins of one width; the keywords are those of `bin_session`.

    Raises
    ------
    DataError
        As `bin_session`, no session at all, or sessions whose activity is of different kinds.
    """
    binned, kinds = [], []
    for session in sessions:
        binned.append(
            bin_session(session, bin_s=bin_s, epoch=epoch, trials=trials, only_trials=only_trials, signals=signals)
        )
        kinds.append(session.activity_kind)
    if len(set(kinds)) > 1:
        raise DataError(
            f"sessions hold activity of different kinds ({', '.join(sorted(set(kinds)))}); choose sessions of one kind"
        )
    return Binned(sessions=tuple(binned), bin_s=bin_s, activity_kind=kinds[0] if kinds else "counts")


def _too_narrow(session: Session, bin_s: float) -> Iterator[str]:
    """A sentence where bins are shorter than the sampling period of continuous activity."""
    if session.traces is None or len(session.traces.times_s) < 2:
        return
    period_s = float(np.median(np.diff(session.traces.times_s)))
    if period_s > 1.01 * bin_s:
        yield (
            f"activity is sampled every {period_s:.4g} s, bins of {bin_s:g} s hold a sample or repeat one; "
            f"set bin.bin_s to {period_s:.4g} or more"
        )


def _trial_table(session: Session, trials: str | None, *, only_trials: bool) -> IntervalTable | None:
    where = f"session {session.session_id!r}"
    if trials is None:
        if only_trials:
            raise DataError(
                f"{where}: only_trials is set but no trial table is chosen; set trials to one of its interval tables"
            )
        return None
    if trials not in session.intervals:
        seen = f". The loader saw: {'; '.join(session.warnings)}" if session.warnings else ""
        unknown = unknown_name("interval table", trials, session.intervals)
        raise InvalidRecording(f"{where}: trials asked for, but none there; {unknown}{seen}")
    table = session.intervals[trials]
    if len(table) == 0:
        raise InvalidRecording(f"{where}: trials asked for, but none there; interval table {trials!r} is empty")
    return table


def _where_not_all(observed: NDArray[np.bool_] | None, kept: slice | NDArray[np.int64]) -> NDArray[np.bool_] | None:
    if observed is None:
        return None
    part = observed if isinstance(kept, slice) else rows_of(observed, kept)
    return None if part.all() else part


def _rows(covariate: Covariate, kept: slice | NDArray[np.int64]) -> Covariate:
    return covariate if isinstance(kept, slice) else replace(covariate, values=covariate.values[kept])


def _inside_trials(session: Session, trial: NDArray[np.int32], trials: str | None, bin_s: float) -> NDArray[np.int64]:
    inside = np.flatnonzero(trial != NO_TRIAL)
    if not len(inside):
        raise DataError(
            f"session {session.session_id!r}: no bin of {bin_s:g} s lies wholly inside one of the {trials!r}; "
            "choose shorter bins or another epoch"
        )
    return inside
