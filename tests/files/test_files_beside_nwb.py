"""Spikes in an NWB file, behaviour in tables beside it: one session on one clock."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

from nldisco_core.binning import bin_session
from nldisco_core.errors import InvalidRecording
from nldisco_core.plugins import make


def test_behaviour_of_a_table_beside_an_nwb_file_joins_what_the_file_holds(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    file = NWBFile(
        session_description="spikes alone", identifier="s1", session_start_time=datetime(2026, 1, 1, tzinfo=UTC)
    )
    trains = [np.sort(rng.uniform(0, 60, 400)) for _ in range(3)]
    for train in trains:
        file.add_unit(spike_times=train)
    file.add_trial(start_time=5.0, stop_time=6.0)
    file.create_processing_module("behavior", "b").add(
        TimeSeries(name="grip", data=np.arange(600.0), rate=10.0, unit="N")
    )
    with NWBHDF5IO(tmp_path / "s1.nwb", "w") as io:
        io.write(file)
    times_s = np.arange(0, 60, 0.02)
    angle = np.mod(times_s, 2 * np.pi)
    pd.DataFrame({"t": 1000 * times_s, "x": np.sin(times_s), "y": np.cos(times_s), "heading_rad": angle}).to_csv(
        tmp_path / "tracking.csv", index=False
    )
    pd.DataFrame({"start": [1000, 20000], "stop": [4000, 31000], "task": ["rest", "speech"]}).to_csv(
        tmp_path / "tasks.csv", index=False
    )
    (tmp_path / "recording.toml").write_text(
        """
time_unit = "ms"
intervals.tasks = { table = "tasks.csv" }

[signals]
position = { values = ["tracking.csv:x", "tracking.csv:y"], times = "tracking.csv:t", physical_unit = "m" }
heading = { values = "tracking.csv:heading_rad", times = "tracking.csv:t" }
""",
        encoding="utf-8",
    )
    dataset = make("dataset", "files", {"path": str(tmp_path)})
    assert tuple(dataset.session_ids()) == ("s1",)
    session = dataset.load("s1")
    np.testing.assert_array_equal(session.spike_times[1], trains[1])
    assert set(session.signals) == {"grip", "position", "heading"}
    np.testing.assert_allclose(session.signals["position"].times_s, times_s, atol=1e-12)
    np.testing.assert_allclose(session.signals["position"].values[:, 1], np.cos(times_s), atol=1e-12)
    assert (session.signals["heading"].kind, session.signals["heading"].physical_unit) == ("circular", "rad")
    assert session.signals["grip"].physical_unit == "N"
    assert set(session.intervals) == {"trials", "tasks"}
    assert session.intervals["tasks"].bounds_s.tolist() == [[1.0, 4.0], [20.0, 31.0]]
    binned = bin_session(session, bin_s=0.1, trials="tasks")
    assert {"position", "position_speed", "heading", "grip", "task"} <= set(binned.covariates)


def test_a_table_beside_an_nwb_file_on_another_clock_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    file = NWBFile(session_description="s", identifier="s", session_start_time=datetime(2026, 1, 1, tzinfo=UTC))
    file.add_unit(spike_times=np.sort(rng.uniform(0, 60, 400)))
    with NWBHDF5IO(tmp_path / "s.nwb", "w") as io:
        io.write(file)
    pd.DataFrame({"t": 1e5 + np.arange(100), "v": 1.0}).to_csv(tmp_path / "other.csv", index=False)
    signals = {"v": {"values": "other.csv:v", "times": "other.csv:t"}}
    dataset = make("dataset", "files", {"path": str(tmp_path / "s.nwb"), "layout": {"signals": signals}})
    with pytest.raises(InvalidRecording, match=r"s.nwb.*'v'.*expected one clock"):
        dataset.load("s")
    unnamed = {"path": str(tmp_path / "s.nwb"), "layout": {"signals": {"v": {"values": "v"}}}}
    with pytest.raises(InvalidRecording, match=r"'v' names no file; expected 'file.csv:column'"):
        make("dataset", "files", unnamed).load("s")
