"""The bundled recording: equal to its source, complete on its card, and made again by its script."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nldisco_datasets import make_head_direction
from nldisco_datasets.head_direction import BUNDLED, SESSION_ID, HeadDirection
from nldisco_datasets.make_head_direction import main

from nldisco_core.conformance.datasets import check_dataset
from nldisco_core.errors import DatasetUnavailable, InvalidRecording
from nldisco_core.plugins import make
from nldisco_core.session import Session


@pytest.fixture(scope="module")
def session() -> Session:
    return HeadDirection().load(SESSION_ID)


@pytest.fixture
def source(shared_data: Path) -> Iterator[h5py.File]:
    with h5py.File(shared_data / "head_direction_A2929-200711.nwb") as file:
        yield file


def test_bundled_file_is_small() -> None:
    assert BUNDLED.stat().st_size < 1.5e6


def test_bundled_recording_passes_the_conformance_kit() -> None:
    results = check_dataset(lambda settings: make("dataset", "head-direction", settings))
    assert [str(result) for result in results if result.status != "passed"] == []


def test_spike_times_are_exactly_those_of_the_source(session: Session, source: h5py.File) -> None:
    assert session.spike_times is not None
    np.testing.assert_array_equal(session.spike_times.flat(), source["units/spike_times"][:])
    np.testing.assert_array_equal(session.spike_times.offsets[1:], source["units/spike_times_index"][:])


def test_signals_are_those_of_the_source(session: Session, source: h5py.File) -> None:
    expected = {"head_direction": ["ry"], "tilt_x": ["rx"], "tilt_z": ["rz"], "position": ["x", "z"]}
    assert set(session.signals) == set(expected)
    for name, series in expected.items():
        folder = "Position" if name == "position" else "CompassDirection"
        values = np.column_stack([source[f"acquisition/{folder}/{each}/data"][:] for each in series])
        np.testing.assert_allclose(session.signals[name].values, values, rtol=0, atol=1e-14)
        np.testing.assert_array_equal(
            session.signals[name].times_s, source[f"acquisition/{folder}/{series[0]}/timestamps"][:]
        )


def test_tables_are_those_of_the_source(session: Session, source: h5py.File) -> None:
    for name in ("epochs", "sleep_ripples"):
        table = source[f"intervals/{name}"]
        bounds = np.column_stack([table["start_time"][:], table["stop_time"][:]])
        np.testing.assert_array_equal(session.intervals[name].bounds_s, bounds)
    assert session.intervals["epochs"].frame["label"].tolist() == ["sleep", "wake"]
    ripples = session.intervals["sleep_ripples"]
    assert ripples.events == ("peak_s",)
    np.testing.assert_array_equal(ripples.frame["peak_s"], source["acquisition/sleep_ripples/timestamps"][:])


def test_session_says_what_its_parts_are(session: Session) -> None:
    assert (session.session_id, session.subject) == ("A2929-200711", "A2929")
    assert session.units["region"].tolist() == ["adn"] * 7 + ["ca1"] * 8
    heading = session.signals["head_direction"]
    assert (heading.kind, heading.period, heading.physical_unit) == ("circular", 2 * np.pi, "rad")
    place = session.signals["position"]
    assert (place.kind, place.channels, place.physical_unit) == ("position", ("x", "z"), None)
    assert "probably m" in place.description
    assert session.warnings == ()


def test_card_is_complete_and_its_defaults_exist(session: Session) -> None:
    card = HeadDirection().card()
    for field in ("title", "species", "area", "licence", "citation", "source", "left_out", "description"):
        assert getattr(card, field), field
    assert card.sizes == {"sessions": 1, "units": session.n_units, "spikes": len(session.spike_times.flat())}  # type: ignore[union-attr]  # it has spikes
    assert card.defaults["bin.epoch"] in set(session.intervals["epochs"].frame["label"])
    assert set(card.defaults["bin.signals"]) <= set(session.signals)


def test_unknown_session_names_the_one_there_is() -> None:
    with pytest.raises(DatasetUnavailable, match="A2929-200711"):
        HeadDirection().load("A2929")


def test_heading_tunes_the_adn_units(session: Session) -> None:
    """By plain-loop tuning curves, most ADN units prefer one heading and most CA1 units do not."""
    heading = session.signals["head_direction"]
    assert session.spike_times is not None
    resultant = []
    for train in session.spike_times:
        awake = train[(train >= heading.times_s[0]) & (train <= heading.times_s[-1])]
        angles = heading.values[np.searchsorted(heading.times_s, awake, side="right") - 1, 0]
        occupancy = np.histogram(heading.values[:, 0], bins=36, range=(0, 2 * np.pi))[0]
        rate = np.histogram(angles, bins=36, range=(0, 2 * np.pi))[0] / np.maximum(occupancy, 1)
        turns = np.exp(1j * (np.arange(36) + 0.5) * 2 * np.pi / 36)
        resultant.append(abs((rate * turns).sum()) / rate.sum())
    assert np.median(resultant[:7]) > 0.6
    assert np.median(resultant[7:]) < 0.4


def contents(path: Path) -> dict[str, Any]:
    """Every dataset of an HDF5 file by name, and every attribute but the versions of what wrote it."""
    found: dict[str, Any] = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        described = {f"{name}@{key}": str(value) for key, value in item.attrs.items() if key in ("unit", "conversion")}
        found.update(described)
        if isinstance(item, h5py.Dataset) and h5py.check_ref_dtype(item.dtype) is None:
            found[name] = item[()].tolist() if item.shape else item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def test_script_makes_the_bundled_file_again_and_the_same_bytes_twice(shared_data: Path, tmp_path: Path) -> None:
    given = str(shared_data / "head_direction_A2929-200711.nwb")
    made = [tmp_path / "one.nwb", tmp_path / "two.nwb"]
    for out in made:
        main(["--nwb", given, "--out", str(out)])
    assert made[0].read_bytes() == made[1].read_bytes()
    assert contents(made[0]) == contents(BUNDLED)


def test_script_takes_the_recording_from_the_source_distribution(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdist, out = tmp_path / "pynapple.tar.gz", tmp_path / "out.nwb"
    with tarfile.open(sdist, "w") as archive:
        archive.add(shared_data / "head_direction_A2929-200711.nwb", arcname=make_head_direction.MEMBER)
    with pytest.raises(InvalidRecording, match="sha256"):
        main(["--sdist", str(sdist), "--out", str(out)])
    assert not out.exists()
    monkeypatch.setattr(make_head_direction, "_expect_sha256", lambda path, expected: None)
    main(["--sdist", str(sdist), "--out", str(out)])
    assert contents(out) == contents(BUNDLED)


def test_script_refuses_another_recording(tmp_path: Path) -> None:
    other = tmp_path / "other.nwb"
    other.write_bytes(b"something else")
    with pytest.raises(InvalidRecording, match=r"other\.nwb has sha256 .*expected a329216d"):
        main(["--nwb", str(other), "--out", str(tmp_path / "out.nwb")])
    assert not (tmp_path / "out.nwb").exists()
