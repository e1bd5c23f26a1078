"""The tutorial's table, there and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from nldisco_selectivity.config import SelectivityConfig
from nldisco_selectivity.mapper import Selectivity
from nldisco_selectivity.tutorial_table import (
    TUTORIAL_COLUMNS,
    from_tutorial,
    read_tutorial,
    to_tutorial,
    write_tutorial,
)

from nldisco_core.cli import cli
from nldisco_core.conformance.toy_dataset import toy_run
from nldisco_core.conformance.toys import toy_binned, toy_latents
from nldisco_core.errors import DataError, InvalidRecording
from nldisco_core.runs import Run


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    data = toy_binned()
    return Selectivity(SelectivityConfig(n_shifts=0, confounds=False)).map(toy_latents(data), data, seed=0).table


def test_fractions_are_those_of_a_groupby_over_active_bins(table: pd.DataFrame) -> None:
    data = toy_binned()
    found = to_tutorial(table, split="test", only_top=False)
    assert tuple(found.columns) == TUTORIAL_COLUMNS
    side, test = data.covariate("side").values[:, 0], data.split == 2
    active = toy_latents(data).main.dense() > 0
    rows = found[found["variable"] == "side"].set_index(["value", "unit_idx"])
    for code, value in enumerate(("left", "right")):
        for latent in range(active.shape[1] - 1):
            during = active[test & (side == code), latent].mean()
            outside = active[test & (side != code), latent].mean()
            row = rows.loc[(value, latent)]
            assert row["activation_frac_during"] == pytest.approx(during, abs=1e-12)
            assert row["activation_frac_outside"] == pytest.approx(outside, abs=1e-12)
            assert row["selectivity_score"] == pytest.approx(during / (during + outside), abs=1e-12)
    assert rows["variable_type"].unique().tolist() == ["discrete"]
    assert set(found[found["variable"] == "heading"]["variable_type"]) == {"continuous"}


def test_only_top_latents_are_written_most_selective_first(table: pd.DataFrame) -> None:
    found = to_tutorial(table, split="test")
    sizes = found.groupby(["variable", "value", "instance_idx"])["selectivity_score"]
    assert (sizes.size() <= 3).all()
    assert sizes.apply(lambda scores: scores.dropna().is_monotonic_decreasing).all()


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_what_is_written_is_read_back(table: pd.DataFrame, tmp_path: Path, name: str) -> None:
    written = to_tutorial(table, split="test", only_top=False)
    write_tutorial(written, tmp_path / name)
    back = read_tutorial(tmp_path / name)
    assert back["condition"].tolist() == written["value"].tolist()
    np.testing.assert_allclose(back["coverage"], written["activation_frac_during"], atol=1e-12)
    np.testing.assert_allclose(1 - back["specificity"], written["activation_frac_outside"], atol=1e-12)
    np.testing.assert_array_equal(back["latent"], written["unit_idx"])


def test_bad_tables_are_named(table: pd.DataFrame, tmp_path: Path) -> None:
    frame = to_tutorial(table, split="test")
    with pytest.raises(InvalidRecording, match="lacks unit_idx"):
        from_tutorial(frame.drop(columns="unit_idx"))
    with pytest.raises(InvalidRecording, match="outside 0 to 1"):
        from_tutorial(frame.assign(selectivity_score=3.0))
    with pytest.raises(InvalidRecording, match="cannot be read"):
        read_tutorial(tmp_path / "missing.csv")
    with pytest.raises(DataError, match=r"expected \.csv or \.parquet"):
        write_tutorial(frame, tmp_path / "table.txt")
    with pytest.raises(DataError, match="no split 'all'"):
        to_tutorial(table, split="all")
    with pytest.raises(DataError, match="not signed"):
        to_tutorial(table.assign(sign=1), split="test")


def test_command_writes_the_table_of_a_run_and_reads_one_into_it(tmp_path: Path) -> None:
    settings = ["model.n_latents=3", "mappers.selectivity.n_shifts=0"]
    run = toy_run(tmp_path, model="ica", mappers=["selectivity"], assignments=settings)
    file = tmp_path / "table.csv"

    def command(*arguments: str) -> None:
        outcome = CliRunner().invoke(cli, ["selectivity-table", str(run.folder), *arguments], catch_exceptions=False)
        assert outcome.exit_code == 0, outcome.output

    if (run.mapping("selectivity").table["sign"] != 0).any():
        with pytest.raises(DataError, match="not signed"):
            command(str(file))
    rows = {"variable": ["side"], "variable_type": ["discrete"], "value": ["left"], "instance_idx": [0]}
    fractions = {"activation_frac_during": [0.6], "activation_frac_outside": [0.2], "selectivity_score": [0.75]}
    pd.DataFrame({**rows, "unit_idx": [2], **fractions}).to_csv(file, index=False)
    command(str(file), "--read")
    (row,) = Run(run.folder).mapping("selectivity-table").table.to_dict("records")
    assert (row["latent"], row["condition"], row["coverage"]) == (2, "left", 0.6)
    pd.DataFrame({**rows, "unit_idx": [99], **fractions}).to_csv(file, index=False)
    with pytest.raises(DataError, match="latent 99; the run has 3"):
        command(str(file), "--read")
