"""Variables made of others: conjunctions of two conditions, and windows around an event."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import NO_TRIAL, Binned, BinnedSession, Covariate
from nldisco_core.errors import DataError, unknown_name
from nldisco_core.tuning import Conditions

__all__ = ["around_event", "conjunction"]


def conjunction(one: tuple[Covariate, Conditions], other: tuple[Covariate, Conditions]) -> Covariate:
    """Discrete variable ``A & B`` whose categories are the pairs of conditions that occur together.

    Defined where both are. It is shifted like a signal if one of them is a signal, otherwise inside trials if one is an
    event or a phase, otherwise permuted with the trials.
    """
    (a, a_conditions), (b, b_conditions) = one, other
    both = (a_conditions.codes >= 0) & (b_conditions.codes >= 0)
    if not both.any():
        raise DataError(f"{a.name!r} and {b.name!r} are never defined together; choose two that are")
    pair = a_conditions.codes.astype(np.int64) * b_conditions.n_conditions + b_conditions.codes
    present, codes = np.unique(pair[both], return_inverse=True)
    values = np.full(len(both), np.nan)
    values[both] = codes
    labels = tuple(
        f"{a_conditions.labels[p // b_conditions.n_conditions]} & {b_conditions.labels[p % b_conditions.n_conditions]}"
        for p in present
    )
    sources = {a.source, b.source}
    source = next((kind for kind in ("signal", "event", "phase") if kind in sources), "trial")
    return Covariate(
        name=f"{a.name} & {b.name}",
        values=values,
        kind="discrete",
        source=source,  # type: ignore[arg-type]  # one of the two covariates' own
        categories=labels,
    )


def around_event(data: Binned, event: str, before_s: float, after_s: float) -> Covariate:
    """Discrete variable ``around EVENT``: whether a bin's centre lies in ``[t - before_s, t + after_s)`` of one at t.

    Events of the trial table are taken at their exact times and compared with the other bins of trials; others at
    the start of the bins that the variable ``event`` names, and compared with all bins.

    Raises
    ------
    DataError
        No session has the event; the nearest names are listed.
    """
    values, known = [], set()
    for session in data.sessions:
        times_s, in_trials = _times(session, event)
        known |= _event_names(session)
        inside = np.full(session.n_bins, np.nan)
        if times_s is not None:
            centre_s = session.start_ns * 1e-9 + data.bin_s / 2
            times_s = np.sort(times_s[np.isfinite(times_s)])
            n_begun = np.searchsorted(times_s - before_s, centre_s, side="right")
            n_over = np.searchsorted(times_s + after_s, centre_s, side="right")
            inside = (n_begun > n_over).astype(np.float64)
            inside[in_trials & (session.trial == NO_TRIAL)] = np.nan
        values.append(inside)
    joined = np.concatenate(values)
    if _short(event) not in known:
        raise DataError(unknown_name("event", event, sorted(known)))
    return Covariate(
        name=f"around {event}",
        values=joined,
        kind="discrete",
        source="event",
        categories=("elsewhere", f"{-before_s:g} to {after_s:g} s"),
    )


def _event_names(session: BinnedSession) -> set[str]:
    event = session.covariates.get("event")
    of_trials = () if session.trials is None else session.trials.events
    return {*map(_short, of_trials), *((event and event.categories) or ())}


def _times(session: BinnedSession, event: str) -> tuple[NDArray[np.float64] | None, bool]:
    """Times of an event (s), None where the session has no such event, and whether trials hold them."""
    events = () if session.trials is None else session.trials.events
    column = next((name for name in events if _short(event) == _short(name)), None)
    if session.trials is not None and column is not None:
        return pd.to_numeric(session.trials.frame[column]).to_numpy(np.float64), True
    named = session.covariates.get("event")
    if named is None or event not in (named.categories or ()):
        return None, False
    rows = named.values[:, 0] == (named.categories or ()).index(event)
    return session.start_ns[rows] * 1e-9, False


def _short(column: str) -> str:
    """The label that the variable ``event`` gives to an event column."""
    return column.removesuffix("_s").removesuffix("_time")
