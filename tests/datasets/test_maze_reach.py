"""The simulated maze reaches: layout of the files, truth behind the spikes, and what the loader makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from nldisco_datasets import maze_reach_file
from nldisco_datasets.maze_reach import MazeReach, MazeReachConfig, Simulation
from nldisco_datasets.maze_reach_task import reach
from scipy import sparse
from sklearn.linear_model import Ridge

from nldisco_core.binning import bin_sessions
from nldisco_core.conformance.datasets import check_dataset
from nldisco_core.errors import DatasetUnavailable
from nldisco_core.plugins import make
from nldisco_core.recovery import FeatureTruth, align_truth, feature_auroc
from nldisco_core.session import Session

SMALL: dict[str, Any] = {"n_trials": 160, "n_units": 24, "n_mazes": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("maze-reach")


def simulated(folder: Path, **settings: Any) -> MazeReach:
    return MazeReach(MazeReachConfig(folder=folder, **{**SMALL, **settings}))


@pytest.fixture(scope="module")
def session(folder: Path) -> Session:
    data = simulated(folder)
    return data.load(data.session_ids()[0])


def truth_of(session: Session) -> FeatureTruth:
    assert session.truth is not None
    truth: FeatureTruth = session.truth["features"]
    return truth


@pytest.mark.parametrize("layout", ["000070", "nlb"])
def test_the_simulation_passes_the_conformance_kit(folder: Path, layout: str) -> None:
    settings = {**SMALL, "layout": layout, "folder": str(folder)}
    results = check_dataset(lambda more: make("dataset", "maze-reach", {**settings, **more}))
    assert [str(result) for result in results if result.status != "passed"] == []


def test_the_file_has_the_names_and_types_of_000070(folder: Path) -> None:
    (path,) = simulated(folder).files()
    assert path.name == "sub-Simulated_ses-00000000_behavior+ecephys.nwb"
    with h5py.File(path) as file:
        assert set(file["general/extracellular_ephys"]) == {"1", "2", "electrodes"}
        assert set(file["processing/behavior/Position"]) == {"Cursor", "Eye", "Hand"}
        assert "A001" in file["processing/ecephys/Processed"]
        trials, units = file["intervals/trials"], file["units"]
        stated = (
            "start_time stop_time target_presentation_time go_cue_time move_begins_time move_ends_time maze_condition "
            "maze_num_targets maze_num_barriers hit_target_position target_positions target_positions_index "
            "barrier_info barrier_info_index target_size reaction_time trial_type trial_version novel_maze "
            "task_success discard_trial correct_reach proto_trial"
        )
        assert set(stated.split()) <= set(trials)
        assert (trials["maze_condition"].dtype, trials["target_positions"].dtype) == (np.uint8, np.uint8)
        assert trials["hit_target_position"].dtype == np.int16
        assert units["obs_intervals"].shape == (24 * 160, 2)
        assert {"electrodes", "electrode_group", "spike_times", "spike_times_index"} <= set(units)
        times = file["processing/behavior/Position/Hand/timestamps"][:]
        bounds = np.column_stack([trials["start_time"][:], trials["stop_time"][:]])
        inside = (times[:, None] >= bounds[:, 0] - 1e-9) & (times[:, None] < bounds[:, 1])
        assert (inside.sum(axis=1) == 1).all()
        assert file["processing/ecephys/Processed/A001/data"].id.get_storage_size() == 0


def test_the_benchmark_files_have_its_names(folder: Path) -> None:
    train, test = simulated(folder, layout="nlb").files()
    with h5py.File(train) as file:
        assert set(file["processing/behavior"]) == {"cursor_pos", "eye_pos", "hand_pos", "hand_vel"}
        stated = "target_on_time go_cue_time move_onset_time delay rt trial_type maze_id trial_version num_targets"
        more = "num_barriers target_pos target_pos_index barrier_pos active_target success split"
        assert set(f"{stated} {more}".split()) <= set(file["intervals/trials"])
        assert file["units/heldout"][:].sum() == 6
        n_train = len(file["units/id"])
    with h5py.File(test) as file:
        assert set(file["intervals/trials"]) == {"id", "start_time", "stop_time", "move_onset_time", "split"}
        assert "processing/behavior" not in file
        assert len(file["units/id"]) == n_train - 6


def test_the_same_seed_gives_the_same_file_and_another_another(tmp_path: Path) -> None:
    small = {"n_trials": 12, "n_units": 5, "n_mazes": 2}
    files = [simulated(tmp_path / str(n), **small, seed=seed).files()[0] for n, seed in enumerate((1, 1, 2))]
    with h5py.File(files[0]) as one, h5py.File(files[1]) as two, h5py.File(files[2]) as three:
        for name in ("units/spike_times", "intervals/trials/start_time", "processing/behavior/Position/Eye/data"):
            np.testing.assert_array_equal(one[name][:], two[name][:])
            assert one[name].shape != three[name].shape or not np.array_equal(one[name][:], three[name][:])


def test_a_file_is_made_once_and_an_interrupted_one_is_not_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = simulated(tmp_path, n_trials=6, n_units=4, n_mazes=1)

    def cut(path: Path, *_: Any) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(maze_reach_file, "write_000070", cut)
        with pytest.raises(DatasetUnavailable, match=r"cannot write.*NLDISCO_CACHE"):
            data.files()
    assert not list(tmp_path.rglob("sub-*.nwb"))
    (path,) = data.files()
    made = path.stat().st_mtime_ns
    assert data.files()[0].stat().st_mtime_ns == made


def test_spikes_are_poisson_around_what_the_truth_says(session: Session, folder: Path) -> None:
    truth, told = truth_of(session), session.truth
    assert told is not None
    assert session.spike_times is not None
    simulation = Simulation.of(MazeReachConfig(**SMALL))
    bounds = simulation.trials[["start", "stop"]].to_numpy()
    trial = np.searchsorted(bounds[:, 0], truth.times_s, side="right") - 1
    for unit in (0, 7, 23):
        rate = told["gain"][trial] * (told["baseline_hz"][unit] + truth.activity @ truth.mixing[:, unit])
        expected = np.bincount(trial, weights=rate * 0.01)
        found = np.histogram(session.spike_times[unit], np.append(bounds[:, 0], bounds[-1, 1]))[0]
        statistic = ((found - expected) ** 2 / expected).sum()
        assert abs(statistic - len(expected)) < 5 * np.sqrt(2 * len(expected))


def test_planted_weights_are_found_in_the_bins_that_the_loader_makes(folder: Path) -> None:
    data = simulated(folder, n_trials=360, n_mazes=12)
    session = data.load(data.session_ids()[0])
    binned = bin_sessions([session], bin_s=0.05, trials="trials", only_trials=True, signals=[])
    truth = align_truth([session], binned)
    known = truth.defined
    assert known.mean() > 0.99
    # a penalty, since features lie within each other and the phases add up to one
    weights = Ridge(alpha=10.0).fit(truth.activity[known], binned.activity[known] / 0.05).coef_.T
    planted = truth_of(session).mixing
    for kind in ("direction", "target", "maze"):
        chosen = (truth.features["kind"] == kind).to_numpy()
        assert np.corrcoef(weights[chosen].ravel(), planted[chosen].ravel())[0, 1] > 0.8


def test_a_unit_driven_by_one_direction_alone_tells_it_and_an_undriven_one_does_not(folder: Path) -> None:
    data = simulated(folder, n_trials=360, n_mazes=12)
    session = data.load(data.session_ids()[0])
    binned = bin_sessions([session], bin_s=0.1, trials="trials", only_trials=True, signals=[])
    truth = align_truth([session], binned)
    mixing = truth_of(session).mixing
    feature = int(np.flatnonzero(truth.features["name"] == "speed")[0])
    rows = truth.defined
    scores = feature_auroc(sparse.csc_array(binned.activity[rows].astype(float)), truth.active[rows][:, [feature]])[
        :, 0
    ]
    assert scores[mixing[feature] > 0].mean() > scores[mixing[feature] == 0].mean() + 0.05


def test_the_trials_and_behaviour_that_come_back_are_those_that_were_drawn(session: Session) -> None:
    trials = Simulation.of(MazeReachConfig(**SMALL)).trials
    sound = trials[trials["fault"] == ""].reset_index(drop=True)
    frame = session.intervals["trials"].frame
    named = {"start": "start_s", "target_on": "target_on_s", "go_cue": "go_cue_s", "move_ends": "move_ends_s"}
    for own, given in named.items():
        np.testing.assert_allclose(frame[given], sound[own])
    assert (frame["maze_condition"].to_numpy() == sound["condition"].to_numpy()).all()
    hand = session.signals["hand"]
    row = sound.iloc[3]
    rows = (hand.times_s >= row["start"]) & (hand.times_s < row["stop"] - 1e-9)
    drawn = reach(sound, np.full(rows.sum(), 3), hand.times_s[rows]).position
    assert np.abs(hand.values[rows] - drawn - (0.0, -35.0)).max() < 0.5


def test_a_clock_that_starts_anew_is_mended(folder: Path) -> None:
    data = simulated(folder, clock_restart=True)
    with h5py.File(data.files()[0]) as file:
        assert (np.diff(file["intervals/trials/start_time"][:]) < 0).sum() == 1
        assert (np.diff(file["processing/behavior/Position/Hand/timestamps"][:]) < 0).sum() == 1
    session = data.load(data.session_ids()[0])
    assert "the clock starts anew 1 times; the parts are laid end to end, 1 s apart" in session.warnings
    drawn = Simulation.of(MazeReachConfig(clock_restart=True, **SMALL)).trials
    sound = drawn[drawn["fault"] == ""]
    np.testing.assert_allclose(session.intervals["trials"].frame["go_cue_s"], sound["go_cue"])
    assert (np.diff(session.signals["hand"].times_s) > 0).all()
    binned = bin_sessions([session], bin_s=0.05, trials="trials", only_trials=True, signals=["hand_speed"])
    truth = align_truth([session], binned)
    speed = binned.covariate("hand_speed").values[:, 0]
    planted = truth.activity[:, (truth.features["name"] == "speed").to_numpy()][:, 0]
    known = truth.defined & np.isfinite(speed)
    assert np.corrcoef(speed[known], planted[known])[0, 1] > 0.98


def test_an_unknown_session_and_a_folder_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match="maze-reach-0"):
        simulated(tmp_path).load("maze-reach-9")
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(DatasetUnavailable, match="cannot write"):
        simulated(blocked).files()


def test_units_names_and_ranges_agree_with_the_real_trials(folder: Path, shared_data: Path) -> None:
    data = simulated(folder, layout="nlb")
    session = data.load(data.session_ids()[0])
    bounds = session.intervals["trials"].bounds_s
    lengths, peaks = np.diff(bounds, axis=1), []
    for name in ("trial_748_data.csv", "trial_1356_data.csv"):
        real = pd.read_csv(shared_data / "mc_maze_trials" / name)
        length = real["timestamp"].iloc[-1] - real["timestamp"].iloc[0]
        assert lengths.min() < length < lengths.max()
        for ours, theirs in (("cursor", "cursor_pos"), ("hand", "hand_pos"), ("hand_velocity", "hand_vel")):
            signal = session.signals[ours]
            for channel, axis in enumerate(signal.channels):
                column = real[f"{theirs}_{axis}"].to_numpy()
                spread = signal.values[:, channel].max() - signal.values[:, channel].min()
                # two trials span less than all; a wrong unit would be off by ten or more
                assert 0.15 * spread < np.ptp(column) < 1.5 * spread
        gradient = np.gradient(real["hand_pos_x"].to_numpy(), real["timestamp"].to_numpy())
        np.testing.assert_allclose(gradient, real["hand_vel_x"], atol=1e-3)
        offset = (real["hand_pos_y"] - real["cursor_pos_y"]).mean()
        hand, cursor = session.signals["hand"], session.signals["cursor"]
        assert (hand.values - cursor.values)[:, 1].mean() == pytest.approx(offset, abs=0.5)
        assert np.median(np.diff(real["timestamp"])) == pytest.approx(hand.sampling_period_s, rel=1e-6)
        peaks.append(np.hypot(real["hand_vel_x"], real["hand_vel_y"]).max())
    ours = [
        session.signals["hand_speed"]
        .values[(session.signals["hand_speed"].times_s >= start) & (session.signals["hand_speed"].times_s < stop)]
        .max()
        for start, stop in bounds[:3]
    ]
    assert 0.3 < np.median(ours) / np.median(peaks) < 2
