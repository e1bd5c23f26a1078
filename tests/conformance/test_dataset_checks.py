"""Each check of a dataset passes a correct one and fails one that is wrong in its way."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nldisco_example.dataset import SESSION_ID, Track, TrackConfig

from nldisco_core.conformance import check_dataset
from nldisco_core.interfaces import DatasetCard
from nldisco_core.session import IntervalTable, Prebinned, Session, Signal, SpikeTrains, Traces

CLOCK = itertools.count()


class RightTrack(Track):
    """The example's dataset with trials and an event."""

    def load(self, session_id: str) -> Session:
        session = super().load(session_id)
        frame = self.trials()
        return replace(session, intervals={"trials": IntervalTable(frame)}, events={"door": np.array([1.0])})

    def trials(self) -> pd.DataFrame:
        return pd.DataFrame({"start_s": [0.0, 1.0], "stop_s": [1.0, 2.0]})


class EmptyTitle(RightTrack):
    def card(self) -> DatasetCard:
        return replace(super().card(), title=" ")


class MiscountedSessions(RightTrack):
    def card(self) -> DatasetCard:
        return replace(super().card(), sizes={"sessions": 2})


class NegativeSize(RightTrack):
    def card(self) -> DatasetCard:
        return replace(super().card(), sizes={"units": 0})


class UnknownDefault(RightTrack):
    def card(self) -> DatasetCard:
        return replace(super().card(), defaults={"bin.epok": "wake"})


class NoCard(RightTrack):
    def card(self) -> DatasetCard:
        return "a title"  # type: ignore[return-value]


class UnstableIds(RightTrack):
    def session_ids(self) -> Sequence[str]:
        return (f"track-{next(CLOCK)}",)

    def load(self, session_id: str) -> Session:
        return replace(super().load(SESSION_ID), session_id=session_id)


class RepeatedIds(RightTrack):
    def session_ids(self) -> Sequence[str]:
        return (SESSION_ID, SESSION_ID)


class NoIds(RightTrack):
    def session_ids(self) -> Sequence[str]:
        return ()


class LoadsToList(RightTrack):
    def session_ids(self) -> Sequence[str]:
        return (self.load(SESSION_ID).session_id,)


class ReadsToList(RightTrack):
    def session_ids(self) -> Sequence[str]:
        return (SESSION_ID,) if np.ones(1_000_000).all() else ()


class OtherSession(RightTrack):
    def load(self, session_id: str) -> Session:
        return replace(super().load(session_id), session_id="another")


class SpikesOutside(RightTrack):
    def load(self, session_id: str) -> Session:
        return replace(super().load(session_id), span_s=(0.0, 10.0))


class TracesOutside(RightTrack):
    def load(self, session_id: str) -> Session:
        traces = Traces(times_s=np.array([0.0, 99.0]), source=np.zeros((2, self.config.n_units)))
        return replace(super().load(session_id), spike_times=None, traces=traces)


class BinsOutside(RightTrack):
    def load(self, session_id: str) -> Session:
        start = np.array([-1.0, 0.0])
        bins = Prebinned(start_s=start, bin_s=1.0, source=np.zeros((2, self.config.n_units)), kind="rate")
        return replace(super().load(session_id), spike_times=None, prebinned=bins)


class UnsortedFile:
    """Stands for a file whose spikes are found to be unsorted when they are read."""

    shape = (3,)

    def __getitem__(self, key: slice) -> Any:
        return np.array([1.0, 3.0, 2.0])[key]


class UnsortedSpikes(RightTrack):
    def load(self, session_id: str) -> Session:
        offsets = np.array([0] * self.config.n_units + [3])
        return replace(super().load(session_id), spike_times=SpikeTrains(UnsortedFile(), offsets))


class TrialsTurnedRound(RightTrack):
    def load(self, session_id: str) -> Session:
        session = super().load(session_id)
        session.intervals["trials"].frame.loc[:, "start_s"] = [1.0, 0.0]
        return session


class TrialsEndBeforeTheyStart(RightTrack):
    def load(self, session_id: str) -> Session:
        session = super().load(session_id)
        session.intervals["trials"].frame.loc[:, "stop_s"] = -1.0
        return session


class RegionNotStated(RightTrack):
    def load(self, session_id: str) -> Session:
        session = super().load(session_id)
        return replace(session, units=session.units.assign(region=None))


def with_signal(session: Session, key: str, **changes: Any) -> Session:
    signal = session.signals["position"]
    for name, value in changes.items():
        object.__setattr__(signal, name, value)
    return replace(session, signals=MappingProxyType({key: signal}))


class MisfiledSignal(RightTrack):
    def load(self, session_id: str) -> Session:
        return with_signal(super().load(session_id), "speed")


class UnknownKind(RightTrack):
    def load(self, session_id: str) -> Session:
        return with_signal(super().load(session_id), "position", kind="vector")


class EmptyUnit(RightTrack):
    def load(self, session_id: str) -> Session:
        return with_signal(super().load(session_id), "position", physical_unit="")


class UnseededSpikes(RightTrack):
    def load(self, session_id: str) -> Session:
        times = np.sort(np.random.default_rng().random(5))
        trains = [times] * self.config.n_units
        return replace(super().load(session_id), spike_times=SpikeTrains.from_units(trains))


class UnseededSignal(RightTrack):
    def load(self, session_id: str) -> Session:
        signal = Signal(name="noise", times_s=np.arange(3.0), values=np.random.default_rng().random(3))
        return replace(super().load(session_id), signals={"noise": signal})


class UnseededTable(RightTrack):
    def trials(self) -> pd.DataFrame:
        return super().trials().assign(reward=np.random.default_rng().random(2))


class GrowingSpan(RightTrack):
    def load(self, session_id: str) -> Session:
        return replace(super().load(session_id), span_s=(0.0, 100.0 + next(CLOCK)))


WRONG = {
    EmptyTitle: ("card_is_complete", "title is ' '"),
    MiscountedSessions: ("card_is_complete", "2 sessions, session_ids() lists 1"),
    NegativeSize: ("card_is_complete", "size 'units' is 0"),
    UnknownDefault: ("card_is_complete", "unknown key 'epok'; did you mean 'epoch'"),
    NoCard: ("card_is_complete", "gave str"),
    UnstableIds: ("ids_are_stable", "derive ids from the source alone"),
    RepeatedIds: ("ids_are_stable", "repeat"),
    NoIds: ("ids_are_stable", "empty"),
    LoadsToList: ("listing_reads_no_data", "listing called load()"),
    ReadsToList: ("listing_reads_no_data", "listing took 8.0 MB"),
    OtherSession: ("every_id_loads", "gave session 'another'"),
    SpikesOutside: ("activity_lies_inside_the_session", "outside the span 0 to 10 s"),
    TracesOutside: ("activity_lies_inside_the_session", "activity from 0 to 99 s"),
    BinsOutside: ("activity_lies_inside_the_session", "activity from -1 to 0 s"),
    UnsortedSpikes: ("activity_lies_inside_the_session", "spike times are not sorted"),
    TrialsTurnedRound: ("trials_are_ordered", "rows are not ordered by start_s"),
    TrialsEndBeforeTheyStart: ("trials_are_ordered", "a row ends before it starts"),
    RegionNotStated: ("units_and_kinds_are_stated", "unit region"),
    MisfiledSignal: ("units_and_kinds_are_stated", "file it under its name"),
    UnknownKind: ("units_and_kinds_are_stated", "kind 'vector'"),
    EmptyUnit: ("units_and_kinds_are_stated", "use None where the source says nothing"),
    UnseededSpikes: ("two_loads_agree", "spike_times differs"),
    UnseededSignal: ("two_loads_agree", "signal 'noise' differs"),
    UnseededTable: ("two_loads_agree", "table 'trials' differs"),
    GrowingSpan: ("two_loads_agree", "span_s is"),
}
ALSO = {
    RepeatedIds: {"card_is_complete"},  # the card states one session
    NoIds: {"card_is_complete"},
    UnsortedSpikes: {"two_loads_agree"},  # which reads the spikes too
}


def failures(dataset: type[Track]) -> dict[str, str]:
    config = TrackConfig(duration_s=20.0, n_units=3)
    return {result.name: result.reason for result in check_dataset(lambda _: dataset(config)) if not result.passed}


@pytest.mark.parametrize("dataset", [Track, RightTrack])
def test_a_correct_dataset_passes(dataset: type[Track]) -> None:
    assert failures(dataset) == {}


@pytest.mark.parametrize("dataset", WRONG)
def test_a_wrong_dataset_fails_its_check(dataset: type[Track]) -> None:
    check, reason = WRONG[dataset]
    found = failures(dataset)
    assert reason in found[check]
    assert set(found) == {check} | ALSO.get(dataset, set())
