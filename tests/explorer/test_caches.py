from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nldisco_explorer.caches import Cache, stamp_of
from nldisco_explorer.readings import Readings, prepare, readings
from nldisco_explorer.spaces import mapped_space
from scipy import sparse

from nldisco_core.latents import LatentSpace
from nldisco_core.runs import Run

write_run: Callable[..., Run] = runpy.run_path(str(Path(__file__).with_name("written_run.py")))["write_run"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("cached") / "2026-03-01T10-22-05_cached_matryoshka-sae_7f3a").folder


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(written, tmp_path / written.name)))


KILLED_WITHIN_A_FILE = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from nldisco_explorer.caches import Cache

signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python would ignore it
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
Cache(Path(sys.argv[1])).get("a", lambda: {"first": np.ones(1), "values": np.ones(10_000)})
"""
"""The system ends it at the 10,000th byte of the second array."""


def one(value: float) -> dict[str, Any]:
    return {"values": np.array([value])}


def kept_of(run: Run) -> list[Path]:
    return sorted(path for path in (run.folder / "cache").rglob("*") if path.is_file())


def test_kept_codes_are_those_of_the_run_and_memory_mapped(run: Run) -> None:
    for model in ("model", "random-encoder"):
        space = mapped_space(run, model, Cache(run.folder))
        original = run.part(model).latents.main
        for instance in range(space.n_instances):
            np.testing.assert_array_equal(space.dense(instance), original.dense(instance))
        assert (space.level_sizes, space.code_kind, space.session_ids) == (
            original.level_sizes,
            original.code_kind,
            original.session_ids,
        )
    kept = run.folder / "cache" / stamp_of(run.folder) / "latents"
    types = {name: np.load(kept / f"{name}-0.npy", mmap_mode="r").dtype for name in ("indptr", "indices", "data")}
    assert types == {"indptr": np.int64, "indices": np.int32, "data": np.float32}


def test_activations_that_only_a_shallow_level_selects_are_not_drawn(tmp_path: Path) -> None:
    codes = sparse.csc_array(np.array([[1.0, 0.0], [2.0, 3.0], [0.0, 4.0]], dtype=np.float32))
    space = LatentSpace(
        codes=(codes,),
        session_ids=("s",),
        row_offsets=np.array([0, 3]),
        level_sizes=(1, 2),
        level_masks=(np.array([0b01, 0b11, 0b10, 0b10], dtype=np.uint8),),  # the first one at level 0 alone
    )
    run: Any = SimpleNamespace(part=lambda model: SimpleNamespace(latents=SimpleNamespace(main=space)))
    kept = mapped_space(run, "model", Cache(tmp_path))
    np.testing.assert_array_equal(kept.codes[0].toarray(), [[0, 0], [2, 3], [0, 4]])
    np.testing.assert_array_equal(kept.codes[0].toarray(), space.csc(0, level=-1).toarray())


def test_dense_codes_stay_where_they_are(run: Run) -> None:
    space = mapped_space(run, "pca", Cache(run.folder))
    np.testing.assert_array_equal(np.asarray(space.codes), np.asarray(run.part("pca").latents.main.codes))
    assert sum(path.stat().st_size for path in kept_of(run)) < 2000


def test_second_reader_makes_nothing_again(run: Run) -> None:
    assert Cache(run.folder).get("a", lambda: one(1.0))["values"][0] == 1
    assert Cache(run.folder).get("a", lambda: one(2.0))["values"][0] == 1


@pytest.mark.parametrize("file", ["run.json", "latents/latents.parquet", "binned/session-000/bins.parquet"])
def test_changed_run_is_read_again_and_the_old_arrays_are_gone(run: Run, file: str) -> None:
    before = Readings(run)
    before.cache.get("a", lambda: one(1.0))
    os.utime(run.folder / file, ns=(1, 1))
    assert before.is_stale
    assert readings(run) is not before
    assert Cache(run.folder).get("a", lambda: one(2.0))["values"][0] == 2
    assert [path.parent.parent.name for path in kept_of(run)] == [stamp_of(run.folder)]


def test_new_mapping_makes_nothing_stale(run: Run) -> None:
    reads = Readings(run)
    (run.folder / "mappings" / "another").mkdir()
    (run.folder / "mappings" / "another" / "mapping.json").write_text("{}")
    assert not reads.is_stale


def test_damaged_array_is_made_anew(run: Run) -> None:
    Cache(run.folder).get("a", lambda: one(1.0))
    (file,) = kept_of(run)
    file.write_bytes(file.read_bytes()[:20])
    assert Cache(run.folder).get("a", lambda: one(3.0))["values"][0] == 3


def test_run_that_cannot_be_written_to_is_read_all_the_same(run: Run) -> None:
    (run.folder / "cache").write_text("a file where the folder would be")
    assert Cache(run.folder).get("a", lambda: one(4.0))["values"][0] == 4
    reads = Readings(run)
    np.testing.assert_array_equal(reads.space("model").dense(1), run.latents.main.dense(1))


def test_array_whose_writer_is_killed_within_np_save_is_never_read(run: Run) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_WITHIN_A_FILE, str(run.folder)])
    assert killed.returncode == -signal.SIGXFSZ
    assert sorted((file.name, file.stat().st_size) for file in kept_of(run)) == [
        ("first.npy", 136),
        ("values.npy", 10_000),
    ]
    assert not (run.folder / "cache" / stamp_of(run.folder)).exists()
    for _ in range(2):
        found = Cache(run.folder).get("a", lambda: one(5.0))
        assert (list(found), found["values"][0]) == (["values"], 5)


def test_kept_conditions_are_those_of_the_variable(run: Run) -> None:
    for name in Readings(run).variables():
        made, kept = Readings(run).cut(name), Readings(run).cut(name)
        np.testing.assert_array_equal(made.codes, kept.codes)
        assert (made.labels, made.kind, made.grid) == (kept.labels, kept.kind, kept.grid)
        for a, b in zip(made.edges, kept.edges, strict=True):
            np.testing.assert_array_equal(a, b)


def test_preparing_tells_how_far_it_is_and_keeps_everything(run: Run) -> None:
    told: list[tuple[int, int, str]] = []
    prepare(run, lambda done, total, what: told.append((done, total, what)))
    assert [done for done, _, _ in told] == list(range(told[-1][1] + 1))
    n_kept = len(kept_of(run))
    assert n_kept > 10
    prepare(run, lambda done, total, what: None)
    assert len(kept_of(run)) == n_kept


def test_what_a_killed_writer_left_is_taken_away_and_what_is_being_written_stays(run: Run) -> None:
    left, written = (run.folder / "cache" / f".partial-{name}" for name in ("left", "written"))
    for folder in (left, written):
        folder.mkdir(parents=True)
    os.utime(left, (time.time() - 7200, time.time() - 7200))
    Cache(run.folder).get("of killed writers", lambda: one(1.0))
    assert not left.exists()
    assert written.exists()
