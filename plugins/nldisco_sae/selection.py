"""Which activations count: batch-top-k while training, thresholds or the k largest of a bin afterwards.

All of these come down to a cutoff: an activation is selected where it is positive and at least the cutoff. Activations
that tie with the cutoff are all selected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

__all__ = ["Selection", "batch_cutoffs", "level_budgets", "row_cutoffs", "select"]

Selection = Literal["per-level", "nested"]


def level_budgets(levels: dict[int, float], selection: Selection) -> dict[int, float]:
    """The levels that make a selection of their own: all of them, or for nested selection the deepest."""
    return levels if selection == "per-level" else dict(list(levels.items())[-1:])


def batch_cutoffs(activations: Tensor, levels: dict[int, float], selection: Selection) -> Tensor:
    """Per instance and level the value of the B·k-th largest activation of a batch.

    Each instance has a budget of its own. Where fewer than B·k activations are positive the cutoff is 0.

    Parameters
    ----------
    activations : (n_instances, n_rows, n_latents), not negative
    levels : size and k of each level

    Returns
    -------
    (n_instances, n_levels); nested selection repeats the deepest level's
    """
    n_instances, n_rows, _ = activations.shape
    columns = [
        _kth_largest(activations[..., :size].reshape(n_instances, -1), max(round(n_rows * k), 1))
        for size, k in level_budgets(levels, selection).items()
    ]
    return torch.stack(columns, dim=-1).expand(n_instances, len(levels))


def row_cutoffs(activations: Tensor, levels: dict[int, float], selection: Selection) -> Tensor:
    """Per row and level the value of the ceil(k)-th largest activation of that row, (…, n_rows, n_levels)."""
    columns = [
        _kth_largest(activations[..., :size], math.ceil(k)) for size, k in level_budgets(levels, selection).items()
    ]
    return torch.stack(columns, dim=-1).expand(*activations.shape[:-1], len(levels))


def select(activations: Tensor, cutoffs: Tensor, level_sizes: Sequence[int]) -> list[Tensor]:
    """Per level the mask of selected activations, (…, n_rows, size of the level).

    Parameters
    ----------
    activations : (…, n_rows, n_latents), not negative
    cutoffs : (…, n_rows or 1, n_levels)
    """
    floor = torch.finfo(activations.dtype).tiny  # zero is never active
    smallest = cutoffs.clamp(min=floor)
    return [activations[..., :size] >= smallest[..., level, None] for level, size in enumerate(level_sizes)]


def _kth_largest(values: Tensor, k: int) -> Tensor:
    if values.device.type != "cpu":
        return torch.topk(values, k, dim=-1, sorted=False).values.amin(dim=-1)
    place = values.shape[-1] - k  # numpy's vectorised quickselect is ten times faster on a million values
    return torch.from_numpy(np.ascontiguousarray(np.partition(values.numpy(), place, axis=-1)[..., place]))
