"""Activity and behaviour of one or more sessions on a common grid of bins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.errors import DataError, IncompatibleData, unknown_name
from nldisco_core.session import ActivityKind, IntervalTable, SignalKind, read_only

__all__ = ["NO_SPLIT", "NO_TRIAL", "SPLITS", "Binned", "BinnedSession", "Covariate", "Preprocessing", "UnitStatistics"]

SPLITS = ("train", "validation", "test")
NO_SPLIT = -1
NO_TRIAL = -1

Normalisation = Literal["none", "global-max", "unit-max", "z-score", "sqrt"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Covariate:
    """A behavioural, stimulus or trial variable with one row per bin.

    Attributes
    ----------
    values : (n_bins, n_channels) float64, or codes into `categories`; NaN where not defined
    kind, period, physical_unit, channels, categories : as in `Signal`
    source : ``signal``, ``trial`` (constant within a trial), ``event`` or ``phase``; decides which null applies
    """

    name: str
    values: NDArray[np.float64]
    kind: SignalKind
    source: Literal["signal", "trial", "event", "phase"] = "signal"
    period: float | None = None
    physical_unit: str | None = None
    channels: tuple[str, ...] = ("0",)
    categories: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.shape[1] != len(self.channels):
            raise DataError(f"covariate {self.name!r}: {len(self.channels)} names for {values.shape[1]} channels")
        object.__setattr__(self, "values", read_only(values))

    @property
    def defined(self) -> NDArray[np.bool_]:
        """(n_bins,) True where every channel has a value."""
        return np.asarray(~np.isnan(self.values).any(axis=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class BinnedSession:
    """The bins of one session.

    Attributes
    ----------
    activity : (n_bins, n_units) counts, rates (Hz) or continuous values
    units : unit table, one row per unit
    start_ns : (n_bins,) int64, start of each bin in ns of the session clock, increasing; gaps are allowed
    observed : (n_bins, n_units) bool, False where the unit was not recorded (its activity there is 0 and means
        nothing); None means all observed
    trial : (n_bins,) int32, row of the trial table that wholly holds the bin, -1 for none
    trials : the chosen trial table, None where trials were not asked for
    covariates : variables by name
    split : (n_bins,) int8, index into `SPLITS`, -1 for bins of no split
    warnings : what binning saw and survived
    """

    session_id: str
    activity: NDArray[Any]
    units: pd.DataFrame
    start_ns: NDArray[np.int64]
    trial: NDArray[np.int32]
    split: NDArray[np.int8]
    observed: NDArray[np.bool_] | None = None
    trials: IntervalTable | None = None
    covariates: Mapping[str, Covariate] = field(default_factory=lambda: MappingProxyType({}))
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n_bins, n_units = self.activity.shape
        where = f"session {self.session_id!r}"
        for name, length in (("start_ns", len(self.start_ns)), ("trial", len(self.trial)), ("split", len(self.split))):
            if length != n_bins:
                raise DataError(f"{where}: {name} has {length} rows for {n_bins} bins")
        if len(self.units) != n_units:
            raise DataError(f"{where}: {len(self.units)} units in the table for {n_units} columns of activity")
        if self.observed is not None and self.observed.shape != self.activity.shape:
            raise DataError(
                f"{where}: the mask of observed entries is {self.observed.shape}, activity {self.activity.shape}"
            )
        for covariate in self.covariates.values():
            if len(covariate.values) != n_bins:
                raise DataError(
                    f"{where}: covariate {covariate.name!r} has {len(covariate.values)} rows for {n_bins} bins"
                )
        for name in ("activity", "start_ns", "trial", "split"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        if self.observed is not None:
            object.__setattr__(self, "observed", read_only(self.observed))
        object.__setattr__(self, "units", self.units.reset_index(drop=True))

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return int(self.activity.shape[0])

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.activity.shape[1])

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> BinnedSession:
        """The same session with only the chosen bins (mask or sorted indices)."""
        covariates = {
            name: replace(covariate, values=covariate.values[chosen]) for name, covariate in self.covariates.items()
        }
        observed = None if self.observed is None else self.observed[chosen]
        return replace(
            self,
            activity=self.activity[chosen],
            start_ns=self.start_ns[chosen],
            trial=self.trial[chosen],
            split=self.split[chosen],
            observed=None if observed is None or observed.all() else observed,
            covariates=covariates,
        )

    def segments(self, bin_ns: int) -> NDArray[np.int32]:
        """(n_bins,) number of the contiguous stretch each bin lies in.

        A stretch ends at a gap in time and where the trial changes.
        """
        if self.n_bins == 0:
            return np.empty(0, dtype=np.int32)
        breaks = (np.diff(self.start_ns) != bin_ns) | (np.diff(self.trial) != 0)
        return np.concatenate([[0], np.cumsum(breaks)]).astype(np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitStatistics:
    """Per-unit offset and scale of one session: normalised = (value - offset) / scale."""

    offset: NDArray[np.float64]
    scale: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Preprocessing:
    """What was done to the activity after binning, in this order: smoothing, square root, offset and scale.

    Attributes
    ----------
    smooth_s : sigma of the Gaussian (s), None for no smoothing
    normalise : which statistic set offset and scale; ``sqrt`` takes the square root and leaves 0 and 1
    statistics : one per session, made from training rows only
    """

    smooth_s: float | None = None
    normalise: Normalisation = "none"
    statistics: tuple[UnitStatistics, ...] = ()

    def to_recorded(self, values: NDArray[Any], *, session: int = 0) -> NDArray[np.float64]:
        """Normalised values back in the recorded unit (counts per bin, Hz, …); smoothing is not undone.

        Parameters
        ----------
        values : (n_rows, n_units) in the units a model saw
        """
        restored = np.asarray(values, dtype=np.float64)
        if self.statistics:
            restored = restored * self.statistics[session].scale + self.statistics[session].offset
        return np.square(restored) if self.normalise == "sqrt" else restored


@dataclass(frozen=True, kw_only=True, eq=False)
class Binned:
    """One or more sessions on bins of one width.

    Attributes
    ----------
    sessions : the bins of each session
    bin_s : width of a bin (s)
    activity_kind : ``counts``, ``rate`` (Hz) or ``continuous``; preprocessed counts are ``continuous``
    preprocessing : what was done after binning
    """

    sessions: tuple[BinnedSession, ...]
    bin_s: float
    activity_kind: ActivityKind
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def __post_init__(self) -> None:
        if not self.sessions:
            raise DataError("binned data needs at least one session")
        if not self.bin_s > 0:
            raise DataError(f"bin_s is {self.bin_s}; expected a positive number of seconds")

    @property
    def bin_ns(self) -> int:
        """Width of a bin in integer nanoseconds."""
        return round(self.bin_s * 1e9)

    @property
    def n_bins(self) -> int:
        """Bins of all sessions together."""
        return sum(session.n_bins for session in self.sessions)

    @property
    def shares_units(self) -> bool:
        """Whether all sessions hold the same units in the same order."""
        first = self.sessions[0].units["id"].tolist()
        return all(session.units["id"].tolist() == first for session in self.sessions[1:])

    @property
    def units(self) -> pd.DataFrame:
        """Unit table of the sessions, which must share their units."""
        self._require_shared_units()
        return self.sessions[0].units

    @property
    def n_units(self) -> int:
        """Units of the sessions, which must share them."""
        return len(self.units)

    @property
    def activity(self) -> NDArray[Any]:
        """(n_bins, n_units) activity of all sessions, one after the other.

        Raises
        ------
        IncompatibleData
            The sessions do not share their units.
        """
        self._require_shared_units()
        return self._stack([session.activity for session in self.sessions])

    @property
    def observed(self) -> NDArray[np.bool_] | None:
        """(n_bins, n_units) stacked mask of observed entries, None where all are."""
        self._require_shared_units()
        if all(session.observed is None for session in self.sessions):
            return None
        return self._stack(
            [np.ones(s.activity.shape, dtype=bool) if s.observed is None else s.observed for s in self.sessions]
        )

    @property
    def session_of_bin(self) -> NDArray[np.int32]:
        """(n_bins,) index of the session of each stacked bin."""
        return np.repeat(np.arange(len(self.sessions), dtype=np.int32), [session.n_bins for session in self.sessions])

    @property
    def row_offsets(self) -> NDArray[np.int64]:
        """(n_sessions + 1,) where each session's bins start in the stack."""
        return np.concatenate([[0], np.cumsum([session.n_bins for session in self.sessions])]).astype(np.int64)

    @property
    def split(self) -> NDArray[np.int8]:
        """(n_bins,) stacked split codes, see `SPLITS`."""
        return self._stack([session.split for session in self.sessions])

    @property
    def trial(self) -> NDArray[np.int32]:
        """(n_bins,) stacked trial rows; numbering starts anew in each session."""
        return self._stack([session.trial for session in self.sessions])

    @property
    def start_s(self) -> NDArray[np.float64]:
        """(n_bins,) stacked start of each bin (s), on each session's own clock."""
        return self._stack([session.start_ns for session in self.sessions]) * 1e-9

    @property
    def segments(self) -> NDArray[np.int32]:
        """(n_bins,) contiguous stretches, never shared between sessions, trials or across gaps."""
        parts: list[NDArray[np.int32]] = []
        following = 0
        for session in self.sessions:
            numbers = session.segments(self.bin_ns) + following
            parts.append(numbers)
            following = int(numbers[-1]) + 1 if len(numbers) else following
        return np.concatenate(parts).astype(np.int32)

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """Variables that at least one session has, in order of first appearance."""
        return tuple(dict.fromkeys(name for session in self.sessions for name in session.covariates))

    def covariate(self, name: str) -> Covariate:
        """The variable over all bins; NaN in sessions that lack it.

        Discrete codes are translated to one common list of labels.

        Raises
        ------
        DataError
            No session has it, or sessions disagree on its kind or channels.
        """
        having = [session.covariates[name] for session in self.sessions if name in session.covariates]
        if not having:
            raise DataError(unknown_name("variable", name, self.covariate_names))
        first = having[0]
        for other in having[1:]:
            if (other.kind, other.channels, other.period) != (first.kind, first.channels, first.period):
                raise DataError(
                    f"variable {name!r} is {first.kind} in one session and {other.kind} in another, "
                    "or their channels or periods differ"
                )
        categories = first.categories and tuple(dict.fromkeys(c for item in having for c in item.categories or ()))
        parts = []
        for session in self.sessions:
            item = session.covariates.get(name)
            if item is None:
                parts.append(np.full((session.n_bins, len(first.channels)), np.nan))
            elif categories and item.categories != categories:
                code_of = np.array([categories.index(label) for label in item.categories or ()], dtype=np.float64)
                codes = np.full_like(item.values, np.nan)
                known = ~np.isnan(item.values)
                codes[known] = code_of[item.values[known].astype(np.int64)]
                parts.append(codes)
            else:
                parts.append(item.values)
        return replace(first, values=np.concatenate(parts), categories=categories)

    def rows(self, mask: NDArray[np.bool_]) -> Binned:
        """The same data with only the bins where the stacked (n_bins,) mask is True; empty sessions are dropped."""
        offsets = self.row_offsets
        kept: list[BinnedSession] = []
        statistics: list[UnitStatistics] = []
        for index, session in enumerate(self.sessions):
            part = mask[offsets[index] : offsets[index + 1]]
            if part.any():
                kept.append(session if part.all() else session.rows(part))
                statistics.extend(self.preprocessing.statistics[index : index + 1])
        if not kept:
            raise DataError("no bins are left after choosing rows")
        return replace(
            self, sessions=tuple(kept), preprocessing=replace(self.preprocessing, statistics=tuple(statistics))
        )

    def part(self, split: str) -> Binned:
        """The bins of one split.

        Raises
        ------
        DataError
            Unknown split, or a split without bins.
        """
        if split not in SPLITS:
            raise DataError(unknown_name("split", split, SPLITS))
        mask = self.split == SPLITS.index(split)
        if not mask.any():
            raise DataError(f"the {split} split holds no bins; record longer or change [split]")
        return self.rows(mask)

    def train(self) -> Binned:
        """The training bins."""
        return self.part("train")

    def window_starts(self, n_bins: int) -> NDArray[np.int64]:
        """Stacked rows at which `n_bins` consecutive bins lie within one contiguous stretch and one split.

        Windows are ``activity[start:start + n_bins]``, strided views that are never materialised here.
        """
        if n_bins < 1:
            raise DataError(f"a window of {n_bins} bins; expected at least 1")
        breaks = (np.diff(self.segments) != 0) | (np.diff(self.split) != 0)
        stretch = np.concatenate([[0], np.cumsum(breaks)])[: self.n_bins]
        starts = np.arange(max(len(stretch) - n_bins + 1, 0), dtype=np.int64)
        return np.asarray(starts[stretch[starts] == stretch[starts + n_bins - 1]])

    def by_trial(self) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        """Session index, trial row and stacked rows of each trial that holds at least one bin."""
        trial, offsets = self.trial, self.row_offsets
        for index in range(len(self.sessions)):
            part = trial[offsets[index] : offsets[index + 1]]
            order = np.argsort(part, kind="stable")
            values, first = np.unique(part[order], return_index=True)
            for value, rows in zip(values, np.split(order, first[1:]), strict=True):
                if value != NO_TRIAL:
                    yield index, int(value), rows.astype(np.int64) + offsets[index]

    def _require_shared_units(self) -> None:
        if not self.shares_units:
            raise IncompatibleData(
                f"the {len(self.sessions)} sessions hold different units and cannot be stacked; "
                "choose one session, or a model that takes any units"
            )

    @staticmethod
    def _stack(parts: list[NDArray[Any]]) -> NDArray[Any]:
        return read_only(parts[0] if len(parts) == 1 else np.concatenate(parts))
