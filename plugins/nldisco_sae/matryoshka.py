"""The Matryoshka sparse autoencoder: levels of latents, each of which reconstructs the activity on its own."""

from __future__ import annotations

from typing import ClassVar

from nldisco_core.interfaces import Monitor
from nldisco_sae.autoencoder import SparseAutoencoder
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.examples import Examples
from nldisco_sae.training import Trained, train

__all__ = ["MatryoshkaSAE"]


class MatryoshkaSAE(SparseAutoencoder[MatryoshkaConfig]):
    """Nested batch-top-k sparse autoencoder (Bussmann et al. 2025, arXiv:2503.17547), one instance per seed.

    ``a = relu(W_enc (x - b_pre) + b_enc)``; level l keeps the B·k_l largest of its first D_l activations over a batch,
    or with nested selection its part of one selection; ``y^_l = out(W_dec s_l + b_dec)``; the objective is the weighted
    sum of the levels' losses and the auxiliary loss of dead latents (see `nldisco_sae.training.Trainer`).
    """

    config_class: ClassVar[type[MatryoshkaConfig]] = MatryoshkaConfig

    def learn(self, examples: Examples, monitor: Monitor) -> Trained:
        """Train all instances; goes on from the monitor's checkpoint where there is one."""
        return train(self.config, examples, monitor)
