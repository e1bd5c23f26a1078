"""A corpus of damaged recordings: each gives one clear error that names file and field, or loads with a warning."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io

from nldisco_core.binning import bin_session
from nldisco_core.errors import ConfigError, DatasetUnavailable, InvalidRecording
from nldisco_core.session import Session

Open: TypeAlias = Callable[..., Session]
Damage: TypeAlias = Callable[[Path], object]
SPIKES: dict[str, Any] = {"spike_times": "t", "spike_units": "unit"}
COUNTS: dict[str, Any] = {"counts": "unit_*", "times": "time"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is damaged, how, and what has to be said."""

    fixture: str
    damage: Damage
    says: str
    layout: Mapping[str, Any] = field(default_factory=dict)


def truncated(name: str = "", keep: float = 0.5) -> Damage:
    def damage(path: Path) -> None:
        file = path / name if name else path
        whole = file.read_bytes()
        file.write_bytes(whole[: int(keep * len(whole))])

    return damage


def bytes_of(content: bytes, name: str = "") -> Damage:
    return lambda path: (path / name if name else path).write_bytes(content)


def array(name: str, make: Callable[[np.ndarray[Any, Any]], Any]) -> Damage:
    """Replace a .npy file of a folder by what is made of it."""

    def damage(path: Path) -> None:
        np.save(path / name, make(np.load(path / name)), allow_pickle=True)

    return damage


def entries(**changed: Callable[[np.ndarray[Any, Any]], Any]) -> Damage:
    """Replace arrays of an .npz file by what is made of them."""

    def damage(path: Path) -> None:
        with np.load(path) as file:
            held = dict(file)
        np.savez(path, **held | {name: make(held[name]) for name, make in changed.items()})

    return damage


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    return lambda path: change(pd.read_csv(path)).to_csv(path, index=False)


def hdf5(change: Callable[[h5py.File], object]) -> Damage:
    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return damage


def replaced(file: h5py.File, name: str, values: object) -> None:
    del file[name]
    file[name] = values


def at(row: int, value: object) -> Callable[[np.ndarray[Any, Any]], Any]:
    def change(values: np.ndarray[Any, Any]) -> Any:
        changed = values.astype(np.float64)
        changed[row] = value
        return changed

    return change


def text_with(path: Path, line: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + line, encoding="utf-8")


@pytest.fixture
def counts_csv(tmp_path: Path) -> Path:
    """Counts of three units in 100 bins of 0.1 s, with a speed."""
    frame = pd.DataFrame({"time": np.arange(100) * 0.1, "speed": np.arange(100) % 30 + 0.5})
    for unit in range(3):
        frame[f"unit_{unit}"] = (np.arange(100) + unit) % 4
    frame.to_csv(tmp_path / "counts.csv", index=False)
    return tmp_path / "counts.csv"


@pytest.fixture
def parquet(tmp_path: Path, counts_csv: Path) -> Path:
    """The same as Parquet."""
    pd.read_csv(counts_csv).to_parquet(tmp_path / "counts.parquet")
    counts_csv.unlink()
    return tmp_path / "counts.parquet"


@pytest.fixture
def mat(tmp_path: Path) -> Path:
    """A MATLAB file of traces."""
    scipy.io.savemat(tmp_path / "traces.mat", {"f": np.random.default_rng(0).normal(size=(50, 3))})
    return tmp_path / "traces.mat"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Spike times of two units, a line each."""
    (tmp_path / "spikes.txt").write_text("0.1 0.5 0.9\n0.2 0.7 1.9 2.5\n", encoding="utf-8")
    return tmp_path / "spikes.txt"


TRIALS = {**SPIKES, "intervals": {"trials": {"start": "begins", "stop": "ends"}}}
HEADING = {**SPIKES, "signals": {"heading": {"values": "heading_rad", "times": "heading_t"}}}
TRACES = {"traces": "f", "sample_hz": 10.0}
TWICE = "cluster_id\tgroup\n2\tgood\n2\tnoise\n9\tgood\n"

REFUSED = {
    "phy: spike times cut short": Case(
        fixture="phy", damage=truncated("spike_times.npy"), says=r"spike_times\.npy: .*cannot be read .*damaged"
    ),
    "phy: empty clusters file": Case(
        fixture="phy", damage=bytes_of(b"", "spike_clusters.npy"), says=r"spike_clusters\.npy: .*cannot be read"
    ),
    "phy: one cluster too few": Case(
        fixture="phy",
        damage=array("spike_clusters.npy", lambda values: values[:-1]),
        says=r"phy-recording: \d+ spike times for \d+ spike clusters",
    ),
    "phy: clusters are no numbers": Case(
        fixture="phy",
        damage=array("spike_clusters.npy", lambda values: np.array(["a"] * len(values))),
        says=r"spike_clusters\.npy: the array holds 'a' at row 0; expected numbers",
    ),
    "phy: clusters are NaN": Case(
        fixture="phy",
        damage=array("spike_clusters.npy", at(3, np.nan)),
        says=r"phy-recording: spike_clusters\.npy holds values that are no cluster numbers",
    ),
    "phy: no spikes": Case(
        fixture="phy",
        damage=lambda path: [array(f"spike_{name}.npy", lambda v: v[:0])(path) for name in ("times", "clusters")],
        says=r"phy-recording: no cluster is good",
    ),
    "phy: a cluster described twice": Case(
        fixture="phy",
        damage=lambda path: bytes_of(TWICE.encode(), "cluster_info.tsv")(path),
        says=r"cluster_info\.tsv: column 'cluster_id' holds a cluster twice",
    ),
    "phy: labels that are not UTF-8": Case(
        fixture="phy",
        damage=bytes_of("cluster_id\tgroup\n2\tgöod\n".encode("latin-1"), "cluster_info.tsv"),
        says=r"cluster_info\.tsv: .*not UTF-8",
    ),
    "phy: no sampling rate": Case(
        fixture="phy",
        damage=bytes_of(b"dat_path = 'raw.dat'\n", "params.py"),
        says=r"params\.py states no sample_rate .*layout\.sample_hz",
    ),
    "phy: parameters that are no Python": Case(
        fixture="phy", damage=bytes_of(b"sample_rate = = 3\n", "params.py"), says=r"params\.py: line 1 is no Python"
    ),
    "phy: only noise": Case(
        fixture="phy",
        damage=bytes_of(b"cluster_id\tgroup\n2\tnoise\n5\tnoise\n9\tmua\n", "cluster_info.tsv"),
        says=r"phy-recording: no cluster is good; there are 1 mua, 2 noise: set layout\.groups",
    ),
    "suite2p: traces cut short": Case(fixture="suite2p", damage=truncated("F.npy"), says=r"F\.npy: .*cannot be read"),
    "suite2p: neuropil of other regions": Case(
        fixture="suite2p",
        damage=array("Fneu.npy", lambda values: values[:-1]),
        says=r"plane0: F\.npy is \(4, 300\), Fneu\.npy \(3, 300\)",
    ),
    "suite2p: cells of another plane": Case(
        fixture="suite2p",
        damage=array("iscell.npy", lambda values: values[:2]),
        says=r"iscell\.npy: speaks of 2 regions, the traces of 4",
    ),
    "suite2p: no region is a cell": Case(
        fixture="suite2p",
        damage=array("iscell.npy", np.zeros_like),
        says=r"iscell\.npy: calls no region a cell",
    ),
    "suite2p: no frame rate": Case(
        fixture="suite2p",
        damage=lambda path: np.save(path / "ops.npy", np.array({"Ly": 3}, dtype=object), allow_pickle=True),
        says=r"plane0: ops\.npy states no frame rate fs; set layout\.sample_hz",
    ),
    "suite2p: options cut short": Case(
        fixture="suite2p", damage=truncated("ops.npy", 0.8), says=r"ops\.npy: .*cannot be read"
    ),
    "suite2p: traces of text": Case(
        fixture="suite2p",
        damage=array("F.npy", lambda values: values.astype(str)),
        says=r"F\.npy: holds <U\d+; expected numbers",
    ),
    "caiman: file cut short": Case(
        fixture="caiman", damage=truncated(keep=0.7), says=r"results\.hdf5: .*cannot be read"
    ),
    "caiman: components that are not there": Case(
        fixture="caiman",
        damage=hdf5(lambda file: replaced(file, "estimates/idx_components", np.array([0, 9]))),
        says=r"results\.hdf5: estimates/idx_components names component 9 of 4",
    ),
    "caiman: no component accepted": Case(
        fixture="caiman",
        damage=hdf5(lambda file: replaced(file, "estimates/idx_components", np.empty(0, dtype=int))),
        says=r"results\.hdf5: estimates/idx_components accepts no component",
    ),
    "caiman: no traces": Case(
        fixture="caiman",
        damage=hdf5(lambda file: replaced(file, "estimates/C", "NoneType")),
        says=r"results\.hdf5: holds no estimates/F_dff or estimates/C",
    ),
    "caiman: no frame rate": Case(
        fixture="caiman",
        damage=hdf5(lambda file: replaced(file, "params/data/fr", "NoneType")),
        says=r"results\.hdf5: params/data/fr states no frame rate",
    ),
    "responses: a value that is no number": Case(
        fixture="response_table",
        damage=table(lambda frame: frame.astype({"3s": object}).assign(**{"3s": ["high", *frame["3s"][1:]]})),
        says=r"worm\.csv: column '3s' holds 'high' at row 0",
    ),
    "responses: neurons with different numbers of presentations": Case(
        fixture="response_table",
        damage=table(lambda frame: frame.iloc[:-1]),
        says=r"worm\.csv: neurons have 1 to 2 rows for stimulus 'salt'.*layout\.presentation",
    ),
    "responses: a stimulus without name": Case(
        fixture="response_table",
        damage=table(lambda frame: frame.assign(stimulus=[None, *frame["stimulus"][1:]])),
        says=r"worm\.csv: row 0 has no stimulus",
    ),
    "responses: no rows": Case(
        fixture="response_table",
        damage=table(lambda frame: frame.iloc[:0]),
        says=r"worm\.csv: has a header and no rows",
    ),
    "responses: a second is missing": Case(
        fixture="response_table",
        damage=table(lambda frame: frame.drop(columns="7s")),
        says=r"worm\.csv: 29 columns of time that are not evenly spaced",
    ),
    "responses: several animals in one table": Case(
        fixture="response_table",
        damage=table(lambda frame: frame.assign(worm=[1, 2, 1, 2, 1, 2])),
        says=r"worm\.csv: column 'worm' differs within a neuron and within a presentation",
    ),
    "responses: a presentation twice": Case(
        fixture="response_table",
        damage=table(lambda frame: frame.assign(k=1)),
        layout={"presentation": "k"},
        says=r"worm\.csv: neuron 'AVAL' has presentation 1 of 'salt' more than once",
    ),
    "npz: cut short": Case(
        fixture="spikes_npz", damage=truncated(), layout=SPIKES, says=r"spikes\.npz: .*cannot be read"
    ),
    "npz: an object array": Case(
        fixture="spikes_npz",
        damage=entries(t=lambda values: values.astype(object)),
        layout=SPIKES,
        says=r"spikes\.npz: t: cannot be read \(Object arrays",
    ),
    "npz: spikes and units of different lengths": Case(
        fixture="spikes_npz",
        damage=entries(unit=lambda values: values[:-5]),
        layout=SPIKES,
        says=r"spikes\.npz: \d+ spike times for \d+ entries of spike_units",
    ),
    "npz: spikes of no unit": Case(
        fixture="spikes_npz",
        damage=entries(unit=at(0, np.nan)),
        layout=SPIKES,
        says=r"spikes\.npz: spike_units: 1 spikes belong to no unit",
    ),
    "npz: no finite spike": Case(
        fixture="spikes_npz",
        damage=entries(t=lambda values: np.full(len(values), np.nan)),
        layout=SPIKES,
        says=r"spikes\.npz: 3 units without a single finite spike time",
    ),
    "npz: complex times": Case(
        fixture="spikes_npz",
        damage=entries(t=lambda values: values + 1j),
        layout=SPIKES,
        says=r"spikes\.npz: spike_times holds complex128",
    ),
    "npz: unit ids twice": Case(
        fixture="spikes_npz",
        damage=entries(target=lambda _: np.array(["2", "5", "9", "9"])),
        layout={**SPIKES, "units": {"id": "target"}},
        says=r"spikes\.npz: unit id '9' occurs more than once",
    ),
    "npz: spikes of units that the table does not have": Case(
        fixture="spikes_npz",
        damage=entries(target=lambda _: np.array(["2", "5", "8"])),
        layout={**SPIKES, "units": {"id": "target"}},
        says=r"spikes\.npz: spike_units: '9' not among the 3 ids of layout\.units\.id",
    ),
    "npz: behaviour on a clock of milliseconds": Case(
        fixture="spikes_npz",
        damage=entries(heading_t=lambda values: 1000 * values),
        layout=HEADING,
        says=r"spikes\.npz: signal 'heading': its times run from 0 to 19980 s.*time_unit",
    ),
    "npz: behaviour on another day's clock": Case(
        fixture="spikes_npz",
        damage=entries(heading_t=lambda values: values + 1.6e9),
        layout=HEADING,
        says=r"spikes\.npz: signal 'heading': its times run from 1\.6e\+09",
    ),
    "npz: values and times of different lengths": Case(
        fixture="spikes_npz",
        damage=entries(heading_rad=lambda values: values[:-1]),
        layout=HEADING,
        says=r"spikes\.npz: signal 'heading': 1000 times for 999 values",
    ),
    "npz: starts and stops of different lengths": Case(
        fixture="spikes_npz",
        damage=entries(ends=lambda values: values[:1]),
        layout=TRIALS,
        says=r"spikes\.npz: layout\.intervals\.trials: columns have 1 and 2 rows",
    ),
    "csv: no rows": Case(
        fixture="counts_csv",
        damage=table(lambda frame: frame.iloc[:0]),
        layout=COUNTS,
        says=r"counts\.csv: layout\.counts is 0 x 3: empty",
    ),
    "csv: empty file": Case(
        fixture="counts_csv", damage=bytes_of(b""), layout=COUNTS, says=r"counts\.csv: is empty; expected a header"
    ),
    "csv: a column twice": Case(
        fixture="counts_csv",
        damage=lambda path: path.write_text(path.read_text().replace("unit_2", "unit_1", 1)),
        layout=COUNTS,
        says=r"counts\.csv: column 'unit_1' occurs more than once",
    ),
    "csv: text among counts": Case(
        fixture="counts_csv",
        damage=lambda path: text_with(path, "10.0,1.5,few,1,2\n"),
        layout=COUNTS,
        says=r"counts\.csv: 'unit_0' holds 'few' at row 100",
    ),
    "csv: not UTF-8": Case(
        fixture="counts_csv",
        damage=lambda path: path.write_bytes("zeit,größe\n0,1\n".encode("latin-1")),
        layout=COUNTS,
        says=r"counts\.csv: .*not UTF-8",
    ),
    "csv: a row too long": Case(
        fixture="counts_csv",
        damage=lambda path: text_with(path, "10.0,1.5,1,1,2,7,8\n"),
        layout=COUNTS,
        says=r"counts\.csv: .*cannot be read .*(Expected 5 fields|Length of header)",
    ),
    "csv: negative counts": Case(
        fixture="counts_csv",
        damage=table(lambda frame: frame.assign(unit_1=-1)),
        layout=COUNTS,
        says=r"counts\.csv: counts hold -1",
    ),
    "csv: the clock restarts half way": Case(
        fixture="counts_csv",
        damage=table(lambda frame: frame.assign(time=np.tile(np.arange(50) * 0.1, 2))),
        layout=COUNTS,
        says=r"counts\.csv: times of the activity: .*cut the file where its clock restarts",
    ),
    "csv: times stand still": Case(
        fixture="counts_csv",
        damage=table(lambda frame: frame.assign(time=3.0)),
        layout=COUNTS,
        says=r"counts\.csv: the times of the rows do not increase",
    ),
    "parquet: cut short": Case(
        fixture="parquet", damage=truncated(), layout=COUNTS, says=r"counts\.parquet: .*cannot be read"
    ),
    "parquet: another file under its name": Case(
        fixture="parquet",
        damage=bytes_of(b"time,unit_0\n0,1\n"),
        layout=COUNTS,
        says=r"counts\.parquet: .*cannot be read",
    ),
    "mat: cut short": Case(
        fixture="mat", damage=truncated(keep=0.3), layout=TRACES, says=r"traces\.mat: .*cannot be read"
    ),
    "mat: three axes": Case(
        fixture="mat",
        damage=lambda path: scipy.io.savemat(path, {"f": np.zeros((4, 5, 6))}),
        layout=TRACES,
        says=r"traces\.mat: 'f' has shape \(4, 5, 6\); layout\.traces expects bins x units",
    ),
    "text: a word among spikes": Case(
        fixture="text", damage=lambda path: text_with(path, "0.3 oops\n"), says=r"spikes\.txt: line 3 holds '0\.3 oops'"
    ),
    "text: empty": Case(fixture="text", damage=bytes_of(b""), says=r"spikes\.txt: is empty"),
    "text: binary": Case(fixture="text", damage=bytes_of(bytes(range(128, 256))), says=r"spikes\.txt: .*not UTF-8"),
    "nwb: text under its name": Case(
        fixture="text",
        damage=lambda path: path.rename(path.with_suffix(".nwb")),
        says=r"spikes\.nwb is not an NWB file",
    ),
    "layout: a file that is no TOML": Case(
        fixture="counts_csv",
        damage=lambda path: path.with_suffix(".toml").write_text("counts = ", encoding="utf-8"),
        says=r"counts\.toml: .*Invalid value",
    ),
}

WARNED = {
    "phy: a cluster nobody described": Case(
        fixture="phy",
        damage=bytes_of(b"cluster_id\tgroup\n2\tgood\n9\t\n", "cluster_info.tsv"),
        says=r"clusters left out: .*unsorted",
    ),
    "suite2p: no cell labels": Case(
        fixture="suite2p", damage=lambda path: (path / "iscell.npy").unlink(), says="no iscell.npy; all regions"
    ),
    "suite2p: a constant trace": Case(
        fixture="suite2p",
        damage=lambda path: [
            array(f"{name}.npy", lambda v: np.vstack([np.ones((1, 300)), v[1:]]))(path) for name in ("F", "Fneu")
        ],
        says=r"1 of 3 units \(0\) constant",
    ),
    "suite2p: a trace that is missing": Case(
        fixture="suite2p",
        damage=lambda path: [
            array(f"{name}.npy", lambda v: np.vstack([np.full((1, 300), np.nan), v[1:]]))(path)
            for name in ("F", "Fneu")
        ],
        says=r"1 of 3 units \(0\) never observed",
    ),
    "caiman: components not evaluated": Case(
        fixture="caiman",
        damage=hdf5(lambda file: replaced(file, "estimates/idx_components", "NoneType")),
        says="components were not evaluated",
    ),
    "npz: NaN among spike times": Case(
        fixture="spikes_npz", damage=entries(t=at(7, np.nan)), layout=SPIKES, says="1 spike times that are not finite"
    ),
    "npz: unsorted spike times": Case(
        fixture="spikes_npz",
        damage=entries(t=lambda values: values[::-1], unit=lambda values: values[::-1]),
        layout=SPIKES,
        says=r"\d+ spike times earlier than the one before; sorted",
    ),
    "npz: an impossible spike time": Case(
        fixture="spikes_npz", damage=entries(t=at(7, -1.5e9)), layout=SPIKES, says="1 impossible spike times"
    ),
    "npz: duplicate spikes": Case(
        fixture="spikes_npz",
        damage=entries(t=lambda v: np.concatenate([v, v[:20]]), unit=lambda v: np.concatenate([v, v[:20]])),
        layout=SPIKES,
        says=r"20 duplicate spikes .*in 1 of 3 units \(2\)",
    ),
    "npz: an impossible time of behaviour": Case(
        fixture="spikes_npz",
        damage=entries(heading_t=at(0, -1.5e9)),
        layout=HEADING,
        says=r"signal 'heading': 1 of 1000 timestamps are impossible .*first -1500000000 s",
    ),
    "npz: timestamps of behaviour jump back": Case(
        fixture="spikes_npz",
        damage=entries(heading_t=lambda v: np.concatenate([v[:500], v[480:-20]])),
        layout=HEADING,
        says=r"signal 'heading': 19 of 1000 timestamps are earlier",
    ),
    "npz: overlapping trials": Case(
        fixture="spikes_npz",
        damage=entries(begins=lambda _: [1.0, 5.0]),
        layout=TRIALS,
        says="interval table 'trials': 1 of 2 rows overlap",
    ),
    "npz: trials out of order": Case(
        fixture="spikes_npz",
        damage=entries(begins=lambda v: v[::-1], ends=lambda v: v[::-1]),
        layout=TRIALS,
        says="interval table 'trials': rows out of order; sorted",
    ),
    "npz: a trial that ends before it starts": Case(
        fixture="spikes_npz",
        damage=entries(ends=at(0, 0.5)),
        layout=TRIALS,
        says="interval table 'trials': 1 of 2 rows without a finite start before a finite stop",
    ),
    "npz: no trials at all": Case(
        fixture="spikes_npz",
        damage=entries(begins=lambda v: v[:0], ends=lambda v: v[:0]),
        layout=TRIALS,
        says="interval table 'trials': has no rows; left out",
    ),
    "csv: one time is missing": Case(
        fixture="counts_csv",
        damage=table(lambda frame: frame.assign(time=frame["time"].where(frame.index != 5))),
        layout=COUNTS,
        says="activity: 1 of 100 timestamps are not finite",
    ),
    "csv: a count is missing": Case(
        fixture="counts_csv",
        damage=table(lambda frame: frame.assign(unit_1=frame["unit_1"].where(frame.index != 5))),
        layout=COUNTS,
        says="0.33% of the activity is missing",
    ),
    "csv: a silent unit": Case(
        fixture="counts_csv",
        damage=table(lambda frame: frame.assign(unit_1=0)),
        layout=COUNTS,
        says=r"1 of 3 units \(unit_1\) silent",
    ),
    "csv: a signal that stands still": Case(
        fixture="counts_csv",
        damage=table(lambda frame: frame.assign(speed=0.5)),
        layout=COUNTS,
        says="signal 'speed': constant",
    ),
}


def damaged(request: pytest.FixtureRequest, case: Case) -> Path:
    path: Path = request.getfixturevalue(case.fixture)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the writers think of what is written is not under test
        case.damage(path)
    return path if path.exists() else path.with_suffix(".nwb")


def test_the_corpus_holds_at_least_forty_files() -> None:
    assert len(REFUSED) + len(WARNED) >= 40


@pytest.mark.parametrize("name", REFUSED)
def test_a_damaged_recording_gives_one_clear_error(request: pytest.FixtureRequest, opened: Open, name: str) -> None:
    case = REFUSED[name]
    path = damaged(request, case)
    with pytest.raises((InvalidRecording, DatasetUnavailable, ConfigError), match=case.says) as caught:
        opened(path, layout=case.layout)
    message = str(caught.value)
    assert "\n" not in message
    assert message.count(f"{path.name}: ") <= 1, "the file is named once"


@pytest.mark.parametrize("name", WARNED)
def test_a_recording_with_faults_loads_and_says_so(request: pytest.FixtureRequest, opened: Open, name: str) -> None:
    case = WARNED[name]
    session = opened(damaged(request, case), layout=case.layout)
    assert any(re.search(case.says, warning) for warning in session.warnings), session.warnings
    trials = "trials" if "trials" in session.intervals else None
    binned = bin_session(session, bin_s=0.1, trials=trials)
    assert np.isfinite(binned.activity).all()


SOUND: dict[str, Mapping[str, Any]] = {
    **{fixture: {} for fixture in ("phy", "suite2p", "caiman", "response_table", "text")},
    "spikes_npz": HEADING | TRIALS,
    "counts_csv": COUNTS,
    "mat": {**TRACES, "units_first": False},
}


@pytest.mark.parametrize("fixture", SOUND)
def test_the_originals_of_the_corpus_are_sound(request: pytest.FixtureRequest, opened: Open, fixture: str) -> None:
    session = opened(request.getfixturevalue(fixture), layout=SOUND[fixture])
    assert [warning for warning in session.warnings if "left out" not in warning and "laid out" not in warning] == []


def scrambled(whole: bytes, rng: np.random.Generator) -> bytes:
    """The file cut anywhere, or with up to seven bytes changed."""
    if rng.random() < 0.5:
        return whole[: int(rng.integers(len(whole)))]
    changed = bytearray(whole)
    for place in rng.integers(len(whole), size=rng.integers(1, 8)):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")  # numpy, scipy and pandas wonder aloud at scrambled numbers
@pytest.mark.parametrize("fixture", [*SOUND, "parquet"])
def test_scrambled_files_load_or_give_a_stated_error(
    request: pytest.FixtureRequest, opened: Open, fixture: str, rng: np.random.Generator
) -> None:
    path: Path = request.getfixturevalue(fixture)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    refused = 0
    for file in files:
        whole = file.read_bytes()
        for _ in range(6):
            file.write_bytes(scrambled(whole, rng))
            try:
                opened(path, layout=SOUND.get(fixture, COUNTS))
            except (InvalidRecording, DatasetUnavailable):
                refused += 1
        file.write_bytes(whole)
    assert refused, "some of it must matter"
    assert opened(path, layout=SOUND.get(fixture, COUNTS)).n_units, "the file itself is sound"
