"""Runs to report on: a planted heading, planned and opened, and one whose behaviour is that of another animal."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nldisco_core.config import RunConfig, parse
from nldisco_core.conformance import toy_dataset
from nldisco_core.conformance.toy_dataset import toy_run
from nldisco_core.conformance.toys import toy_session
from nldisco_core.opening import open_run
from nldisco_core.preregistration import planned, run_identity
from nldisco_core.runs import Run

SETTINGS = [
    "dataset.duration_s=200.0",
    "bin.trials=trials",
    "split.by=trials",
    "split.train=0.5",
    "split.validation=0.2",
    "split.test=0.3",
    "model.n_latents=5",
    "model.seeds=[0,1]",
    "co_smoothing=false",
    "mappers.selectivity.n_shifts=199",
]


def written(
    folder: Path,
    *further: str,
    model: str = "nmf",
    mappers: tuple[str, ...] = ("selectivity",),
    controls: tuple[str, ...] = (),
) -> Run:
    settings = [setting for setting in SETTINGS if mappers or not setting.startswith("mappers.")]
    return toy_run(folder, model=model, mappers=mappers, controls=controls, assignments=[*settings, *further])


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Sealed, planned and opened."""
    sealed = written(tmp_path_factory.mktemp("planned"), "sealed=true", controls=("raw-units", "pca"))
    config = parse(RunConfig, sealed.about["config"])
    hypotheses = [("heading", "resultant_length > 0.3"), ("side", "max_mcc > 0.01")]
    return open_run(sealed, planned(config, run_identity(sealed), sealed.counts, hypotheses=hypotheses))


@pytest.fixture(scope="session")
def sealed_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return written(tmp_path_factory.mktemp("sealed"), "sealed=true")


@pytest.fixture(scope="session")
def unrelated_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The spikes of one session with the behaviour of another."""

    def swapped(_: object, session_id: str) -> Any:
        other = toy_session(duration_s=200.0, seed=77)
        return replace(
            toy_session(duration_s=200.0, seed=1, session_id=session_id),
            signals=other.signals,
            intervals=other.intervals,
        )

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(toy_dataset.ToyDataset, "load", swapped)
        return written(tmp_path_factory.mktemp("unrelated"))


@pytest.fixture(scope="session")
def unmapped_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return written(tmp_path_factory.mktemp("unmapped"), mappers=())


@pytest.fixture(scope="session")
def signed_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return written(tmp_path_factory.mktemp("signed"), model="ica")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's Chromium; skips where there is none."""
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip("no Chromium on this machine")
    return found
