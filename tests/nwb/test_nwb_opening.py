"""Opening: what cannot be read is one clear line, and arrays stay on disk."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nldisco_nwb.config import NWBConfig
from nldisco_nwb.dataset import NWBDataset
from pynwb import NWBFile
from pynwb.base import TimeSeries
from pynwb.behavior import Position, SpatialSeries
from pynwb.ecephys import LFP, ElectricalSeries

from nldisco_core.conformance.datasets import check_dataset
from nldisco_core.errors import DataError, DatasetUnavailable, InvalidRecording
from nldisco_core.interfaces import Dataset
from nldisco_core.plugins import make


def dataset(path: Path) -> NWBDataset:
    return NWBDataset(NWBConfig(path=path))


def text_file(path: Path) -> None:
    path.write_text("not a recording\n" * 100)


def empty_file(path: Path) -> None:
    path.touch()


def plain_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2]


def hollow_nwb(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update(nwb_version="2.5.0", neurodata_type="NWBFile", namespace="core")


def first_nwb(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["nwb_version"] = "NWB-1.0.6"


@pytest.mark.parametrize("damage", [text_file, empty_file, plain_hdf5, hollow_nwb, first_nwb])
def test_what_is_no_nwb_file_is_one_line_that_names_it(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "odd.nwb"
    damage(path)
    with pytest.raises(InvalidRecording, match=r"odd\.nwb.*expected.*NWB 2") as failure:
        dataset(path).load("odd")
    assert "\n" not in str(failure.value)


def test_truncated_file_is_one_line_that_names_it(write: Any) -> None:
    path = write()
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InvalidRecording, match=r"made\.nwb.*truncated") as failure:
        dataset(path).load("made")
    assert "\n" not in str(failure.value)


def test_missing_file_is_unavailable(tmp_path: Path) -> None:
    for ask in (lambda data: data.session_ids(), lambda data: data.card(), lambda data: data.load("gone")):
        with pytest.raises(DatasetUnavailable, match=r"gone\.nwb does not exist"):
            ask(dataset(tmp_path / "gone.nwb"))


def test_folder_without_files_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match=r"holds no \.nwb file"):
        dataset(tmp_path).session_ids()


def test_folder_gives_a_session_per_file_at_any_depth(write: Any, tmp_path: Path) -> None:
    write(name="b.nwb")
    deep = tmp_path / "sub-1"
    deep.mkdir()
    write(name="a.nwb").rename(deep / "a.nwb")
    (tmp_path / "notes.txt").touch()
    data = dataset(tmp_path)
    assert sorted(data.session_ids()) == ["a", "b"]
    assert data.load("a").session_id == "a"
    assert data.card().sizes == {"sessions": 2}


def test_two_files_of_one_name_are_refused(write: Any, tmp_path: Path) -> None:
    deep = tmp_path / "copy"
    deep.mkdir()
    write().rename(deep / "made.nwb")
    write()
    with pytest.raises(InvalidRecording, match="same name"):
        dataset(tmp_path).session_ids()


def test_unknown_session_lists_the_nearest(write: Any) -> None:
    with pytest.raises(DatasetUnavailable, match="did you mean 'made'"):
        dataset(write()).load("mad")


def test_listing_opens_no_file(tmp_path: Path) -> None:
    text_file(tmp_path / "odd.nwb")
    assert dataset(tmp_path).session_ids() == ("odd",)


def test_card_says_what_the_file_says_and_admits_the_rest(write: Any) -> None:
    card = dataset(write()).card()
    assert (card.species, card.licence, card.area) == ("Mus musculus", "not stated", "not stated")
    assert card.description == "made for a test"


def test_dataset_passes_the_conformance_kit(write: Any) -> None:
    def fill(file: NWBFile) -> None:
        file.add_trial(start_time=1.0, stop_time=2.0)
        file.add_acquisition(TimeSeries(name="speed", data=np.arange(20.0), unit="cm/s", rate=2.0))

    path = write(fill)
    results = check_dataset(lambda settings: make("dataset", "nwb", {"path": str(path), **settings}))
    assert [str(result) for result in results if result.status != "passed"] == []
    assert isinstance(dataset(path), Dataset)


def test_warnings_of_pynwb_are_kept_and_do_not_leak(write: Any) -> None:
    path = write(lambda file: file.create_device(name="probe", description="x"))
    with h5py.File(path, "r+") as file:
        file["general/devices/probe"].attrs["manufacturer"] = "someone"
    warnings = dataset(path).load("made").warnings
    assert len(warnings) == 1
    assert warnings[0].startswith("pynwb: ")
    assert "manufacturer" in warnings[0]


def raw_voltage(file: NWBFile) -> None:
    device = file.create_device(name="probe")
    group = file.create_electrode_group(name="g", description="", location="CA1", device=device)
    for _ in range(2):
        file.add_electrode(location="CA1", group=group)
    electrodes = file.create_electrode_table_region([0, 1], "all")
    for name in ("raw", "lfp"):
        series = ElectricalSeries(name=name, data=np.zeros((2, 2), np.int16), electrodes=electrodes, rate=30_000.0)
        file.add_acquisition(series if name == "raw" else LFP(name="LFP", electrical_series=series))
    x = SpatialSeries(name="place", data=np.zeros((5, 2)), timestamps=np.arange(5.0), reference_frame="", unit="m")
    file.add_acquisition(Position(name="Position", spatial_series=x))


@pytest.fixture
def huge_file(write: Any) -> Path:
    """768 GB of raw voltage on paper: chunked, compressed, never filled."""
    path: Path = write(raw_voltage)
    with h5py.File(path, "r+") as file:
        for name in ("acquisition/raw", "acquisition/LFP/lfp"):
            attributes = dict(file[name]["data"].attrs)
            del file[name]["data"]
            huge = file[name].create_dataset(
                "data", shape=(1_000_000_000, 384), dtype=np.int16, chunks=(30_000, 64), compression="gzip"
            )
            huge.attrs.update(attributes)
    return path


def test_raw_voltage_is_never_read_nor_listed(huge_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, Any]] = []
    original = h5py.Dataset.__getitem__

    def watched(self: h5py.Dataset, key: Any, *rest: Any, **options: Any) -> Any:
        read.append((self.name, key))
        return original(self, key, *rest, **options)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", watched)
    tracemalloc.start()
    try:
        session = dataset(huge_file).load("made")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6
    names = {name for name, _ in read}
    assert not {name for name in names if name.endswith("/data")}
    spikes = [key for name, key in read if name == "/units/spike_times"]
    assert spikes
    assert all(key.stop - key.start == 1 for key in spikes)
    assert list(session.signals) == ["place"]
    assert session.signals["place"].values.shape == (5, 2)
    assert {name for name, _ in read if name.endswith("/data")} == {"/acquisition/Position/place/data"}


def test_file_stays_open_as_long_as_a_session_and_no_longer(write: Any) -> None:
    path = write()
    session = dataset(path).load("made")
    gc.collect()
    with pytest.raises(OSError, match=r"read-only|open for read"):
        h5py.File(path, "r+")
    assert session.spike_times is not None
    assert session.spike_times.flat().tolist() == [0.5, 1.0, 9.5, 2.0, 3.0]
    del session
    gc.collect()
    with h5py.File(path, "r+") as file:
        assert "units" in file


@pytest.mark.parametrize(
    ("bad", "fault"), [([1.0, 0.5, 2.0], "not sorted"), ([1.0, np.nan, 2.0], "NaN"), ([1.0, np.inf], "infinity")]
)
def test_bad_spike_times_name_file_and_unit_when_read(load: Any, bad: list[float], fault: str) -> None:
    def fill(file: NWBFile) -> None:
        file.add_unit(spike_times=[1.0, 2.0])
        file.add_unit(spike_times=bad)

    session = load(fill)
    assert session.spike_times[0].tolist() == [1.0, 2.0]
    for read in (lambda: session.spike_times[1], session.spike_times.flat, lambda: list(session.spike_times)):
        with pytest.raises(InvalidRecording, match=rf"^made\.nwb: unit 1.*{fault}") as failure:
            read()
        assert "\n" not in str(failure.value)


def test_file_without_units_says_so(load: Any, write: Any) -> None:
    with pytest.raises(DataError, match=r"^made\.nwb: has no units") as failure:
        load(with_units=False)
    assert "\n" not in str(failure.value)
    path = write()
    with h5py.File(path, "r+") as file:
        for name in ("id", "spike_times", "spike_times_index"):
            attributes = dict(file["units"][name].attrs)
            dtype = file["units"][name].dtype
            del file["units"][name]
            file["units"].create_dataset(name, shape=(0,), dtype=dtype).attrs.update(
                {key: value for key, value in attributes.items() if key != "target"}
            )
        file["units/spike_times_index"].attrs["target"] = file["units/spike_times"].ref
    with pytest.raises(InvalidRecording, match="has no units"):
        dataset(path).load("made")
