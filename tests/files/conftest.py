"""Small recordings in every format, written for one test each; all hold the same three units where they can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import pandas as pd
import pytest
from nldisco_files.config import FilesConfig, Layout
from nldisco_files.dataset import FilesDataset
from numpy.typing import NDArray

from nldisco_core.config import parse
from nldisco_core.session import Session

Open: TypeAlias = Callable[..., Session]
RATE_HZ = 30_000.0
FRAME_HZ = 10.0


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def trains(rng: np.random.Generator) -> dict[int, NDArray[np.float64]]:
    """Spike times (s, whole samples) of clusters 2, 5 and 9 over 20 s, at least 5 ms apart."""
    return {
        unit: np.sort(rng.choice(4000, 200 + 10 * unit, replace=False)) * (0.005 * RATE_HZ) / RATE_HZ
        for unit in (2, 5, 9)
    }


@pytest.fixture
def phy(tmp_path: Path, trains: Mapping[int, NDArray[np.float64]]) -> Path:
    """A Phy folder: clusters 2 and 9 are good, 5 is noise."""
    folder = tmp_path / "phy-recording"
    folder.mkdir()
    times = np.concatenate(list(trains.values()))
    whose = np.repeat(list(trains), [len(train) for train in trains.values()])
    order = np.argsort(times, kind="stable")
    np.save(folder / "spike_times.npy", np.rint(times[order] * RATE_HZ).astype(np.uint64)[:, None])
    np.save(folder / "spike_clusters.npy", whose[order].astype(np.int32))
    (folder / "params.py").write_text(f"dat_path = r'raw.dat'\nsample_rate = {RATE_HZ}\n", encoding="utf-8")
    rows = {"cluster_id": [2, 5, 9], "depth": [100.0, 120.0, 900.0], "group": ["good", "noise", "good"]}
    pd.DataFrame({**rows, "brain_area": ["CA1", "CA1", "DG"]}).to_csv(
        folder / "cluster_info.tsv", sep="\t", index=False
    )
    return folder


@pytest.fixture
def suite2p(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A suite2p plane of four regions over 300 frames, of which the third is no cell."""
    folder = tmp_path / "mouse" / "suite2p" / "plane0"
    folder.mkdir(parents=True)
    for name in ("F", "Fneu", "spks"):
        np.save(folder / f"{name}.npy", rng.gamma(2.0, 1.0, (4, 300)).astype(np.float32))
    np.save(folder / "iscell.npy", np.array([[1, 0.9], [1, 0.8], [0, 0.1], [1, 0.7]]))
    options = {"fs": FRAME_HZ, "neucoeff": 0.5, "save_path": Path("somewhere"), "Ly": np.int64(512)}
    np.save(folder / "ops.npy", np.array(options, dtype=object), allow_pickle=True)
    return folder


@pytest.fixture
def caiman(tmp_path: Path, rng: np.random.Generator) -> Path:
    """CaImAn results: four components over 300 frames, 0, 1 and 3 accepted, dF/F not computed."""
    path = tmp_path / "results.hdf5"
    with h5py.File(path, "w") as file:
        for name in ("C", "S", "YrA"):
            file[f"estimates/{name}"] = rng.gamma(2.0, 1.0, (4, 300))
        file["estimates/F_dff"] = "NoneType"
        file["estimates/idx_components"] = np.array([0, 1, 3])
        file["params/data/fr"] = FRAME_HZ
    return path


def responses(rng: np.random.Generator, *, n_samples: int = 30) -> pd.DataFrame:
    """Responses of two neurons to salt twice and quinine once."""
    rows = [(neuron, stimulus) for neuron in ("AVAL", "ASEL") for stimulus in ("salt", "quinine", "salt")]
    values = rng.normal(size=(len(rows), n_samples))
    frame = pd.DataFrame(rows, columns=["neuron", "stimulus"])
    return pd.concat([frame, pd.DataFrame(values, columns=[f"{second}s" for second in range(n_samples)])], axis=1)


@pytest.fixture
def response_table(tmp_path: Path, rng: np.random.Generator) -> Path:
    """The worm study's layout as a CSV file."""
    path = tmp_path / "worm.csv"
    responses(rng).to_csv(path, index=False)
    return path


@pytest.fixture
def spikes_npz(tmp_path: Path, trains: Mapping[int, NDArray[np.float64]]) -> Path:
    """Times and units of all spikes, with a heading at 50 Hz and two trials, all in seconds."""
    path = tmp_path / "spikes.npz"
    times_s = np.arange(0, 20, 0.02)
    np.savez(
        path,
        t=np.concatenate(list(trains.values())),
        unit=np.repeat(list(trains), [len(train) for train in trains.values()]),
        heading_rad=np.angle(np.exp(1j * times_s)),
        heading_t=times_s,
        begins=[1.0, 11.0],
        ends=[9.0, 19.0],
        target=np.array(["left", "right"]),
        licks=[3.0, 12.5],
    )
    return path


SPIKES: dict[str, Any] = {"spike_times": "t", "spike_units": "unit"}


@pytest.fixture
def opened() -> Open:
    """``opened(path, layout=…)``: the only session at a path."""

    def load(path: Path, *, layout: Mapping[str, Any] | None = None, **settings: Any) -> Session:
        checked = parse(Layout, layout or {})
        dataset = FilesDataset(FilesConfig(path=path, layout=checked, **settings))
        (session_id,) = dataset.session_ids()
        return dataset.load(session_id)

    return load
