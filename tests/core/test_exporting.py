from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from nldisco_core.activations import read_activations
from nldisco_core.binned import SPLITS
from nldisco_core.cli import cli
from nldisco_core.conformance.toy_dataset import toy_run
from nldisco_core.errors import DatasetUnavailable, InvalidRecording
from nldisco_core.exporting import export_tables, write_activations
from nldisco_core.runs import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = ["model.levels={4=1, 8=2}", "model.epochs=3", "model.seeds=[0, 1]"]
    folder = tmp_path_factory.mktemp("runs")
    return toy_run(folder, model="matryoshka-sae", mappers=["selectivity"], assignments=settings)


def test_activations_come_back_as_they_were_with_their_masks(run: Run, tmp_path: Path) -> None:
    space = run.latents.main
    write_activations(space, run.counts, tmp_path / "a")
    table = pd.read_parquet(tmp_path / "a" / "activations.parquet")
    assert list(table) == ["example_idx", "instance_idx", "unit_idx", "activation_value"]
    for instance in range(space.n_instances):
        dense = np.zeros((space.n_rows, space.n_latents), dtype=np.float32)
        for row in table[table["instance_idx"] == instance].itertuples(index=False):
            dense[row.example_idx, row.unit_idx] = row.activation_value
        np.testing.assert_array_equal(dense, space.dense(instance))
    back = read_activations(tmp_path / "a").main
    n_active = max(int(code.nonzero()[1].max()) for code in space.codes) + 1
    for instance in range(space.n_instances):
        np.testing.assert_array_equal(back.dense(instance), space.dense(instance)[:, :n_active])
    for split, name in (("train", "train_mask"), ("validation", "val_mask"), ("test", "test_mask")):
        mask = np.load(tmp_path / "a" / f"{name}.npy")
        np.testing.assert_array_equal(mask, run.counts.split == SPLITS.index(split))


def test_tables_are_written_as_csv(run: Run, tmp_path: Path) -> None:
    files = export_tables(run, tmp_path / "t")
    assert all(path.is_file() for path in files)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "t" / "metrics.csv")[["r2", "l0_mean"]], run.metrics[["r2", "l0_mean"]]
    )
    for name in run.mappings:
        assert len(pd.read_csv(tmp_path / "t" / f"mapping_{name}_model.csv")) == len(run.mapping(name).table)


def test_the_command_refuses_a_folder_that_is_there(run: Run, tmp_path: Path) -> None:
    arguments = ["export", str(run.folder), "--format", "activations", "--to", str(tmp_path / "x")]
    assert CliRunner().invoke(cli, arguments, catch_exceptions=False).output.strip() == str(tmp_path / "x")
    again = CliRunner().invoke(cli, arguments)
    assert "exists; name a folder that does not" in str(again.exception)


@pytest.mark.usefixtures("toys")
def test_saved_activations_are_mapped_without_the_model_as_the_run_was(run: Run, tmp_path: Path) -> None:
    write_activations(run.latents.main, run.counts, tmp_path / "a")
    arguments = ["map", str(tmp_path / "a"), "--dataset", "toy", "--mapper", "selectivity", "--runs-dir", str(tmp_path)]
    assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0
    (made,) = tmp_path.glob("*saved-activations*")
    keys = ["instance", "latent", "variable", "condition", "split"]
    own, again = (one.mapping("selectivity").table.sort_values(keys) for one in (run, Run(made)))
    own = own[own["latent"].isin(again["latent"])]
    np.testing.assert_array_equal(own["coverage"], again["coverage"])


@pytest.mark.parametrize(
    ("damage", "error", "complaint"),
    [
        (lambda f: (f / "train_mask.npy").unlink(), DatasetUnavailable, "is missing"),
        (lambda f: (f / "activations.parquet").write_bytes(b"PAR1"), InvalidRecording, "cannot be read"),
        (lambda f: np.save(f / "train_mask.npy", np.ones(3, dtype=bool)), InvalidRecording, "beyond the 3 bins"),
        (
            lambda f: pd.DataFrame({"a": [1], "b": [1], "c": [1], "d": [1.0]}).to_parquet(f / "activations.parquet"),
            InvalidRecording,
            "has columns",
        ),
        (
            lambda f: (
                pd.read_parquet(f / "activations.parquet")
                .assign(activation_value=np.float32(np.nan))
                .to_parquet(f / "activations.parquet")
            ),
            InvalidRecording,
            "NaN or infinity",
        ),
    ],
)
def test_damaged_folders_are_stated(run: Run, tmp_path: Path, damage, error, complaint: str) -> None:
    write_activations(run.latents.main, run.counts, tmp_path / "a")
    damage(tmp_path / "a")
    with pytest.raises(error, match=complaint):
        read_activations(tmp_path / "a")
