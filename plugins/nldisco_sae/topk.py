"""Top-k: the largest activations of each bin."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from nldisco_sae.architecture import Parameters
from nldisco_sae.autoencoder import TrainedAutoencoder
from nldisco_sae.config import Each
from nldisco_sae.examples import Examples
from nldisco_sae.selection import row_cutoffs, select
from nldisco_sae.single_level_config import TopKConfig
from nldisco_sae.sparsifier import Encoded, Finished, Sparsifier

__all__ = ["TopK", "TopKSAE"]


class TopK(Sparsifier[TopKConfig]):
    """The k largest activations of each bin that are positive, in training and afterwards."""

    inference = "sample-topk"

    def encode(self, parameters: Parameters, x: Tensor, *, scale: float) -> Encoded:
        """As `Sparsifier.encode`."""
        pre_activations = parameters.pre_activations(x)
        activations = torch.relu(pre_activations)
        active = self._largest(activations.detach(), self.config.k)
        return Encoded(pre_activations=pre_activations, codes=[activations * active], active=active)

    def finish(self, parameters: Parameters, examples: Examples) -> Finished:
        """In the place of thresholds each instance's k, (n_instances, 1)."""
        k = self.each(self.config.k, torch.device("cpu"))[:, None]
        return Finished(parameters=parameters, thresholds=k)

    def chosen(self, activations: Tensor, thresholds: Tensor) -> list[Tensor]:
        """The same choice as in training."""
        return [self._largest(activations[None], float(thresholds))[0]]

    def _largest(self, activations: Tensor, k: Each) -> Tensor:
        sizes = self.config.level_sizes
        return select(activations, row_cutoffs(activations, {sizes[-1]: k}, "per-level"), sizes)[-1]


class TopKSAE(TrainedAutoencoder[TopKConfig]):
    """Top-k sparse autoencoder (Gao et al. 2024, arXiv:2406.04093), one instance per seed.

    ``s`` holds the k largest of each bin's ``a = relu(W_enc (x - b_pre) + b_enc)``; ``y^ = out(W_dec s + b_dec)``.
    """

    config_class: ClassVar[type[TopKConfig]] = TopKConfig
