"""Make the bundled head-direction recording from the source distribution of pynapple.

Run ``python -m nldisco_datasets.make_head_direction [--sdist FILE | --nwb FILE] [--out FILE]``. The same versions of
pynwb, hdmf and h5py write the same bytes each time.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import math
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import NAMESPACE_URL, UUID, uuid5

import h5py
import numpy as np
from hdmf.common import VectorData, VectorIndex
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, H5DataIO, NWBFile
from pynwb.behavior import CompassDirection, Position, SpatialSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.misc import Units

from nldisco_core.errors import DatasetUnavailable, InvalidRecording
from nldisco_datasets.head_direction import BUNDLED, SESSION_ID

__all__ = ["SDIST_SHA256", "SOURCE_SHA256", "main", "write_extract"]

SDIST = "pynapple==0.11.4"
SDIST_SHA256 = "c46a7f98585417a60df59b023823aeb4f18a1672bb33a9c21cd380578f94d79f"
MEMBER = f"pynapple-0.11.4/tests/nwbfilestest/neurosuite/pynapplenwb/{SESSION_ID}.nwb"
SOURCE_SHA256 = "a329216d2108dac0fff3fd3326c99f52f1bec6c354c2cdb330978e558caeb1f2"

_MICRODEGREE = math.pi / 180e6  # rad; the source's angles are whole multiples of it
_MICRO = 1e-6  # the source's coordinates are whole multiples of it
_CREATED = datetime(2026, 1, 1, tzinfo=UTC)

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Download or take the source, check it, and write the extract."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--sdist", type=Path, help=f"source distribution of {SDIST}; downloaded with pip when not given")
    given.add_argument("--nwb", type=Path, help="the recording as it lies in the source distribution")
    parser.add_argument("--out", type=Path, default=BUNDLED, help="file to write; the bundled one by default")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        source = options.nwb or _member(options.sdist or _download(Path(folder)), Path(folder))
        _expect_sha256(source, SOURCE_SHA256)
        write_extract(source, options.out)
    logger.info("wrote %s, %.2f MB", options.out, options.out.stat().st_size / 1e6)


def write_extract(source: Path, out: Path) -> None:
    """Write what a latent analysis needs of the recording, with every number as the source holds it.

    Angles are stored as whole microdegrees and coordinates as whole millionths, with the factor that gives back radians
    and the source's own unit: that is smaller than floating point and loses nothing.
    """
    numbers = count()

    def fixed_id() -> UUID:
        return uuid5(NAMESPACE_URL, f"{SESSION_ID}/{next(numbers)}")

    # hdmf draws a random id for each object and offers no seed; fixed ones make the file the same every time
    with h5py.File(source, "r") as recording, mock.patch("hdmf.container.uuid4", fixed_id):
        file = _described(recording)
        file.units = _units(file, recording["units"])
        for start_s, stop_s, tag in _rows(recording["intervals/epochs"]):
            file.add_epoch(start_time=start_s, stop_time=stop_s, tags=[tag])
        file.add_time_intervals(_ripples(recording))
        _add_behaviour(file, recording["acquisition"])
        with NWBHDF5IO(out, "w") as writer:
            writer.write(file, cache_spec=False)


def _download(folder: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-binary",
        ":all:",
        "--dest",
        str(folder),
        SDIST,
    ]
    if subprocess.run(command, check=False).returncode:
        raise DatasetUnavailable(f"pip could not download {SDIST}; give its source distribution with --sdist")
    return next(folder.glob("*.tar.gz"))


def _member(sdist: Path, folder: Path) -> Path:
    _expect_sha256(sdist, SDIST_SHA256)
    with tarfile.open(sdist) as archive:
        member = archive.extractfile(MEMBER)
        if member is None:
            raise InvalidRecording(f"{sdist} holds no file {MEMBER}")
        extracted = folder / f"{SESSION_ID}.nwb"
        extracted.write_bytes(member.read())
    return extracted


def _expect_sha256(path: Path, expected: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise InvalidRecording(f"{path} has sha256 {found}; expected {expected}: get the original from {SDIST}")


def _described(recording: h5py.File) -> NWBFile:
    return NWBFile(
        session_description="Mouse, ADN and CA1 units, head direction and position: sleep, then free exploration.",
        identifier=SESSION_ID,
        session_id=SESSION_ID,
        session_start_time=datetime.fromisoformat(recording["session_start_time"].asstr()[()]),
        file_create_date=_CREATED,
        experimenter=[str(name) for name in recording["general/experimenter"].asstr()[:]],
        subject=Subject(subject_id=SESSION_ID.split("-")[0], species="Mus musculus", sex="U"),
        data_collection=f"Extracted from {MEMBER} in the source distribution of {SDIST} on PyPI (MIT licence).",
        notes="session_start_time is the source's, and is when its file was made. The source leaves the species blank.",
        related_publications=["https://doi.org/10.7554/eLife.85786"],
    )


def _units(file: NWBFile, source: h5py.Group) -> Units:
    device = file.create_device(name="probe", description="not described by the source")
    locations = [str(place) for place in source["location"].asstr()[:]]
    groups = {
        place: file.create_electrode_group(
            name=place, description="not described by the source", location=place, device=device
        )
        for place in dict.fromkeys(locations)
    }
    spikes = VectorData(name="spike_times", description="s", data=_packed(source["spike_times"][:]))
    columns = [
        spikes,
        VectorIndex(name="spike_times_index", target=spikes, data=source["spike_times_index"][:]),
        VectorData(name="location", description="recorded area", data=locations),
        VectorData(name="group", description="shank, as numbered by the source", data=source["group"][:]),
        VectorData(name="electrode_group", description="shank", data=[groups[place] for place in locations]),
    ]
    return Units(name="units", description="sorted units of the source", id=source["id"][:], columns=columns)


def _rows(table: h5py.Group) -> Sequence[tuple[float, float, str]]:
    starts, stops, tags = table["start_time"][:], table["stop_time"][:], table["tags"].asstr()[:]
    return [(float(start), float(stop), str(tag)) for start, stop, tag in zip(starts, stops, tags, strict=True)]


def _ripples(recording: h5py.File) -> TimeIntervals:
    table, peaks = recording["intervals/sleep_ripples"], recording["acquisition/sleep_ripples"]
    described = {
        "start_time": ("start of the ripple, s", table["start_time"][:]),
        "stop_time": ("end of the ripple, s", table["stop_time"][:]),
        "peak_time": ("time of its peak, s", peaks["timestamps"][:]),
        "peak_value": ("value at the peak; the source does not say of what", peaks["data"][:]),
    }
    columns = [
        VectorData(name=name, description=description, data=_packed(values))
        for name, (description, values) in described.items()
    ]
    return TimeIntervals(
        name="sleep_ripples", description="ripples during sleep, as the source lists them", columns=columns
    )


def _add_behaviour(file: NWBFile, source: h5py.Group) -> None:
    heading = _series(
        source["CompassDirection/ry"],
        step=_MICRODEGREE,
        times=_packed(source["CompassDirection/ry/timestamps"][:]),
        unit="radians",
        description="head direction: rotation about the vertical axis y",
    )
    tilts = [
        _series(
            source[f"CompassDirection/{name}"],
            step=_MICRODEGREE,
            times=heading,
            unit="radians",
            description=f"tilt of the head: rotation about the horizontal axis {name[1]}",
        )
        for name in ("rx", "rz")
    ]
    coordinates = [
        _series(
            source[f"Position/{name}"],
            step=_MICRO,
            times=heading,
            unit="unknown",
            description=f"horizontal position along {name}; the source does not state the unit, probably m",
        )
        for name in ("x", "z")
    ]
    file.add_acquisition(CompassDirection(name="CompassDirection", spatial_series=[heading, *tilts]))
    file.add_acquisition(Position(name="Position", spatial_series=coordinates))


def _series(source: h5py.Group, *, step: float, times: Any, unit: str, description: str) -> SpatialSeries:
    return SpatialSeries(
        name=source.name.split("/")[-1],
        data=_packed(np.round(source["data"][:] / step).astype(np.int32)),
        conversion=step,
        unit=unit,
        timestamps=times,
        reference_frame="axes of the tracking system; y is vertical",
        description=description,
    )


def _packed(values: NDArray[Any]) -> H5DataIO:
    """Compressed in one chunk, which is smallest."""
    return H5DataIO(values, compression="gzip", compression_opts=9, shuffle=True, chunks=values.shape)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
