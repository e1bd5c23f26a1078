"""The command line keeps its contract: what scripts rely on, and one clear line for what goes wrong."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from nldisco_core.runs import Run, list_runs

Call = Callable[..., Any]
QUICK = ("--set", "dataset.duration_s=40.0", "--set", "mappers.selectivity.n_shifts=50")

pytestmark = pytest.mark.usefixtures("toys")


def _fails(outcome: Any, *said: str) -> None:
    assert outcome.code == 1
    assert len(outcome.err.strip().splitlines()) == 1
    assert outcome.err.startswith("Error: ")
    for words in said:
        assert words in outcome.err


def test_help_lists_own_and_plugin_commands(nldisco: Call) -> None:
    outcome = nldisco("--help")
    assert outcome.code == 0
    for command in ("check", "datasets", "demo", "export", "map", "plugins", "run", "runs", "serve"):
        assert command in outcome.out


def test_wrong_usage_exits_2(nldisco: Call) -> None:
    assert nldisco("run", "--no-such-flag").code == 2
    outcome = nldisco("rnu")
    assert outcome.code == 2
    assert "did you mean" in outcome.err


def test_plugins_lists_every_provider_with_its_state(nldisco: Call) -> None:
    rows = json.loads(nldisco("plugins", "--json").out)
    found = {(row["kind"], row["name"]): row for row in rows}
    for kind, name in (("model", "pca"), ("model", "matryoshka-sae"), ("dataset", "toy"), ("mapper", "selectivity")):
        assert found[kind, name]["state"] == "ok"
        assert set(found[kind, name]) >= {"kind", "name", "plugin", "distribution", "state"}


def test_plugins_check_imports_everything(nldisco: Call) -> None:
    outcome = nldisco("plugins", "--check")
    assert outcome.code == 0, outcome.out


def test_one_plugin_by_name_and_an_unknown_one(nldisco: Call) -> None:
    assert "pca" in nldisco("plugins", "baselines").out
    _fails(nldisco("plugins", "baselnes"), "did you mean 'baselines'")


def test_datasets_lists_and_shows_a_card(nldisco: Call) -> None:
    assert "head-direction" in nldisco("datasets").out
    shown = nldisco("datasets", "show", "toy")
    assert shown.code == 0
    for words in ("simulated", "heading (circular, rad", "trials (", "toy-1"):
        assert words in shown.out


def test_a_run_from_flags_prints_json_with_metrics_controls_and_mappings(nldisco: Call, tmp_path: Path) -> None:
    outcome = nldisco(
        "run", "--dataset", "toy", "--model", "raw-units", "--mapper", "selectivity", "--control", "pca",
        "--runs-dir", tmp_path, "--json", *QUICK[2:],
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert set(found["metrics"]) == {"train", "validation", "test"}
    assert found["controls"]["pca"]
    assert found["top_mappings"][0]["q"] is not None
    run = Run(Path(found["run"]))
    assert run.folder.parent == tmp_path
    assert run.about["dataset"]["distribution"] == "nldisco-core"
    assert run.about["environment"]["packages"]["numpy"] == np.__version__
    assert len(run.about["fingerprint"]) == 64


def test_a_toml_file_a_preset_and_flags_are_merged_in_that_order(nldisco: Call, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        'seed = 3\n[dataset]\nname = "toy"\nduration_s = 40.0\n'
        '[model]\nname = "pca"\nn_latents = 2\n[bin]\nbin_s = 0.1\n'
    )
    outcome = nldisco("run", tmp_path / "config.toml", "--set", "model.n_latents=3", "--runs-dir", tmp_path, "--json")
    assert outcome.code == 0, outcome.err
    run = Run(Path(json.loads(outcome.out)["run"]))
    assert run.latents.main.n_latents == 3
    assert run.binned.bin_s == 0.1
    assert run.about["seed"] == 3


def test_map_adds_a_mapper_without_training_again(nldisco: Call, tmp_path: Path) -> None:
    nldisco("run", "--dataset", "toy", "--model", "pca", "--runs-dir", tmp_path, *QUICK[:2])
    ((folder, _),) = list_runs(tmp_path)
    weights = (folder / "model" / "weights.safetensors").stat()
    outcome = nldisco(
        "map",
        folder.name[:12],
        "--mapper",
        "selectivity",
        "--set",
        "mappers.selectivity.n_shifts=20",
        "--runs-dir",
        tmp_path,
    )
    assert outcome.code == 0, outcome.err
    assert Run(folder).mappings == ("selectivity",)
    assert (folder / "model" / "weights.safetensors").stat().st_mtime_ns == weights.st_mtime_ns
    _fails(
        nldisco("map", folder, "--mapper", "selectivity", "--set", "bin.bin_s=0.1"),
        "keeps its data, model and controls",
    )


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_map_makes_a_run_of_saved_activations(nldisco: Call, tmp_path: Path, kind: str) -> None:
    from nldisco_core.composition import compose, plan
    from nldisco_core.pipeline import load_binned

    settings = ("dataset.duration_s=40.0",)
    counts, _ = load_binned(plan(compose(dataset="toy", model="elsewhere", assignments=settings)))
    values = np.maximum(counts.activity.astype(np.float32) - 1, 0)
    path = tmp_path / f"activations.{kind}"
    if kind == "npy":
        np.save(path, values)
    else:
        sparse.save_npz(path, sparse.csc_matrix(values))
    outcome = nldisco("map", path, "--dataset", "toy", "--mapper", "selectivity", "--runs-dir", tmp_path, *QUICK)
    assert outcome.code == 0, outcome.err
    ((folder, _),) = list_runs(tmp_path)
    run = Run(folder)
    assert run.model.provider == "saved-activations"
    np.testing.assert_array_equal(run.latents.main.dense(), values)
    assert run.mapping("selectivity").table["p"].notna().any()


def test_saved_activations_of_another_length_are_refused(nldisco: Call, tmp_path: Path) -> None:
    np.save(tmp_path / "activations.npy", np.ones((7, 2)))
    outcome = nldisco(
        "map",
        tmp_path / "activations.npy",
        "--dataset",
        "toy",
        "--mapper",
        "selectivity",
        "--runs-dir",
        tmp_path / "runs",
    )
    _fails(outcome, "7 bins", "2400 bins")
    assert not (tmp_path / "runs").exists() or list((tmp_path / "runs").iterdir()) == []


def test_runs_lists_what_there_is(nldisco: Call, tmp_path: Path) -> None:
    assert "No runs" in nldisco("runs", "--runs-dir", tmp_path).out
    nldisco("run", "--dataset", "toy", "--model", "pca", "--runs-dir", tmp_path, *QUICK[:2])
    (row,) = json.loads(nldisco("runs", "--runs-dir", tmp_path, "--json").out)
    assert (row["status"], row["dataset"], row["model"]) == ("finished", "toy", "pca")


def test_the_same_config_and_seed_gives_identical_activations_and_mappings(nldisco: Call, tmp_path: Path) -> None:
    for name in ("one", "two"):
        outcome = nldisco(
            "run", "--dataset", "toy", "--model", "matryoshka-sae", "--mapper", "selectivity", *QUICK,
            "--set", "model.epochs=2", "--set", "model.seeds=[0, 1]", "--runs-dir", tmp_path / name,
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
    first, second = (Run(next(list_runs(tmp_path / name))[0]) for name in ("one", "two"))
    assert first.about["fingerprint"] == second.about["fingerprint"]
    for instance in range(2):
        np.testing.assert_array_equal(first.latents.main.dense(instance), second.latents.main.dense(instance))
    pd.testing.assert_frame_equal(first.mapping("selectivity").table, second.mapping("selectivity").table)


def _nwb_file(path: Path, spike_times: list[list[float]] | None) -> Path:
    from datetime import UTC, datetime

    from pynwb import NWBHDF5IO, NWBFile

    content = NWBFile("test", "test", datetime(2020, 1, 1, tzinfo=UTC))
    for train in spike_times or []:
        content.add_unit(spike_times=train)
    with NWBHDF5IO(path, "w") as stream:
        stream.write(content)
    return path


def _text_file(path: Path) -> Path:
    path.write_text("not a recording")
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "missing.nwb", "missing.nwb"),
        (lambda folder: _text_file(folder / "text.nwb"), "text.nwb"),
        (lambda folder: _nwb_file(folder / "empty.nwb", None), "no units"),
        (lambda folder: _nwb_file(folder / "unsorted.nwb", [[1.0, 3.0, 2.0, 40.0]]), "not sorted"),
        (lambda folder: _nwb_file(folder / "nan.nwb", [[1.0, float("nan"), 40.0]]), "NaN"),
    ],
    ids=["missing", "not NWB", "no units", "unsorted", "NaN"],
)
def test_a_bad_recording_is_one_clear_line(
    nldisco: Call, tmp_path: Path, make: Callable[[Path], Path], said: str
) -> None:
    outcome = nldisco(
        "run", "--dataset", "nwb", "--path", make(tmp_path), "--model", "pca", "--runs-dir", tmp_path / "runs"
    )
    _fails(outcome, said)
    assert not (tmp_path / "runs").exists() or list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "bin.trials=trails"), ("trails", "did you mean 'trials'")),
        (("--set", "bin.bin_width=0.1"), ("bin_width", "Known: bin_s")),
        (("--set", "model.n_latnets=3"), ("did you mean 'n_latents'",)),
        (("--set", "bin.bin_s=-1.0"), ("bin.bin_s",)),
        (("--set", "model"), ("key.sub=value",)),
        (("--mapper", "selectivty"), ("did you mean 'selectivity'",)),
        (("--control", "pac"), ("did you mean 'pca'",)),
        (("--preset", "nldisco-tutoral"), ("did you mean",)),
        (("--set", "split.train=0.9"), ("expected 1",)),
        (("--set", 'dataset.sessions=["toy-9"]'), ("toy-9", "toy-1")),
        (("--set", "preprocess.smooth_s=0.5"), ("split.gap_s to at least 4",)),
        (("--set", "model=pca"), ("model is 'pca'", "expected a table")),
        (("--set", "dataset=toy"), ("dataset is 'toy'",)),
        (("--set", "dataset.sessions=5"), ("expected a list of session ids",)),
        (("--set", "split.block_s=inf"), ("split.block_s",)),
        (("--mapper", "selectivity", "--set", "split.test=0.0", "--set", "split.train=0.85"), ("test bins",)),
        (("--set", "bin.epoch=secnod"), ("did you mean 'second'",)),
    ],
)
def test_a_bad_setting_is_one_clear_line(
    nldisco: Call, tmp_path: Path, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    outcome = nldisco("run", "--dataset", "toy", "--model", "pca", "--runs-dir", tmp_path / "runs", *words)
    _fails(outcome, *said)
    assert not (tmp_path / "runs").exists() or list((tmp_path / "runs").iterdir()) == []


def test_unknown_names_list_the_nearest(nldisco: Call, tmp_path: Path) -> None:
    _fails(nldisco("run", "--dataset", "head-directon", "--model", "pca"), "did you mean 'head-direction'")
    _fails(nldisco("run", "--dataset", "toy", "--model", "matryoshka"), "did you mean 'matryoshka-sae'")
    _fails(nldisco("run", "--model", "pca"), "no dataset is named")
    _fails(nldisco("run", tmp_path / "missing.toml"), "does not exist")
    _fails(nldisco("check", "selectivty"), "did you mean 'selectivity'")


def test_trials_asked_for_where_there_are_none(nldisco: Call, tmp_path: Path) -> None:
    outcome = nldisco(
        "run", "--dataset", "head-direction", "--model", "pca", "--set", "bin.trials=trials", "--runs-dir", tmp_path
    )
    _fails(outcome, "trials")
    assert list(tmp_path.iterdir()) == []


def test_more_latents_than_memory_is_refused_before_anything_is_written(nldisco: Call, tmp_path: Path) -> None:
    outcome = nldisco(
        "run",
        "--dataset",
        "toy",
        "--model",
        "matryoshka-sae",
        "--set",
        "model.levels={2000000000=8}",
        "--runs-dir",
        tmp_path,
    )
    _fails(outcome, "2000000000 latents", "GiB are available")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(nldisco: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nldisco_core.run_writer.write_latents", full)
    _fails(nldisco("run", "--dataset", "toy", "--model", "pca", "--runs-dir", tmp_path, *QUICK[:2]), "disk is full")
    assert list(tmp_path.iterdir()) == []


def test_debug_keeps_the_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nldisco_core.cli", "--debug", "run", "--dataset", "none", "--model", "pca"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert "Traceback" in done.stderr
    assert "PluginNotFound" in done.stderr


def _command(*words: object) -> list[str]:
    from nldisco_core.conformance import toy_plugin

    assert toy_plugin.__file__ is not None
    return [sys.executable, "-m", "nldisco_core.cli", "--plugin", toy_plugin.__file__, *map(str, words)]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_run_cut_off_looks_unfinished_and_resumed_ends_with_the_same_bits(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    words = (
        "run", "--dataset", "toy", "--model", "matryoshka-sae", "--set", "dataset.duration_s=600.0",
        "--set", "model.epochs=120", "--set", "threads=1",
    )  # fmt: skip
    environment = {**os.environ, "NLDISCO_CHECKPOINT_EVERY_S": "0.2"}
    process = subprocess.Popen(
        _command(*words, "--runs-dir", tmp_path / "cut"), env=environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list((tmp_path / "cut").glob("*.partial/checkpoints/model/last")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    (folder,) = (path for path in (tmp_path / "cut").iterdir() if path.is_dir())
    assert folder.name.endswith(".partial")
    resumed = subprocess.run(_command(*words, "--runs-dir", tmp_path / "cut", "--resume"), env=environment, check=False)
    whole = subprocess.run(_command(*words, "--runs-dir", tmp_path / "whole"), check=False)
    assert (resumed.returncode, whole.returncode) == (0, 0)
    first, second = (Run(next(list_runs(tmp_path / name))[0]) for name in ("cut", "whole"))
    np.testing.assert_array_equal(first.latents.main.dense(), second.latents.main.dense())
    weights = [(run.folder / "model" / "weights.safetensors").read_bytes() for run in (first, second)]
    assert weights[0] == weights[1]
    assert first.name == folder.name.removesuffix(".partial")
