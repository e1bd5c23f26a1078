"""Which activations count: batch-top-k while training, thresholds or the k largest of a bin afterwards.

All of these come down to a cutoff: an activation is selected where it is positive and at least the cutoff. Activations
that tie with the cutoff are all selected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nldisco_sae.config import Each, per_instance

__all__ = ["Selection", "batch_cutoffs", "level_budgets", "row_cutoffs", "select"]

Selection = Literal["per-level", "nested"]


def level_budgets(levels: Mapping[int, Each], selection: Selection) -> dict[int, Each]:
    """The levels that make a selection of their own: all of them, or for nested selection the deepest."""
    return dict(levels) if selection == "per-level" else dict(list(levels.items())[-1:])


def batch_cutoffs(activations: Tensor, levels: Mapping[int, Each], selection: Selection) -> Tensor:
    """Per instance and level the value of the B·k-th largest activation of a batch.

    Each instance has a budget of its own. Where fewer than B·k activations are positive the cutoff is 0.

    Parameters
    ----------
    activations : (n_instances, n_rows, n_latents), not negative
    levels : size and k of each level, for all instances or each

    Returns
    -------
    (n_instances, n_levels); nested selection repeats the deepest level's
    """
    n_instances, n_rows, _ = activations.shape
    budgets = level_budgets(levels, selection)
    places = [[max(round(n_rows * k), 1) for k in per_instance(each, n_instances)] for each in budgets.values()]
    if activations.device.type == "cuda":
        from nldisco_sae.kernel_choice import histogram_cutoffs

        found = histogram_cutoffs(activations, tuple(budgets), list(zip(*places, strict=True)))
        return found.expand(n_instances, len(levels))
    columns = [
        _kth_largest_of_each(activations[..., :size].reshape(n_instances, -1), each)
        for size, each in zip(budgets, places, strict=True)
    ]
    return torch.stack(columns, dim=-1).expand(n_instances, len(levels))


def row_cutoffs(activations: Tensor, levels: Mapping[int, Each], selection: Selection) -> Tensor:
    """Per row and level the value of the ceil(k)-th largest activation of that row.

    Parameters
    ----------
    activations : (n_instances, n_rows, n_latents), not negative
    levels : as in `batch_cutoffs`

    Returns
    -------
    (n_instances, n_rows, n_levels); nested selection repeats the deepest level's
    """
    n_instances = len(activations)
    columns = [
        _kth_largest_of_each(activations[..., :size], [math.ceil(k) for k in per_instance(each, n_instances)])
        for size, each in level_budgets(levels, selection).items()
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


def _kth_largest_of_each(values: Tensor, places: Sequence[int]) -> Tensor:
    """The k-th largest along the last axis, with a k of its own for each instance (leading axis)."""
    if len(set(places)) == 1:
        return _kth_largest(values, places[0])
    return torch.cat([_kth_largest(one[None], k) for one, k in zip(values, places, strict=True)])


def _kth_largest(values: Tensor, k: int) -> Tensor:
    if values.device.type != "cpu":
        return torch.topk(values, k, dim=-1, sorted=False).values.amin(dim=-1)
    place = values.shape[-1] - k  # numpy's vectorised quickselect is ten times faster on a million values
    return torch.from_numpy(np.ascontiguousarray(np.partition(values.numpy(), place, axis=-1)[..., place]))
