"""Every provider that is installed keeps the rules of its kind."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile
from pynwb.behavior import CompassDirection, SpatialSeries

from nldisco_core import plugins
from nldisco_core.conformance import check_provider
from nldisco_core.conformance.models import check_one_unit_one_latent_one_instance_work
from nldisco_core.conformance.toy_dataset import toy_run
from nldisco_core.plugins import Listed
from nldisco_core.runs import Run

INSTALLED = {(listed.kind, listed.name): listed for listed in plugins.discover().providers()}
TRAINED = {"epochs": 2, "device": "cpu"}
SMALLEST = {"batch-topk-sae": {"k": 1}, "topk-sae": {"k": 1}, "vanilla-sae": {}, "jumprelu-sae": {}, "gated-sae": {}}
OF_A_PATH = {("dataset", name) for name in ("nwb", "files", "rat-hippocampus")}
QUICK: dict[tuple[str, str], dict[str, Any]] = {
    ("model", "matryoshka-sae"): TRAINED,
    ("model", "unit-shuffled-sae"): TRAINED,
    **{("model", name): TRAINED for name in SMALLEST},
    ("model", "random-encoder"): {"device": "cpu"},
    ("dataset", "maze-reach"): {"n_trials": 60, "n_units": 4, "n_mazes": 2},
    ("mapper", "selectivity"): {"n_shifts": 99},
    ("mapper", "spatial"): {"n_shifts": 99},
    ("mapper", "decoding"): {"n_shifts": 19, "max_rows": 400, "few": [1]},
}


@pytest.fixture(scope="module")
def nwb_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two units, a trial table and a heading, written by pynwb itself."""
    rng = np.random.default_rng(0)
    file = NWBFile(
        session_description="a session for the conformance kit",
        identifier="conformance-1",
        session_start_time=datetime(2026, 1, 1, tzinfo=UTC),
    )
    for start_s in (0.0, 10.0):
        file.add_trial(start_time=start_s, stop_time=start_s + 8.0)
    for _ in range(2):
        file.add_unit(spike_times=np.sort(rng.uniform(0, 20, 200)))
    series = SpatialSeries(
        name="heading",
        data=rng.uniform(0, 2 * np.pi, 200),
        timestamps=np.arange(200) / 10,
        unit="radians",
        reference_frame="north",
    )
    file.create_processing_module("behavior", "behaviour").add(CompassDirection(spatial_series=series))
    path = tmp_path_factory.mktemp("nwb") / "conformance.nwb"
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """A run with all that a view can need, and one that was never mapped."""
    settings = ["model.n_latents=3", "bin.trials=trials"]
    folder = tmp_path_factory.mktemp("runs")
    mappers = [listed.name for listed in of_kind("mapper")]
    shifts = [f"mappers.{name}.n_shifts=19" for name in mappers]
    mapped = toy_run(folder, model="ica", mappers=mappers, controls=["raw-units"], assignments=[*settings, *shifts])
    return mapped, toy_run(folder, model="ica", controls=["raw-units"], assignments=settings)


def of_kind(*kinds: str) -> list[Listed]:
    return [listed for listed in INSTALLED.values() if listed.kind in kinds]


def by_name(listed: Listed) -> str:
    return f"{listed.kind} {listed.name}"


@pytest.mark.parametrize("listed", of_kind("dataset", "model", "mapper", "preset"), ids=by_name)
def test_an_installed_provider_conforms(listed: Listed, nwb_file: Path) -> None:
    key = (listed.kind, listed.name)
    settings = {"path": str(nwb_file)} if key in OF_A_PATH else QUICK.get(key)
    if key == ("dataset", "mc-maze"):
        settings = {"path": str(INSTALLED["dataset", "maze-reach"].make(QUICK["dataset", "maze-reach"]).files()[0])}
    results = check_provider(listed, settings)
    assert all(result.passed for result in results), "\n".join(map(str, results))


@pytest.mark.parametrize("listed", of_kind("view"), ids=by_name)
def test_an_installed_view_conforms(listed: Listed, runs: tuple[Run, Run]) -> None:
    results = check_provider(listed, run=runs[0], bare_run=runs[1])
    assert all(result.passed for result in results), "\n".join(map(str, results))
    assert "builds_and_shows" in [result.name for result in results if result.status == "passed"]


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, {"n_latents": 1}) for name in ("pca", "nmf", "nmf-omp", "ica", "factor-analysis")]
    + [("units-omp", {"k": 1}), ("raw-units", {})]
    + [(name, {"levels": {"1": 1}, **TRAINED}) for name in ("matryoshka-sae", "unit-shuffled-sae")]
    + [(name, {"n_latents": 1, **settings, **TRAINED}) for name, settings in SMALLEST.items()]
    + [("random-encoder", {"levels": {"1": 1}})],
)
def test_one_latent_of_one_unit_works(name: str, settings: dict[str, Any]) -> None:
    listed = INSTALLED["model", name]
    check_one_unit_one_latent_one_instance_work(lambda overrides: listed.make({**settings, **overrides}))


def test_settings_for_tests_name_providers_that_exist() -> None:
    assert set(QUICK) <= set(INSTALLED)
