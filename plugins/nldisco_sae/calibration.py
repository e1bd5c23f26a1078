"""Thresholds that make inference independent of the batch: one pass with the final weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nldisco_sae.architecture import Parameters
from nldisco_sae.config import LevelsConfig
from nldisco_sae.examples import Examples
from nldisco_sae.seeding import data_order
from nldisco_sae.selection import batch_cutoffs, select
from nldisco_sae.single_level_config import BatchTopKConfig

__all__ = ["Calibration", "calibrate"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What one pass over the training bins in batches gave.

    Attributes
    ----------
    thresholds : (n_instances, n_levels) theta, mean of the batch cutoffs
    training_l0 : (n_instances, n_levels) active latents per bin with the batches' own cutoffs
    """

    thresholds: Tensor
    training_l0: Tensor


def calibrate(parameters: Parameters, examples: Examples, config: LevelsConfig | BatchTopKConfig) -> Calibration:
    """Thresholds of final parameters on the training bins, in batches drawn as in training."""
    device = examples.values.device
    parameters = parameters.detached(device)
    batch_size = min(config.batch_size, examples.n_rows)
    order = data_order(config.seeds, examples.n_rows, 0).to(device)
    n_batches = examples.n_rows // batch_size
    cutoffs = torch.zeros(config.n_instances, len(config.levels), device=device)
    l0 = torch.zeros_like(cutoffs)
    for batch in range(n_batches):
        x, _, _ = examples.batch(order[:, batch * batch_size : (batch + 1) * batch_size])
        activations = torch.relu(parameters.pre_activations(x))
        found = batch_cutoffs(activations, config.levels, config.selection)
        cutoffs += found
        selected = select(activations, found[:, None], config.level_sizes)
        l0 += torch.stack([mask.sum(dim=2).float().mean(dim=1) for mask in selected], dim=1)
    return Calibration(thresholds=(cutoffs / n_batches).cpu(), training_l0=(l0 / n_batches).cpu())
