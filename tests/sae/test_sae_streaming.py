"""Recordings that are never held: memory-mapped sessions through transform, evaluation, export and preprocessing."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.matryoshka import MatryoshkaSAE
from numpy.lib.format import open_memmap

from nldisco_core import assembly, files, scratch
from nldisco_core.binned import Binned
from nldisco_core.latents import LatentSpace
from nldisco_core.metrics import evaluate
from nldisco_core.preprocessing import preprocess


def two_sessions(as_binned, folder: Path | None, n_bins: tuple[int, int] = (1700, 900), n_units: int = 12) -> Binned:
    """Counts of two sessions with all splits, memory-mapped from a folder or held."""
    sessions = []
    for index, length in enumerate(n_bins):
        rng = np.random.default_rng(index)
        counts = rng.poisson(0.3, (length, n_units)).astype(np.uint8)
        if folder is not None:
            mapped = open_memmap(folder / f"{index}.npy", mode="w+", dtype=np.uint8, shape=counts.shape)
            mapped[:] = counts
            counts = mapped
        session = as_binned(np.zeros(counts.shape)).sessions[0]
        split = (np.arange(length) // 50 % 3).astype(np.int8)
        sessions.append(replace(session, session_id=str(index), activity=counts, split=split))
    return Binned(sessions=tuple(sessions), bin_s=0.05, activity_kind="counts")


def fitted(data: Binned, monitor, **settings) -> MatryoshkaSAE:
    model = MatryoshkaSAE(MatryoshkaConfig(**({"levels": {8: 1.0, 20: 3.0}, "seeds": (0, 1), "epochs": 2} | settings)))
    model.fit(data, validation=None, monitor=monitor)
    return model


def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every array were large."""
    monkeypatch.setattr(assembly, "ENTRIES_AT_ONCE", 3000)
    monkeypatch.setattr(scratch, "LARGEST_IN_MEMORY", 5000)
    monkeypatch.setattr(files, "ROW_GROUP", 700)


@pytest.mark.parametrize("selection", ["per-level", "nested"])
def test_streamed_latents_tables_and_files_are_those_of_data_that_are_held(
    as_binned, monitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, selection: str
) -> None:
    data = two_sessions(as_binned, None)
    model = fitted(data, monitor, selection=selection)
    held = model.transform(data)
    expected = evaluate(model, held, data, counts=data)
    files.write_latents(tmp_path / "held", held)
    small_limits(monkeypatch)
    mapped = two_sessions(as_binned, tmp_path)
    streamed = model.transform(mapped)
    files.write_latents(tmp_path / "streamed", streamed)
    assert pq.read_metadata(tmp_path / "streamed" / "latents.parquet").num_row_groups > 4
    for space in (streamed.main, files.read_latents(tmp_path / "streamed").main):
        assert_same(space, held.main)
    assert_same(files.read_latents(tmp_path / "held").main, held.main)
    found = evaluate(model, streamed, mapped, counts=mapped)
    pd.testing.assert_frame_equal(found.summary, expected.summary, rtol=1e-12)
    pd.testing.assert_frame_equal(found.units, expected.units, rtol=1e-12)


def assert_same(found: LatentSpace, expected: LatentSpace) -> None:
    for instance in range(expected.n_instances):
        np.testing.assert_array_equal(found.dense(instance), expected.dense(instance))
        if expected.level_masks is not None:
            np.testing.assert_array_equal(found.level_masks[instance], expected.level_masks[instance])
    np.testing.assert_array_equal(found.row_offsets, expected.row_offsets)


def test_a_recording_is_never_held(as_binned, monitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(two_sessions(as_binned, None, n_units=40), monitor, seeds=(0,))
    monkeypatch.setattr(assembly, "ENTRIES_AT_ONCE", 50_000)
    monkeypatch.setattr(scratch, "LARGEST_IN_MEMORY", 1 << 19)
    monkeypatch.setattr(files, "ROW_GROUP", 50_000)
    monkeypatch.setattr("nldisco_core.preprocessing.ROWS_AT_ONCE", 4000)
    peaks = []
    for n_bins in (20_000, 60_000):  # what grows with the bins: times, trials and splits, but no activity or latents
        folder = tmp_path / str(n_bins)
        folder.mkdir()
        data = two_sessions(as_binned, folder, (n_bins, n_bins), n_units=40)
        tracemalloc.start()
        latents = model.transform(data)
        evaluate(model, latents, data, counts=data)
        files.write_latents(folder / "latents", latents)
        preprocess(data, smooth_s=0.05, normalise="z-score")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 2 * 40_000 * 40


@pytest.mark.parametrize("normalise", ["none", "global-max", "unit-max", "z-score", "sqrt"])
@pytest.mark.parametrize("smooth_s", [None, 0.1])
def test_preprocessing_block_by_block_changes_nothing(
    as_binned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normalise, smooth_s: float | None
) -> None:
    expected = preprocess(two_sessions(as_binned, None), smooth_s=smooth_s, normalise=normalise)
    small_limits(monkeypatch)
    monkeypatch.setattr("nldisco_core.preprocessing.ROWS_AT_ONCE", 37)
    found = preprocess(two_sessions(as_binned, tmp_path), smooth_s=smooth_s, normalise=normalise)
    for mine, theirs in zip(found.sessions, expected.sessions, strict=True):
        np.testing.assert_allclose(mine.activity, theirs.activity, rtol=2e-6, atol=1e-6)


def test_files_of_earlier_versions_are_read(as_binned, monitor, tmp_path: Path) -> None:
    data = two_sessions(as_binned, None)
    latents = fitted(data, monitor).transform(data)
    files.write_latents(tmp_path / "latents", latents)
    path = tmp_path / "latents" / "latents.parquet"
    pq.write_table(pq.read_table(path), path)  # snappy and dictionaries throughout, one row group
    assert_same(files.read_latents(tmp_path / "latents").main, latents.main)
