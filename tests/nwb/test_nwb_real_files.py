"""The two real recordings load, with the contents their archive states."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from nldisco_core.conformance.datasets import check_dataset
from nldisco_core.plugins import make

HEAD_DIRECTION, HUMAN = "head_direction_A2929-200711", "human_recognition_sub-4_ses-4"


@pytest.mark.parametrize("name", [HEAD_DIRECTION, HUMAN])
def test_real_recording_passes_the_conformance_kit(shared_data: Path, name: str) -> None:
    path = str(shared_data / f"{name}.nwb")
    results = check_dataset(lambda settings: make("dataset", "nwb", {"path": path, **settings}))
    assert [str(result) for result in results if result.status != "passed"] == []


def test_head_direction_recording(shared_data: Path) -> None:
    path = shared_data / f"{HEAD_DIRECTION}.nwb"
    session = make("dataset", "nwb", {"path": str(path)}).load(HEAD_DIRECTION)
    assert session.units["region"].value_counts().to_dict() == {"adn": 7, "ca1": 8}
    assert session.span_s == (0.0, 1200.0)
    assert session.intervals["epochs"].frame["label"].tolist() == ["sleep", "wake"]
    assert len(session.intervals["sleep_ripples"]) == 594
    assert session.signals["ry"].kind == "circular"
    assert session.signals["Position"].channels == ("x", "y", "z")
    with h5py.File(path) as source:
        np.testing.assert_array_equal(session.spike_times.flat(), source["units/spike_times"][:])
        np.testing.assert_array_equal(
            session.signals["Position"].values[:, 2], source["acquisition/Position/z/data"][:]
        )
    assert all(warning.startswith("pynwb: ") for warning in session.warnings)


def test_human_recording_survives_its_bogus_timestamps(shared_data: Path) -> None:
    session = make("dataset", "nwb", {"path": str(shared_data / f"{HUMAN}.nwb")}).load(HUMAN)
    assert session.n_units == 35
    assert session.spike_times is not None
    assert session.spike_times.n_spikes.sum() == 214_278
    assert 2820 < session.duration_s < 2823
    rows = {"encoding_table": 90, "recognition_table": 180, "timediscrimination_table": 180}
    assert {name: len(table) for name, table in session.intervals.items()} == rows
    assert session.intervals["encoding_table"].events == ("boundary1_s", "boundary2_s", "boundary3_s")
    assert set(session.units["region"]) == {"hippocampus_right", "amygdala_right"}
    for name in ("events", "experiment_ids"):
        assert session.signals[name].times_s[0] == 0.0
        assert any(
            f"signal {name!r}: 1 of 1717" in warning and "-1542900541 s" in warning for warning in session.warnings
        )
