"""Values come back from disk as they were written."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from nldisco_core import files
from nldisco_core.binned import Binned, Preprocessing, UnitStatistics
from nldisco_core.conformance.toys import toy_binned, toy_latents
from nldisco_core.errors import DataError, RunError, SchemaTooNew
from nldisco_core.interfaces import Dictionary
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult, mapping_table
from nldisco_core.session import IntervalTable


def _same(first: Binned, second: Binned) -> None:
    assert [s.session_id for s in first.sessions] == [s.session_id for s in second.sessions]
    np.testing.assert_array_equal(first.activity, second.activity)
    assert first.activity.dtype == second.activity.dtype
    np.testing.assert_array_equal(first.split, second.split)
    np.testing.assert_array_equal(first.trial, second.trial)
    np.testing.assert_array_equal(first.start_s, second.start_s)
    assert first.covariate_names == second.covariate_names
    for name in first.covariate_names:
        one, other = first.covariate(name), second.covariate(name)
        np.testing.assert_array_equal(one.values, other.values)
        assert (one.kind, one.period, one.physical_unit, one.channels, one.categories, one.source) == (
            other.kind,
            other.period,
            other.physical_unit,
            other.channels,
            other.categories,
            other.source,
        )
    for one_session, other_session in zip(first.sessions, second.sessions, strict=True):
        pd.testing.assert_frame_equal(one_session.units, other_session.units)


def test_binned_data_come_back_with_covariates_trials_and_statistics(tmp_path: Path) -> None:
    data = toy_binned(n_sessions=2, n_bins=120)
    statistics = tuple(UnitStatistics(offset=np.arange(6.0), scale=np.arange(6.0) + 1) for _ in range(2))
    done = Preprocessing(smooth_s=0.05, normalise="z-score", statistics=statistics)
    files.write_binned(tmp_path / "binned", data, done)
    back, back_done = files.read_binned(tmp_path / "binned")
    _same(data, back)
    assert (back_done.smooth_s, back_done.normalise) == (0.05, "z-score")
    np.testing.assert_array_equal(back_done.statistics[1].scale, statistics[1].scale)


def test_unobserved_entries_come_back(tmp_path: Path) -> None:
    data = toy_binned(n_bins=90)
    observed = np.random.default_rng(0).random(data.activity.shape) < 0.8
    data = replace(data, sessions=(replace(data.sessions[0], observed=observed),))
    files.write_binned(tmp_path / "binned", data, Preprocessing())
    back, _ = files.read_binned(tmp_path / "binned")
    np.testing.assert_array_equal(back.observed, observed)


def test_turns_and_physical_units_of_trial_columns_come_back(tmp_path: Path) -> None:
    frame = pd.DataFrame({"start_s": [0.0, 1.0], "stop_s": [0.9, 1.9], "go_s": [0.2, 1.4], "angle": [10.0, 350.0]})
    trials = IntervalTable(frame, events=("go_s",), periods={"angle": 360.0}, physical_units={"angle": "deg"})
    data = toy_binned()
    data = replace(data, sessions=(replace(data.sessions[0], trials=trials), *data.sessions[1:]))
    files.write_binned(tmp_path / "binned", data, Preprocessing())
    back = files.read_binned(tmp_path / "binned")[0].sessions[0].trials
    assert back is not None
    assert (back.periods, back.physical_units) == ({"angle": 360.0}, {"angle": "deg"})
    assert back.events == ("go_s",)
    about = files.read_json(tmp_path / "binned" / "binned.json")
    for session in about["sessions"]:
        del session["trial_columns"]  # as runs of before lack it
    files.write_json(tmp_path / "binned" / "binned.json", about)
    old = files.read_binned(tmp_path / "binned")[0].sessions[0].trials
    assert old is not None
    assert dict(old.periods) == {}


@pytest.mark.parametrize("with_masks", [True, False])
def test_sparse_latents_come_back_with_levels_and_masks(tmp_path: Path, with_masks: bool) -> None:
    rng = np.random.default_rng(1)
    codes = tuple(
        sparse.csc_array(sparse.random(50, 9, density=0.2, rng=rng, dtype=np.float32, format="csc")) for _ in range(3)
    )
    masks = tuple(rng.integers(0, 4, code.nnz).astype(np.uint8) for code in codes) if with_masks else None
    space = LatentSpace(
        codes=codes,
        session_ids=("a", "b"),
        row_offsets=np.array([0, 20, 50]),
        level_sizes=(4, 9),
        level_masks=masks,
        defined=rng.random(50) < 0.9,
    )
    files.write_latents(tmp_path / "latents", Latents.of(space))
    back = files.read_latents(tmp_path / "latents").main
    for instance in range(3):
        for level in (0, 1):
            expected = space.csc(instance, level=level).toarray()
            np.testing.assert_array_equal(back.csc(instance, level=level).toarray(), expected)
    np.testing.assert_array_equal(back.defined, space.defined)
    table = pd.read_parquet(tmp_path / "latents" / "latents.parquet")
    order = table.sort_values(["instance", "latent", "session", "bin"], kind="stable")
    pd.testing.assert_frame_equal(table, order)


def test_dense_signed_latents_come_back(tmp_path: Path) -> None:
    values = np.random.default_rng(2).standard_normal((2, 30, 4)).astype(np.float32)
    space = LatentSpace(codes=values, session_ids=("a",), row_offsets=np.array([0, 30]), code_kind="signed")
    files.write_latents(tmp_path / "latents", Latents({"latents": space, "rates": space}))
    back = files.read_latents(tmp_path / "latents")
    assert set(back.spaces) == {"latents", "rates"}
    np.testing.assert_array_equal(back.space("rates").dense(1), values[1])
    assert back.main.code_kind == "signed"


def test_mappings_come_back_in_their_schema(tmp_path: Path) -> None:
    table = mapping_table({"instance": [0, 0], "latent": [1, None], "variable": ["x", "x"], "extra": [0.5, np.nan]})
    result = MapperResult(table=table, arrays={"x/curve": np.arange(6.0).reshape(2, 3)}, notes=("read this",))
    files.write_mapping(tmp_path, result)
    back = files.read_mapping(tmp_path)
    pd.testing.assert_frame_equal(back.table, result.table)
    np.testing.assert_array_equal(back.arrays["x/curve"], result.arrays["x/curve"])
    assert back.notes == ("read this",)


def test_dictionaries_come_back(tmp_path: Path) -> None:
    assert files.read_dictionary(tmp_path) is None
    values = np.random.default_rng(3).standard_normal((1, 3, 2)).astype(np.float32)
    files.write_dictionary(tmp_path, Dictionary(values=values, unit_ids=(("u0", "u1"),)))
    back = files.read_dictionary(tmp_path)
    assert back is not None
    np.testing.assert_array_equal(back.values, values)
    assert back.unit_ids == (("u0", "u1"),)


def test_a_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), files.whole_folder(tmp_path / "part") as folder:
        (folder / "half").write_text("x")
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_leaves_the_old_folder(tmp_path: Path) -> None:
    with files.whole_folder(tmp_path / "part") as folder:
        (folder / "value").write_text("old")
    with pytest.raises(ValueError, match="stop"), files.whole_folder(tmp_path / "part") as folder:
        (folder / "value").write_text("new")
        raise ValueError("stop")
    assert (tmp_path / "part" / "value").read_text() == "old"
    with files.whole_folder(tmp_path / "part") as folder:
        (folder / "value").write_text("new")
    assert (tmp_path / "part" / "value").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_a_full_disk_is_a_stated_problem(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="disk is full"), files.whole_folder(tmp_path / "part"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_refused_and_damage_is_named(tmp_path: Path) -> None:
    files.write_json(tmp_path / "run.json", {"schema_version": files.SCHEMA_VERSION + 1})
    with pytest.raises(SchemaTooNew, match="update nldisco-core"):
        files.read_json(tmp_path / "run.json")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json cannot be read"):
        files.read_json(tmp_path / "run.json")
    with pytest.raises(RunError, match="missing"):
        files.read_latents(tmp_path / "latents")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(RunError, match=r"t\.parquet cannot be read"):
        files.read_table(tmp_path / "t.parquet")


def test_toy_latents_survive_a_round_trip(tmp_path: Path) -> None:
    latents = toy_latents(toy_binned(n_bins=90), n_instances=2)
    files.write_latents(tmp_path / "latents", latents)
    back = files.read_latents(tmp_path / "latents").main
    np.testing.assert_array_equal(back.dense(1), latents.main.dense(1))


@pytest.mark.parametrize(
    "file", ["binned.json", "statistics.npz", "session-000/activity.npy", "session-000/bins.parquet"]
)
@pytest.mark.parametrize("content", [None, b"", b"{}", b"PK\x03\x04 not really"])
def test_any_damage_to_binned_data_is_a_stated_problem(tmp_path: Path, file: str, content: bytes | None) -> None:
    files.write_binned(tmp_path / "binned", toy_binned(n_bins=90), Preprocessing(normalise="none"))
    path = tmp_path / "binned" / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"damaged|cannot be read"):
        files.read_binned(tmp_path / "binned")


def test_latents_refuse_stored_zeros_and_leave_the_callers_matrix_alone() -> None:
    matrix = sparse.csc_array(np.eye(4))
    offsets = np.array([0, 4])
    space = LatentSpace(codes=(matrix,), session_ids=("a",), row_offsets=offsets)
    with pytest.raises(ValueError, match="read-only"):
        space.csc().data[0] = 2
    matrix.data[1] = 0
    with pytest.raises(DataError, match="stored zeros"):
        LatentSpace(codes=(matrix,), session_ids=("a",), row_offsets=offsets)
