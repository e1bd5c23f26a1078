"""Batch-top-k: the largest activations of a batch, over levels or over all latents."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from nldisco_sae.architecture import Parameters
from nldisco_sae.autoencoder import TrainedAutoencoder
from nldisco_sae.calibration import calibrate
from nldisco_sae.config import LevelsConfig
from nldisco_sae.examples import Examples
from nldisco_sae.selection import batch_cutoffs, row_cutoffs, select
from nldisco_sae.single_level_config import BatchTopKConfig
from nldisco_sae.sparsifier import Encoded, Finished, Sparsifier

__all__ = ["BatchTopK", "BatchTopKSAE"]


class BatchTopK(Sparsifier[LevelsConfig | BatchTopKConfig]):
    """Of B bins the B·k largest activations, per instance and level; afterwards those above a calibrated threshold."""

    def __init__(self, config: LevelsConfig | BatchTopKConfig) -> None:
        super().__init__(config)
        self.nested = config.selection == "nested"
        self.inference = config.inference
        if self.nested and len(set(config.levels.values())) > 1:
            deepest = config.levels[config.level_sizes[-1]]
            self.notes = (f"Nested selection: only k = {deepest} of the deepest level was used.",)

    def encode(self, parameters: Parameters, x: Tensor, *, scale: float) -> Encoded:
        """As `Sparsifier.encode`."""
        config = self.config
        pre_activations = parameters.pre_activations(x)
        activations = torch.relu(pre_activations)
        with torch.no_grad():
            cutoffs = batch_cutoffs(activations.detach(), config.levels, config.selection)
            selected = select(activations, cutoffs[:, None], config.level_sizes)
        codes = [activations[..., : mask.shape[-1]] * mask for mask in selected]
        return Encoded(pre_activations=pre_activations, codes=codes, active=selected[-1])

    def finish(self, parameters: Parameters, examples: Examples) -> Finished:
        """Thresholds per level from one pass over the training bins; with ``sample-topk`` each level's k."""
        config = self.config
        found = calibrate(parameters, examples, config)
        k = torch.stack([self.each(k, torch.device("cpu")) for k in config.levels.values()], dim=1)
        thresholds = torch.ceil(k) if config.inference == "sample-topk" else found.thresholds
        return Finished(parameters=parameters, thresholds=thresholds, training_l0=found.training_l0)

    def chosen(self, activations: Tensor, thresholds: Tensor) -> list[Tensor]:
        """Per level what reaches its threshold, or with ``sample-topk`` the k largest of each bin."""
        sizes, cutoffs = self.config.level_sizes, thresholds[None]
        if self.config.inference == "sample-topk":
            levels = dict(zip(sizes, thresholds.tolist(), strict=True))
            cutoffs = row_cutoffs(activations[None], levels, self.config.selection)[0]
        return select(activations, cutoffs, sizes)


class BatchTopKSAE(TrainedAutoencoder[BatchTopKConfig]):
    """Batch-top-k sparse autoencoder (Bussmann et al. 2024, arXiv:2412.06410), one instance per seed.

    ``s`` holds the B·k largest of ``a = relu(W_enc (x - b_pre) + b_enc)`` over a batch of B bins; ``y^ = out(W_dec s +
    b_dec)``. A Matryoshka autoencoder of one level.
    """

    config_class: ClassVar[type[BatchTopKConfig]] = BatchTopKConfig
