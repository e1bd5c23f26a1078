"""The card of a session says what is in it, figure for figure."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from nldisco_core.errors import InvalidRecording
from nldisco_core.recording_card import CARD_BIN_S, card_lines, recording_card
from nldisco_core.session import DeferredMapping, IntervalTable, Prebinned, Session, Signal, SpikeTrains, Traces


@pytest.fixture
def session() -> Session:
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, 100, n_spikes)) for n_spikes in (500, 50, 0)]
    trials = pd.DataFrame(
        {"start_s": [0.0, 10.0, 15.0], "stop_s": [8.0, 16.0, 30.0], "go_s": [1.0, 11.0, 17.0], "side": ["l", "r", "l"]}
    )
    trials["held_s"] = pd.Series([5.4 - 4.1, 1.3, 2.0], dtype=object)
    times_s = np.concatenate([np.arange(0, 40, 0.1), np.arange(60, 100, 0.1)])
    signals = {
        "speed": Signal(name="speed", times_s=times_s, values=np.linspace(0, 7, 800), physical_unit="cm/s"),
        "rule": Signal(
            name="rule", times_s=np.array([0.0, 50.0]), values=np.array([0.0, 1.0]), kind="discrete",
            categories=("near", "far"),
        ),
    }  # fmt: skip
    return Session(
        session_id="s-1",
        subject="m1",
        span_s=(0.0, 100.0),
        units=pd.DataFrame({"id": ["a", "b", "c"], "region": ["M1", "PMd", "M1"], "kind": ""}),
        spike_times=SpikeTrains.from_units(trains),
        observed_s=(np.array([[0, 100]]), np.array([[0, 50]]), np.array([[0, 100]])),
        intervals=MappingProxyType({"trials": IntervalTable(trials, events=("go_s",))}),
        signals=signals,
        warnings=("seen by the loader",),
    )


def test_figures_are_those_of_a_plain_count(session: Session) -> None:
    card = recording_card(session)
    assert session.spike_times is not None
    assert card.units.to_dict() == {"M1": 2, "PMd": 1}
    assert card.n_spikes is not None
    assert card.n_spikes.tolist() == [500, 50, 0]
    assert card.rates_hz is not None
    assert card.nonzero_share is not None
    early = session.spike_times[1][session.spike_times[1] < 50]
    np.testing.assert_allclose(card.rates_hz, [5.0, len(early) / 50, 0.0])
    edges = np.arange(0, 100 + CARD_BIN_S / 2, CARD_BIN_S)
    counts = np.histogram(session.spike_times[0], edges)[0]
    assert card.nonzero_share[0] == pytest.approx(np.mean(counts > 0))
    assert card.observed_share == pytest.approx((100 + 50 + 100) / 300)


def test_trials_behaviour_gaps_and_warnings_are_listed(session: Session) -> None:
    text = "\n".join(card_lines(recording_card(session)))
    for words in (
        "session      s-1 of subject m1",
        "units        3: M1 2, PMd 1",
        "span         0 to 100 s (100 s)",
        "counts; 550 spikes; rates",
        "observed     83.3% of bins and units",
        "trials (3 rows): 8 s long (median; 6 to 15 s), 1 overlap an earlier one; events go_s; side 2 (l, r); "
        "held_s 2 (1.3, 2)",
        "speed (linear, cm/s, 10 Hz): 0 to 7",
        "rule (discrete, unit not stated, 0.02 Hz): 2 values: near, far",
        "gaps         speed: 1, the longest 20.1 s",
        "warning      seen by the loader",
        "warning      1 of 3 units (c) silent",
    ):
        assert words in text


def test_a_signal_that_cannot_be_read_is_a_warning(session: Session) -> None:
    def broken() -> Signal:
        raise InvalidRecording("s.nwb: cannot be read")

    parts = {**vars(session), "signals": DeferredMapping({"eye": broken})}
    card = recording_card(Session(**parts))
    assert "signal 'eye' cannot be read: s.nwb: cannot be read" in card.warnings
    assert len(card.behaviour) == 0


def test_rates_and_traces_are_what_they_are() -> None:
    units = pd.DataFrame({"id": ["a", "b"], "region": "", "kind": ""})
    values = np.column_stack([np.tile([0.0, 4.0], 50), np.full(100, 2.0)])
    rates = Prebinned(start_s=np.arange(100) * 0.1, bin_s=0.1, source=values, kind="rate")
    card = recording_card(Session(session_id="r", span_s=(0.0, 10.0), units=units, prebinned=rates))
    assert card.rates_hz is not None
    assert card.nonzero_share is not None
    np.testing.assert_allclose(card.rates_hz, [2.0, 2.0])
    np.testing.assert_allclose(card.nonzero_share, [0.5, 1.0])
    traces = Traces(times_s=np.arange(100) * 0.1, source=values)
    card = recording_card(Session(session_id="t", span_s=(0.0, 9.9), units=units, traces=traces))
    assert card.rates_hz is None
    assert card.nonzero_share is None
    assert "activity     continuous" in list(card_lines(card))


def test_a_session_shorter_than_a_bin_still_has_a_card() -> None:
    units = pd.DataFrame({"id": ["a"], "region": "", "kind": ""})
    short = Session(
        session_id="s", span_s=(0.0, 0.01), units=units, spike_times=SpikeTrains.from_units([np.array([0.0, 0.01])])
    )
    assert np.isnan(recording_card(short).observed_share)
