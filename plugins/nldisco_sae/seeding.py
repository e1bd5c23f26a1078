"""Random numbers of one instance: each seed and purpose has a stream of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

__all__ = ["Purpose", "data_order", "generator", "seed_sequence"]

Purpose = Literal["initialise", "order", "shuffle"]
_STREAMS: dict[Purpose, int] = {"initialise": 0, "order": 1, "shuffle": 2}


def seed_sequence(seed: int, purpose: Purpose, index: int = 0) -> np.random.SeedSequence:
    """The stream of a seed for a purpose; `index` numbers the epochs or sessions inside it."""
    return np.random.SeedSequence([seed, _STREAMS[purpose], index])


def generator(seed: int, purpose: Purpose, index: int = 0) -> torch.Generator:
    """CPU generator of that stream."""
    state = seed_sequence(seed, purpose, index).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def data_order(seeds: Sequence[int], n_rows: int, epoch: int) -> Tensor:
    """(n_instances, n_rows) int64: the order in which each instance sees the rows in one epoch.

    It depends on the seed and the epoch alone, so that a resumed fit goes on with the same order.
    """
    return torch.stack([torch.randperm(n_rows, generator=generator(seed, "order", epoch)) for seed in seeds])
