"""What is in memory becomes a session, can be written and opened again, and passes to and from pynapple."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nldisco_files import latents_to_pynapple, session_from_arrays, session_from_pynapple, write_recording
from nldisco_files.config import FilesConfig, SignalLayout
from nldisco_files.dataset import FilesDataset
from numpy.typing import NDArray
from scipy import sparse

import nldisco_core
from nldisco_core.binning import bin_session, bin_sessions
from nldisco_core.conformance.datasets import check_dataset
from nldisco_core.errors import DataError, InvalidRecording, PluginLoadError, RunError
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.plugins import make
from nldisco_core.session import Session

NEEDS_PYNAPPLE = pytest.mark.skipif(
    find_spec("pynapple") is None, reason="pynapple is not installed (extra pynapple of nldisco-core)"
)


@pytest.fixture
def spiking(trains: Mapping[int, NDArray[np.float64]], rng: np.random.Generator) -> Session:
    times_s = np.arange(0, 20, 0.1)
    return session_from_arrays(
        "day-1",
        spike_times={"a": trains[2], "b": [], "c": trains[9]},
        units=pd.DataFrame({"id": ["a", "b", "c"], "region": ["CA1", "CA1", "DG"], "depth": [1.0, 2.0, 3.0]}),
        signals={
            "speed_cm_s": pd.Series(rng.random(200), index=times_s),
            "position_cm": pd.DataFrame(rng.random((200, 2)), index=times_s, columns=["x", "y"]),
            "context": (times_s[::10], np.array(["home", "away"] * 10)),
            "[odd] name*": (times_s, np.cos(times_s)),
        },
        stated={"[odd] name*": SignalLayout(period=2.0)},
        intervals={
            "trials": pd.DataFrame({"start_s": [1.0, 5.0], "stop_s": [4.0, 9.0], "go_s": [2.0, 6.0], "side": "l"})
        },
        events={"lick": [3.0, 1.0]},
        observed_s=[[[0.0, 20.0]], [[0.0, 5.0], [6.0, 9.0]], [[0.0, 20.0]]],
        span_s=(0.0, 20.0),
        subject="m1",
    )


def test_arrays_become_a_session(spiking: Session) -> None:
    assert spiking.units["region"].tolist() == ["CA1", "CA1", "DG"]
    assert spiking.signals["position_cm"].kind == "position"
    assert spiking.signals["position_cm"].physical_unit == "cm"
    assert spiking.signals["context"].categories == ("away", "home")
    assert spiking.signals["[odd] name*"].period == 2.0
    assert spiking.intervals["trials"].events == ("go_s",)
    assert spiking.events["lick"].tolist() == [1.0, 3.0]
    assert any("1 of 3 units (b) silent" in warning for warning in spiking.warnings)


@pytest.mark.parametrize(("name", "kind"), [("counts", "counts"), ("rates", "rate"), ("traces", "continuous")])
def test_a_frame_states_times_and_ids(name: str, kind: str) -> None:
    frame = pd.DataFrame(np.arange(20).reshape(10, 2), index=5 + np.arange(10) * 0.1, columns=["u", "v"])
    session = session_from_arrays("s", **{name: frame}, signals={"lap": np.repeat([0, 1], 5)})
    assert session.activity_kind == kind
    assert session.units["id"].tolist() == ["u", "v"]
    assert session.span_s[0] == 5.0
    np.testing.assert_array_equal(bin_session(session, bin_s=0.1).activity, frame.to_numpy()[: 10 - (name == "traces")])
    np.testing.assert_array_equal(session.signals["lap"].values[:, 0], [0] * 5 + [1] * 5)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "exactly one of"),
        ({"counts": np.ones((5, 2)), "rates": np.ones((5, 2)), "bin_s": 0.1}, "exactly one of"),
        ({"counts": np.ones((5, 2))}, "give times_s or bin_s"),
        ({"counts": -np.ones((5, 2)), "bin_s": 0.1}, "counts hold -1"),
        ({"traces": np.ones(5), "bin_s": 0.1}, "have shape"),
        ({"counts": np.ones((5, 2)), "times_s": np.arange(4.0)}, "times for 5 rows"),
        ({"counts": np.ones((5, 2)), "bin_s": 0.1, "units": pd.DataFrame({"id": ["a"]})}, "1 rows for 2 units"),
        ({"spike_times": [[1.0, 2.0]], "signals": {"x": np.ones(3)}}, "pair of times and values"),
        ({"spike_times": [[1.0, 2.0]], "intervals": {"trials": pd.DataFrame({"start_s": [1.0]})}}, "lacks stop_s"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidRecording, match=complaint):
        session_from_arrays("s", **given)


def assert_same(found: Session, expected: Session) -> None:
    pd.testing.assert_frame_equal(found.units, expected.units, check_dtype=False)
    assert (found.span_s, found.subject, found.activity_kind) == (
        expected.span_s,
        expected.subject,
        expected.activity_kind,
    )
    for source in ("traces", "prebinned"):
        one, two = getattr(found, source), getattr(expected, source)
        assert (one is None) == (two is None)
        if one is not None:
            np.testing.assert_array_equal(one.values(), two.values())
    if expected.spike_times is not None:
        assert found.spike_times is not None
        np.testing.assert_array_equal(found.spike_times.flat(), expected.spike_times.flat())
        np.testing.assert_array_equal(found.spike_times.offsets, expected.spike_times.offsets)
    assert list(found.signals) == list(expected.signals)
    for name, signal in expected.signals.items():
        again = found.signals[name]
        np.testing.assert_array_equal(again.times_s, signal.times_s)
        np.testing.assert_array_equal(again.values, signal.values)
        for field in ("kind", "period", "physical_unit", "categories"):
            assert getattr(again, field) == getattr(signal, field), (name, field)
    for name, table in expected.intervals.items():
        pd.testing.assert_frame_equal(found.intervals[name].frame, table.frame)
        assert found.intervals[name].events == table.events
    for name, times in expected.events.items():
        np.testing.assert_array_equal(found.events[name], times)
    for one, two in zip(found.observed_s or (), expected.observed_s or (), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_session_written_and_opened_again_is_the_same(
    spiking: Session, tmp_path: Path, rng: np.random.Generator
) -> None:
    frame = pd.DataFrame(rng.normal(size=(50, 2)), index=np.arange(50) * 0.1, columns=["u", "v"])
    sessions = (
        spiking,
        session_from_arrays("traced", traces=frame),
        session_from_arrays("counted", counts=frame.round().abs()),
        session_from_arrays("rated", rates=frame.abs(), signals={"lap": np.repeat([0, 1], 25)}),
    )
    for session in sessions:
        folder = write_recording(session, tmp_path / session.session_id)
        dataset = FilesDataset(FilesConfig(path=folder))
        assert dataset.session_ids() == (session.session_id,)
        assert_same(dataset.load(session.session_id), session)


def test_a_written_session_passes_the_kit_and_runs(spiking: Session, tmp_path: Path) -> None:
    folder = write_recording(spiking, tmp_path / "day-1")
    results = check_dataset(lambda more: make("dataset", "files", {"path": str(folder), **more}))
    assert [str(result) for result in results if result.status != "passed"] == []
    settings = {"split": {"by": "blocks", "block_s": 1.0, "gap_s": 0.1}, "bin": {"signals": ["speed_cm_s"]}}
    run = nldisco_core.run("files", path=folder, model="pca", settings=settings, runs_dir=tmp_path / "runs", quiet=True)
    assert run.binned.sessions[0].session_id == "day-1"


def test_a_folder_that_is_there_is_not_written_over(spiking: Session, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        write_recording(spiking, tmp_path)


def _latents(data: Any) -> Latents:
    codes = np.zeros((data.n_bins, 4))
    codes[:, 1] = np.arange(data.n_bins)
    space = LatentSpace(
        codes=(sparse.csc_array(codes),),
        session_ids=tuple(session.session_id for session in data.sessions),
        row_offsets=data.row_offsets,
        defined=np.arange(data.n_bins) > 0,
    )
    return Latents.of(space)


@pytest.mark.skipif(find_spec("pynapple") is not None, reason="pynapple is installed")
def test_without_pynapple_the_extra_is_named(spiking: Session) -> None:
    data = bin_sessions([spiking], bin_s=0.5)
    with pytest.raises(PluginLoadError, match=r"nldisco-core\[pynapple\]"):
        latents_to_pynapple(_latents(data), data)


@NEEDS_PYNAPPLE
@pytest.mark.filterwarnings("ignore")  # pynapple's own
def test_pynapple_spikes_and_behaviour_become_a_session(trains: Mapping[int, NDArray[np.float64]]) -> None:
    import pynapple as nap

    support = nap.IntervalSet([0.0, 12.0], [10.0, 20.0])
    group = nap.TsGroup(
        {unit: nap.Ts(train) for unit, train in trains.items()},
        time_support=support,
        metadata={"location": ["adn", "adn", "ca1"]},
    )
    times_s = np.arange(0, 20, 0.1)
    session = session_from_pynapple(
        "A",
        group,
        signals={"heading_rad": nap.Tsd(t=times_s, d=times_s % 6.2)},
        intervals={"epochs": nap.IntervalSet([0.0, 12.0], [10.0, 20.0], metadata={"label": ["sleep", "wake"]})},
    )
    assert session.units["region"].tolist() == ["adn", "adn", "ca1"]
    assert session.signals["heading_rad"].kind == "circular"
    assert session.intervals["epochs"].frame["label"].tolist() == ["sleep", "wake"]
    inside = (trains[5] <= 10) | (trains[5] >= 12)
    np.testing.assert_array_equal(session.spike_times[1], trains[5][inside])
    binned = bin_session(session, bin_s=1.0)
    assert binned.observed is not None
    assert binned.observed.all(axis=1).tolist() == [True] * 10 + [False] * 2 + [True] * 8
    counted = group.count(1.0, ep=nap.IntervalSet(0, 10)).values
    np.testing.assert_array_equal(binned.activity[:10], counted)


@NEEDS_PYNAPPLE
@pytest.mark.filterwarnings("ignore")  # pynapple's own
def test_pynapple_traces_become_a_session(rng: np.random.Generator) -> None:
    import pynapple as nap

    values = rng.normal(size=(100, 3))
    session = session_from_pynapple("B", nap.TsdFrame(t=np.arange(100) * 0.1, d=values, columns=["a", "b", "c"]))
    assert session.traces is not None
    np.testing.assert_array_equal(session.traces.values(), values)
    assert session.units["id"].tolist() == ["a", "b", "c"]


@NEEDS_PYNAPPLE
@pytest.mark.filterwarnings("ignore")  # pynapple's own
def test_latents_become_frames_at_bin_centres_with_gaps_kept() -> None:
    starts = np.concatenate([np.arange(10), np.arange(20, 30)]) * 0.1
    session = session_from_arrays("gap", counts=np.ones((20, 2)), times_s=starts, bin_s=0.1)
    data = bin_sessions([session], bin_s=0.1)
    frame = latents_to_pynapple(_latents(data), data)["gap"]
    np.testing.assert_allclose(frame.t, starts + 0.05)
    np.testing.assert_array_equal(frame.values[1:, 1], np.arange(1, 20))
    assert np.isnan(frame.values[0]).all(), "a row that the model does not speak of"
    np.testing.assert_allclose(frame.time_support.values, [[0.0, 1.0], [2.0, 3.0]])


@NEEDS_PYNAPPLE
def test_latents_of_other_bins_are_refused() -> None:
    data = bin_sessions([session_from_arrays("s", counts=np.ones((20, 2)), bin_s=0.1)], bin_s=0.1)
    other = bin_sessions([session_from_arrays("s", counts=np.ones((10, 2)), bin_s=0.1)], bin_s=0.1)
    with pytest.raises(DataError, match="expected one row per bin"):
        latents_to_pynapple(_latents(data), other)
