"""What a layout says of signals, trials, events, observed time and several sessions is what a session holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import pandas as pd
import pytest
from nldisco_files.config import FilesConfig, Layout, SignalLayout
from nldisco_files.dataset import FilesDataset
from nldisco_files.kinds import guessed_kind, guessed_unit
from numpy.typing import NDArray

from nldisco_core.binning import bin_session, bin_sessions
from nldisco_core.errors import ConfigError, DataError, DatasetUnavailable, InvalidRecording
from nldisco_core.plugins import make
from nldisco_core.session import Session

Open: TypeAlias = Callable[..., Session]
SPIKES: dict[str, Any] = {"spike_times": "t", "spike_units": "unit"}


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("position_cm", "cm"),
        ("pos_px", "px"),
        ("angle [deg]", "deg"),
        ("speed_cm_s", "cm/s"),
        ("speed (mm)", "mm"),
        ("target", None),
        ("items", None),
    ],
)
def test_units_are_read_off_names(name: str, unit: str | None) -> None:
    assert guessed_unit(name) == unit


TURN = np.linspace(-np.pi, np.pi, 50)


@pytest.mark.parametrize(
    ("name", "values", "unit", "kind"),
    [
        ("heading", TURN, "rad", ("circular", 2 * np.pi)),
        ("heading", np.degrees(TURN), "deg", ("circular", 360.0)),
        ("heading", TURN, None, ("linear", None)),
        ("tilt", TURN, "rad", ("linear", None)),
        ("heading", 3 * TURN, "rad", ("linear", None)),  # unwrapped
        ("position", np.zeros((50, 2)), "cm", ("position", None)),
        ("velocity", np.zeros((50, 2)), "cm/s", ("linear", None)),
        ("lap", np.repeat(np.arange(5), 10), None, ("discrete", None)),
        ("frame", np.arange(50), None, ("linear", None)),
        ("reward", np.arange(50) % 2 == 0, None, ("discrete", None)),
        ("context", np.array(["a", "b"] * 25), None, ("discrete", None)),
    ],
)
def test_kinds_are_inferred(name: str, values: NDArray[Any], unit: str | None, kind: tuple[str, float | None]) -> None:
    found, period = guessed_kind(name, values, unit, SignalLayout())
    assert found == kind[0]
    assert period == pytest.approx(kind[1]) if kind[1] else period is None


def test_a_stated_kind_wins() -> None:
    lap = np.repeat(np.arange(5), 10)
    assert guessed_kind("lap", lap, None, SignalLayout(kind="linear")) == ("linear", None)
    assert guessed_kind("lap", lap, None, SignalLayout(period=5.0)) == ("circular", 5.0)


def test_signals_trials_and_events_stand_beside_spikes(opened: Open, spikes_npz: Path) -> None:
    layout = {
        **SPIKES,
        "subject": "m1",
        "signals": {"heading": {"values": "heading_rad", "times": "heading_t"}},
        "intervals": {"trials": {"start": "begins", "stop": "ends", "columns": ["target"]}},
        "events": {"lick": "licks"},
    }
    session = opened(spikes_npz, layout=layout)
    heading = session.signals["heading"]
    assert (heading.kind, heading.physical_unit, heading.sampling_period_s) == ("circular", "rad", pytest.approx(0.02))
    assert session.intervals["trials"].frame["target"].tolist() == ["left", "right"]
    assert session.events["lick"].tolist() == [3.0, 12.5]
    assert session.subject == "m1"
    binned = bin_session(session, bin_s=0.5, trials="trials")
    centre = binned.start_ns * 1e-9 + 0.25
    np.testing.assert_allclose(np.exp(1j * binned.covariates["heading"].values[:, 0]), np.exp(1j * centre), atol=0.02)


def test_a_folder_of_arrays_is_one_session_where_its_layout_names_files(
    opened: Open, tmp_path: Path, trains: Mapping[int, NDArray[np.float64]]
) -> None:
    folder = tmp_path / "mouse-3"
    folder.mkdir()
    np.save(folder / "times.npy", np.concatenate([30_000 * train for train in trains.values()]))
    np.save(folder / "clusters.npy", np.repeat(list(trains), [len(train) for train in trains.values()]))
    pd.DataFrame({"t": [0, 150_000], "x": [0.0, 1.0], "y": [1.0, 0.0]}).to_csv(folder / "position.csv", index=False)
    pd.DataFrame({"start": [30_000, 300_000], "end": [60_000, 330_000], "go_time": [45_000, 310_000]}).to_csv(
        folder / "trials.csv", index=False
    )
    (folder / "recording.toml").write_text(
        """
        spike_times = "times.npy"
        spike_units = "clusters.npy"
        time_unit = "samples"
        sample_hz = 30000.0
        intervals.trials.table = "trials.csv"
        signals.position.values = ["position.csv:x", "position.csv:y"]
        signals.position.times = "position.csv:t"
        """,
        encoding="utf-8",
    )
    session = opened(folder)
    assert session.session_id == "mouse-3"
    np.testing.assert_allclose(session.spike_times[0], trains[2])
    assert session.signals["position"].times_s.tolist() == [0.0, 5.0]
    assert session.signals["position"].channels == ("x", "y")
    trials = session.intervals["trials"]
    assert trials.bounds_s.tolist() == [[1.0, 2.0], [10.0, 11.0]]
    assert trials.events == ("go_s",)
    assert trials.frame["go_s"].tolist() == pytest.approx([1.5, 310 / 30])


def test_behaviour_can_be_added_to_any_format(opened: Open, phy: Path) -> None:
    pd.DataFrame({"time_s": np.arange(0, 20, 0.1), "speed_cm_s": np.arange(200.0)}).to_csv(
        phy / "wheel.csv", index=False
    )
    layout = {"signals": {"speed": {"values": "wheel.csv:speed_cm_s", "times": "wheel.csv:time_s"}}}
    speed = opened(phy, layout=layout).signals["speed"]
    assert (speed.physical_unit, len(speed.times_s)) == ("cm/s", 200)


def test_a_folder_gives_a_session_per_file_under_one_layout(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "recording.toml").write_text('counts = "n"\nbin_s = 0.05\nunits.id = "cell"\n', encoding="utf-8")
    counts = {day: rng.poisson(1.0, (200, 4)) for day in ("monday", "tuesday")}
    for day, values in counts.items():
        np.savez(tmp_path / f"{day}.npz", n=values, cell=["a", "b", "c", "d"])
    dataset = FilesDataset(FilesConfig(path=tmp_path))
    assert dataset.session_ids() == ("monday", "tuesday")
    assert dataset.card().sizes == {"sessions": 2}
    binned = bin_sessions([dataset.load(day) for day in dataset.session_ids()], bin_s=0.05)
    np.testing.assert_array_equal(binned.activity, np.concatenate(list(counts.values())))


def test_files_that_a_layout_reads_from_are_no_sessions(tmp_path: Path) -> None:
    np.savez(tmp_path / "day.npz", n=np.ones((100, 2)))
    pd.DataFrame({"start": [1.0], "stop": [2.0]}).to_csv(tmp_path / "trials.csv", index=False)
    layout = Layout.model_validate({"counts": "n", "bin_s": 0.1, "intervals": {"trials": {"table": "trials.csv"}}})
    dataset = FilesDataset(FilesConfig(path=tmp_path, layout=layout))
    assert dataset.session_ids() == ("day",)
    assert dataset.load("day").intervals["trials"].bounds_s.tolist() == [[1.0, 2.0]]


def test_the_configuration_wins_over_the_file_beside(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", n=np.ones((100, 2)))
    (tmp_path / "a.toml").write_text('counts = "n"\nbin_s = 0.1\narea = "V1"\n', encoding="utf-8")
    session = FilesDataset(FilesConfig(path=tmp_path / "a.npz", layout=Layout(bin_s=0.2))).load("a")
    assert session.prebinned is not None
    assert (session.prebinned.bin_s, session.units["region"].tolist()) == (0.2, ["V1", "V1"])


def test_missing_values_are_masked_and_never_zero(opened: Open, tmp_path: Path) -> None:
    rates = np.ones((100, 3))
    rates[20:40, 1] = np.nan
    rates[:, 2] = np.nan
    np.savez(tmp_path / "rates.npz", r=rates)
    session = opened(tmp_path / "rates.npz", layout={"rates": "r", "bin_s": 0.1})
    binned = bin_session(session, bin_s=0.1)
    assert binned.observed is not None
    np.testing.assert_array_equal(binned.observed, np.isfinite(rates))
    assert any("1 of 3 units (2) never observed" in warning for warning in session.warnings)
    assert any("40.00% of the activity is missing" in warning for warning in session.warnings)


def test_observed_intervals_mask_a_unit_outside_them(opened: Open, tmp_path: Path) -> None:
    np.savez(
        tmp_path / "s.npz", t=[0.5, 9.5, 0.6, 9.6], u=["a", "a", "b", "b"], start=[0.0, 0.0], stop=[10.0, 5.0],
        of=["a", "b"],
    )  # fmt: skip
    layout = {
        "spike_times": "t",
        "spike_units": "u",
        "span_s": [0.0, 10.0],
        "observed": {"start": "start", "stop": "stop", "unit": "of"},
    }
    binned = bin_session(opened(tmp_path / "s.npz", layout=layout), bin_s=1.0)
    assert binned.observed is not None
    assert binned.observed.sum(axis=0).tolist() == [10, 5]
    assert binned.activity[9].tolist() == [1, 0]


def test_labels_of_rows_become_trials_with_a_gap_that_nothing_crosses(opened: Open, tmp_path: Path) -> None:
    np.savez(
        tmp_path / "c.npz", n=np.arange(40).reshape(10, 4), trial=[1, 1, 1, 2, 2, 2, 2, 7, 7, 7],
        side=["l"] * 3 + ["r"] * 7,
    )  # fmt: skip
    layout = {
        "counts": "n",
        "bin_s": 0.1,
        "trial_gap_s": 0.5,
        "intervals": {"trials": {"label": "trial", "columns": ["side"]}},
    }
    session = opened(tmp_path / "c.npz", layout=layout)
    trials = session.intervals["trials"]
    np.testing.assert_allclose(trials.bounds_s, [[0, 0.3], [0.8, 1.2], [1.7, 2.0]])
    assert trials.frame[["label", "side"]].to_numpy().tolist() == [[1, "l"], [2, "r"], [7, "r"]]
    binned = bin_session(session, bin_s=0.1, trials="trials")
    assert binned.trial.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("turned", [False, True])
def test_the_axis_of_time_follows_from_the_sizes_known(opened: Open, tmp_path: Path, turned: bool) -> None:
    values = np.arange(30.0).reshape(10, 3)
    np.savez(tmp_path / "x.npz", f=values.T if turned else values, t=np.arange(10.0))
    session = opened(tmp_path / "x.npz", layout={"traces": "f", "times": "t"})
    assert session.traces is not None
    np.testing.assert_array_equal(session.traces.values(), values)


def test_columns_named_x_and_y_are_one_position(opened: Open, tmp_path: Path) -> None:
    frame = pd.DataFrame({"t": np.arange(50) * 0.1, "u0": 1, "u1": 2, "paw_pos_x": 1.0, "paw_pos_y": 2.0, "pupil": 3.0})
    frame.to_csv(tmp_path / "a.csv", index=False)
    layout = {"counts": ["u0", "u1"], "times": "t", "signals": {"paw_pos": {"physical_unit": "mm"}}}
    session = opened(tmp_path / "a.csv", layout=layout)
    paw = session.signals["paw_pos"]
    assert (paw.kind, paw.channels, paw.physical_unit) == ("position", ("x", "y"), "mm")
    assert set(session.signals) == {"paw_pos", "pupil"}


def test_silent_units_of_the_table_stay(opened: Open, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", t=[0.5, 1.0, 2.0], u=[0, 0, 2], cell=["x", "y", "z"], area=["A", "B", "A"])
    layout = {"spike_times": "t", "spike_units": "u", "units": {"id": "cell", "region": "area"}}
    session = opened(tmp_path / "s.npz", layout=layout)
    assert session.spike_times is not None
    assert session.spike_times.n_spikes.tolist() == [2, 0, 1]
    assert session.units["region"].tolist() == ["A", "B", "A"]
    assert any("1 of 3 units (y) silent" in warning for warning in session.warnings)


def test_cells_and_texts_of_a_new_mat_file_are_read(opened: Open, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "new.mat", "w") as file:
        cells = [np.array([[0.5], [1.5]]).T, np.array([[2.5]]).T]
        references = [file.create_dataset(f"#refs#/{row}", data=cell).ref for row, cell in enumerate(cells)]
        file.create_dataset("spikes", data=np.array([references], dtype=object), dtype=h5py.ref_dtype)
        letters = file.create_dataset("animal", data=np.array([[109], [49]], dtype=np.uint16))
        letters.attrs["MATLAB_class"] = np.bytes_("char")
    session = opened(tmp_path / "new.mat", layout={"spike_times": "spikes"})
    assert [train.tolist() for train in session.spike_times or ()] == [[0.5, 1.5], [2.5]]


def test_the_card_suits_the_format(
    suite2p: Path, caiman: Path, response_table: Path, phy: Path, tmp_path: Path
) -> None:
    z_scored = {"preprocess.normalise": "z-score"}
    for path, defaults in (
        (suite2p, {"bin.bin_s": 0.1, **z_scored}),
        (caiman, {"bin.bin_s": 0.1, **z_scored}),
        (response_table, {"bin.bin_s": 1.0, "bin.trials": "trials", **z_scored}),
        (phy, {}),
    ):
        assert FilesDataset(FilesConfig(path=path)).card().defaults == defaults
    np.savez(tmp_path / "fine.npz", n=np.ones((10, 2)))
    fine = FilesConfig(path=tmp_path / "fine.npz", layout=Layout(counts="n", bin_s=0.001))
    assert FilesDataset(fine).card().defaults == {}, "the usual bins hold fifty of these"


def test_rows_farther_apart_than_the_bins_are_refused_or_said(tmp_path: Path, opened: Open) -> None:
    values = np.random.default_rng(0).poisson(2.0, (200, 3))
    np.savez(tmp_path / "f.npz", n=values, t=0.1 * np.arange(200))
    counts = opened(tmp_path / "f.npz", layout={"counts": "n", "times": "t"})
    with pytest.raises(DataError, match=r"already in bins of 0\.1 s.*choose 0\.1 or a multiple"):
        bin_session(counts, bin_s=0.05)
    traces = opened(tmp_path / "f.npz", layout={"traces": "n", "times": "t"})
    said = "activity is sampled every 0.1 s, bins of 0.05 s hold a sample or repeat one; set bin.bin_s to 0.1 or more"
    assert bin_session(traces, bin_s=0.05).warnings == (said,)
    assert bin_session(traces, bin_s=0.1).warnings == ()


def test_a_file_that_says_nothing_lists_what_it_holds(opened: Open, spikes_npz: Path) -> None:
    with pytest.raises(InvalidRecording, match=r"spikes.npz: holds t \d+, unit \d+, .*recording.toml .*spike_times"):
        opened(spikes_npz)


@pytest.mark.parametrize(
    ("layout", "complaint"),
    [
        ({"spike_time": "t"}, "did you mean 'spike_times'"),
        ({"bin_s": -1.0}, "bin_s: Input should be greater than 0"),
        ({"signals": {"heading": {"kinds": "linear"}}}, "did you mean 'kind'"),
    ],
)
def test_a_wrong_layout_names_its_key(layout: dict[str, Any], complaint: str, spikes_npz: Path) -> None:
    with pytest.raises(ConfigError, match=complaint):
        make("dataset", "files", {"path": str(spikes_npz), "layout": layout})


@pytest.mark.parametrize(
    ("layout", "complaint"),
    [
        ({**SPIKES, "spike_times": "tt"}, "layout.spike_times: unknown array 'tt'; did you mean 't'"),
        ({**SPIKES, "signals": {"speed": {"physical_unit": "m"}}}, "layout.signals: unknown signal 'speed'"),
        ({**SPIKES, "signals": {"h": {"values": "heading_rad"}}}, "nothing says when its 1000 samples"),
        ({**SPIKES, "intervals": {"trials": {"start": "begins"}}}, "set stop"),
        ({**SPIKES, "counts": "unit"}, "names spike_times and counts; state one"),
        ({**SPIKES, "events": {"lick": "lick"}}, "layout.events.lick: unknown array 'lick'; did you mean 'licks'"),
        ({**SPIKES, "time_unit": "samples"}, "set layout.sample_hz"),
        ({"spike_times": "t"}, "set layout.spike_units"),
        ({**SPIKES, "span_s": [100.0, 200.0]}, "no spike lies inside layout.span_s"),
        ({**SPIKES, "units": {"region": "target"}}, "has shape .2,.*one value for each of 3 units"),
    ],
)
def test_a_layout_that_does_not_fit_says_what_to_set(
    opened: Open, spikes_npz: Path, layout: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidRecording, match=complaint):
        opened(spikes_npz, layout=layout)


def test_nothing_there_and_nothing_known_say_so(tmp_path: Path) -> None:
    for path, complaint in ((tmp_path / "no", "does not exist"), (tmp_path, "holds no recording")):
        with pytest.raises(DatasetUnavailable, match=complaint):
            FilesDataset(FilesConfig(path=path)).session_ids()
    (tmp_path / "movie.avi").touch()
    with pytest.raises(InvalidRecording, match=r"movie.avi: .avi is none of .*dataset.format"):
        FilesDataset(FilesConfig(path=tmp_path / "movie.avi")).session_ids()


def test_a_layout_can_be_a_file(tmp_path: Path, spikes_npz: Path) -> None:
    layout = tmp_path / "elsewhere.toml"
    layout.write_text('spike_times = "t"\nspike_units = "unit"\n', encoding="utf-8")
    session = make("dataset", "files", {"path": str(spikes_npz), "layout": str(layout)}).load("spikes")
    assert session.n_units == 3


def test_show_takes_a_path_and_settings_of_its_layout(nldisco: Callable[..., Any], spikes_npz: Path) -> None:
    settings = ("--set", "dataset.layout.spike_times=t", "--set", "dataset.layout.spike_units=unit")
    shown = nldisco("datasets", "show", spikes_npz, *settings)
    assert shown.code == 0, shown.err
    assert "units        3: not stated 3" in shown.out
    by_name = nldisco("datasets", "show", "files", "--path", spikes_npz, *settings)
    assert by_name.out == shown.out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("files", "--set", "bin.bin_s=0.1"), "bin: only --set dataset.KEY=VALUE"),
        (("fils",), "unknown dataset 'fils'; did you mean 'files'"),
        (("files",), "path is missing"),
    ],
)
def test_show_refuses_what_it_cannot_use(nldisco: Callable[..., Any], words: tuple[str, ...], complaint: str) -> None:
    refused = nldisco("datasets", "show", *words)
    assert refused.code == 1
    assert complaint in refused.err
