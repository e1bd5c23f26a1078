"""Which bins are for fitting, for choosing and for reporting: whole trials, blocks of time, or whole sessions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nldisco_core.binned import NO_SPLIT, NO_TRIAL, SPLITS, Binned, BinnedSession
from nldisco_core.errors import DataError

__all__ = ["RUN_OF_ROWS", "assign_splits", "spread_rows"]

RUN_OF_ROWS = 100


def assign_splits(
    data: Binned,
    *,
    by: Literal["auto", "trials", "blocks", "sessions"] = "auto",
    train: float = 0.7,
    validation: float = 0.15,
    test: float = 0.15,
    block_s: float = 10.0,
    gap_s: float = 1.0,
    seed: int = 0,
) -> Binned:
    """The data with every bin given to one split or to none.

    - ``trials``: whole trials; bins of no trial have no split.
    - ``blocks``: each contiguous stretch is cut into blocks of `block_s`, each followed by a gap that has no split;
      bins that end less than `gap_s` before the next block have none either. What is left at the end of a stretch is a
      block of its own where it is at least half as long as block and gap, else part of the last.
    - ``sessions``: whole sessions.
    - ``auto``: trials where every session has a trial table, else blocks.

    Trials and blocks are dealt within each session, in seeded random order, each to the split that is furthest below
    its share of the bins.

    Parameters
    ----------
    train, validation, test : shares, which add up to 1
    block_s, gap_s : length of a block and of the gap between two (s)

    Raises
    ------
    DataError
        Shares that do not add up to 1, trials asked for where there are none, or fewer trials, blocks or sessions than
        splits.
    """
    shares = np.array([train, validation, test])
    if (shares < 0).any() or not math.isclose(shares.sum(), 1.0, abs_tol=1e-6):
        raise DataError(
            f"splits of {train:g}, {validation:g} and {test:g}; expected shares from 0 to 1 that add up to 1"
        )
    if by == "auto":
        by = "trials" if all(session.trials is not None for session in data.sessions) else "blocks"
    rng = np.random.default_rng(seed)
    if by == "sessions":
        return _by_session(data, shares, rng)
    sessions = []
    for session in data.sessions:
        group = _trials_of(session) if by == "trials" else _blocks_of(session, data.bin_ns, block_s, gap_s)
        sizes = np.bincount(group[group >= 0])
        where = f"session {session.session_id!r}: recording too short: {np.count_nonzero(sizes)} {by}"
        advice = "record longer, choose shorter blocks, split by sessions, or set a share to 0"
        split_of_group = _deal(sizes, shares, rng, where, advice)
        split = np.where(group >= 0, split_of_group[group], NO_SPLIT).astype(np.int8)
        sessions.append(replace(session, split=split))
    return replace(data, sessions=tuple(sessions))


def spread_rows(mask: NDArray[np.bool_], *, at_most: int) -> NDArray[np.bool_]:
    """(n_bins,) about `at_most` rows of a mask, in runs of 100 that are spread evenly; all where there are fewer.

    Rows of a run stay together, for models that read windows.
    """
    every = -(-int(mask.sum()) // at_most)
    return np.asarray(mask & ((np.cumsum(mask) - 1) // RUN_OF_ROWS % max(every, 1) == 0))


def _by_session(data: Binned, shares: NDArray[np.float64], rng: np.random.Generator) -> Binned:
    sizes = np.array([session.n_bins for session in data.sessions])
    split_of = _deal(
        sizes, shares, rng, f"{len(sizes)} sessions", "choose by = 'trials' or 'blocks', or set a share to 0"
    )
    return replace(
        data,
        sessions=tuple(
            replace(session, split=np.full(session.n_bins, split, dtype=np.int8))
            for session, split in zip(data.sessions, split_of, strict=True)
        ),
    )


def _deal(
    sizes: NDArray[np.int64], shares: NDArray[np.float64], rng: np.random.Generator, where: str, advice: str
) -> NDArray[np.int8]:
    """(n_groups,) split of each group of bins, -1 for empty groups; every split with a share has at least one."""
    groups = rng.permutation(np.flatnonzero(sizes))
    wanted = [SPLITS[split] for split in np.flatnonzero(shares)]
    if len(groups) < len(wanted):
        raise DataError(f"{where} for the {len(wanted)} splits {', '.join(wanted)}; {advice}")
    split_of = np.full(max(len(sizes), 1), NO_SPLIT, dtype=np.int8)
    missing = np.where(shares > 0, shares * sizes.sum(), -np.inf)
    empty = shares > 0
    for n_dealt, group in enumerate(groups):
        must_fill = len(groups) - n_dealt <= empty.sum()
        split = int(np.argmax(np.where(empty, missing, -np.inf) if must_fill else missing))
        split_of[group] = split
        missing[split] -= sizes[group]
        empty[split] = False
    return split_of


def _trials_of(session: BinnedSession) -> NDArray[np.int64]:
    if session.trials is None:
        raise DataError(
            f"session {session.session_id!r}: split by trials without a trial table; set trials or split by blocks"
        )
    return np.where(session.trial == NO_TRIAL, -1, session.trial).astype(np.int64)


def _blocks_of(session: BinnedSession, bin_ns: int, block_s: float, gap_s: float) -> NDArray[np.int64]:
    """(n_bins,) number of the block of each bin, -1 in gaps."""
    gap_ns = round(gap_s * 1e9)
    period = max(round(block_s * 1e9 / bin_ns), 1) + math.ceil(gap_ns / bin_ns)
    opens = np.diff(session.start_ns, prepend=session.start_ns[:1] - 2 * bin_ns) != bin_ns
    stretch = np.cumsum(opens) - 1
    within = np.arange(session.n_bins) - np.flatnonzero(opens)[stretch]
    n_blocks = np.maximum(np.floor(np.bincount(stretch) / period + 0.5), 1).astype(np.int64)
    block = np.minimum(within // period, n_blocks[stretch] - 1) + (np.cumsum(n_blocks) - n_blocks)[stretch]
    first_ns = session.start_ns[np.flatnonzero(np.diff(block, prepend=-1))]
    next_ns = np.append(first_ns[1:], np.iinfo(np.int64).max // 2)[block]
    return np.where(next_ns - bin_ns - session.start_ns < gap_ns, -1, block)
