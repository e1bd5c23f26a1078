"""Matched latents: against a dense reference, with planted partners, with none, and on the bins of a split."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread
from typing import Any

import numpy as np
import pytest
from nldisco_explorer import pairing as pairing_module
from nldisco_explorer.likeness import Activations, Weights, codes_at
from nldisco_explorer.pairing import N_DRAWS, Pairing, matching, pairing
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.sides import Side
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from nldisco_core.errors import DataError
from nldisco_core.latents import LatentSpace
from nldisco_core.runs import Run

N_BINS = 3000


def _codes(rng: np.random.Generator, n_latents: int, density: float, n_bins: int = N_BINS) -> NDArray[np.float32]:
    """Bursts of five bins, none of them related to any other."""
    begins = rng.random((n_bins, n_latents)) < density / 5
    active = np.maximum.reduce([np.roll(begins, lag, axis=0) for lag in range(5)])
    return np.asarray(active * rng.gamma(2.0, 1.0, active.shape), dtype=np.float32)


def _space(codes: NDArray[np.float32], *, dense: bool = False) -> LatentSpace:
    return LatentSpace(
        codes=codes[None] if dense else (sparse.csc_array(codes),),
        session_ids=("one",),
        row_offsets=np.array([0, len(codes)]),
        code_kind="signed" if dense else "nonnegative",
    )


class _Fake(Readings):
    """The readings of a run with codes of one's own."""

    def __init__(self, run: Run, codes: NDArray[np.float32]) -> None:
        super().__init__(run)
        self._spaces = {"model": _space(codes)}


@pytest.mark.parametrize("densities", [(0.05, 0.05), (0.05, 0.8), (0.8, 0.05), (0.8, 0.8)])
@pytest.mark.parametrize("absolute", [False, True])
def test_correlations_are_those_of_numpy_sparse_or_dense(densities: tuple[float, float], absolute: bool) -> None:
    rng = np.random.default_rng(1)
    values = _codes(rng, 12, densities[0]), 100 + _codes(rng, 9, densities[1]) - 100
    values[1][:, 3] = 0
    rows = np.sort(rng.choice(N_BINS, 2000, replace=False))
    codes = [codes_at(_space(each), 0, rows) for each in values]
    assert [isinstance(each, np.ndarray) for each in codes] == [density > 0.5 for density in densities]
    likeness = Activations((codes[0], codes[1]), np.array([0, 1200, 2000]), absolute=absolute)
    expected = np.corrcoef(np.hstack([values[0][rows], np.delete(values[1][rows], 3, axis=1)]).T)[:12, 12:]
    expected = np.abs(expected) if absolute else expected
    np.testing.assert_allclose(likeness.similarity(), expected, atol=2e-6)
    assert 3 not in likeness.alive[1]


def test_dense_latents_far_from_zero_lose_nothing() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(1000, 1, (2, N_BINS, 6)).astype(np.float32)
    likeness = Activations((values[0], values[1]), np.array([0, N_BINS]), absolute=False)
    expected = np.corrcoef(np.hstack([*values.astype(np.float64)]).T)[:6, 6:]
    np.testing.assert_allclose(likeness.similarity(), expected, atol=1e-5)


@pytest.mark.parametrize("dense", [False, True])
def test_chance_is_a_turn_of_each_session_by_a_tenth_at_least(dense: bool) -> None:
    rng = np.random.default_rng(3)
    values, starts = _codes(rng, 8, 0.8 if dense else 0.05), np.array([0, 1000, N_BINS])
    codes = codes_at(_space(values), 0, np.arange(N_BINS))
    found = Activations((codes, codes), starts, absolute=False).by_chance(np.random.default_rng(4))
    sizes = np.array([1000, 2000])
    shifts = np.random.default_rng(4).integers(sizes // 10, sizes - sizes // 10)
    assert (shifts >= sizes // 10).all()
    assert (shifts <= sizes - sizes // 10).all()
    parts = np.split(values, [1000])
    moved = np.vstack([np.roll(part, shift, axis=0) for part, shift in zip(parts, shifts, strict=True)])
    np.testing.assert_allclose(found, np.corrcoef(np.hstack([moved, values]).T)[:8, 8:], atol=2e-6)


def test_permuted_weights_keep_the_lags_of_a_unit_together() -> None:
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(4, 6, 3)).astype(np.float32)
    likeness = Weights(
        (np.eye(6, dtype=np.float32)[:, :, None] * np.ones(3, dtype=np.float32), weights), absolute=False
    )
    chance = likeness.by_chance(np.random.default_rng(6))
    np.testing.assert_allclose(np.sort(chance, axis=0), np.sort(likeness.similarity(), axis=0), atol=1e-6)
    assert not np.allclose(chance, likeness.similarity())


def test_planted_partners_are_found_and_nothing_else_is_claimed(reach_run: Run) -> None:
    rng = np.random.default_rng(8)
    n_bins = reach_run.counts.n_bins
    codes = [_codes(rng, 30, 0.05, n_bins) for _ in range(2)]
    codes[1][:, [20, 21, 22]] = codes[0][:, [3, 4, 5]] * rng.gamma(20, 0.05, (n_bins, 3))
    one, other = (Side(_Fake(reach_run, each), "model", 0) for each in codes)
    table = pairing(one, other).table
    claimed = table[table["p"] <= 0.05]
    assert sorted(claimed[["latent", "partner"]].itertuples(index=False, name=None)) == [(3, 20), (4, 21), (5, 22)]
    assert len(table) == 30


def test_unrelated_latents_are_claimed_no_more_often_than_said(reach_run: Run) -> None:
    n_claiming, n_bins = 0, reach_run.counts.n_bins
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        one, other = (Side(_Fake(reach_run, _codes(rng, 10, 0.05, n_bins)), "model", 0) for _ in range(2))
        n_claiming += bool((pairing(one, other).table["p"] <= 0.05).any())
    assert n_claiming <= 4  # 20 times .05 is 1; more than 4 come in 3 of 1,000 such series


def test_pairs_and_chance_are_those_of_a_dense_reference(reach_run: Run, reach_run_again: Run) -> None:
    sides = [Side(readings(run), "model", 0) for run in (reach_run, reach_run_again)]
    found = pairing(sides[0], sides[1], "test")
    rows = np.flatnonzero(reach_run.counts.split == 2)
    codes = [side.space.csc(0).toarray()[rows].astype(np.float64) for side in sides]
    assert found.n_bins == len(rows)
    reference = _reference(codes, reach_run.counts.session_of_bin[rows])
    np.testing.assert_allclose(found.table["similarity"], reference[0], atol=1e-6)
    np.testing.assert_allclose(found.table["null"], np.mean(reference[1], axis=0), atol=1e-6)
    most = np.max(reference[1], axis=1)
    p = [(1 + (most >= each).sum()) / (1 + N_DRAWS) for each in reference[0]]
    np.testing.assert_allclose(found.table["p"], p)


def _reference(codes: list[NDArray[Any]], session: NDArray[Any]) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Sorted similarities of the pairs as they are and of each draw."""
    alive = [np.flatnonzero(code.std(axis=0) > 0) for code in codes]
    a, b = (code[:, each] for code, each in zip(codes, alive, strict=True))
    sizes = np.unique(session, return_counts=True)[1]
    rng, drawn = np.random.default_rng(0), []

    def sorted_pairs(mine: NDArray[Any]) -> NDArray[Any]:
        similarity = np.corrcoef(np.hstack([mine, b]).T)[: a.shape[1], a.shape[1] :]
        return np.sort(similarity[linear_sum_assignment(similarity, maximize=True)])[::-1]

    for _ in range(N_DRAWS):
        shifts = rng.integers(sizes // 10, sizes - sizes // 10)
        parts = np.split(a, np.cumsum(sizes)[:-1])
        drawn.append(
            sorted_pairs(np.vstack([np.roll(each, shift, axis=0) for each, shift in zip(parts, shifts, strict=True)]))
        )
    return sorted_pairs(a), drawn


def test_each_split_has_its_own_matching_and_all_visitors_share_it(reach_run: Run, reach_run_again: Run) -> None:
    one, other = Side(readings(reach_run), "model", 0), Side(readings(reach_run_again), "model", 0)
    assert matching(one, other, "test") is matching(replace(one), replace(other), "test")
    n_bins = {}
    for split in ("train", "validation", "test", "all"):
        *_, last = matching(one, other, split).steps()
        n_bins[split] = last.n_bins
    masks = {split: int(readings(reach_run).split_mask(split).sum()) for split in n_bins}
    assert n_bins == masks
    assert matching(one, other, "test") is not matching(one, other, "train")


def test_threads_that_match_the_same_share_the_draws(reach_run: Run, reach_run_again: Run) -> None:
    sides = Side(readings(reach_run), "model", 0), Side(readings(reach_run_again), "model", 0)
    alone = pairing(*sides, split="test")
    shared = pairing_module.Matching(*sides, split="test")
    seen: dict[int, list[Pairing]] = {visitor: [] for visitor in range(3)}
    threads = [Thread(target=lambda mine=mine: mine.extend(shared.steps())) for mine in seen.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.found is not None
    for mine in seen.values():
        assert mine[-1] is shared.found
        made = [len(each.most_by_chance) for each in mine]
        assert made == sorted(made)
    assert shared.found.table.equals(alone.table)


def test_too_many_activations_leave_evenly_spaced_bins(
    reach_run: Run, reach_run_again: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = Side(readings(reach_run), "model", 0), Side(readings(reach_run_again), "model", 0)
    n_active = max(side.space.csc(0).nnz for side in sides)
    monkeypatch.setattr(pairing_module, "MOST_ENTRIES", n_active / 2.5)
    found = pairing(*sides)
    assert found.every == 3
    assert found.n_bins == len(range(0, reach_run.counts.n_bins, 3))
    codes = [side.space.csc(0).toarray()[::3] for side in sides]
    latent, partner, similarity = found.table.iloc[0][["latent", "partner", "similarity"]]
    expected = np.corrcoef(codes[0][:, int(latent)], codes[1][:, int(partner)])[0, 1]
    assert similarity == pytest.approx(expected, abs=1e-6)


def test_few_independent_shifts_give_no_p(reach_run: Run) -> None:
    slow = np.zeros((reach_run.counts.n_bins, 2), dtype=np.float32)
    slow[: len(slow) // 2, 0], slow[len(slow) // 3 :, 1] = 1, 1
    found = pairing(*(Side(_Fake(reach_run, slow), "model", 0) for _ in range(2)))
    assert found.shifts < 20
    assert found.table["p"].isna().all()
    assert found.table["similarity"].to_numpy() == pytest.approx([1, 1], abs=1e-5)


def test_split_of_too_few_bins_says_which(reach_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = readings(reach_run)
    monkeypatch.setitem(reads._masks, "validation", np.arange(reach_run.counts.n_bins) < 40)
    with pytest.raises(DataError, match="only 40 bins of the validation split"):
        pairing(Side(reads, "model", 0), Side(reads, "pca", 0), "validation")
