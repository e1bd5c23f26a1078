"""Relations between latents of one instance, against loops and scikit-learn."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import matthews_corrcoef
from sklearn.metrics.pairwise import cosine_similarity

from nldisco_core import coactivation
from nldisco_core.absorption import absorption
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.interfaces import Dictionary
from nldisco_core.latents import LatentSpace
from nldisco_core.neighbours import coactive_neighbours, dictionary_neighbours, families, family_counts
from nldisco_core.tuning import Conditions


def space_of(codes: np.ndarray, *, is_sparse: bool = True, **further: Any) -> LatentSpace:
    return LatentSpace(
        codes=tuple(sparse.csc_array(code) for code in codes) if is_sparse else codes,
        session_ids=("s",),
        row_offsets=np.array([0, codes.shape[1]]),
        **further,
    )


def conditions_of(codes: np.ndarray, n_conditions: int) -> Conditions:
    labels = tuple(f"c{code}" for code in range(n_conditions))
    return Conditions(
        variable="v",
        kind="discrete",
        codes=codes.astype(np.int32),
        labels=labels,
        centres=np.arange(float(n_conditions)),
    )


def sparse_codes(rng: np.random.Generator, *shape: int, density: float = 0.3) -> np.ndarray:
    return (rng.gamma(1, 1, shape) + 0.1).astype(np.float32) * (rng.random(shape) < density)


def nearest_of(similarity: np.ndarray, k: int) -> list[list[int]]:
    """Neighbours of each latent by falling similarity, of equals the lower first, by sorting tuples."""
    found = []
    for latent, row in enumerate(similarity):
        others = sorted((-value, other) for other, value in enumerate(row) if other != latent and not np.isnan(value))
        found.append([other for _, other in others[:k]])
    return found


def listed(table: pd.DataFrame, instance: int, n_latents: int) -> list[list[int]]:
    mine = table[table["instance"] == instance]
    return [mine.loc[mine["latent"] == latent, "neighbour"].tolist() for latent in range(n_latents)]


@given(seed=st.integers(0, 10_000), absolute=st.booleans(), lags=st.booleans(), at_once=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_neighbours_by_weights_are_those_of_scikit_learn(seed: int, absolute: bool, lags: bool, at_once: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((2, 8, 5, 2) if lags else (2, 8, 5)).astype(np.float32)
    values[:, 3] = 0  # points nowhere
    values[:, 6] = values[:, 2]  # a tie for all others
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(coactivation, "LATENTS_AT_ONCE", at_once)
        table = dictionary_neighbours(Dictionary(values=values, unit_ids=(("a",) * 5,)), k=4, absolute=absolute)
    assert set(table["measure"]) == {"decoder cosine"}
    for instance in range(2):
        cosine = cosine_similarity(values[instance].reshape(8, -1).astype(np.float64))
        cosine[3] = cosine[:, 3] = np.nan
        cosine[:, 6] = cosine[:, 2]  # equal but for rounding
        cosine[6] = cosine[2]
        cosine[2, 6] = cosine[6, 2] = 1
        found = listed(table, instance, 8)
        assert found == nearest_of(np.abs(cosine) if absolute else cosine, 4)
        assert found[3] == []
        mine = table[table["instance"] == instance]
        expected = cosine[mine["latent"], mine["neighbour"]]
        np.testing.assert_allclose(mine["similarity"], expected, atol=1e-9)


@given(seed=st.integers(0, 10_000), is_sparse=st.booleans(), at_once=st.integers(1, 9), dense=st.booleans())
@settings(max_examples=15, deadline=None)
def test_neighbours_by_activity_are_those_of_scikit_learn(
    seed: int, is_sparse: bool, at_once: int, dense: bool
) -> None:
    rng = np.random.default_rng(seed)
    codes = sparse_codes(rng, 2, 150, 8)
    codes[:, :, 3] = 0  # silent
    codes[:, :, 4] = 1  # always active
    codes[:, :, 6] = codes[:, :, 2]
    defined, rows = rng.random(150) < 0.9, rng.random(150) < 0.8
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(coactivation, "LATENTS_AT_ONCE", at_once)
        patched.setattr(coactivation, "ROWS_AT_ONCE", 37)
        patched.setattr(coactivation, "DENSE_SHARE", 0 if dense else 1)
        table = coactive_neighbours(space_of(codes, is_sparse=is_sparse, defined=defined), k=4, rows=rows)
    for instance in range(2):
        active = codes[instance, defined & rows] > 0
        phi = np.full((8, 8), np.nan)
        for a, b in combinations([0, 1, 2, 5, 6, 7], 2):  # the others do not vary
            phi[a, b] = phi[b, a] = matthews_corrcoef(active[:, a], active[:, b])
        assert listed(table, instance, 8) == nearest_of(phi.round(12), 4)
        mine = table[table["instance"] == instance]
        np.testing.assert_allclose(mine["similarity"], phi[mine["latent"], mine["neighbour"]], atol=1e-9)
    assert set(table["measure"]) == {"co-activation phi"}


def test_signed_codes_are_compared_by_the_size_of_their_correlation() -> None:
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((1, 300, 5))
    codes[0, :, 1] = -codes[0, :, 0] + 0.1 * rng.standard_normal(300)
    codes[0, :, 4] = 0.1  # constant
    table = coactive_neighbours(space_of(codes, is_sparse=False, code_kind="signed"), k=2)
    first = table.query("latent == 0").iloc[0]
    assert (first["neighbour"], first["measure"]) == (1, "activation correlation")
    assert first["similarity"] == pytest.approx(np.corrcoef(codes[0, :, 0], codes[0, :, 1])[0, 1], abs=1e-9)
    assert 4 not in set(table["latent"]) | set(table["neighbour"])


@given(seed=st.integers(0, 10_000), is_sparse=st.booleans(), at_once=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_families_equal_a_loop(seed: int, is_sparse: bool, at_once: int) -> None:
    rng = np.random.default_rng(seed)
    codes = sparse_codes(rng, 2, 600, 8, density=0.35)
    inside = rng.random((2, 600)) < 0.5
    codes[:, :, 4] = codes[:, :, 0] * inside
    codes[:, :, 5] = codes[:, :, 4] * (rng.random((2, 600)) < 0.9)
    codes[:, :, 6] = codes[:, :, 1] * (rng.random((2, 600)) < 0.05)  # too few bins
    codes[:, :, 1] *= rng.random((2, 600)) < 0.9
    codes[:, :, 7] = 0
    codes[0, :, 2] = 1  # a parent of all, which is no family
    defined, rows = rng.random(600) < 0.9, rng.random(600) < 0.9
    space = space_of(codes, is_sparse=is_sparse, defined=defined, level_sizes=(2, 5, 8))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(coactivation, "LATENTS_AT_ONCE", at_once)
        table = families(space, rows=rows)
    level = [0, 0, 1, 1, 1, 2, 2, 2]
    expected = {}
    for instance, child, parent in product(range(2), range(8), range(8)):
        a, b = (codes[instance, defined & rows, latent] > 0 for latent in (child, parent))
        if level[parent] >= level[child] or a.sum() < 50 or b.sum() < 50:
            continue
        contained, chance = np.mean(b[a]), np.mean(b)
        if contained >= 0.8 and contained / chance >= 2:
            shares = (contained, chance, contained / chance, np.mean(a[b]))
            expected[instance, child, parent] = (a.sum(), b.sum(), (a & b).sum(), *shares)
    columns = ["n_child", "n_parent", "n_both", "containment", "chance", "lift", "share_of_parent"]
    found = {(r.instance, r.child, r.parent): [getattr(r, name) for name in columns] for r in table.itertuples()}
    assert set(found) == set(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, atol=1e-9)
    assert {(0, 4, 0), (0, 5, 0), (0, 5, 4)} <= set(found)
    for _, mine in table.groupby(["instance", "child"]):
        assert mine["containment"].is_monotonic_decreasing


def test_models_without_levels_have_no_families() -> None:
    codes = sparse_codes(np.random.default_rng(0), 1, 300, 4)
    assert families(space_of(codes)).empty
    assert family_counts(space_of(codes), n_draws=3, seed=0).empty
    none = absorption(space_of(codes), conditions_of(np.zeros(300), 1))
    assert none.empty
    assert none["absorption"].dtype == np.float64


def test_planted_families_outnumber_those_of_shifted_levels() -> None:
    rng = np.random.default_rng(0)
    parents = np.repeat(rng.random((200, 4)) < 0.3, 20, axis=0)  # slow
    children = np.concatenate([parents & (rng.random((4000, 4)) < 0.5), rng.random((4000, 4)) < 0.2], axis=1)
    codes = np.concatenate([parents, children], axis=1).astype(np.float32)[None]
    space = space_of(codes, level_sizes=(4, 12))
    table = family_counts(space, n_draws=10, seed=1)
    assert table["n_candidates"].tolist() == [8]
    assert table["n_children"].tolist() == [4]
    assert table["n_children_shifted"][0] <= table["most_shifted"][0] < 2
    pd.testing.assert_frame_equal(table, family_counts(space, n_draws=10, seed=1))
    assert families(space)["parent"].tolist() == [0, 1, 2, 3]


def plain_shares(p: np.ndarray, c: np.ndarray, on: np.ndarray) -> tuple[float, float]:
    """Share of a parent's misses at which a child is active, and of its other silent bins."""
    elsewhere = c[~on & ~p]
    return float(np.mean(c[on & ~p])), float(np.mean(elsewhere)) if len(elsewhere) else 0.0


def plain_absorption(
    active: np.ndarray, level: list[int], code: np.ndarray, choose: np.ndarray, rows: np.ndarray, n_children: int
) -> dict[tuple[int, int], tuple[Any, ...]]:
    """By parent and rank: condition, child and figures, chosen on some rows and measured on others."""
    found = {}
    for parent in range(len(level)):
        p = active[:, parent]
        best, condition = -np.inf, -1
        for c in range(code.max() + 1):
            on, off = choose & (code == c), choose & (code != c)
            if on.any() and off.any() and np.mean(p[on]) - np.mean(p[off]) > best:
                best, condition = np.mean(p[on]) - np.mean(p[off]), c
        on = code == condition
        missed = [(part & on & ~p).sum() for part in (choose, rows)]
        if level[parent] == max(level) or p[choose].sum() < 50 or min(missed) < 10 or condition < 0:
            continue
        ranked = []
        for child in range(len(level)):
            taken, chance = plain_shares(p[choose], active[choose, child], on[choose])
            if level[child] > level[parent] and active[choose, child].sum() >= 50 and taken > chance:
                ranked.append((round(chance - taken, 12), child))
        for rank, (_, child) in enumerate(sorted(ranked)[:n_children]):
            figures = np.mean(p[rows & on]), np.mean(p[rows & ~on]), missed[1]
            shares = plain_shares(p[rows], active[rows, child], on[rows])
            found[parent, rank + 1] = (condition, child, (*figures, *shares))
    return found


@given(seed=st.integers(0, 10_000), is_sparse=st.booleans(), apart=st.booleans())
@settings(max_examples=30, deadline=None)
def test_absorption_equals_a_loop(seed: int, is_sparse: bool, apart: bool) -> None:
    rng = np.random.default_rng(seed)
    codes = sparse_codes(rng, 2, 800, 8)
    code = rng.integers(-1, 4, 800)  # -1: not defined
    code[code == 3] = 2
    code[17] = 3  # a single bin
    codes[:, :, 1] = ((code == 1) & (rng.random(800) < 0.6)).astype(np.float32)
    codes[:, :, 6] = 0
    codes[:, :, 7] = codes[:, :, 5]  # a tie
    defined, rows = rng.random(800) < 0.9, rng.random(800) < 0.7
    choose = ~rows if apart else rows
    space = space_of(codes, is_sparse=is_sparse, defined=defined, level_sizes=(3, 5, 8))
    table = absorption(space, conditions_of(code, 5), rows=rows, chosen_on=choose if apart else None, n_children=2)
    used = defined & (code >= 0)
    level = [0, 0, 0, 1, 1, 2, 2, 2]
    for instance in range(2):
        expected = plain_absorption(codes[instance] > 0, level, code, choose & used, rows & used, 2)
        mine = table[table["instance"] == instance]
        assert len(mine) == len(expected)
        for row in mine.itertuples():
            condition, child, figures = expected[row.parent, row.rank]
            assert (row.condition, row.child) == (f"c{condition}", child)
            got = (row.coverage, row.outside, row.n_misses, row.absorption, row.chance)
            np.testing.assert_allclose(got, figures, atol=1e-9)


def test_a_child_that_takes_over_is_found() -> None:
    rng = np.random.default_rng(0)
    code = np.repeat(rng.integers(0, 3, 300), 10)
    inside = code == 1
    gone = inside & np.repeat(rng.random(300) < 0.4, 10)
    codes = np.zeros((1, 3000, 6), dtype=np.float32)
    codes[0, :, 0] = inside & ~gone
    codes[0, :, 3] = gone  # takes over just where the parent fails
    codes[0, :, 4] = rng.random(3000) < 0.3
    table = absorption(space_of(codes, level_sizes=(2, 6)), conditions_of(code, 3))
    first = table.iloc[0]
    assert (first["parent"], first["child"], first["condition"]) == (0, 3, "c1")
    assert (first["absorption"], first["chance"]) == (1, 0)
    assert families(space_of(codes, level_sizes=(2, 6))).empty  # it never lies inside its parent


def test_other_bins_and_no_rows_are_refused() -> None:
    space = space_of(sparse_codes(np.random.default_rng(0), 1, 100, 4), level_sizes=(2, 4))
    with pytest.raises(IncompatibleData, match="give the bins"):
        absorption(space, conditions_of(np.zeros(50), 1))
    with pytest.raises(DataError, match="no rows"):
        coactive_neighbours(space, rows=np.zeros(100, dtype=bool))
