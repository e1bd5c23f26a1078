"""One recording session: units with their activity, behaviour, trials and events, on one clock in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording, unknown_name

__all__ = [
    "DeferredMapping",
    "IntervalTable",
    "Prebinned",
    "ReadsInBlocks",
    "Session",
    "Signal",
    "SignalKind",
    "SliceableArray",
    "SpikeTrains",
    "Traces",
    "read_only",
]

SignalKind = Literal["linear", "circular", "discrete", "position"]
ActivityKind = Literal["counts", "rate", "continuous"]

T = TypeVar("T")


class SliceableArray(Protocol):
    """What a numpy array and an HDF5 dataset have in common, as far as lazy reading needs it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    def __getitem__(self, key: slice, /) -> Any: ...


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The same values behind a view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


class DeferredMapping(Mapping[str, T], Generic[T]):
    """Mapping whose values are read when first asked for, and kept.

    Parameters
    ----------
    readers
        For each key a function without arguments that reads its value.
    """

    def __init__(self, readers: Mapping[str, Callable[[], T]]) -> None:
        self._readers = dict(readers)
        self._values: dict[str, T] = {}

    def __getitem__(self, key: str) -> T:
        if key not in self._values:
            self._values[key] = self._readers[key]()
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


@dataclass(frozen=True, kw_only=True, eq=False)
class Signal:
    """A behavioural or stimulus signal sampled in time.

    Attributes
    ----------
    times_s : (n_samples,) float64, s, strictly increasing
    values : (n_samples, n_channels) float64, or codes into `categories` for a discrete signal; NaN where not defined
    kind : ``linear``, ``circular`` (values wrap at `period`), ``discrete`` or ``position`` (channels are coordinates)
    period : length of one turn in the signal's own unit, circular signals only
    physical_unit : as stated by the source, None where it says nothing
    channels : one name per channel
    categories : label of each code of a discrete signal
    support_s : (n_intervals, 2) float64, s: where the signal was recorded; None means from first to last sample

    Raises
    ------
    InvalidRecording
        Times that are not finite or not increasing, shapes that do not match, a circular signal without period.
    """

    name: str
    times_s: NDArray[np.float64]
    values: NDArray[np.float64]
    kind: SignalKind = "linear"
    period: float | None = None
    physical_unit: str | None = None
    channels: tuple[str, ...] = ()
    categories: tuple[str, ...] | None = None
    support_s: NDArray[np.float64] | None = None
    description: str = ""

    def __post_init__(self) -> None:
        times = np.asarray(self.times_s, dtype=np.float64)
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim == 1:
            values = values[:, None]
        if times.ndim != 1 or values.ndim != 2 or len(times) != len(values):
            raise InvalidRecording(
                f"signal {self.name!r}: {times.shape} times for {values.shape} values; expected one row per time"
            )
        increasing = bool((times[1:] > times[:-1]).all())
        if not (increasing and np.isfinite(times[[0, -1]] if len(times) else times).all()):
            n_bad = np.count_nonzero(~np.isfinite(times))
            fault = f"{n_bad} times are not finite" if n_bad else "times must increase strictly"
            raise InvalidRecording(f"signal {self.name!r}: {fault}")
        if (self.kind == "circular") != (self.period is not None):
            raise InvalidRecording(f"signal {self.name!r}: a period is stated for circular signals, and only for them")
        if self.kind == "discrete" and self.categories is None:
            raise InvalidRecording(f"signal {self.name!r}: a discrete signal needs the labels of its codes")
        channels = self.channels or tuple(str(channel) for channel in range(values.shape[1]))
        if len(channels) != values.shape[1]:
            raise InvalidRecording(f"signal {self.name!r}: {len(channels)} names for {values.shape[1]} channels")
        object.__setattr__(self, "times_s", read_only(times))
        object.__setattr__(self, "values", read_only(values))
        object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "support_s", _intervals(self.support_s, f"signal {self.name!r}"))

    @property
    def sampling_period_s(self) -> float:
        """Median interval between samples (s); NaN for fewer than two samples."""
        return float(np.median(np.diff(self.times_s))) if len(self.times_s) > 1 else float("nan")


@runtime_checkable
class ReadsInBlocks(Protocol):
    """Capability of `Session.signals` that need not be held whole: asked with `isinstance`."""

    def blocks(self, names: Sequence[str], *, min_gap_s: float) -> Iterator[Mapping[str, Signal]]:
        """The named signals in consecutive parts, cut only where samples are at least `min_gap_s` (s) apart."""


@dataclass(frozen=True, eq=False)
class SpikeTrains:
    """Spike times of all units as one ragged array, read from its source when asked for.

    Attributes
    ----------
    source : (n_spikes,) s: the trains laid end to end, a numpy array or an HDF5 dataset
    offsets : (n_units + 1,) int64: unit i holds ``source[offsets[i]:offsets[i + 1]]``

    Raises
    ------
    InvalidRecording
        Spike times that are not finite or not sorted within a unit: at once for numpy arrays, when read for others.
    """

    source: SliceableArray
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        offsets = np.asarray(self.offsets, dtype=np.int64)
        n_spikes = self.source.shape[0]
        if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != n_spikes:
            raise InvalidRecording(f"spike trains: offsets must run from 0 to the {n_spikes} spikes")
        if (np.diff(offsets) < 0).any():
            raise InvalidRecording("spike trains: offsets must not decrease")
        object.__setattr__(self, "offsets", read_only(offsets))
        if isinstance(self.source, np.ndarray):
            _check_trains(self.source, offsets)

    @classmethod
    def from_units(cls, trains: Sequence[NDArray[np.float64]]) -> SpikeTrains:
        """Trains from one array of spike times (s) per unit."""
        lengths = [len(train) for train in trains]
        flat = np.concatenate([np.asarray(train, dtype=np.float64) for train in trains]) if trains else np.empty(0)
        return cls(flat, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, unit: int) -> NDArray[np.float64]:
        if not 0 <= unit < len(self):
            raise IndexError(f"unit {unit} of {len(self)}")
        train = np.asarray(self.source[int(self.offsets[unit]) : int(self.offsets[unit + 1])], dtype=np.float64)
        if not isinstance(self.source, np.ndarray):
            _check_trains(train, np.array([0, len(train)]), first_unit=unit)
        return read_only(train)

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        return (self[unit] for unit in range(len(self)))

    @property
    def n_spikes(self) -> NDArray[np.int64]:
        """(n_units,) spikes of each unit, known without reading any."""
        return np.diff(self.offsets)

    def flat(self) -> NDArray[np.float64]:
        """(n_spikes,) all spike times (s), unit after unit, read in one go."""
        times = np.asarray(self.source[:], dtype=np.float64)
        if not isinstance(self.source, np.ndarray):
            _check_trains(times, self.offsets)
        return read_only(times)


def _check_trains(times_s: NDArray[np.float64], offsets: NDArray[np.int64], *, first_unit: int = 0) -> None:
    finite = np.isfinite(times_s)
    if not finite.all():
        where = int(np.flatnonzero(~finite)[0])
        unit = int(np.searchsorted(offsets, where, side="right")) - 1 + first_unit
        raise InvalidRecording(f"unit {unit}: spike times hold NaN or infinity; expected finite seconds")
    backwards = np.flatnonzero(np.diff(times_s) < 0) + 1
    inside = backwards[~np.isin(backwards, offsets)]
    if len(inside):
        unit = int(np.searchsorted(offsets, inside[0], side="right")) - 1 + first_unit
        raise InvalidRecording(f"unit {unit}: spike times are not sorted; sort them in the source file")


@dataclass(frozen=True, kw_only=True, eq=False)
class Traces:
    """Continuous activity such as calcium fluorescence.

    Attributes
    ----------
    times_s : (n_samples,) float64, s, strictly increasing
    source : (n_samples, n_units), a numpy array or an HDF5 dataset
    physical_unit : as stated by the source
    """

    times_s: NDArray[np.float64]
    source: SliceableArray
    physical_unit: str | None = None

    def __post_init__(self) -> None:
        times = np.asarray(self.times_s, dtype=np.float64)
        if times.ndim != 1 or len(self.source.shape) != 2 or self.source.shape[0] != len(times):
            raise InvalidRecording(f"traces: {times.shape} times for {self.source.shape} samples x units")
        if not np.isfinite(times).all() or (len(times) > 1 and not (np.diff(times) > 0).all()):
            raise InvalidRecording("traces: times must be finite and increase strictly")
        object.__setattr__(self, "times_s", read_only(times))

    def values(self) -> NDArray[np.float64]:
        """(n_samples, n_units) float64, read in one go."""
        return read_only(np.asarray(self.source[:], dtype=np.float64))


@dataclass(frozen=True, kw_only=True, eq=False)
class Prebinned:
    """Activity that the source already holds in bins.

    Attributes
    ----------
    start_s : (n_bins,) float64, start of each bin (s), strictly increasing
    bin_s : width of a bin (s)
    source : (n_bins, n_units), a numpy array or an HDF5 dataset
    kind : ``counts``, ``rate`` (spikes per second) or ``continuous``
    """

    start_s: NDArray[np.float64]
    bin_s: float
    source: SliceableArray
    kind: ActivityKind

    def __post_init__(self) -> None:
        start = np.asarray(self.start_s, dtype=np.float64)
        if len(self.source.shape) != 2 or start.shape != (self.source.shape[0],):
            raise InvalidRecording(f"binned activity: {start.shape} bin starts for {self.source.shape} bins x units")
        if not self.bin_s > 0:
            raise InvalidRecording(f"binned activity: bin_s is {self.bin_s}; expected a positive number of seconds")
        if not np.isfinite(start).all() or (len(start) > 1 and not (np.diff(start) > 0).all()):
            raise InvalidRecording("binned activity: bin starts must be finite and increase strictly")
        object.__setattr__(self, "start_s", read_only(start))

    def values(self) -> NDArray[Any]:
        """(n_bins, n_units), read in one go, in the source's own number type."""
        return read_only(np.asarray(self.source[:]))


@dataclass(frozen=True, eq=False)
class IntervalTable:
    """Named intervals, one a row: trials, epochs, stimuli. Rows may overlap.

    Attributes
    ----------
    frame : columns ``start_s`` and ``stop_s`` (s, start <= stop, ordered by start) and any further columns
    events : names of the columns that hold times of events inside a row (s; NaN where the row has none)
    periods : length of one turn of columns that are circular
    physical_units : of columns, as far as stated

    Raises
    ------
    InvalidRecording
        A missing column, a time that is not finite, an interval that ends before it starts, rows out of order.
    """

    frame: pd.DataFrame
    _: KW_ONLY
    events: tuple[str, ...] = ()
    periods: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    physical_units: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        missing = [
            column for column in ("start_s", "stop_s", *self.events, *self.periods) if column not in self.frame.columns
        ]
        if missing:
            raise InvalidRecording(
                f"interval table lacks {', '.join(missing)}; it has {', '.join(map(str, self.frame.columns))}"
            )
        bounds = self.frame[["start_s", "stop_s"]].to_numpy(dtype=np.float64)
        if not np.isfinite(bounds).all():
            raise InvalidRecording(
                f"interval table: row {int(np.flatnonzero(~np.isfinite(bounds).all(axis=1))[0])} has no finite bounds"
            )
        if (bounds[:, 1] < bounds[:, 0]).any():
            raise InvalidRecording(
                f"interval table: row {int(np.flatnonzero(bounds[:, 1] < bounds[:, 0])[0])} ends before it starts"
            )
        if (np.diff(bounds[:, 0]) < 0).any():
            raise InvalidRecording("interval table: rows must be ordered by start_s")
        object.__setattr__(self, "frame", self.frame.reset_index(drop=True))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def bounds_s(self) -> NDArray[np.float64]:
        """(n_rows, 2) start and stop of each row (s)."""
        return np.asarray(self.frame[["start_s", "stop_s"]], dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """One recording session on one clock.

    Exactly one of `spike_times`, `traces` and `prebinned` holds the activity.

    Attributes
    ----------
    session_id : stable name of the session within its dataset
    span_s : first and last observed time (s)
    units : one row per unit, columns ``id`` (unique str), ``region`` and ``kind`` (str, "" where not stated) and more
    observed_s : per unit (n_intervals, 2), s: outside these the unit is unknown, not silent; None means all of `span_s`
    intervals : interval tables by name; trials are one of them, ``epochs`` has a ``label`` column
    events : times (s) of session-wide events by name
    signals : behaviour and stimuli by name, read when asked for
    truth : what a simulator knows about each unit or feature
    warnings : what the loader saw and survived

    Raises
    ------
    InvalidRecording
        No units, repeated unit ids, no activity or more than one kind of it, or sizes that disagree.
    """

    session_id: str
    span_s: tuple[float, float]
    units: pd.DataFrame
    spike_times: SpikeTrains | None = None
    traces: Traces | None = None
    prebinned: Prebinned | None = None
    subject: str | None = None
    start: datetime | None = None
    observed_s: tuple[NDArray[np.float64], ...] | None = None
    intervals: Mapping[str, IntervalTable] = field(default_factory=lambda: MappingProxyType({}))
    events: Mapping[str, NDArray[np.float64]] = field(default_factory=lambda: MappingProxyType({}))
    signals: Mapping[str, Signal] = field(default_factory=lambda: MappingProxyType({}))
    truth: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"session {self.session_id!r}"
        if not (np.isfinite(self.span_s).all() and self.span_s[1] > self.span_s[0]):
            raise InvalidRecording(f"{where}: span {self.span_s} s; expected a finite start before a finite stop")
        if len(self.units) == 0:
            raise InvalidRecording(f"{where}: has no units; nothing to analyse")
        missing = [column for column in ("id", "region", "kind") if column not in self.units.columns]
        if missing:
            raise InvalidRecording(f"{where}: unit table lacks {', '.join(missing)}")
        repeated = self.units["id"][self.units["id"].duplicated()]
        if len(repeated):
            raise InvalidRecording(f"{where}: unit id {repeated.iloc[0]!r} occurs more than once")
        activity = [source for source in (self.spike_times, self.traces, self.prebinned) if source is not None]
        if len(activity) != 1:
            raise InvalidRecording(
                f"{where}: needs exactly one of spike_times, traces and prebinned; got {len(activity)}"
            )
        n_units = len(activity[0]) if isinstance(activity[0], SpikeTrains) else activity[0].source.shape[1]
        if n_units != len(self.units):
            raise InvalidRecording(f"{where}: activity of {n_units} units for a table of {len(self.units)}")
        if self.observed_s is not None and len(self.observed_s) != n_units:
            raise InvalidRecording(f"{where}: observed intervals of {len(self.observed_s)} units for {n_units}")
        if self.observed_s is not None:
            checked = tuple(_intervals(rows, f"{where}, unit {unit}") for unit, rows in enumerate(self.observed_s))
            object.__setattr__(self, "observed_s", checked)
        object.__setattr__(self, "units", self.units.reset_index(drop=True))

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.units)

    @property
    def duration_s(self) -> float:
        """Length of the observed span (s)."""
        return self.span_s[1] - self.span_s[0]

    @property
    def activity_kind(self) -> ActivityKind:
        """``counts`` for spike times, else what the source holds."""
        if self.spike_times is not None:
            return "counts"
        return "continuous" if self.prebinned is None else self.prebinned.kind

    def table(self, name: str) -> IntervalTable:
        """The interval table of that name.

        Raises
        ------
        InvalidRecording
            No such table; the message lists those there are.
        """
        if name not in self.intervals:
            raise InvalidRecording(
                f"session {self.session_id!r}: {unknown_name('interval table', name, self.intervals)}"
            )
        return self.intervals[name]


def _intervals(intervals: NDArray[np.float64] | None, where: str) -> NDArray[np.float64] | None:
    if intervals is None:
        return None
    rows = np.asarray(intervals, dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(rows).all() or (rows[:, 1] < rows[:, 0]).any():
        raise InvalidRecording(f"{where}: intervals must be finite and end after they start")
    return read_only(rows[np.argsort(rows[:, 0], kind="stable")])
