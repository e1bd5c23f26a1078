"""Signals: found by type, read when asked for, and their timestamps believed only where they can be."""

from __future__ import annotations

import logging
import math
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nldisco_nwb import signals
from nldisco_nwb.config import NWBConfig
from nldisco_nwb.dataset import NWBDataset
from pynwb import NWBFile
from pynwb.base import TimeSeries
from pynwb.behavior import BehavioralTimeSeries, CompassDirection, EyeTracking, Position, PupilTracking, SpatialSeries

from nldisco_core.errors import ConfigError
from nldisco_core.recording_checks import believable_times

TIMES = np.arange(1.0, 9.0, 0.5)


def spatial(name: str, data: Any, **options: Any) -> SpatialSeries:
    return SpatialSeries(name=name, data=data, reference_frame="", **{"timestamps": TIMES, "unit": "m", **options})


def plain(name: str, data: Any, **options: Any) -> TimeSeries:
    return TimeSeries(name=name, data=data, **{"timestamps": TIMES, "unit": "a.u.", **options})


def holding(*items: Any) -> Any:
    def fill(file: NWBFile) -> None:
        for item in items:
            file.add_acquisition(item)

    return fill


def test_position_is_a_position_with_its_channels(load: Any, rng: np.random.Generator) -> None:
    data = rng.random((len(TIMES), 2))
    place = load(holding(Position(name="Position", spatial_series=spatial("hand", data)))).signals["hand"]
    assert (place.kind, place.physical_unit, place.channels) == ("position", "m", ("x", "y"))
    np.testing.assert_array_equal(place.values, data)
    np.testing.assert_array_equal(place.times_s, TIMES)


def test_position_of_one_channel_is_linear(load: Any) -> None:
    assert load(holding(Position(spatial_series=spatial("track", TIMES)))).signals["track"].kind == "linear"


@pytest.mark.parametrize(("unit", "period"), [("radians", 2 * math.pi), ("rad", 2 * math.pi), ("degrees", 360.0)])
def test_compass_direction_wraps_at_a_turn_of_its_unit(load: Any, unit: str, period: float) -> None:
    heading = load(holding(CompassDirection(spatial_series=spatial("head", TIMES, unit=unit)))).signals["head"]
    assert (heading.kind, heading.period) == ("circular", period)


def test_compass_direction_of_unknown_unit_asks_for_its_period(load: Any) -> None:
    def fill(file: NWBFile) -> None:
        file.add_acquisition(CompassDirection(spatial_series=spatial("head", TIMES, unit="unknown")))

    session = load(fill)
    assert (session.signals["head"].kind, session.signals["head"].physical_unit) == ("linear", None)
    assert any("'head'" in warning and "circular" in warning for warning in session.warnings)
    told = load(fill, settings={"circular": {"head": 8.0}})
    assert (told.signals["head"].kind, told.signals["head"].period) == ("circular", 8.0)
    assert told.warnings == ()


def test_pupil_gaze_and_plain_series_are_linear(load: Any, rng: np.random.Generator) -> None:
    gaze = rng.random((len(TIMES), 2))
    session = load(
        holding(
            EyeTracking(name="EyeTracking", spatial_series=spatial("gaze", gaze)),
            PupilTracking(name="PupilTracking", time_series=plain("pupil", TIMES)),
            BehavioralTimeSeries(name="BehavioralTimeSeries", time_series=plain("speed", TIMES, unit="cm/s")),
            plain("wheel", TIMES),
        )
    )
    assert {name: session.signals[name].kind for name in session.signals} == dict.fromkeys(
        ("gaze", "pupil", "speed", "wheel"), "linear"
    )
    assert session.signals["gaze"].values.shape == (len(TIMES), 2)


def test_series_of_texts_many_channels_or_three_axes_are_not_signals(load: Any) -> None:
    n_samples = len(TIMES)
    session = load(
        holding(
            plain("wide", np.zeros((n_samples, 17))),
            plain("cube", np.zeros((n_samples, 2, 2))),
            plain("words", ["a"] * n_samples),
            plain("limit", np.zeros((n_samples, 16))),
        )
    )
    assert list(session.signals) == ["limit"]


def test_conversion_and_offset_are_applied(load: Any) -> None:
    counts = np.arange(len(TIMES), dtype=np.int16)
    series = plain("force", counts, conversion=0.5, offset=-1.0, unit="N")
    np.testing.assert_allclose(load(holding(series)).signals["force"].values[:, 0], counts * 0.5 - 1)


def test_rate_and_starting_time_give_the_times(load: Any) -> None:
    series = TimeSeries(name="speed", data=np.zeros(5), unit="cm/s", rate=4.0, starting_time=2.0)
    np.testing.assert_allclose(load(holding(series)).signals["speed"].times_s, [2.0, 2.25, 2.5, 2.75, 3.0])


def test_separate_coordinates_that_share_times_are_one_position(load: Any, rng: np.random.Generator) -> None:
    x, z = rng.random((2, len(TIMES)))
    session = load(holding(Position(name="Position", spatial_series=[spatial("x", x), spatial("z", z)])))
    assert list(session.signals) == ["Position"]
    assert session.signals["Position"].channels == ("x", "z")
    np.testing.assert_array_equal(session.signals["Position"].values, np.column_stack([x, z]))


def test_coordinates_on_one_grid_are_one_position(load: Any) -> None:
    both = [spatial(name, TIMES, timestamps=None, rate=2.0) for name in ("pos_x", "pos_y")]
    assert list(load(holding(Position(name="Position", spatial_series=both))).signals) == ["Position"]


@pytest.mark.parametrize(
    "other",
    [
        spatial("y", TIMES, timestamps=TIMES + 0.1),
        spatial("y", TIMES, timestamps=None, rate=2.0),
        spatial("y", TIMES[1:], timestamps=TIMES[1:]),
        spatial("y", TIMES, unit="cm"),
        spatial("tail", TIMES),
    ],
)
def test_series_that_do_not_belong_together_stay_apart(load: Any, other: SpatialSeries) -> None:
    session = load(holding(Position(name="Position", spatial_series=[spatial("x", TIMES), other])))
    assert sorted(session.signals) == sorted(["x", other.name])


def test_directions_about_several_axes_stay_apart(load: Any) -> None:
    turns = [spatial(name, TIMES, unit="radians") for name in ("rx", "ry")]
    session = load(holding(CompassDirection(spatial_series=turns)), settings={"rename": {"ry": "heading"}})
    assert sorted(session.signals) == ["heading", "rx"]
    assert session.signals["heading"].name == "heading"


def test_names_that_clash_carry_their_container(load: Any) -> None:
    def fill(file: NWBFile) -> None:
        holding(plain("speed", TIMES))(file)
        file.create_processing_module("behavior", "x").add(
            BehavioralTimeSeries(name="Wheel", time_series=plain("speed", TIMES))
        )

    assert sorted(load(fill).signals) == ["Wheel_speed", "acquisition_speed"]


def test_series_named_after_its_type_takes_the_name_of_its_container(load: Any) -> None:
    place = spatial("SpatialSeries", np.zeros((len(TIMES), 2)))
    assert list(load(holding(Position(name="hand", spatial_series=place))).signals) == ["hand"]


def test_settings_say_what_the_file_does_not(load: Any) -> None:
    codes = np.tile([3.0, 1.0, np.nan, 1.0], len(TIMES) // 4)
    session = load(
        holding(plain("code", codes), spatial("track", TIMES, unit="")),
        settings={"kinds": {"code": "discrete"}, "physical_units": {"where": "cm"}, "rename": {"track": "where"}},
    )
    assert session.signals["where"].physical_unit == "cm"
    code = session.signals["code"]
    assert (code.kind, code.categories) == ("discrete", ("1", "3"))
    np.testing.assert_array_equal(code.values[:4, 0], [1.0, 0.0, np.nan, 0.0])


@pytest.mark.parametrize("setting", ["rename", "circular", "kinds", "physical_units"])
def test_settings_for_a_signal_that_is_not_there_name_the_nearest(load: Any, setting: str) -> None:
    value: Any = {"rename": "x", "circular": 1.0, "kinds": "linear", "physical_units": "cm"}[setting]
    with pytest.raises(ConfigError, match=f"{setting}: unknown signal 'sped'; did you mean 'speed'"):
        load(holding(plain("speed", TIMES)), settings={setting: {"sped": value}})


def test_two_signals_of_one_name_are_refused(load: Any) -> None:
    with pytest.raises(ConfigError, match="two signals are named 'b'"):
        load(holding(plain("a", TIMES), plain("b", TIMES)), settings={"rename": {"a": "b"}})


def test_bogus_timestamps_are_dropped_with_name_count_and_value(load: Any) -> None:
    times = TIMES.copy()
    times[[0, 3, 5, 6, 9]] = [-1.5e9, np.nan, times[4], times[2], 1e6]
    session = load(holding(plain("stream", np.arange(len(TIMES)), timestamps=times)))
    assert session.span_s == (0.5, 9.5)
    stream = session.signals["stream"]
    np.testing.assert_array_equal(stream.values[:, 0], np.delete(np.arange(len(TIMES)), [0, 3, 5, 6, 9]))
    said = "\n".join(session.warnings)
    for fault in (
        "1 of 16 timestamps are not finite, first nan s",
        "2 of 16 timestamps are impossible (more than a session length outside the recording), first -1500000000 s",
        "1 of 16 timestamps repeat the one before, first 3 s",
        "1 of 16 timestamps are earlier than the one before, first 2 s",
    ):
        assert f"signal 'stream': {fault}; dropped" in said


def test_signal_without_a_usable_timestamp_is_left_out_and_said(load: Any) -> None:
    session = load(holding(plain("stream", TIMES, timestamps=np.full(len(TIMES), -1.5e9))))
    assert not set(session.signals)
    assert session.warnings[-1] == "signal 'stream': none is left; left out"


def test_series_without_times_for_its_samples_is_left_out_and_said(write: Any) -> None:
    path = write(holding(plain("short", TIMES), plain("none", np.empty(0), timestamps=[])))
    with h5py.File(path, "r+") as file:
        attributes = dict(file["acquisition/short/timestamps"].attrs)
        del file["acquisition/short/timestamps"]
        file["acquisition/short"].create_dataset("timestamps", data=TIMES[:-2]).attrs.update(attributes)
    session = NWBDataset(NWBConfig(path=path)).load("made")
    assert not set(session.signals)
    assert "signal 'none': no samples; left out" in session.warnings
    assert "signal 'short': neither a rate nor a timestamp for each sample; left out" in session.warnings


def test_long_signals_are_checked_when_they_are_read(
    load: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(signals, "_CHECKED_WHEN_OPENED", 10)
    times = TIMES.copy()
    times[0] = -1.5e9
    session = load(holding(plain("long", TIMES, timestamps=times)))
    assert session.warnings == ()
    with caplog.at_level(logging.WARNING):
        assert len(session.signals["long"].times_s) == len(TIMES) - 1
    assert "made.nwb: signal 'long': 1 of 16 timestamps are impossible" in caplog.text


@given(
    st.lists(
        st.one_of(st.integers(-30, 40).map(float), st.sampled_from([math.nan, math.inf, -math.inf, 1e300])), max_size=40
    )
)
def test_believable_timestamps_are_those_of_a_plain_loop(times: list[float]) -> None:
    expected, latest = [], -math.inf
    for time in times:
        usable = math.isfinite(time) and -10 <= time <= 20 and time > latest
        expected.append(usable)
        latest = time if usable else latest
    keep, complaints = believable_times(np.array(times), (0.0, 10.0))
    assert keep.tolist() == expected
    counted = sum(int(complaint.split(" ")[0]) for complaint in complaints)
    assert counted == len(times) - sum(expected)
