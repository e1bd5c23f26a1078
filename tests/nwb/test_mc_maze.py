"""MC_Maze: cleaning, mending, numbering and lazy reading of files in the layouts of the archive."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from nldisco_datasets.maze_reach import MazeReach, MazeReachConfig
from nldisco_nwb import maze_signals
from nldisco_nwb.maze_config import MCMazeConfig
from nldisco_nwb.maze_trials import read_trials
from nldisco_nwb.mc_maze import MCMaze

import nldisco_core
from nldisco_core.alignment import align_signals
from nldisco_core.binning import bin_session, bin_sessions
from nldisco_core.conformance.datasets import check_dataset
from nldisco_core.errors import ConfigError, DatasetUnavailable, InvalidRecording
from nldisco_core.grid import Grid, to_ns
from nldisco_core.plugins import make
from nldisco_core.session import Session

SIZE: dict[str, Any] = {"n_trials": 90, "n_units": 8, "n_mazes": 4}
NAME = "sub-Jenkins_ses-20090912_behavior+ecephys.nwb"
Edit = Callable[[h5py.File], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, ...]]:
    """Simulated files by layout."""
    folder = tmp_path_factory.mktemp("made")
    return {
        "000070": MazeReach(MazeReachConfig(folder=folder, **SIZE)).files(),
        "restart": MazeReach(MazeReachConfig(folder=folder, clock_restart=True, **SIZE)).files(),
        "nlb": MazeReach(MazeReachConfig(folder=folder, layout="nlb", **SIZE)).files(),
    }


@pytest.fixture
def changed(made: dict[str, tuple[Path, ...]], tmp_path: Path) -> Callable[..., Path]:
    """``changed(edit, layout=…, name=…)``: a copy of a simulated file after some change."""

    def copy(edit: Edit | None = None, *, layout: str = "000070", name: str = NAME) -> Path:
        path = tmp_path / name
        shutil.copy(made[layout][0], path)
        if edit is not None:
            with h5py.File(path, "r+") as file:
                edit(file)
        return path

    return copy


def load(path: Path, session_id: str | None = None, **settings: Any) -> Session:
    data = make("dataset", "mc-maze", {"path": str(path), **settings})
    assert isinstance(data, MCMaze)
    return data.load(session_id or data.session_ids()[0])


@pytest.fixture(scope="module")
def session(made: dict[str, tuple[Path, ...]]) -> Session:
    return load(made["000070"][0])


def replaced(group: h5py.Group, name: str, values: Any) -> None:
    attributes = dict(group[name].attrs)
    del group[name]
    group.create_dataset(name, data=values).attrs.update(attributes)


# ---- what is read ----


@pytest.mark.parametrize("layout", ["000070", "restart", "nlb"])
def test_files_of_every_layout_pass_the_conformance_kit(made: dict[str, tuple[Path, ...]], layout: str) -> None:
    path = str(made[layout][0])
    results = check_dataset(lambda settings: make("dataset", "mc-maze", {"path": path, **settings}))
    assert [str(result) for result in results if result.status != "passed"] == []


def test_loading_reads_no_spike_train_no_signal_and_no_lfp(
    made: dict[str, tuple[Path, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, Any]] = []
    original = h5py.Dataset.__getitem__

    def watched(self: h5py.Dataset, key: Any, *rest: Any, **options: Any) -> Any:
        read.append((self.name, key))
        return original(self, key, *rest, **options)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", watched)
    session = load(made["000070"][0])
    behaviour = [key for name, key in read if name.startswith("/processing/behavior") and name.endswith("data")]
    assert all(key[0].stop <= 2000 for key in behaviour)  # a look at the unit
    assert all(key.stop - key.start == 1 for name, key in read if name == "/units/spike_times")
    assert "hand" in session.signals
    assert session.signals["hand"].values.shape[1] == 2
    assert not [name for name, _ in read if name.startswith("/processing/ecephys")]


def test_units_say_their_array_and_ids_name_the_animal(session: Session) -> None:
    assert session.units["region"].tolist() == ["PMd"] * 4 + ["M1"] * 4
    assert session.units["id"].tolist() == [f"simulated-{unit}" for unit in range(8)]


def test_regions_come_from_the_array_where_electrodes_do_not_say(changed: Any) -> None:
    def silent(file: h5py.File) -> None:
        replaced(file["general/extracellular_ephys/electrodes"], "location", ["unknown"] * 8)

    assert load(changed(silent)).units["region"].tolist() == ["PMd"] * 4 + ["M1"] * 4


def test_spikes_and_observed_intervals_are_those_of_the_file(
    made: dict[str, tuple[Path, ...]], session: Session
) -> None:
    assert session.spike_times is not None
    assert session.observed_s is not None
    with h5py.File(made["000070"][0]) as file:
        np.testing.assert_array_equal(session.spike_times.flat(), file["units/spike_times"][:])
        bounds = np.column_stack([file["intervals/trials/start_time"][:], file["intervals/trials/stop_time"][:]])
    for rows in session.observed_s:
        np.testing.assert_array_equal(rows, bounds)


# ---- cleaning ----


def test_each_step_drops_what_a_plain_loop_drops_and_says_how_many(
    made: dict[str, tuple[Path, ...]], session: Session
) -> None:
    with h5py.File(made["000070"][0]) as file:
        table = {name: file["intervals/trials"][name][:] for name in file["intervals/trials"]}
    dropped: dict[str, int] = {}
    kept = []
    for row in range(len(table["start_time"])):
        of = {name: values[row] for name, values in table.items() if len(values) == len(table["start_time"])}
        for step, sound in (
            ("typed", of["trial_type"] > 0),
            ("valid", of["discard_trial"] == 0 and of["task_success"] == 1),
            ("familiar", of["novel_maze"] == 0),
            ("regular", of["trial_version"] < 3),
            ("min_after_onset_s", of["stop_time"] - of["move_begins_time"] >= 0.8 - 1e-9),
            ("correct", of["correct_reach"] == 1),
        ):
            if not sound:
                dropped[step] = dropped.get(step, 0) + 1
                break
        else:
            kept.append(of["start_time"])
    assert len(dropped) >= 4
    assert session.intervals["trials"].frame["start_s"].tolist() == kept
    for step, count in dropped.items():
        assert any(f"step {step!r} dropped {count} trials" in warning for warning in session.warnings)
    assert f"cleaning kept {len(kept)} of 90 trials" in session.warnings


def test_every_step_can_be_left_out(made: dict[str, tuple[Path, ...]]) -> None:
    steps = ("typed", "valid", "familiar", "regular", "correct")
    off: dict[str, Any] = {**dict.fromkeys(steps, False), "min_after_onset_s": None}
    everything = load(made["000070"][0], cleaning=off)
    assert len(everything.intervals["trials"]) == 90
    assert not any("cleaning" in warning for warning in everything.warnings)
    frame = everything.intervals["trials"].frame
    assert {"trial_type", "task_success", "novel_maze", "correct_reach"} & set(frame)  # they still vary
    with pytest.raises(ConfigError, match="did you mean 'valid'"):
        load(made["000070"][0], cleaning={"vald": False})


def test_cleaning_that_leaves_nothing_says_so(changed: Any) -> None:
    def none_valid(file: h5py.File) -> None:
        file["intervals/trials/discard_trial"][:] = 1

    with pytest.raises(InvalidRecording, match=r"no trial is left of 90.*'valid' dropped.*cleaning\.valid=false"):
        load(changed(none_valid))


# ---- clock ----


def test_spikes_trials_and_behaviour_follow_each_other_after_the_clock_started_anew(
    made: dict[str, tuple[Path, ...]],
) -> None:
    session = load(made["restart"][0])
    assert session.spike_times is not None
    assert session.observed_s is not None
    with h5py.File(made["restart"][0]) as file:
        start = file["intervals/trials/start_time"][:]
        stop = file["intervals/trials/stop_time"][:]
        at = int(np.flatnonzero(np.diff(start) < 0)[0]) + 1
        shift = stop[at - 1] + 1.0 - start[at]
        first, last = file["units/spike_times_index"][2], file["units/spike_times_index"][3]
        own = file["units/spike_times"][first:last]
        fell = int(np.flatnonzero(np.diff(own) < 0)[0]) + 1
    np.testing.assert_allclose(session.spike_times[3], np.concatenate([own[:fell], own[fell:] + shift]))
    np.testing.assert_allclose(session.observed_s[0][at:, 0], start[at:] + shift)
    assert (np.diff(session.signals["hand"].times_s) > 0).all()
    assert session.signals["hand"].times_s[-1] == pytest.approx(stop[-1] + shift, abs=2e-3)


def test_units_whose_spikes_do_not_fit_the_clock_are_dropped_with_a_count(changed: Any) -> None:
    def thrice(file: h5py.File) -> None:
        first, stop = file["units/spike_times_index"][0], file["units/spike_times_index"][1]
        times = file["units/spike_times"][first:stop]
        third = len(times) // 3
        file["units/spike_times"][first:stop] = np.concatenate([times[third:], times[:third]])
        file["units/spike_times"][first + 5] = 0.0

    session = load(changed(thrice, layout="restart"))
    assert session.n_units == 7
    assert "jenkins-1" not in session.units["id"].tolist()
    assert any("1 units whose spike times do not fit" in warning for warning in session.warnings)


def test_a_pair_of_overlapping_trials_is_dropped(changed: Any) -> None:
    def overlap(file: h5py.File) -> None:
        trials = file["intervals/trials"]
        trials["stop_time"][20] = trials["start_time"][21] + 0.5

    before, after = load(changed(name="a.nwb")), load(changed(overlap))
    assert any("2 trials overlap in time; dropped" in warning for warning in after.warnings)
    with h5py.File(changed()) as file:
        gone = set(file["intervals/trials/start_time"][20:22])
    left = set(before.intervals["trials"].frame["start_s"]) - gone
    assert set(after.intervals["trials"].frame["start_s"]) == left


# ---- conditions ----


def test_targets_stored_without_sign_are_read_with_it(made: dict[str, tuple[Path, ...]]) -> None:
    with h5py.File(made["000070"][0]) as file:
        trials = read_trials(file["intervals/trials"])
    assert trials.targets is not None
    hit = trials.frame[["hit_position_x", "hit_position_y"]].to_numpy()
    assert hit.min() < 0
    for targets, own in zip(trials.targets, hit, strict=True):
        assert (targets == own).all(axis=1).any()
    assert any("target_positions is stored without sign (uint8)" in note for note in trials.notes)


def test_conditions_of_a_file_with_other_numbers_get_those_of_the_first(changed: Any) -> None:
    def renumbered(file: h5py.File) -> None:
        values = file["intervals/trials/maze_condition"][:].astype(int)
        novel = values > 12
        turned = (values - 1 + 3 * 2) % 12 + 1  # the mazes in another order
        file["intervals/trials/maze_condition"][:] = np.where(novel, values, turned)

    first = changed()
    changed(renumbered, name="sub-Jenkins_ses-20090916_behavior+ecephys.nwb")
    data = MCMaze(MCMazeConfig(path=first.parent))
    assert data.session_ids() == ("jenkins-20090912", "jenkins-20090916")
    one, two = (data.load(name).intervals["trials"].frame for name in data.session_ids())
    assert one["maze_condition"].tolist() == two["maze_condition"].tolist()
    assert two["condition_in_file"].tolist() != two["maze_condition"].tolist()
    assert "condition_in_file" not in one
    assert one["maze"].tolist() == [(number - 1) // 3 + 1 for number in one["maze_condition"]]


def test_a_maze_that_the_first_session_lacks_gets_a_number_of_its_own(changed: Any) -> None:
    def moved(file: h5py.File) -> None:
        trials = file["intervals/trials"]
        of_first = trials["maze_condition"][:] <= 3
        hit = trials["hit_target_position"][:]
        hit[of_first] += 7
        trials["hit_target_position"][:] = hit

    first = changed()
    changed(moved, name="sub-Jenkins_ses-20090916_behavior+ecephys.nwb")
    data = MCMaze(MCMazeConfig(path=first.parent))
    two = data.load("jenkins-20090916").intervals["trials"].frame
    assert set(two["maze_condition"]) == set(range(4, 16))


def test_conditions_without_trials_are_said(changed: Any) -> None:
    def hole(file: h5py.File) -> None:
        trials = file["intervals/trials"]
        trials["discard_trial"][:] = np.where(trials["maze_condition"][:] == 5, 1, trials["discard_trial"][:])

    assert any("conditions 5 have no trial left" in warning for warning in load(changed(hole)).warnings)


def test_sessions_of_one_animal_stack_and_those_of_two_do_not(changed: Any) -> None:
    first = changed()
    changed(name="sub-Jenkins_ses-20090916_behavior+ecephys.nwb")
    changed(name="sub-Nitschke_ses-20090812_behavior+ecephys.nwb")
    data = MCMaze(MCMazeConfig(path=first.parent))
    sessions = [data.load(name) for name in data.session_ids()]
    assert bin_sessions(sessions[:2], bin_s=0.1, signals=[]).shares_units
    assert not bin_sessions(sessions, bin_s=0.1, signals=[]).shares_units
    assert MCMaze(MCMazeConfig(path=first.parent, subject="nitschke")).session_ids() == ("nitschke-20090812",)


# ---- mappable columns and signals ----


def test_columns_become_variables_of_their_kind(session: Session) -> None:
    binned = bin_session(session, bin_s=0.05, trials="trials", only_trials=True)
    kinds = {name: (covariate.kind, covariate.physical_unit) for name, covariate in binned.covariates.items()}
    expected = {
        "maze_condition": ("discrete", None),
        "maze": ("discrete", None),
        "trial_version": ("discrete", None),
        "num_barriers": ("discrete", None),
        "num_targets": ("discrete", None),
        "hit_position_x": ("linear", "mm"),
        "hit_position_angle": ("circular", "deg"),
        "delay_s": ("linear", "s"),
        "hand": ("position", "mm"),
        "hand_velocity": ("linear", "mm/s"),
        "hand_acceleration_magnitude": ("linear", "mm/s^2"),
        "movement_angle": ("circular", "deg"),
        "eye": ("position", "mm"),
        "event": ("discrete", None),
        "phase": ("discrete", None),
    }
    assert {name: kinds[name] for name in expected} == expected
    assert binned.covariates["event"].categories == ("target_on", "go_cue", "move_begins", "move_ends")
    assert binned.observed is None  # inside trials every unit was recorded


def test_more_conditions_than_text_columns_may_have_stay_one_discrete_variable(tmp_path: Path) -> None:
    data = MazeReach(MazeReachConfig(folder=tmp_path, n_trials=240, n_units=4, n_mazes=36))
    binned = bin_session(data.load("maze-reach-0"), bin_s=0.1, trials="trials", only_trials=True, signals=[])
    condition = binned.covariates["maze_condition"]
    assert condition.kind == "discrete"
    assert condition.categories is not None
    assert len(condition.categories) > 50


def test_velocity_and_acceleration_are_central_differences_inside_each_trial(session: Session) -> None:
    hand, velocity = session.signals["hand"], session.signals["hand_velocity"]
    acceleration = session.signals["hand_acceleration"]
    edges = np.flatnonzero(np.diff(hand.times_s) > 0.0015) + 1
    assert len(edges) == 89
    for rows in np.split(np.arange(len(hand.times_s)), edges)[::9]:
        gradient = np.gradient(hand.values[rows], hand.times_s[rows], axis=0)
        np.testing.assert_allclose(velocity.values[rows], gradient, atol=1e-6)
        second = np.gradient(gradient, hand.times_s[rows], axis=0)
        np.testing.assert_allclose(acceleration.values[rows], second, atol=1e-3)
    speed = np.linalg.norm(velocity.values, axis=1)
    np.testing.assert_allclose(session.signals["hand_speed"].values[:, 0], speed)
    angle = session.signals["movement_angle"].values[:, 0]
    assert np.isnan(angle[speed < 20]).all()
    moving = speed >= 20
    turned = np.exp(1j * np.radians(angle[moving])) * speed[moving]
    np.testing.assert_allclose(np.column_stack([turned.real, turned.imag]), velocity.values[moving], atol=1e-6)


def test_behaviour_read_in_blocks_is_the_behaviour_read_whole(
    made: dict[str, tuple[Path, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maze_signals, "SAMPLES_AT_ONCE", 30_000)
    for layout in ("000070", "restart"):
        session = load(made[layout][0])
        n_blocks = sum(1 for _ in session.signals.blocks(["hand"], min_gap_s=0.15))  # type: ignore[attr-defined]
        assert n_blocks > 5
        start_ns, stop_ns = to_ns(session.span_s)
        grid = Grid(
            bin_ns=50_000_000,
            stretch_start_ns=np.array([start_ns, start_ns + 100_500_000_000]),
            stretch_n_bins=np.array([2000, (stop_ns - start_ns - 100_500_000_000) // 50_000_000]),
        )
        in_blocks = align_signals(session, grid)

        whole = align_signals(replace(session, signals={name: session.signals[name] for name in session.signals}), grid)
        assert list(in_blocks) == list(whole)
        for name, covariate in whole.items():
            np.testing.assert_allclose(in_blocks[name].values, covariate.values, rtol=1e-9, atol=1e-9, err_msg=name)


def test_positions_in_a_wrong_unit_are_taken_as_millimetres_and_said(changed: Any) -> None:
    def metres(file: h5py.File) -> None:
        file["processing/behavior/Position/Hand/data"].attrs["unit"] = "meters"

    def true_metres(file: h5py.File) -> None:
        data = file["processing/behavior/Position/Hand/data"]
        data.attrs["unit"], data.attrs["conversion"] = "meters", 1e-3

    plain = load(changed(name="a.nwb")).signals["hand"].values
    wrong = load(changed(metres, name="b.nwb"))
    assert any("'hand': the stated unit (meters)" in warning for warning in wrong.warnings)
    np.testing.assert_array_equal(wrong.signals["hand"].values, plain)
    right = load(changed(true_metres, name="c.nwb"))
    assert not any("stated unit" in warning for warning in right.warnings)
    np.testing.assert_allclose(right.signals["hand"].values, plain)


def test_a_hand_of_six_dimensions_gives_x_and_y(changed: Any) -> None:
    def six(file: h5py.File) -> None:
        group = file["processing/behavior/Position/Hand"]
        values = group["data"][:]
        replaced(group, "data", np.column_stack([values, np.full((len(values), 4), 7.0, np.float32)]))

    hand = load(changed(six, name="a.nwb")).signals["hand"]
    np.testing.assert_array_equal(hand.values, load(changed(name="b.nwb")).signals["hand"].values)


def test_repeated_and_missing_timestamps_are_dropped(changed: Any, caplog: pytest.LogCaptureFixture) -> None:
    def bad(file: h5py.File) -> None:
        times = file["processing/behavior/Position/Hand/timestamps"]
        times[100] = times[99]
        times[200] = np.nan

    hand = load(changed(bad)).signals["hand"]
    assert len(hand.times_s) == len(load(changed(name="b.nwb")).signals["hand"].times_s) - 2
    assert "not finite" in caplog.text


# ---- the benchmark and brainsets ----


def test_the_benchmark_has_its_parts_and_the_same_names(made: dict[str, tuple[Path, ...]]) -> None:
    data = MCMaze(MCMazeConfig(path=made["nlb"][0].parent))
    assert data.session_ids() == ("simulated-seed0-test", "simulated-seed0-train")
    test, train = (data.load(name) for name in data.session_ids())
    assert train.units["heldout"].sum() == 2
    assert test.n_units == 6
    frame = train.intervals["trials"].frame
    with h5py.File(made["nlb"][0]) as file:
        trials = file["intervals/trials"]
        maze, version = trials["maze_id"][:] - 100, trials["trial_version"][:]
    assert frame["maze_condition"].tolist() == (3 * maze + version + 1).tolist()
    assert {"hit_position_angle", "num_barriers", "split", "reaction_s"} <= set(frame)
    assert train.intervals["trials"].events == ("target_on_s", "go_cue_s", "move_begins_s")
    assert "movement_angle" in train.signals
    assert dict(test.signals) == {}
    assert "maze_condition" not in test.intervals["trials"].frame
    assert set(test.intervals["trials"].frame["split"]) == {"test"}


def test_our_velocity_is_that_of_the_benchmark(made: dict[str, tuple[Path, ...]]) -> None:
    session = load(made["nlb"][0])
    with h5py.File(made["nlb"][0]) as file:
        theirs = file["processing/behavior/hand_vel/data"][:]
    np.testing.assert_allclose(session.signals["hand_velocity"].values, theirs, atol=1e-2)


def brainsets_file(session: Session, path: Path) -> Path:
    """A file as brainsets would make it of a session: trials, units and spikes in the order of time."""
    assert session.spike_times is not None
    trains = session.spike_times
    unit = np.repeat(np.arange(len(trains)), trains.n_spikes)
    order = np.argsort(trains.flat(), kind="stable")
    frame = session.intervals["trials"].frame
    names = {"start_s": "start", "stop_s": "end"} | {f"{n}_s": f"{n}_time" for n in ("target_on", "go_cue")}
    names |= {"move_begins_s": "move_begins_time", "move_ends_s": "move_ends_time"}
    with h5py.File(path, "w") as file:
        for own, theirs in names.items():
            file[f"trials/{theirs}"] = frame[own].to_numpy()
        file["trials/maze_condition"] = frame["maze_condition"].to_numpy(dtype=np.int64)
        file["trials/is_valid"] = np.arange(len(frame)) % 10 != 0
        file["spikes/timestamps"], file["spikes/unit_index"] = trains.flat()[order], unit[order]
        file["spikes/domain/start"], file["spikes/domain/end"] = session.intervals["trials"].bounds_s.T
        groups = [f"group_{1 if region == 'PMd' else 2}/elec{i}" for i, region in enumerate(session.units["region"])]
        file["units/id"] = groups
        for name in ("hand", "eye"):
            signal = session.signals[name]
            file[f"{name}/timestamps"] = signal.times_s
            file[f"{name}/{'pos_2d' if name == 'hand' else 'pos'}"] = signal.values
    return path


@pytest.mark.parametrize("name", ["jenkins_20090912_center_out_reaching.h5", "jenkins_20090912_maze.h5"])
def test_files_of_brainsets_load(session: Session, tmp_path: Path, name: str) -> None:
    brainsets_file(session, tmp_path / name)
    data = MCMaze(MCMazeConfig(path=tmp_path))
    assert data.session_ids() == ("jenkins-20090912",)
    found = data.load("jenkins-20090912")
    assert session.spike_times is not None
    assert found.spike_times is not None
    for unit in range(8):
        np.testing.assert_array_equal(found.spike_times[unit], session.spike_times[unit])
    assert found.units["region"].tolist() == session.units["region"].tolist()
    assert found.units["id"].iloc[0] == "jenkins-group_1/elec0"
    frame = session.intervals["trials"].frame
    valid = np.arange(len(frame)) % 10 != 0
    assert found.intervals["trials"].frame["go_cue_s"].tolist() == frame["go_cue_s"][valid].tolist()
    np.testing.assert_allclose(
        found.signals["hand_velocity"].values, session.signals["hand_velocity"].values, atol=1e-9, equal_nan=True
    )


# ---- what is missing or damaged ----


def test_without_files_it_says_what_to_get_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nldisco: Any
) -> None:
    monkeypatch.setenv("NLDISCO_CACHE", str(tmp_path))
    outcome = nldisco("datasets", "show", "mc-maze", "--set", "dataset.subject=nitschke")
    assert outcome.code == 1
    assert "nldisco datasets get mc-maze --subject nitschke --sessions 1" in outcome.err
    assert str(tmp_path / "dandi" / "000070") in outcome.err
    with pytest.raises(DatasetUnavailable, match="no recording of mc-maze"):
        MCMaze(MCMazeConfig(path=tmp_path)).session_ids()
    assert MCMaze(MCMazeConfig()).card().source == "DANDI 000070"


def remove(name: str) -> Edit:
    def edit(file: h5py.File) -> None:
        del file[name]

    return edit


def put(name: str, values: Any) -> Edit:
    def edit(file: h5py.File) -> None:
        replaced(file[name.rsplit("/", 1)[0]], name.rsplit("/", 1)[1], values)

    return edit


def nan_starts(file: h5py.File) -> None:
    file["intervals/trials/start_time"][:] = np.nan


def one_nan_start(file: h5py.File) -> None:
    file["intervals/trials/stop_time"][4] = np.nan


DAMAGED: dict[str, tuple[Edit, str]] = {
    "no trials": (remove("intervals/trials"), "intervals/trials is not there"),
    "no units": (remove("units"), "units is not there"),
    "no spikes": (remove("units/spike_times"), "no spike_times"),
    "no index": (remove("units/spike_times_index"), "units/spike_times_index is not there"),
    "no start": (remove("intervals/trials/start_time"), "start_s missing"),
    "NaN starts": (nan_starts, "none has a finite start"),
    "text times": (put("intervals/trials/stop_time", ["a"] * 90), "stop_time holds object"),
    "short column": (put("intervals/trials/trial_type", [1, 2]), "trial_type has 2 rows, others have 90"),
    "two-dimensional condition": (
        put("intervals/trials/maze_condition", np.ones((90, 2), np.uint8)),
        "maze_condition holds uint8 of shape",
    ),
    "hit of one number": (put("intervals/trials/hit_target_position", np.ones(90)), "hit_target_position has shape"),
    "index too long": (put("units/spike_times_index", np.full(8, 10**6)), "does not cut the"),
    "index that falls": (
        put("intervals/trials/barrier_info_index", np.arange(90)[::-1].astype(np.uint16)),
        "does not cut the",
    ),
    "index of other length": (put("units/spike_times_index", np.array([5], np.uint16)), "does not cut the"),
    "whole-number spikes": (put("units/spike_times", np.arange(9)), "expected seconds"),
    "text barriers": (put("intervals/trials/barrier_info", ["x"] * 3), "barrier_info"),
    "no electrodes but odd ids": (put("units/id", np.linspace(0, 1, 8)), "units/id holds float64"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_gives_one_line_that_names_file_and_field(changed: Any, damage: str) -> None:
    edit, expected = DAMAGED[damage]
    with pytest.raises(InvalidRecording) as failure:
        load(changed(edit))
    message = str(failure.value)
    assert message.startswith(NAME)
    assert expected in message
    assert "\n" not in message


def test_a_truncated_file_and_one_that_is_no_recording_are_named(changed: Any, tmp_path: Path) -> None:
    whole = changed()
    whole.write_bytes(whole.read_bytes()[:100_000])
    with pytest.raises(InvalidRecording, match=r"20090912.*truncated"):
        load(whole)
    text = tmp_path / "jenkins_20090912_maze.h5"
    text.write_text("no HDF5")
    with pytest.raises(InvalidRecording, match="no HDF5 file"):
        load(text)


def test_rows_without_bounds_are_dropped_with_a_count(changed: Any) -> None:
    session = load(changed(one_nan_start))
    assert any("trials: 1 of 90 without a finite start" in warning for warning in session.warnings)


def test_spikes_out_of_order_name_file_and_unit_when_read(changed: Any) -> None:
    def swap(file: h5py.File) -> None:
        file["units/spike_times"][3] = 0.0

    session = load(changed(swap))
    assert session.spike_times is not None
    with pytest.raises(InvalidRecording, match=rf"^{NAME[:10]}.*unit 0.*not sorted"):
        session.spike_times[0]


def test_a_damaged_neighbour_does_not_stop_a_sound_session(changed: Any, caplog: pytest.LogCaptureFixture) -> None:
    first = changed()
    changed(remove("intervals/trials/start_time"), name="sub-Jenkins_ses-20090916_behavior+ecephys.nwb")
    data = MCMaze(MCMazeConfig(path=first.parent))
    assert len(data.load("jenkins-20090912").intervals["trials"]) > 0
    assert "left out of the common numbering" in caplog.text


def test_the_same_session_twice_is_refused(changed: Any, session: Session) -> None:
    first = changed()
    brainsets_file(session, first.parent / "jenkins_20090912_maze.h5")
    with pytest.raises(InvalidRecording, match="hold the same session"):
        MCMaze(MCMazeConfig(path=first.parent)).session_ids()


def test_trial_columns_survive_being_kept_in_a_run(made: dict[str, tuple[Path, ...]], tmp_path: Path) -> None:
    run = nldisco_core.run(
        "mc-maze",
        path=made["000070"][0],
        model="pca",
        settings={"bin": {"signals": ["hand_speed"]}, "model": {"n_latents": 2}},
        runs_dir=tmp_path,
        quiet=True,
    )
    kept = run.binned.sessions[0].trials
    assert kept is not None
    assert isinstance(kept.frame["maze_condition"], pd.Series)
    assert run.binned.covariate("hit_position_angle").kind == "circular"
