"""What one session holds, as a card: units, activity, trials, behaviour, gaps and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.activity import grid_activity
from nldisco_core.errors import DataError
from nldisco_core.grid import to_ns, union_ns
from nldisco_core.recording_checks import activity_warnings
from nldisco_core.session import IntervalTable, Session, Signal

__all__ = ["RecordingCard", "card_lines", "recording_card"]

CARD_BIN_S = 0.05
"""Bins of spikes in which shares of non-zero entries are counted (s)."""
_GAP = 5.0  # a pause of more sampling periods than this is a gap
_MOST_VALUES = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordingCard:
    """Figures of one session.

    Attributes
    ----------
    units : one row per region: n_units
    rates_hz : (n_units,) mean rate of each unit over its observed time, of spikes, counts or rates; None for traces
    n_spikes : (n_units,) spikes, where they are known
    bin_s : width of the bins (s) that the shares speak of
    nonzero_share : (n_units,) share of each unit's observed bins that hold any activity; None for traces
    observed_share : share of all (bin, unit) entries that were observed
    trials : one row per interval table: rows, median duration (s), overlapping rows, events, conditions
    behaviour : one row per signal: kind, physical unit, rate (Hz), lowest and highest value or labels, share missing
    gaps : one row per pause in activity or a signal: of what, how many, the longest (s)
    warnings : what the loader saw, and what a look at all activity finds odd
    """

    session_id: str
    subject: str | None
    span_s: tuple[float, float]
    activity_kind: str
    units: pd.Series
    rates_hz: NDArray[np.float64] | None
    n_spikes: NDArray[np.int64] | None
    bin_s: float
    nonzero_share: NDArray[np.float64] | None
    observed_share: float
    trials: pd.DataFrame
    behaviour: pd.DataFrame
    gaps: pd.DataFrame
    warnings: tuple[str, ...]


def recording_card(session: Session) -> RecordingCard:
    """Read all of a session and say what it holds; a signal that cannot be read becomes a warning."""
    bin_s = CARD_BIN_S if session.prebinned is None else session.prebinned.bin_s
    known, nonzero, rates_hz = _activity_figures(session, bin_s)
    signals, faults = _readable(session)
    return RecordingCard(
        session_id=session.session_id,
        subject=session.subject,
        span_s=session.span_s,
        activity_kind=session.activity_kind,
        units=session.units["region"].replace("", "not stated").value_counts(),
        rates_hz=rates_hz,
        n_spikes=None if session.spike_times is None else session.spike_times.n_spikes,
        bin_s=bin_s,
        nonzero_share=nonzero,
        observed_share=known,
        trials=pd.DataFrame([_table_row(name, table) for name, table in session.intervals.items()]),
        behaviour=pd.DataFrame([_signal_row(signal) for signal in signals]),
        gaps=pd.DataFrame([*_gaps(session, signals)], columns=["of", "n_gaps", "longest_s"]),
        warnings=tuple(dict.fromkeys((*session.warnings, *activity_warnings(session), *faults))),
    )


def card_lines(card: RecordingCard) -> Iterator[str]:
    """The card as lines of text, each a word for its subject and what there is to say."""
    regions = ", ".join(f"{region} {count}" for region, count in card.units.items())
    yield f"session      {card.session_id}{f' of subject {card.subject}' if card.subject else ''}"
    yield f"units        {card.units.sum()}: {regions}"
    yield f"span         {card.span_s[0]:.6g} to {card.span_s[1]:.6g} s ({card.span_s[1] - card.span_s[0]:.6g} s)"
    yield f"activity     {_activity_line(card)}"
    yield f"observed     {card.observed_share:.1%} of bins and units"
    for _, row in card.trials.iterrows():
        yield f"intervals    {row['name']} {row['text']}"
    for _, row in card.behaviour.iterrows():
        yield f"signal       {row['name']} {row['text']}"
    for _, row in card.gaps.iterrows():
        yield f"gaps         {row['of']}: {row['n_gaps']}, the longest {row['longest_s']:.4g} s"
    yield from (f"warning      {warning}" for warning in card.warnings)


def _activity_line(card: RecordingCard) -> str:
    parts = [card.activity_kind]
    if card.n_spikes is not None:
        parts.append(f"{card.n_spikes.sum()} spikes")
    if card.rates_hz is not None and card.nonzero_share is not None:
        parts.append(f"rates {_spread(card.rates_hz)} Hz")
        parts.append(f"non-zero in {_spread(100 * card.nonzero_share)} % of bins of {card.bin_s:g} s")
    return "; ".join(parts)


def _spread(values: NDArray[np.float64]) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "not defined"
    low, middle, high = np.quantile(known, [0.0, 0.5, 1.0])
    return f"{middle:.3g} (median; {low:.3g} to {high:.3g} over units)"


def _activity_figures(
    session: Session, bin_s: float
) -> tuple[float, NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Share of entries observed, share of non-zero bins per unit, and mean rate per unit (Hz)."""
    try:
        gridded = grid_activity(session, bin_s=bin_s)
    except DataError:  # shorter than a bin: nothing to count
        return float("nan"), None, None
    known = np.ones(gridded.values.shape, dtype=bool) if gridded.observed is None else gridded.observed
    if session.activity_kind == "continuous":
        return float(known.mean()), None, None
    n_known = known.sum(axis=0)
    share = np.full(len(n_known), np.nan)
    np.divide(((gridded.values > 0) & known).sum(axis=0), n_known, out=share, where=n_known > 0)
    per_bin = gridded.values.sum(axis=0, dtype=np.float64) / np.where(n_known > 0, n_known, np.nan)
    return float(known.mean()), share, per_bin if session.activity_kind == "rate" else per_bin / bin_s


def _table_row(name: str, table: IntervalTable) -> dict[str, object]:
    bounds = table.bounds_s
    durations = bounds[:, 1] - bounds[:, 0]
    overlapping = int(np.count_nonzero(bounds[1:, 0] < np.maximum.accumulate(bounds[:, 1])[:-1])) if len(bounds) else 0
    conditions = [_condition(table.frame[column]) for column in _conditions(table)]
    text = f"({len(bounds)} rows)"
    if len(bounds):
        text += f": {np.median(durations):.4g} s long (median; {durations.min():.4g} to {durations.max():.4g} s)"
    text += f", {overlapping} overlap an earlier one" if overlapping else ""
    text += f"; events {', '.join(table.events)}" if table.events else ""
    text += f"; {'; '.join(conditions)}" if conditions else ""
    return {"name": name, "n_rows": len(bounds), "n_overlapping": overlapping, "events": table.events, "text": text}


def _conditions(table: IntervalTable) -> list[str]:
    return [str(column) for column in table.frame if column not in ("start_s", "stop_s", *table.events)]


def _condition(column: pd.Series) -> str:
    values = column.dropna()
    try:
        distinct = sorted(set(values))
    except TypeError:  # lists and mixed types have no order
        return f"{column.name}"
    if pd.api.types.is_float_dtype(values) or len(distinct) > _MOST_VALUES:
        numeric = pd.api.types.is_numeric_dtype(values) and len(values)
        return (
            f"{column.name} {values.min():.4g} to {values.max():.4g}" if numeric else f"{column.name} {len(distinct)}"
        )
    written = dict.fromkeys(f"{value:.12g}" if isinstance(value, float) else str(value) for value in distinct)
    return f"{column.name} {len(written)} ({', '.join(written)})"


def _readable(session: Session) -> tuple[list[Signal], list[str]]:
    signals, faults = [], []
    for name in session.signals:
        try:
            signals.append(session.signals[name])
        except DataError as error:
            faults.append(f"signal {name!r} cannot be read: {error}")
    return signals, faults


def _signal_row(signal: Signal) -> dict[str, object]:
    period_s = signal.sampling_period_s
    rate = f", {1 / period_s:.4g} Hz" if period_s > 0 else ""
    known = signal.values[np.isfinite(signal.values)]
    if signal.categories is not None:
        values = f"{len(signal.categories)} values: {', '.join(signal.categories[:_MOST_VALUES])}"
    else:
        values = f"{known.min():.4g} to {known.max():.4g}" if len(known) else "no finite value"
    missing = 1 - len(known) / signal.values.size if signal.values.size else 1.0
    turn = f", one turn is {signal.period:.4g}" if signal.period is not None else ""
    lost = f", {missing:.1%} missing" if missing else ""
    unit = signal.physical_unit or "unit not stated"
    channels = f", {len(signal.channels)} channels" if len(signal.channels) > 1 else ""
    text = f"({signal.kind}, {unit}{rate}{channels}): {values}{turn}{lost}"
    return {"name": signal.name, "kind": signal.kind, "physical_unit": signal.physical_unit, "text": text}


def _gaps(session: Session, signals: Sequence[Signal]) -> Iterator[tuple[str, int, float]]:
    sampled = [(signal.name, signal.times_s) for signal in signals if signal.categories is None]
    if session.traces is not None:
        sampled.insert(0, ("activity", session.traces.times_s))
    elif session.prebinned is not None:
        sampled.insert(0, ("activity", session.prebinned.start_s))
    elif session.observed_s is not None:
        together = union_ns(np.concatenate(session.observed_s))
        pauses_s = (together[1:, 0] - together[:-1, 1]) * 1e-9
        if len(pauses_s):
            yield "observed time of all units", len(pauses_s), float(pauses_s.max())
    for name, times_s in sampled:
        steps_s = np.diff(to_ns(times_s)) * 1e-9
        pauses_s = steps_s[steps_s > _GAP * np.median(steps_s)] if len(steps_s) else steps_s
        if len(pauses_s):
            yield name, len(pauses_s), float(pauses_s.max())
