"""Splits by trials, blocks of time and sessions."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nldisco_core.binned import NO_SPLIT, SPLITS, Binned, BinnedSession
from nldisco_core.errors import DataError
from nldisco_core.session import IntervalTable
from nldisco_core.splits import assign_splits

RULES = settings(deadline=None, max_examples=60, derandomize=True, database=None)
BIN_S = 0.1
BIN_NS = 100_000_000


def session_of(start_bins: Any, *, trial: Any = None, session_id: str = "s") -> BinnedSession:
    starts = np.asarray(start_bins, dtype=np.int64)
    trials = None
    if trial is not None:
        rows = np.arange(int(np.max(trial)) + 1, dtype=float)
        trials = IntervalTable(pd.DataFrame({"start_s": rows, "stop_s": rows + 1}))
    return BinnedSession(
        session_id=session_id,
        activity=np.zeros((len(starts), 1), dtype=np.uint8),
        units=pd.DataFrame({"id": ["u"], "region": "", "kind": ""}),
        start_ns=starts * BIN_NS,
        trial=np.full(len(starts), -1, dtype=np.int32) if trial is None else np.asarray(trial, dtype=np.int32),
        trials=trials,
        split=np.full(len(starts), NO_SPLIT, dtype=np.int8),
    )


def data_of(*sessions: BinnedSession) -> Binned:
    return Binned(sessions=sessions, bin_s=BIN_S, activity_kind="counts")


def shares_of(data: Binned) -> list[float]:
    given_out = data.split[data.split != NO_SPLIT]
    return [float((given_out == code).mean()) for code in range(len(SPLITS))]


@RULES
@given(
    lengths=st.lists(st.integers(1, 30), min_size=3, max_size=40),
    seed=st.integers(0, 100),
)
def test_trials_are_split_whole_and_bins_of_no_trial_are_left_out(lengths: list[int], seed: int) -> None:
    trial = np.concatenate([np.r_[np.full(length, row), -1] for row, length in enumerate(lengths)])
    data = assign_splits(data_of(session_of(np.arange(len(trial)), trial=trial)), seed=seed)
    assert (data.split[trial == -1] == NO_SPLIT).all()
    of_trial = [set(data.split[trial == row].tolist()) for row in range(len(lengths))]
    assert all(len(codes) == 1 for codes in of_trial)
    assert set().union(*of_trial) == {0, 1, 2}


@RULES
@given(
    stretches=st.lists(st.tuples(st.integers(1, 400), st.integers(1, 60)), min_size=1, max_size=4),
    block_bins=st.integers(1, 60),
    gap_bins=st.integers(0, 15),
    origin=st.integers(-500, 500),
    seed=st.integers(0, 100),
)
def test_blocks_of_different_splits_are_at_least_the_gap_apart(
    stretches: list[tuple[int, int]], block_bins: int, gap_bins: int, origin: int, seed: int
) -> None:
    starts: list[int] = []
    for length, pause in stretches:
        first = starts[-1] + 1 + pause if starts else origin
        starts.extend(range(first, first + length))
    options: dict[str, Any] = {"block_s": block_bins * BIN_S, "gap_s": gap_bins * BIN_S, "seed": seed}
    data = data_of(session_of(starts))
    try:
        split = assign_splits(data, **options).split
    except DataError as error:
        assert "recording too short" in str(error)  # noqa: PT017 - both outcomes are right for some recordings
        return
    assert {0, 1, 2} <= set(split.tolist())
    labelled = [(start, code) for start, code in zip(starts, split.tolist(), strict=True) if code != NO_SPLIT]
    for (start, code), (following, other) in pairwise(labelled):
        assert code == other or following - (start + 1) >= gap_bins
    assert split[-1] != NO_SPLIT
    np.testing.assert_array_equal(split, assign_splits(data, **options).split)


def test_a_long_recording_is_cut_into_blocks_and_gaps_on_a_regular_grid() -> None:
    split = assign_splits(data_of(session_of(np.arange(2_200))), block_s=10.0, gap_s=1.0).split.reshape(20, 110)
    assert (split[:-1, 100:] == NO_SPLIT).all()
    assert all(len(set(block.tolist())) == 1 for block in split[:, :100])
    assert (split[-1] == split[-1, 0]).all(), "no block follows the last one, so it needs no gap"


def test_blocks_of_splits_are_spread_over_the_recording() -> None:
    split = assign_splits(data_of(session_of(np.arange(11_000))), seed=3).split
    test_bins = np.flatnonzero(split == SPLITS.index("test"))
    assert test_bins.min() < 5_500 < test_bins.max()


@pytest.mark.parametrize("by", ["trials", "blocks"])
def test_proportions_hold(by: Any) -> None:
    data = data_of(session_of(np.arange(11_000), trial=np.arange(11_000) // 110))
    found = shares_of(assign_splits(data, by=by, train=0.6, validation=0.1, test=0.3))
    np.testing.assert_allclose(found, [0.6, 0.1, 0.3], atol=0.011)


def test_a_share_of_zero_gets_nothing() -> None:
    data = assign_splits(data_of(session_of(np.arange(2_200))), train=0.8, validation=0.0, test=0.2)
    assert set(data.split.tolist()) == {NO_SPLIT, 0, 2}


def test_seeds_decide_which_trials_go_where() -> None:
    data = data_of(session_of(np.arange(1_000), trial=np.arange(1_000) // 10))
    splits = [assign_splits(data, seed=seed).split for seed in (0, 0, 1)]
    np.testing.assert_array_equal(splits[0], splits[1])
    assert (splits[0] != splits[2]).any()


def test_every_session_has_its_share_of_every_split() -> None:
    data = data_of(*(session_of(np.arange(2_200), session_id=f"s{index}") for index in range(3)))
    for session in assign_splits(data).sessions:
        assert set(session.split.tolist()) == {NO_SPLIT, 0, 1, 2}


def test_sessions_are_split_whole() -> None:
    data = data_of(*(session_of(np.arange(100), session_id=f"s{index}") for index in range(10)))
    found = assign_splits(data, by="sessions", train=0.6, validation=0.2, test=0.2)
    codes = [set(session.split.tolist()) for session in found.sessions]
    assert all(len(code) == 1 for code in codes)
    assert sorted(code.pop() for code in codes) == [0] * 6 + [1] * 2 + [2] * 2


def test_auto_takes_trials_only_where_every_session_has_them() -> None:
    with_trials = session_of(np.arange(1_000), trial=np.arange(1_000) // 10)
    without = session_of(np.arange(1_000))
    assert (assign_splits(data_of(with_trials)).split != NO_SPLIT).all()
    assert (assign_splits(data_of(with_trials, without)).split == NO_SPLIT).any()


def test_a_recording_too_short_for_its_splits_is_refused() -> None:
    with pytest.raises(DataError, match=r"'s': recording too short: 1 blocks for the 3 splits"):
        assign_splits(data_of(session_of(np.arange(100))))
    trial = np.arange(100) // 50
    with pytest.raises(DataError, match="recording too short: 2 trials for the 3 splits train, validation, test"):
        assign_splits(data_of(session_of(np.arange(100), trial=trial)))
    assert set(
        assign_splits(
            data_of(session_of(np.arange(100), trial=trial)), train=0.5, validation=0, test=0.5
        ).split.tolist()
    ) == {0, 2}


def test_splits_that_cannot_be_made_say_what_to_choose() -> None:
    with pytest.raises(DataError, match=r"1 sessions for the 3 splits.*choose by = 'trials' or 'blocks'"):
        assign_splits(data_of(session_of(np.arange(1_000))), by="sessions")
    with pytest.raises(DataError, match="set trials or split by blocks"):
        assign_splits(data_of(session_of(np.arange(1_000))), by="trials")
    with pytest.raises(DataError, match="add up to 1"):
        assign_splits(data_of(session_of(np.arange(1_000))), train=0.9)
