"""Small NWB files written for one test each."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from nldisco_nwb.config import NWBConfig
from nldisco_nwb.dataset import NWBDataset
from pynwb import NWBHDF5IO, NWBFile
from pynwb.file import Subject

from nldisco_core.session import Session

Fill: TypeAlias = Callable[[NWBFile], None]
Write: TypeAlias = Callable[..., Path]
Load: TypeAlias = Callable[..., Session]


def two_units(file: NWBFile) -> None:
    """Spikes over 0.5-9.5 s."""
    file.add_unit(spike_times=[0.5, 1.0, 9.5])
    file.add_unit(spike_times=[2.0, 3.0])


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(fill, …, folder=…, name=…)``: a file made by these functions; two units where none of them adds any."""

    def make(*fills: Fill, folder: Path = tmp_path, name: str = "made.nwb", with_units: bool = True) -> Path:
        file = NWBFile(
            session_description="made for a test",
            identifier=name,
            session_start_time=datetime(2020, 1, 2, tzinfo=UTC),
            subject=Subject(subject_id="m1", species="Mus musculus"),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pynwb's opinions on how to write files are not under test
            for fill in fills:
                fill(file)
            if with_units and file.units is None:
                two_units(file)
            path = folder / name
            with NWBHDF5IO(path, "w") as writer:
                writer.write(file, cache_spec=False)
        return path

    return make


@pytest.fixture
def load(write: Write, tmp_path_factory: pytest.TempPathFactory) -> Load:
    """``load(fill, …, settings={…})``: the session of a file made so, each in a folder of its own."""

    def make(*fills: Fill, settings: dict[str, Any] | None = None, with_units: bool = True) -> Session:
        path = write(*fills, folder=tmp_path_factory.mktemp("nwb"), with_units=with_units)
        return NWBDataset(NWBConfig(path=path, **(settings or {}))).load(path.stem)

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
