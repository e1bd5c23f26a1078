"""The trials of a run: their table, their events, and which bins lie around an event."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import Binned
from nldisco_core.errors import DataError, unknown_name

__all__ = ["Trials"]

MOST_GROUPS = 200
BOUNDS = ("start_s", "stop_s")


class Trials:
    """Trials of all sessions, one after the other.

    Parameters
    ----------
    data : whose sessions may lack a trial table; a run without any has no trials
    """

    def __init__(self, data: Binned) -> None:
        self._data = data
        self._by_value: dict[str, dict[str, tuple[int, ...]]] = {}
        self._around: dict[tuple[str, int, int], NDArray[np.int32]] = {}

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Row per trial: ``session`` (index of its session), then the columns of the sessions' trial tables."""
        frames = [
            session.trials.frame.assign(session=index)
            for index, session in enumerate(self._data.sessions)
            if session.trials is not None
        ]
        if not frames:
            return pd.DataFrame({"session": np.empty(0, dtype=np.int64), **{name: np.empty(0) for name in BOUNDS}})
        return pd.concat(frames, ignore_index=True)

    @cached_property
    def events(self) -> tuple[str, ...]:
        """Columns trials can be aligned to: the tables' own events, then the start and the stop of the trial."""
        tables = [session.trials for session in self._data.sessions if session.trials is not None]
        return tuple(dict.fromkeys([*(name for table in tables for name in table.events), *BOUNDS])) if tables else ()

    @cached_property
    def groupings(self) -> tuple[str, ...]:
        """Columns trials can be grouped by: two to 200 values that are no times."""
        others = [name for name in self.frame if name not in (*self.events, "session")]
        return tuple(name for name in others if 2 <= self.frame[name].nunique() <= MOST_GROUPS)

    def by_value(self, column: str) -> dict[str, tuple[int, ...]]:
        """Trials by the value they have in a column, in the order of the values; those without one are left out."""
        if column not in self._by_value:
            codes, values = pd.factorize(self.frame[column], sort=True)
            labels = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
            held = [tuple(np.flatnonzero(codes == code).tolist()) for code in range(len(labels))]
            self._by_value[column] = dict(zip(labels, held, strict=True))
        return self._by_value[column]

    def value_of(self, trials: tuple[int, ...] | None) -> tuple[str, str] | None:
        """Column and value that all of these trials have and no other has; None where there is no such pair."""
        pairs = ((column, label, held) for column in self.groupings for label, held in self.by_value(column).items())
        return next(((column, label) for column, label, held in pairs if held == trials), None) if trials else None

    def around(self, event: str, start_s: float, stop_s: float) -> NDArray[np.int32]:
        """(n_trials, n_offsets) stacked bin that holds each time around an event, -1 where there is none.

        Column k is the bin that holds ``event + start_s + (k + 1/2) bin_s``; windows may run into the next trial. Kept
        for the next call.

        Parameters
        ----------
        event : one of `events`
        start_s, stop_s : the window relative to the event (s), in whole bins

        Raises
        ------
        DataError
            No session has that event.
        """
        if event not in self.events:
            raise DataError(unknown_name("event", event, self.events))
        first, last = (round(bound / self._data.bin_s) for bound in (start_s, stop_s))
        key = (event, first, last)
        if key not in self._around:
            self._around[key] = self._find(event, np.arange(first, last, dtype=np.float64) + 0.5)
        return self._around[key]

    def _find(self, event: str, offsets: NDArray[np.float64]) -> NDArray[np.int32]:
        found = np.full((len(self.frame), len(offsets)), -1, dtype=np.int32)
        times_s = self.frame[event].to_numpy(np.float64) if event in self.frame else np.full(len(found), np.nan)
        for index, (session, offset) in enumerate(zip(self._data.sessions, self._data.row_offsets, strict=False)):
            mine = np.flatnonzero((self.frame["session"] == index) & np.isfinite(times_s))
            wanted_ns = np.rint(times_s[mine, None] * 1e9 + offsets * self._data.bin_ns).astype(np.int64)
            row = np.searchsorted(session.start_ns, wanted_ns, side="right") - 1
            held = (row >= 0) & (wanted_ns - session.start_ns[row] < self._data.bin_ns)
            found[mine] = np.where(held, row + offset, -1)
        return found
