"""Signals, interval tables and events beside an activity: those the layout states, and those found by themselves."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording, unknown_name
from nldisco_core.recording_checks import believable_times
from nldisco_core.session import Signal
from nldisco_files.arrays import Array, naming, numbers
from nldisco_files.config import Layout, SignalLayout
from nldisco_files.kinds import coded, guessed_kind, guessed_unit
from nldisco_files.parts import Activity
from nldisco_files.source import Source

__all__ = ["make_signal", "read_events", "read_signals"]

MOST_CHANNELS = 16
_COORDINATE = re.compile(r"(.+?)[_. ]([xyz])$", re.I)
_MOST_OUTSIDE = 0.5  # share of a signal's samples outside the recording above which the clocks differ

Found = tuple[dict[str, Signal], tuple[str, ...]]


def read_signals(source: Source, layout: Layout, activity: Activity) -> Found:
    """Signals by name, and a sentence for whatever was wrong with one.

    Arrays of the recording's own file with one row per row of the activity and up to 16 channels are signals by
    themselves, ``<name>_x`` and ``<name>_y`` together one; the layout adds others and corrects these.

    Raises
    ------
    InvalidRecording
        The layout speaks of an array or signal that is not there, or a signal runs on another clock.
    """
    found, warnings = _by_themselves(source, activity), list[str]()
    signals: dict[str, Signal] = {}
    for name in layout.signals:
        if layout.signals[name].values is None and name not in found:
            raise InvalidRecording(f"{source.path.name}: layout.signals: {unknown_name('signal', name, found)}")
    for name, stated in {**{name: SignalLayout() for name in found}, **layout.signals}.items():
        with naming(source.path):
            values, channels, column = _channels(source, name, stated, found)
            times_s = _times(source, name, stated, activity, len(values))
            stated = stated.model_copy(update={"physical_unit": stated.physical_unit or guessed_unit(column)})
            signal, complaints = make_signal(name, times_s, values, stated, activity.span_s, channels=channels)
        signals |= {} if signal is None else {name: signal}
        warnings += [f"signal {name!r}: {complaint}" for complaint in complaints]
    return signals, tuple(warnings)


def read_events(source: Source, layout: Layout, span_s: tuple[float, float]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Times (s) of session-wide events by name, finite and sorted, and how many were dropped."""
    events, warnings = {}, []
    for name, reference in layout.events.items():
        times_s = source.seconds(reference, f"events.{name}")
        length = span_s[1] - span_s[0]
        usable = np.isfinite(times_s) & (times_s >= span_s[0] - length) & (times_s <= span_s[1] + length)
        if not usable.all():
            warnings.append(f"events {name!r}: {np.count_nonzero(~usable)} of {len(usable)} times impossible; dropped")
        events[name] = np.sort(times_s[usable])
    return events, tuple(warnings)


def make_signal(
    name: str,
    times_s: NDArray[np.float64],
    values: Array,
    stated: SignalLayout,
    span_s: tuple[float, float],
    *,
    channels: tuple[str, ...] = (),
) -> tuple[Signal | None, tuple[str, ...]]:
    """A signal of samples whose time can be (None where none can), and what was wrong with the others.

    Parameters
    ----------
    values : (n_samples,) or (n_samples, n_channels) numbers, or (n_samples,) labels
    stated : what overrides the unit and kind that name and values suggest

    Raises
    ------
    InvalidRecording
        Sizes that disagree, values that are no numbers, or times on another clock than `span_s`.
    """
    if len(times_s) != len(values):
        raise InvalidRecording(f"signal {name!r}: {len(times_s)} times for {len(values)} values; expected as many")
    keep, complaints = believable_times(times_s, span_s)
    finite = times_s[np.isfinite(times_s)]
    outside = (finite < span_s[0]) | (finite > span_s[1])
    if len(finite) > 1 and outside.mean() > _MOST_OUTSIDE and not _overlaps_well(finite, span_s):
        raise InvalidRecording(
            f"signal {name!r}: its times run from {finite.min():g} to {finite.max():g} s, the activity from "
            f"{span_s[0]:g} to {span_s[1]:g} s; expected one clock: set layout.signals.{name}.time_unit or start_s"
        )
    if not keep.any():
        return None, (*complaints, "no sample is left; left out")
    unit = stated.physical_unit or guessed_unit(name)
    kind, period = guessed_kind(name, values, unit, stated)
    if kind == "circular" and period is None:
        raise InvalidRecording(f"signal {name!r} is circular in an unknown unit; set layout.signals.{name}.period")
    samples, categories = coded(values) if kind == "discrete" else (numbers(values, f"signal {name!r}"), None)
    signal = Signal(
        name=name,
        times_s=times_s[keep],
        values=samples[keep],
        kind=kind,
        period=period,
        physical_unit=unit,
        channels=channels,
        categories=categories,
    )
    return signal, (*complaints, *_value_complaints(signal))


def _overlaps_well(times_s: NDArray[np.float64], span_s: tuple[float, float]) -> bool:
    """True where the samples cover most of the recording, as those of a longer recording on the same clock do."""
    inside = times_s[(times_s >= span_s[0]) & (times_s <= span_s[1])]
    reach = float(np.ptp(inside)) if len(inside) > 1 else 0.0
    return reach > 0.9 * (span_s[1] - span_s[0]) and float(np.ptp(times_s)) < 10 * (span_s[1] - span_s[0])


def _value_complaints(signal: Signal) -> tuple[str, ...]:
    known = np.isfinite(signal.values)
    if not known.any():
        return ("holds no finite value",)
    lowest, highest = np.nanmin(signal.values), np.nanmax(signal.values)
    return ("constant",) if len(signal.values) > 1 and lowest == highest and signal.values.shape[1] == 1 else ()


def _by_themselves(source: Source, activity: Activity) -> dict[str, dict[str, Array]]:
    """Arrays of the main file that run with the activity's rows, by the signal they belong to."""
    if activity.row_times_s is None:
        return {}
    groups: dict[str, dict[str, Array]] = defaultdict(dict)
    own = source.own()
    for name in own:
        values = own[name] if name not in activity.used else np.empty(0)
        if np.ndim(values) not in (1, 2) or len(values) != len(activity.row_times_s):
            continue
        if values.ndim == 2 and (values.shape[1] > MOST_CHANNELS or values.dtype.kind not in "biuf"):
            continue
        coordinate = _COORDINATE.fullmatch(name)
        groups[coordinate[1] if coordinate and values.ndim == 1 else name][name] = values
    return {name if len(group) > 1 else next(iter(group)): group for name, group in groups.items()}


def _channels(
    source: Source, name: str, stated: SignalLayout, found: Mapping[str, dict[str, Array]]
) -> tuple[Array, tuple[str, ...], str]:
    """Values, names of the channels, and the name of the first array behind them."""
    held = found[name] if stated.values is None else source.arrays(stated.values, f"signals.{name}.values")
    if len(held) == 1:
        (values,) = held.values()
        values = np.asarray(values)
        values = values.T if stated.channels_first else values
        if values.ndim not in (1, 2):
            raise InvalidRecording(f"signal {name!r} has shape {values.shape}; expected samples, or samples x channels")
        return values, (), next(iter(held))
    columns = [numbers(np.ravel(values), repr(column)) for column, values in held.items()]
    if len({len(column) for column in columns}) > 1:
        raise InvalidRecording(f"signal {name!r}: its columns have {', '.join(str(len(c)) for c in columns)} rows")
    short = [_COORDINATE.fullmatch(column) for column in held]
    named = (column if match is None else match[2].lower() for column, match in zip(held, short, strict=True))
    return np.column_stack(columns), tuple(named), next(iter(held))


def _times(source: Source, name: str, stated: SignalLayout, activity: Activity, n_samples: int) -> NDArray[np.float64]:
    if stated.times is not None:
        return source.seconds(stated.times, f"signals.{name}.times", stated.time_unit) + stated.start_s
    if stated.sample_hz is not None:
        times: NDArray[np.float64] = stated.start_s + np.arange(n_samples) / stated.sample_hz
        return times
    if activity.row_times_s is None or len(activity.row_times_s) != n_samples:
        raise InvalidRecording(
            f"signal {name!r}: nothing says when its {n_samples} samples were taken; "
            f"set layout.signals.{name}.times or sample_hz"
        )
    middle = 0.0 if activity.prebinned is None or activity.row_s is None else activity.row_s / 2
    return activity.row_times_s + middle
