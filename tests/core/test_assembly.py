"""Sparse latents put together row by row, and read back a block of rows at a time, against dense matrices."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nldisco_core import assembly, scratch
from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.errors import RunError
from nldisco_core.latents import LatentSpace
from nldisco_core.row_blocks import entry_blocks, stacked_activity, stacked_observed

RULES = settings(deadline=None, max_examples=20, derandomize=True, database=None)


def random_codes(n_instances: int, n_rows: int, n_latents: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n_instances, n_rows, n_latents) codes of which some are active, and a level mask of each."""
    rng = np.random.default_rng(seed)
    codes = (rng.gamma(1.0, 1.0, (n_instances, n_rows, n_latents)) * (rng.random(n_latents) < 0.4)).astype(np.float32)
    codes[rng.random(codes.shape) < 0.5] = 0
    return codes, rng.integers(2, 4, codes.shape).astype(np.uint8)


def assembled(codes: np.ndarray, masks: np.ndarray | None, *, rows_at_once: int) -> LatentSpace:
    """The same latents, taken in some rows at a time."""
    n_instances, n_rows, n_latents = codes.shape
    found = assembly.Assembly(n_instances=n_instances, n_latents=n_latents, masked=masks is not None)
    for start in range(0, n_rows, rows_at_once):
        for instance in range(n_instances):
            part = codes[instance, start : start + rows_at_once]
            row, latent = np.nonzero(part)
            mask = None if masks is None else masks[instance, start : start + rows_at_once][row, latent]
            found.add(instance, np.bincount(row, minlength=len(part)), latent, part[row, latent], mask)
    columns, level_masks = found.finish()
    return LatentSpace(
        codes=columns,
        session_ids=("s",),
        row_offsets=np.array([0, n_rows]),
        level_sizes=(n_latents // 2, n_latents),
        level_masks=level_masks,
    )


@RULES
@given(
    n_rows=st.integers(1, 60),
    n_latents=st.integers(2, 9),
    rows_at_once=st.integers(1, 60),
    entries_at_once=st.integers(1, 100),
    masked=st.booleans(),
    on_disk=st.booleans(),
)
def test_what_is_taken_in_row_by_row_comes_back_by_latent(
    n_rows: int, n_latents: int, rows_at_once: int, entries_at_once: int, masked: bool, on_disk: bool
) -> None:
    codes, masks = random_codes(2, n_rows, n_latents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "ENTRIES_AT_ONCE", entries_at_once)
        if on_disk:
            patch.setattr(scratch, "LARGEST_IN_MEMORY", 8)
        space = assembled(codes, masks if masked else None, rows_at_once=rows_at_once)
    for instance in range(2):
        np.testing.assert_array_equal(space.dense(instance), codes[instance])
        if space.level_masks is not None:
            row, latent = np.nonzero(codes[instance].T)[::-1]
            np.testing.assert_array_equal(space.level_masks[instance], masks[instance][row, latent])


def is_mapped(array: np.ndarray | None) -> bool:
    """Whether an array lies in a file."""
    while array is not None and not isinstance(array, np.memmap):
        array = array.base if isinstance(array.base, np.ndarray) else None
    return array is not None


def test_latents_larger_than_the_limit_stay_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, masks = random_codes(1, 500, 6)
    assert not is_mapped(assembled(codes, masks, rows_at_once=50).codes[0].data)
    monkeypatch.setattr(scratch, "LARGEST_IN_MEMORY", 1000)
    space = assembled(codes, masks, rows_at_once=50)
    assert space.level_masks is not None
    for array in (space.codes[0].data, space.codes[0].indices, space.level_masks[0]):
        assert is_mapped(array)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("n_at_once", [1, 7, 100])
def test_blocks_of_rows_are_the_rows_of_each_level(masked: bool, before: int, n_at_once: int) -> None:
    codes, masks = random_codes(2, 61, 8)
    space = assembled(codes, masks if masked else None, rows_at_once=9)
    dense = replace(space, codes=codes, level_masks=None)
    for each in (space, dense):
        for instance in range(2):
            start = 0
            for block in entry_blocks(each, instance, n_at_once, before=before):
                assert block.rows == slice(max(start - before, 0), min(start + n_at_once, 61))
                start += n_at_once
                for level in range(2):
                    expected = each.dense(instance, level=level)[block.rows]
                    np.testing.assert_array_equal(block.csr(level).toarray(), expected)
            assert start >= 61


def test_a_full_scratch_disk_is_a_stated_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scratch, "LARGEST_IN_MEMORY", 8)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert is_mapped(scratch.allocate((10, 3), np.float32))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RunError, match=r"has no room for .* GiB of scratch data.*set TMPDIR"):
        scratch.allocate((1 << 60,), np.uint8)


def test_stacked_rows_are_those_of_the_sessions_end_to_end() -> None:
    rng = np.random.default_rng(0)
    sessions = []
    for index, n_bins in enumerate((5, 1, 7)):
        sessions.append(
            BinnedSession(
                session_id=str(index),
                activity=rng.integers(0, 9, (n_bins, 2)),
                units=pd.DataFrame({"id": ["a", "b"]}),
                start_ns=np.arange(n_bins, dtype=np.int64),
                trial=np.full(n_bins, -1, dtype=np.int32),
                split=np.zeros(n_bins, dtype=np.int8),
                observed=None if index != 1 else np.array([[True, False]]),
            )
        )
    data = Binned(sessions=tuple(sessions), bin_s=1e-9, activity_kind="counts")
    for start in range(13):
        for stop in range(start + 1, 14):
            rows = slice(start, stop)
            np.testing.assert_array_equal(stacked_activity(data, rows), data.activity[rows])
            observed, expected = stacked_observed(data, rows), data.observed[rows]
            assert (observed is None) == (not start <= 5 < stop)
            np.testing.assert_array_equal(np.ones((stop - start, 2), bool) if observed is None else observed, expected)
    assert np.shares_memory(stacked_activity(data, slice(7, 12)), sessions[2].activity)
