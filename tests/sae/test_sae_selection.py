from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nldisco_sae.selection import batch_cutoffs, row_cutoffs, select

LEVELS = {4: 1.0, 7: 2.5}


def activations(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.relu(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)))


def chosen_by_loop(block: np.ndarray, budget: int) -> np.ndarray:
    """The `budget` largest positive entries of one instance's batch, one at a time."""
    left = block.copy()
    mask = np.zeros(block.shape, dtype=bool)
    for _ in range(budget):
        place = np.unravel_index(np.argmax(left), left.shape)
        if left[place] <= 0:
            break
        mask[place] = True
        left[place] = -1
    return mask


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n_rows=st.integers(1, 12),
    size=st.integers(1, 6),
    k=st.floats(0.2, 1.0),
    n_instances=st.integers(1, 3),
)
def test_batch_top_k_keeps_what_a_loop_keeps(seed: int, n_rows: int, size: int, k: float, n_instances: int) -> None:
    levels = {size: k, size + 3: k + 1}
    values = activations(n_instances, n_rows, size + 3, seed=seed)
    masks = select(values, batch_cutoffs(values, levels, "per-level")[:, None], tuple(levels))
    for instance in range(n_instances):
        for mask, (level_size, level_k) in zip(masks, levels.items(), strict=True):
            expected = chosen_by_loop(values[instance, :, :level_size].numpy(), max(round(n_rows * level_k), 1))
            np.testing.assert_array_equal(mask[instance].numpy(), expected)


def test_nested_levels_are_prefixes_of_one_selection_of_the_deepest_budget() -> None:
    values = activations(2, 30, 7)
    shallow, deep = select(values, batch_cutoffs(values, LEVELS, "nested")[:, None], (4, 7))
    for instance in range(2):
        np.testing.assert_array_equal(deep[instance].numpy(), chosen_by_loop(values[instance].numpy(), 75))
    assert torch.equal(shallow, deep[..., :4])


def test_a_loud_replica_takes_nothing_of_anothers_budget() -> None:
    values = activations(3, 40, 7)
    alone = batch_cutoffs(values, LEVELS, "per-level")
    louder = values * torch.tensor([1.0, 1000.0, 1.0])[:, None, None]
    beside = batch_cutoffs(louder, LEVELS, "per-level")
    assert torch.equal(beside[[0, 2]], alone[[0, 2]])
    counts = [mask.sum(dim=(1, 2)).tolist() for mask in select(louder, beside[:, None], (4, 7))]
    assert counts == [[40, 40, 40], [100, 100, 100]]


def test_sample_top_k_keeps_the_k_largest_of_each_row() -> None:
    values = activations(1, 50, 7)
    masks = select(values, row_cutoffs(values, LEVELS, "per-level"), (4, 7))
    for mask, (size, k) in zip(masks, LEVELS.items(), strict=True):
        for row in range(50):
            expected = chosen_by_loop(values[0, row : row + 1, :size].numpy(), math.ceil(k))[0]
            np.testing.assert_array_equal(mask[0, row].numpy(), expected)


@pytest.mark.parametrize("selection", ["per-level", "nested"])
def test_zero_is_never_selected_even_where_the_budget_is_not_used_up(selection: str) -> None:
    values = torch.zeros(1, 10, 7)
    values[0, 3, 2] = 0.5
    cutoffs = batch_cutoffs(values, LEVELS, selection)
    assert torch.equal(cutoffs, torch.zeros(1, 2))
    assert [int(mask.sum()) for mask in select(values, cutoffs[:, None], (4, 7))] == [1, 1]
