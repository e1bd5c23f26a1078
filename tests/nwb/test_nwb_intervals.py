"""Interval tables and events: what is kept, sorted, renamed and dropped, and that it is said."""

from __future__ import annotations

from typing import Any

import numpy as np
from hdmf.common import VectorData
from pynwb import NWBFile
from pynwb.base import TimeSeries
from pynwb.behavior import BehavioralEpochs, BehavioralEvents
from pynwb.epoch import TimeIntervals
from pynwb.misc import IntervalSeries


def trials(file: NWBFile) -> None:
    for name in ("go_time", "reward_time", "reaction_time", "cue_time"):
        file.add_trial_column(name, "s")
    file.add_trial_column("side", "left or right")
    file.add_trial_column("targets", "several", index=True)
    file.add_trial_column("hand", "x and y")
    for row in range(4):
        start = 2.0 * row + 1
        file.add_trial(
            start_time=start,
            stop_time=start + 1.5,
            go_time=start + 0.5 if row else np.nan,
            reward_time=start + (0.9 if row else 5.0),
            reaction_time=0.3,
            cue_time=start - 0.4,
            side="left" if row % 2 else "right",
            targets=[1.0] * row,
            hand=[1.0, 2.0],
        )


def test_times_inside_their_rows_become_events(load: Any) -> None:
    table = load(trials).intervals["trials"]
    assert table.events == ("go_s", "reward_s")
    np.testing.assert_array_equal(table.frame["go_s"], [np.nan, 3.5, 5.5, 7.5])


def test_event_outside_its_row_is_not_defined_and_said(load: Any) -> None:
    session = load(trials)
    np.testing.assert_allclose(session.intervals["trials"].frame["reward_s"], [np.nan, 3.9, 5.9, 7.9])
    assert "interval table 'trials': 1 times of reward_time lie outside their row; set to NaN" in session.warnings


def test_times_mostly_outside_stay_columns_and_are_said(load: Any) -> None:
    session = load(trials)
    frame = session.intervals["trials"].frame
    assert frame["reaction_time"].tolist() == [0.3] * 4
    assert frame["side"].tolist() == ["right", "left", "right", "left"]
    assert any("reaction_time, cue_time mostly outside" in warning for warning in session.warnings)


def test_columns_with_several_values_per_row_are_left_out_and_said(load: Any) -> None:
    session = load(trials)
    assert not {"targets", "hand"} & set(session.intervals["trials"].frame.columns)
    assert any("targets, hand" in warning for warning in session.warnings)


def test_epochs_take_their_label_from_tags(load: Any) -> None:
    def fill(file: NWBFile) -> None:
        file.add_epoch(start_time=0.0, stop_time=5.0, tags=["sleep"])
        file.add_epoch(start_time=5.0, stop_time=10.0, tags=["wake", "dark"])

    assert load(fill).intervals["epochs"].frame["label"].tolist() == ["sleep", "wake, dark"]


def test_epochs_without_tags_are_numbered(load: Any) -> None:
    def fill(file: NWBFile) -> None:
        table = TimeIntervals(name="epochs", description="no tags")
        table.add_interval(start_time=0.0, stop_time=5.0)
        table.add_interval(start_time=5.0, stop_time=6.0)
        file.epochs = table

    assert load(fill).intervals["epochs"].frame["label"].tolist() == ["0", "1"]


def custom(rows: list[tuple[float, float]], name: str = "stimuli") -> Any:
    def fill(file: NWBFile) -> None:
        table = TimeIntervals(name=name, description="made")
        table.add_column("number", "row of the file")
        for number, (start, stop) in enumerate(rows):
            table.add_interval(start_time=start, stop_time=stop, number=number)
        file.add_time_intervals(table)

    return fill


def test_rows_without_sound_bounds_are_dropped_and_counted(load: Any) -> None:
    session = load(custom([(1.0, 2.0), (np.nan, 3.0), (4.0, np.inf), (6.0, 5.0), (7.0, 8.0)]))
    assert session.intervals["stimuli"].frame["number"].tolist() == [0, 4]
    assert any("'stimuli': 3 of 5 rows" in warning for warning in session.warnings)


def test_rows_out_of_order_are_sorted_and_said(load: Any) -> None:
    session = load(custom([(5.0, 6.0), (1.0, 2.0), (3.0, 4.0)]))
    assert session.intervals["stimuli"].frame["number"].tolist() == [1, 2, 0]
    assert any("out of order" in warning for warning in session.warnings)


def test_overlapping_rows_are_kept_and_counted(load: Any) -> None:
    session = load(custom([(1.0, 4.0), (2.0, 3.0), (2.0, 6.0)]))
    assert session.intervals["stimuli"].bounds_s.tolist() == [[1.0, 4.0], [2.0, 3.0], [2.0, 6.0]]
    assert session.warnings == ("interval table 'stimuli': 2 of 3 rows overlap an earlier one; kept",)


def test_empty_tables_are_left_out_and_said(load: Any) -> None:
    def empty(file: NWBFile) -> None:
        columns = [VectorData(name=f"{bound}_time", description="s", data=np.empty(0)) for bound in ("start", "stop")]
        file.add_time_intervals(TimeIntervals(name="stimuli", description="no rows", columns=columns))

    session = load(empty, custom([(np.nan, 1.0)], name="broken"))
    assert dict(session.intervals) == {}
    assert "interval table 'stimuli': has no rows; left out" in session.warnings
    assert "interval table 'broken': has no rows; left out" in session.warnings


def test_behaviour_epochs_become_tables(load: Any) -> None:
    def fill(file: NWBFile) -> None:
        module = file.create_processing_module("behavior", "behaviour")
        ripples = IntervalSeries(
            name="ripples", data=np.array([1, -1, 1, -1], np.int8), timestamps=[1.0, 1.5, 3.0, 3.2]
        )
        states = IntervalSeries(
            name="states", data=np.array([1, -1, 2, -2, 1], np.int8), timestamps=[0.0, 2.0, 2.0, 6.0, 6.0]
        )
        module.add(BehavioralEpochs(name="BehavioralEpochs", interval_series=[ripples, states]))
        table = TimeIntervals(name="laps", description="in a module")
        table.add_interval(start_time=1.0, stop_time=2.0)
        module.add(table)

    session = load(fill)
    assert session.intervals["ripples"].bounds_s.tolist() == [[1.0, 1.5], [3.0, 3.2]]
    assert session.intervals["states"].frame.to_numpy().tolist() == [[0.0, 2.0, "1"], [2.0, 6.0, "2"]]
    assert any("2 starts for 1 stops of state 1" in warning for warning in session.warnings)
    assert session.intervals["laps"].bounds_s.tolist() == [[1.0, 2.0]]
    assert not set(session.signals)


def test_behavioural_events_are_events_and_no_signal(load: Any) -> None:
    def fill(file: NWBFile) -> None:
        licks = TimeSeries(name="licks", data=np.ones(4), unit="n.a.", timestamps=[3.0, 1.0, np.nan, 2.0])
        file.add_acquisition(BehavioralEvents(name="BehavioralEvents", time_series=licks))

    session = load(fill)
    assert session.events["licks"].tolist() == [1.0, 2.0, 3.0]
    assert "licks" not in session.signals
