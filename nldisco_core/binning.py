"""From recorded sessions to bins: activity, behaviour, trials and events on one grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType

import numpy as np

from nldisco_core.activity import grid_activity
from nldisco_core.alignment import align_signals
from nldisco_core.binned import NO_SPLIT, NO_TRIAL, Binned, BinnedSession
from nldisco_core.errors import DataError, InvalidRecording, unknown_name
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
    activity = grid_activity(session, bin_s=bin_s, epoch=epoch)
    grid, warnings, derived = activity.grid, [], []
    trial = np.full(grid.n_bins, NO_TRIAL, dtype=np.int32)
    event, event_warnings = event_covariate(table, session.events, grid)
    if table is not None:
        trial, n_contested = assign_trials(table, grid)
        if n_contested:
            warnings.append(
                f"{n_contested} bins lie in more than one of the overlapping {trials!r}; the first to start has them"
            )
        columns, column_warnings = trial_covariates(table, trial)
        derived = [phase_covariate(table, trial, grid), *columns]
        warnings += column_warnings
    covariates = align_signals(session, grid, signals)
    found = [covariate for covariate in (event, *derived) if covariate is not None]
    covariates |= {covariate.name: covariate for covariate in under_free_names(found, covariates)}
    binned = BinnedSession(
        session_id=session.session_id,
        activity=activity.values,
        units=session.units,
        start_ns=grid.start_ns,
        trial=trial,
        split=np.full(grid.n_bins, NO_SPLIT, dtype=np.int8),
        observed=activity.observed,
        trials=table,
        covariates=MappingProxyType(covariates),
        warnings=(*warnings, *event_warnings),
    )
    return _only_trials(binned, trials, bin_s) if only_trials else binned


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


def _only_trials(binned: BinnedSession, trials: str | None, bin_s: float) -> BinnedSession:
    inside = binned.trial != NO_TRIAL
    if not inside.any():
        raise DataError(
            f"session {binned.session_id!r}: no bin of {bin_s:g} s lies wholly inside one of the {trials!r}; "
            "choose shorter bins or another epoch"
        )
    return binned.rows(inside)
