"""Behaviour and stimulus signals, found by neurodata type and read when asked for."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import TimeSeries
from pynwb.behavior import BehavioralEvents, CompassDirection, EyeTracking, Position, PupilTracking, SpatialSeries
from pynwb.ecephys import LFP, ElectricalSeries, EventWaveform, FilteredEphys
from pynwb.icephys import PatchClampSeries
from pynwb.image import ImageSeries, IndexSeries
from pynwb.misc import AnnotationSeries, DecompositionSeries, IntervalSeries
from pynwb.ophys import MotionCorrection, RoiResponseSeries

from nldisco_core.errors import ConfigError, unknown_name
from nldisco_core.recording_checks import believable_times
from nldisco_core.session import DeferredMapping, Signal, SignalKind
from nldisco_nwb.config import NWBConfig
from nldisco_nwb.contents import Piece, blank, pieces
from nldisco_nwb.hdf5 import naming
from nldisco_nwb.opening import OpenFile
from nldisco_nwb.sampling import has_times, sample_times, scaled, share_times

__all__ = ["find_signals"]

logger = logging.getLogger(__name__)

_MAX_CHANNELS = 16
_CHECKED_WHEN_OPENED = 2_000_000  # samples; longer signals say what is wrong with their timestamps when they are read
_NOT_BEHAVIOUR = (
    *(ElectricalSeries, PatchClampSeries, ImageSeries, IndexSeries, RoiResponseSeries),
    *(DecompositionSeries, IntervalSeries, AnnotationSeries),
)
_NOT_BEHAVIOUR_HOLDERS = (LFP, FilteredEphys, EventWaveform, MotionCorrection, BehavioralEvents)
_COORDINATE = re.compile(r"(^|_)[xyz]$", re.IGNORECASE)
_TURNS = {"rad": 2 * pi, "radian": 2 * pi, "radians": 2 * pi, "deg": 360.0, "degree": 360.0, "degrees": 360.0}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Source:
    """A signal before it is read; several series are its channels."""

    name: str
    series: tuple[Any, ...]
    kind: SignalKind
    period: float | None
    physical_unit: str | None
    channels: tuple[str, ...]


def find_signals(
    opened: OpenFile, config: NWBConfig, span_s: tuple[float, float]
) -> tuple[DeferredMapping[Signal], tuple[str, ...]]:
    """Signals by name, none of them read yet, and a sentence for whatever is wrong with one.

    Position becomes a position, compass direction in radians or degrees a circular signal, any other numeric series of
    up to 16 channels a linear one. Raw voltage, LFP and images are never listed.

    Raises
    ------
    ConfigError
        The settings speak of a signal that the file does not hold.
    """
    readers: dict[str, Callable[[], Signal]] = {}
    warnings: list[str] = []
    for name, group in _named(opened, config).items():
        source = _source(name, group, config)
        usable, complaints = _check(source.series[0], span_s)
        if usable:
            readers[name] = partial(_read, opened, source, span_s)
        if isinstance(group[0].container, CompassDirection) and source.kind == "linear":
            complaints = (*complaints, "a direction in an unknown unit; state its period under 'circular'")
        warnings += [f"signal {name!r}: {complaint}" for complaint in complaints]
    return DeferredMapping(readers), tuple(warnings)


def _check(series: Any, span_s: tuple[float, float]) -> tuple[bool, tuple[str, ...]]:
    if len(series.data) == 0:
        return False, ("no samples; left out",)
    if not has_times(series):
        return False, ("neither a rate nor a timestamp for each sample; left out",)
    if series.timestamps is None or len(series.data) > _CHECKED_WHEN_OPENED:
        return True, ()
    keep, faults = believable_times(sample_times(series), span_s)
    usable = bool(keep.any())
    return usable, faults if usable else (*faults, "none is left; left out")


def _behaviour(opened: OpenFile) -> Iterator[Piece]:
    for piece in pieces(opened.nwb):
        item = piece.item
        if not isinstance(item, TimeSeries) or isinstance(item, _NOT_BEHAVIOUR):
            continue
        if isinstance(piece.container, _NOT_BEHAVIOUR_HOLDERS) or item.data is None:
            continue
        shape, kind = np.shape(item.data), getattr(getattr(item.data, "dtype", None), "kind", "")
        if kind and kind in "biuf" and (len(shape) == 1 or (len(shape) == 2 and 1 <= shape[1] <= _MAX_CHANNELS)):
            yield piece


def _named(opened: OpenFile, config: NWBConfig) -> dict[str, list[Piece]]:
    """Pieces grouped into signals, under the names they will have."""
    groups: list[list[Piece]] = []
    for _, held in groupby(_behaviour(opened), key=lambda piece: id(piece.container or piece.item)):
        together = list(held)
        groups += [together] if _are_coordinates(together) else [[piece] for piece in together]
    own = [group[0].container.name if len(group) > 1 else group[0].name for group in groups]
    counts = Counter(own)
    unique = [
        name if counts[name] == 1 else f"{_holder(group)}_{name}" for name, group in zip(own, groups, strict=True)
    ]
    names = [config.rename.get(name, name) for name in unique]
    _expect_known("rename", config.rename, unique)
    for setting in ("circular", "kinds", "physical_units"):
        _expect_known(setting, getattr(config, setting), names)
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ConfigError(f"two signals are named {twice!r}; rename one of them")
    return dict(zip(names, groups, strict=True))


def _holder(group: Sequence[Piece]) -> str:
    bare = group[0].container is None or len(group) > 1
    return group[0].module if bare else str(group[0].container.name)


def _are_coordinates(together: Sequence[Piece]) -> bool:
    series = [piece.item for piece in together]
    return (
        len(series) > 1
        and isinstance(together[0].container, Position)
        and all(_COORDINATE.search(each.name) and _n_channels(each) == 1 for each in series)
        and len({each.unit for each in series}) == 1
        and share_times(series)
    )


def _expect_known(setting: str, wanted: Iterable[str], names: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            raise ConfigError(f"{setting}: {unknown_name('signal', name, names)}")


def _source(name: str, group: Sequence[Piece], config: NWBConfig) -> _Source:
    series = tuple(piece.item for piece in group)
    n_channels = len(series) if len(series) > 1 else _n_channels(series[0])
    stated = config.physical_units.get(name, series[0].unit or "")
    kind, period = _kind(name, group[0], n_channels, stated, config)
    channels: tuple[str, ...] = tuple(each.name for each in series) if len(series) > 1 else ()
    if not channels and isinstance(series[0], SpatialSeries) and 1 < n_channels <= 3:
        channels = ("x", "y", "z")[:n_channels]
    unit = None if blank(stated) else stated
    return _Source(name=name, series=series, kind=kind, period=period, physical_unit=unit, channels=channels)


def _kind(name: str, piece: Piece, n_channels: int, unit: str, config: NWBConfig) -> tuple[SignalKind, float | None]:
    if name in config.circular:
        return "circular", config.circular[name]
    if name in config.kinds:
        return config.kinds[name], None
    turn = _TURNS.get(unit.strip().lower())
    if isinstance(piece.container, CompassDirection) and turn is not None:
        return "circular", turn
    gaze = isinstance(piece.container, EyeTracking | PupilTracking | CompassDirection)
    return ("position" if isinstance(piece.item, SpatialSeries) and n_channels > 1 and not gaze else "linear"), None


def _n_channels(series: Any) -> int:
    shape = np.shape(series.data)
    return 1 if len(shape) == 1 else int(shape[1])


def _read(opened: OpenFile, source: _Source, span_s: tuple[float, float]) -> Signal:
    with naming(opened.path):
        times = sample_times(source.series[0])
        values: NDArray[np.float64] = np.column_stack([scaled(series) for series in source.series])
        if source.series[0].timestamps is not None:
            keep, faults = believable_times(times, span_s)
            times, values = times[keep], values[keep]
            if len(keep) > _CHECKED_WHEN_OPENED:
                for fault in faults:
                    logger.warning("%s: signal %r: %s", opened.path.name, source.name, fault)
        categories = None
        if source.kind == "discrete":
            values, categories = _codes(values)
        return Signal(
            name=source.name,
            times_s=times,
            values=values,
            kind=source.kind,
            period=source.period,
            physical_unit=source.physical_unit,
            channels=source.channels,
            categories=categories,
            description=_description(source.series),
        )


def _codes(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Codes into the sorted distinct values; NaN stays NaN."""
    distinct = np.unique(values[np.isfinite(values)])
    codes = np.where(np.isfinite(values), np.searchsorted(distinct, values), np.nan)
    return codes, tuple(f"{value:g}" for value in distinct)


def _description(series: Sequence[Any]) -> str:
    said = dict.fromkeys(str(each.description or "") for each in series)
    return "; ".join(text for text in said if text not in ("", "no description"))
