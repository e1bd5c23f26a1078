"""Checks that any dataset must pass; each takes a function that makes the dataset from settings."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping
from typing import Any, get_args
from unittest import mock

import numpy as np
import pandas as pd

from nldisco_core.config import RunConfig, merge, parse
from nldisco_core.conformance.checks import CheckResult, ConformanceFailure, Make, expect, run_checks
from nldisco_core.errors import ConfigError
from nldisco_core.interfaces import Dataset, DatasetCard
from nldisco_core.session import Session, SignalKind

__all__ = [
    "DATASET_CHECKS",
    "check_activity_lies_inside_the_session",
    "check_card_is_complete",
    "check_dataset",
    "check_every_id_loads",
    "check_ids_are_stable",
    "check_listing_reads_no_data",
    "check_trials_are_ordered",
    "check_two_loads_agree",
    "check_units_and_kinds_are_stated",
]

_LISTING_LIMIT_BYTES = 1 << 20


def check_dataset(
    make: Make[Dataset], *, expected_failures: Mapping[str, str] | None = None
) -> tuple[CheckResult, ...]:
    """Run every check of this module; `expected_failures` gives the reason by name of a check known to fail."""
    return run_checks(DATASET_CHECKS, make, expected_failures=expected_failures)


def check_card_is_complete(make: Make[Dataset]) -> None:
    """The card has every text, its sizes are counts, and its defaults are settings of a run."""
    dataset = make({})
    expect(
        isinstance(dataset, Dataset),
        f"{type(dataset).__name__} lacks card, session_ids or load; see interfaces.Dataset",
    )
    card = dataset.card()
    expect(isinstance(card, DatasetCard), f"card() gave {type(card).__name__}; return a DatasetCard")
    for field in ("title", "species", "area", "licence", "citation", "source"):
        text = getattr(card, field)
        expect(isinstance(text, str) and text.strip(), f"card: {field} is {text!r}; say it, or 'not stated'")
    for name, size in card.sizes.items():
        expect(isinstance(size, int) and size > 0, f"card: size {name!r} is {size!r}; expected a positive count")
    stated, listed = card.sizes.get("sessions"), len(dataset.session_ids())
    expect(stated in (None, listed), f"card: {stated} sessions, session_ids() lists {listed}; make them agree")
    _expect_run_settings(card.defaults)


def _expect_run_settings(defaults: Mapping[str, Any]) -> None:
    tables: dict[str, Any] = {"dataset": {"name": "checked"}, "model": {"name": "any"}}
    for key, value in defaults.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        tables = merge(tables, value)
    try:
        parse(RunConfig, tables, where="card: defaults")
    except ConfigError as error:
        raise ConformanceFailure(f"{error}; name settings of a run by dotted key") from error


def check_ids_are_stable(make: Make[Dataset]) -> None:
    """There is at least one id, ids are distinct, and they are the same for every object and every call."""
    dataset = make({})
    ids = list(dataset.session_ids())
    expect(ids, "session_ids() is empty; expected at least one, or DatasetUnavailable")
    expect(all(isinstance(name, str) and name for name in ids), f"session ids {ids!r}; expected texts")
    expect(len(set(ids)) == len(ids), f"session ids {ids!r} repeat; expected each once")
    for again in (list(dataset.session_ids()), list(make({}).session_ids())):
        expect(again == ids, f"session_ids() gave {ids!r} and then {again!r}; derive ids from the source alone")


def check_listing_reads_no_data(make: Make[Dataset]) -> None:
    """`card` and `session_ids` neither load a session nor hold more than a megabyte at any time."""
    warm = make({})
    with mock.patch.object(type(warm), "load", side_effect=_LoadedWhileListing):
        try:
            warm.card(), warm.session_ids()
        except _LoadedWhileListing:
            raise ConformanceFailure("listing called load(); answer card() and session_ids() without data") from None
    dataset, was_tracing = make({}), tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        dataset.card(), dataset.session_ids()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        if not was_tracing:
            tracemalloc.stop()
    expect(peak < _LISTING_LIMIT_BYTES, f"listing took {peak / 1e6:.1f} MB; expected under 1 MB, without reading data")


class _LoadedWhileListing(Exception):
    pass


def check_every_id_loads(make: Make[Dataset]) -> None:
    """Each listed id gives a `Session` of that id."""
    for name, session in _sessions(make):
        expect(isinstance(session, Session), f"load({name!r}) gave {type(session).__name__}; return a Session")
        expect(
            session.session_id == name, f"load({name!r}) gave session {session.session_id!r}; return the one asked for"
        )


def check_activity_lies_inside_the_session(make: Make[Dataset]) -> None:
    """Spikes, samples and bins lie within `span_s`; reading them proves that they are finite and sorted."""
    for name, session in _sessions(make):
        start, stop = session.span_s
        for first, last in _activity_bounds(session):
            expect(
                start <= first and last <= stop,
                f"session {name!r}: activity from {first:g} to {last:g} s outside the span "
                f"{start:g} to {stop:g} s; widen span_s or leave the activity out",
            )


def _activity_bounds(session: Session) -> Iterator[tuple[float, float]]:
    if session.spike_times is not None:
        for times in session.spike_times:
            if len(times):
                yield float(times[0]), float(times[-1])
    elif session.traces is not None:
        yield float(session.traces.times_s[0]), float(session.traces.times_s[-1])
    elif session.prebinned is not None:
        yield float(session.prebinned.start_s[0]), float(session.prebinned.start_s[-1])


def check_trials_are_ordered(make: Make[Dataset]) -> None:
    """Rows of every interval table have finite bounds, end after they start and are ordered by start."""
    for name, session in _sessions(make):
        for table_name, table in session.intervals.items():
            where = f"session {name!r}, table {table_name!r}"
            bounds = table.bounds_s
            expect(np.isfinite(bounds).all(), f"{where}: a bound is not finite; drop the row or state it")
            expect((bounds[:, 0] <= bounds[:, 1]).all(), f"{where}: a row ends before it starts; correct it")
            expect((np.diff(bounds[:, 0]) >= 0).all(), f"{where}: rows are not ordered by start_s; sort them")


def check_units_and_kinds_are_stated(make: Make[Dataset]) -> None:
    """Units carry text for id, region and kind; every signal is filed under its name and says its kind."""
    for name, session in _sessions(make):
        for column in ("id", "region", "kind"):
            wrong = [value for value in session.units[column] if not isinstance(value, str)]
            expect(
                not wrong, f"session {name!r}: unit {column} {wrong[:1]!r} is no text; use '' where it is not stated"
            )
        for key, signal in session.signals.items():
            where = f"session {name!r}, signal {key!r}"
            expect(signal.name == key, f"{where}: is named {signal.name!r}; file it under its name")
            expect(signal.kind in get_args(SignalKind), f"{where}: kind {signal.kind!r}; use one of SignalKind")
            expect(signal.physical_unit != "", f"{where}: physical unit ''; use None where the source says nothing")


def check_two_loads_agree(make: Make[Dataset]) -> None:
    """Two objects made with the same settings load the same sessions, number for number."""
    for (name, first), (_, second) in zip(_sessions(make), _sessions(make), strict=True):
        for part in ("span_s", "subject", "start"):
            found = getattr(first, part), getattr(second, part)
            expect(
                found[0] == found[1], f"session {name!r}: {part} is {found[0]} and then {found[1]}; expected the same"
            )
        expect(first.units.equals(second.units), f"session {name!r}: the unit table differs between two loads")
        one, two = dict(_arrays(first)), dict(_arrays(second))
        expect(list(one) == list(two), f"session {name!r}: holds {list(one)} and then {list(two)}; expected the same")
        for part, values in one.items():
            same = values.equals(two[part])
            expect(same, f"session {name!r}: {part} differs between two loads; seed whatever is drawn")


def _arrays(session: Session) -> Iterator[tuple[str, pd.DataFrame]]:
    if session.spike_times is not None:
        yield "spike_times", pd.DataFrame(session.spike_times.flat())
        yield "spike offsets", pd.DataFrame(session.spike_times.offsets)
    for part in (session.traces, session.prebinned):
        if part is not None:
            yield type(part).__name__.lower(), pd.DataFrame(part.values())
    for name, table in session.intervals.items():
        yield f"table {name!r}", table.frame
    for name, times in session.events.items():
        yield f"events {name!r}", pd.DataFrame(times)
    for name, signal in session.signals.items():
        yield f"signal {name!r}", pd.DataFrame(signal.values, index=signal.times_s)


def _sessions(make: Make[Dataset]) -> Iterator[tuple[str, Session]]:
    dataset = make({})
    for name in dataset.session_ids():
        yield name, dataset.load(name)


DATASET_CHECKS = (
    check_card_is_complete,
    check_ids_are_stable,
    check_listing_reads_no_data,
    check_every_id_loads,
    check_activity_lies_inside_the_session,
    check_trials_are_ordered,
    check_units_and_kinds_are_stated,
    check_two_loads_agree,
)
"""Every check of a dataset, in the order they are run."""
