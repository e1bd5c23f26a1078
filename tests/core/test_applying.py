"""A fitted model applied to another epoch or recording: nothing is fitted, and no bin it was fitted on is scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nldisco_core
from nldisco_core.applying import apply_run
from nldisco_core.binned import SPLITS
from nldisco_core.binning import bin_session
from nldisco_core.conformance.toy_dataset import toy_run
from nldisco_core.errors import ConfigError, DataError, IncompatibleData
from nldisco_core.runs import Run


@pytest.fixture(scope="module")
def wake(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return nldisco_core.run(
        "head-direction",
        model="pca",
        controls=["raw-units"],
        settings={"preprocess": {"smooth_s": 0.05, "normalise": "z-score"}, "co_smoothing": False},
        runs_dir=tmp_path_factory.mktemp("wake"),
        quiet=True,
    )


@pytest.fixture(scope="module")
def asleep(wake: Run) -> Run:
    return apply_run(wake, epoch="sleep", runs_dir=wake.folder.parent)


def test_sleep_is_encoded_with_the_model_and_statistics_of_wake(wake: Run, asleep: Run) -> None:
    assert wake.about["config"]["bin"]["epoch"] == "wake"
    dataset = nldisco_core.make("dataset", "head-direction")
    sleep = bin_session(dataset.load(dataset.session_ids()[0]), bin_s=wake.counts.bin_s, epoch="sleep")
    np.testing.assert_array_equal(asleep.counts.activity, sleep.activity)
    known, own = wake.binned.preprocessing.statistics[0], asleep.binned.preprocessing.statistics[0]
    np.testing.assert_array_equal(own.offset, known.offset)
    np.testing.assert_array_equal(own.scale, known.scale)
    again = wake.model.load_model().transform(asleep.binned)
    np.testing.assert_array_equal(asleep.latents.main.dense(), again.main.dense())
    for part in ("model", "raw-units"):
        kept = {path.name: path.read_bytes() for path in (wake.part(part).folder / "model").iterdir()}
        assert {path.name: path.read_bytes() for path in (asleep.part(part).folder / "model").iterdir()} == kept


def test_the_run_says_where_its_model_comes_from(wake: Run, asleep: Run) -> None:
    assert asleep.about["applied"] == {"run": wake.name, "fingerprint": wake.about["fingerprint"]}
    assert f"models and statistics of {wake.name}" in asleep.about["notes"][0]
    assert asleep.about["fingerprint"] != wake.about["fingerprint"]
    assert set(asleep.metrics["model"]) == {"model", "raw-units"}
    assert (asleep.counts.split == SPLITS.index("test")).any()


def test_bins_the_model_was_fitted_on_are_of_no_split(wake: Run) -> None:
    whole = apply_run(wake, settings={"bin": {"epoch": None}}, runs_dir=wake.folder.parent)
    session, fitted = whole.counts.sessions[0], wake.counts.sessions[0]
    used = fitted.start_ns[np.isin(fitted.split, [0, 1])]
    bin_ns = whole.counts.bin_ns
    meets = np.array([bool((np.abs(used - start) < bin_ns).any()) for start in session.start_ns])
    assert meets.any()
    assert (session.split[meets] == -1).all()
    assert set(session.split[~meets].tolist()) >= {0, 1, 2}
    assert f"applied: {meets.sum()} bins that the models were fitted on have no split" in whole.about["notes"]


@pytest.mark.usefixtures("toys")
def test_units_are_taken_by_id_and_missing_ones_are_named(tmp_path: Path) -> None:
    settings = ["dataset.duration_s=60.0", "preprocess.normalise=z-score"]
    run = toy_run(tmp_path, model="pca", assignments=settings)
    first = run.counts.units["id"].iloc[0]
    fewer = {"dataset": {"name": "toy", "duration_s": 60.0, "n_units": run.counts.n_units - 2}}
    with pytest.raises(IncompatibleData, match=f"lacks 2 of the {run.counts.n_units} units"):
        apply_run(run, settings=fewer, runs_dir=tmp_path)
    more = {"dataset": {"name": "toy", "duration_s": 60.0, "n_units": run.counts.n_units + 3}}
    other = apply_run(run, settings=more, runs_dir=tmp_path)
    assert other.counts.units["id"].tolist() == run.counts.units["id"].tolist()
    assert other.counts.units["id"].iloc[0] == first


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"bin": {"bin_s": 0.1}}, ConfigError, "bin.bin_s: the model is fitted"),
        ({"model": {"n_latents": 3}}, ConfigError, "model: the model is fitted"),
        ({"preprocess": {"normalise": "none"}}, ConfigError, "preprocess: the model is fitted"),
        ({"split": {"train": 1.0, "validation": 0.0, "test": 0.0}}, DataError, "fitted on every bin"),
    ],
)
def test_what_would_change_the_model_is_refused(
    wake: Run, tmp_path: Path, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    run = wake
    if error is DataError:
        only_fitted = {"split": settings["split"], "co_smoothing": False}
        run = nldisco_core.run("head-direction", model="pca", settings=only_fitted, runs_dir=tmp_path, quiet=True)
    with pytest.raises(error, match=words):
        apply_run(run, settings=settings, runs_dir=tmp_path)


def test_the_command_line_applies_and_maps(wake: Run, nldisco: Callable[..., Any]) -> None:
    folder = wake.folder.parent
    done = nldisco("apply", wake.folder, "--runs-dir", folder, "--epoch", "sleep")
    assert done.code == 0, done.err
    assert f"models and statistics of {wake.name}" in " ".join(done.out.split())
    nothing = nldisco("apply", wake.folder, "--runs-dir", folder)
    assert nothing.code == 1
    assert "name what the model is to be applied to" in nothing.err
    wrong = nldisco("apply", wake.folder, "--runs-dir", folder, "--epoch", "slep")
    assert wrong.code == 1
    assert "'sleep'" in wrong.err
