"""Each format gives the units, the activity and the clock that its files state."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from nldisco_files.config import FilesConfig
from nldisco_files.dataset import FilesDataset
from numpy.typing import NDArray

from nldisco_core.binning import bin_session
from nldisco_core.conformance.datasets import check_dataset
from nldisco_core.errors import ConfigError, InvalidRecording
from nldisco_core.plugins import make
from nldisco_core.session import Session

Open: TypeAlias = Callable[..., Session]
Trains: TypeAlias = Mapping[int, NDArray[np.float64]]


def spikes_of(session: Session, unit: str) -> NDArray[np.float64]:
    assert session.spike_times is not None
    return session.spike_times[session.units["id"].tolist().index(unit)]


@pytest.mark.parametrize("name", ["phy", "suite2p", "caiman", "response_table", "spikes_npz"])
def test_every_format_passes_the_conformance_kit(request: pytest.FixtureRequest, name: str) -> None:
    path: Path = request.getfixturevalue(name)
    layout = {"spike_times": "t", "spike_units": "unit"} if name == "spikes_npz" else {}
    results = check_dataset(lambda more: make("dataset", "files", {"path": str(path), "layout": layout, **more}))
    assert [str(result) for result in results if result.status != "passed"] == []


def test_phy_gives_the_good_clusters_in_seconds(opened: Open, phy: Path, trains: Trains) -> None:
    session = opened(phy)
    assert session.units[["id", "region", "kind"]].to_numpy().tolist() == [["2", "CA1", "good"], ["9", "DG", "good"]]
    assert session.units["depth"].tolist() == [100.0, 900.0]
    for unit in (2, 9):
        np.testing.assert_allclose(spikes_of(session, str(unit)), trains[unit], atol=1e-9)
    assert session.span_s[0] == 0.0
    assert any("1 noise" in warning for warning in session.warnings)


def test_phy_takes_other_labels_when_told(opened: Open, phy: Path, trains: Trains) -> None:
    session = opened(phy, layout={"groups": ["noise"]})
    assert session.units["id"].tolist() == ["5"]
    np.testing.assert_allclose(spikes_of(session, "5"), trains[5], atol=1e-9)


def test_phy_falls_back_on_kilosorts_labels_and_then_on_all_clusters(opened: Open, phy: Path) -> None:
    (phy / "cluster_info.tsv").unlink()
    (phy / "cluster_KSLabel.tsv").write_text("cluster_id\tKSLabel\n2\tgood\n5\tgood\n9\tmua\n", encoding="utf-8")
    assert opened(phy).units["id"].tolist() == ["2", "5"]
    (phy / "cluster_KSLabel.tsv").unlink()
    session = opened(phy)
    assert session.units["id"].tolist() == ["2", "5", "9"]
    assert any("no cluster has a label" in warning for warning in session.warnings)


def test_phy_parameters_are_read_and_never_run(opened: Open, phy: Path) -> None:
    (phy / "params.py").write_text("raise SystemExit\nsample_rate = 15000\n", encoding="utf-8")
    assert opened(phy).span_s[1] == pytest.approx(40.0, abs=0.5)


def test_suite2p_corrects_for_neuropil_as_its_options_say(opened: Open, suite2p: Path) -> None:
    session = opened(suite2p)
    assert session.session_id == "mouse-plane0"
    assert session.units["id"].tolist() == ["0", "1", "3"]
    raw, neuropil = np.load(suite2p / "F.npy"), np.load(suite2p / "Fneu.npy")
    assert session.traces is not None
    np.testing.assert_allclose(session.traces.values(), (raw - 0.5 * neuropil)[[0, 1, 3]].T, rtol=1e-6)
    np.testing.assert_allclose(session.traces.times_s, np.arange(300) / 10)
    assert session.activity_kind == "continuous"


@pytest.mark.parametrize(("fluorescence", "file"), [("raw", "F"), ("deconvolved", "spks")])
def test_suite2p_gives_other_traces_when_told(opened: Open, suite2p: Path, fluorescence: str, file: str) -> None:
    session = opened(suite2p, layout={"fluorescence": fluorescence})
    assert session.traces is not None
    np.testing.assert_array_equal(session.traces.values(), np.load(suite2p / f"{file}.npy")[[0, 1, 3]].T)


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)

    def __init__(self, target: Path) -> None:
        self.target = target


def test_suite2p_options_never_run_code(opened: Open, suite2p: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    np.save(suite2p / "ops.npy", np.array({"fs": 20.0, "trap": _Trap(sprung)}, dtype=object), allow_pickle=True)
    session = opened(suite2p)
    assert not sprung.exists()
    assert session.duration_s == pytest.approx(299 / 20)
    pickle.loads(pickle.dumps(_Trap(sprung)))
    assert sprung.exists(), "the trap works where nothing guards against it"


def test_suite2p_prefers_the_planes_combined(suite2p: Path) -> None:
    combined = suite2p.parent / "combined"
    combined.mkdir()
    for file in suite2p.iterdir():
        (combined / file.name).write_bytes(file.read_bytes())
    assert FilesDataset(FilesConfig(path=suite2p.parent)).session_ids() == ("mouse-combined",)


def test_caiman_gives_accepted_components_and_falls_back_on_denoised_traces(opened: Open, caiman: Path) -> None:
    session = opened(caiman)
    assert session.units["id"].tolist() == ["0", "1", "3"]
    with h5py.File(caiman) as file:
        denoised, residual = file["estimates/C"][:], file["estimates/YrA"][:]
    assert session.traces is not None
    np.testing.assert_array_equal(session.traces.values(), denoised[[0, 1, 3]].T)
    raw = opened(caiman, layout={"fluorescence": "raw"})
    assert raw.traces is not None
    np.testing.assert_allclose(raw.traces.values(), (denoised + residual)[[0, 1, 3]].T)


def test_stimulus_responses_become_trials_with_the_neurons_own_values(opened: Open, response_table: Path) -> None:
    session = opened(response_table)
    frame = pd.read_csv(response_table)
    trials = session.intervals["trials"]
    assert session.units["id"].tolist() == ["AVAL", "ASEL"]
    assert trials.frame["stimulus"].tolist() == ["salt", "quinine", "salt"]
    assert trials.frame["presentation"].tolist() == ["0", "0", "1"]
    binned = bin_session(session, bin_s=1.0, trials="trials")
    for trial, row in enumerate([0, 1, 2]):
        for unit in range(2):
            expected = frame.iloc[row + 3 * unit, 2:].to_numpy(dtype=float)
            np.testing.assert_allclose(binned.activity[binned.trial == trial, unit], expected, rtol=1e-6)


def test_a_neuron_without_a_presentation_is_unknown_there_not_silent(opened: Open, response_table: Path) -> None:
    frame = pd.read_csv(response_table)
    frame[~((frame["neuron"] == "ASEL") & (frame["stimulus"] == "quinine"))].to_csv(response_table, index=False)
    session = opened(response_table)
    binned = bin_session(session, bin_s=1.0, trials="trials")
    assert binned.observed is not None
    np.testing.assert_array_equal(binned.observed[binned.trial == 1], [[True, False]] * 30)
    assert any("1 of 4 pairs" in warning for warning in session.warnings)


def test_a_column_can_number_presentations_in_any_order(opened: Open, response_table: Path) -> None:
    frame = pd.read_csv(response_table).assign(repeat=[1, 1, 2] * 2)
    shuffled = frame.sample(frac=1.0, random_state=3)
    shuffled.to_csv(response_table, index=False)
    session = opened(response_table, layout={"presentation": "repeat"})
    trials = session.intervals["trials"].frame
    row = trials.index[(trials["stimulus"] == "salt") & (trials["presentation"] == "2")][0]
    binned = bin_session(session, bin_s=1.0, trials="trials")
    chosen = frame[(frame["neuron"] == "ASEL") & (frame["stimulus"] == "salt") & (frame["repeat"] == 2)]
    found = binned.activity[binned.trial == row, session.units["id"].tolist().index("ASEL")]
    np.testing.assert_allclose(found, chosen.filter(regex=r"^\d+s$").to_numpy()[0], rtol=1e-6)


def test_shorter_presentations_end_where_their_values_end(opened: Open, response_table: Path) -> None:
    frame = pd.read_csv(response_table)
    frame.loc[frame["stimulus"] == "quinine", [f"{second}s" for second in range(20, 30)]] = np.nan
    frame.to_csv(response_table, index=False)
    bounds = opened(response_table).intervals["trials"].bounds_s
    assert (bounds[:, 1] - bounds[:, 0]).tolist() == [30.0, 20.0, 30.0]


MATRIX = np.arange(600.0).reshape(100, 6) % 7


def write_mat(path: Path, arrays: Mapping[str, Any]) -> None:
    scipy.io.savemat(path, dict(arrays))


def write_mat73(path: Path, arrays: Mapping[str, Any]) -> None:
    with h5py.File(path, "w") as file:  # MATLAB writes its axes in reverse
        for name, values in arrays.items():
            file[name] = np.atleast_2d(values).T


def write_hdf5(path: Path, arrays: Mapping[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".npz", lambda path, arrays: np.savez(path, **arrays)),
        (".mat", write_mat),
        (".mat", write_mat73),
        (".h5", write_hdf5),
    ],
    ids=["npz", "mat-v5", "mat-v7.3", "hdf5"],
)
def test_files_of_arrays_agree(opened: Open, tmp_path: Path, suffix: str, write: Callable[..., None]) -> None:
    path = tmp_path / f"counts{suffix}"
    write(path, {"x": MATRIX, "t": np.arange(100) * 0.1})
    session = opened(path, layout={"counts": "x", "times": "t"})
    assert session.prebinned is not None
    np.testing.assert_array_equal(session.prebinned.values(), MATRIX)
    assert session.prebinned.bin_s == pytest.approx(0.1)
    assert session.activity_kind == "counts"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_tables_agree(opened: Open, tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame(MATRIX.astype(int), columns=[f"unit_{unit}" for unit in range(6)])
    frame.insert(0, "time", np.arange(100) * 0.1)
    frame["running"] = np.repeat(["no", "yes"], 50)
    path = tmp_path / f"counts{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    session = opened(path, layout={"counts": "unit_*", "times": "time"})
    assert session.prebinned is not None
    np.testing.assert_array_equal(session.prebinned.values(), MATRIX)
    assert session.units["id"].tolist() == [f"unit_{unit}" for unit in range(6)]
    running = session.signals["running"]
    assert running.kind == "discrete"
    assert running.categories == ("no", "yes")


def test_an_npy_file_holds_one_array(opened: Open, tmp_path: Path) -> None:
    np.save(tmp_path / "rates.npy", MATRIX / 3)
    session = opened(tmp_path / "rates.npy", layout={"rates": "rates", "bin_s": 0.2})
    assert session.activity_kind == "rate"
    assert session.span_s == pytest.approx((0.0, 20.0))


def test_cells_of_a_mat_file_are_units(opened: Open, tmp_path: Path, trains: Trains) -> None:
    cells = np.empty(3, dtype=object)
    cells[:] = list(trains.values())
    scipy.io.savemat(tmp_path / "cells.mat", {"session": {"spikes": cells, "areas": np.array(["A", "B", "C"])}})
    session = opened(
        tmp_path / "cells.mat", layout={"spike_times": "session.spikes", "units": {"region": "session.areas"}}
    )
    for row, train in enumerate(trains.values()):
        np.testing.assert_array_equal(session.spike_times[row], train)
    assert session.units["region"].tolist() == ["A", "B", "C"]


def test_one_array_per_unit_by_pattern(opened: Open, tmp_path: Path, trains: Trains) -> None:
    np.savez(tmp_path / "units.npz", **{f"cluster{unit}": 1000 * train for unit, train in trains.items()})
    session = opened(tmp_path / "units.npz", layout={"spike_times": "cluster*", "time_unit": "ms"})
    assert session.units["id"].tolist() == ["cluster2", "cluster5", "cluster9"]
    np.testing.assert_allclose(spikes_of(session, "cluster5"), trains[5])


def test_spike_text_in_a_file_per_unit_a_line_per_unit_and_a_line_per_spike(
    opened: Open, tmp_path: Path, trains: Trains
) -> None:
    folder = tmp_path / "units"
    folder.mkdir()
    for unit, train in trains.items():
        (folder / f"cell{unit}.txt").write_text("# s\n" + "\n".join(map(repr, train.tolist())), encoding="utf-8")
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(", ".join(map(repr, train.tolist())) for train in trains.values()), encoding="utf-8")
    pairs = tmp_path / "pairs.txt"
    pairs.write_text(
        "\n".join(f"{time!r} {unit}" for unit, train in trains.items() for time in train.tolist()), encoding="utf-8"
    )
    expected = list(trains.values())
    for path, layout, ids in (
        (folder, {}, ["cell2", "cell5", "cell9"]),
        (lines, {}, ["0", "1", "2"]),
        (pairs, {"text_rows": "spike"}, ["2", "5", "9"]),
    ):
        session = opened(path, layout=layout)
        assert session.units["id"].tolist() == ids
        for row, train in enumerate(expected):
            np.testing.assert_array_equal(session.spike_times[row], train)


def test_two_numbers_a_line_are_not_guessed(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("0.5 1\n0.7 2\n", encoding="utf-8")
    with pytest.raises(InvalidRecording, match=r"pairs.txt: every line holds two numbers.*text_rows"):
        opened(path)


def test_an_nwb_file_goes_through_the_dataset_nwb(shared_data: Path) -> None:
    path = shared_data / "head_direction_A2929-200711.nwb"
    settings = {"rename": {"ry": "heading"}}
    session = make("dataset", "files", {"path": str(path), "layout": {"nwb": settings}}).load(path.stem)
    own = make("dataset", "nwb", {"path": str(path), **settings}).load(path.stem)
    assert session.units.equals(own.units)
    assert session.signals["heading"].period == own.signals["heading"].period
    with pytest.raises(ConfigError, match=r"an NWB file takes no layout\.area; set layout\.nwb"):
        make("dataset", "files", {"path": str(path), "layout": {"area": "adn"}}).load(path.stem)


def test_a_format_can_be_forced(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "times.spk"
    path.write_text("0.1 0.2 0.3\n0.4\n", encoding="utf-8")
    assert opened(path, format="spike-text").n_units == 2
