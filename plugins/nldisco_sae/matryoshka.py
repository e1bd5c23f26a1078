"""The Matryoshka sparse autoencoder: levels of latents, each of which reconstructs the activity on its own."""

from __future__ import annotations

from typing import ClassVar

from nldisco_sae.autoencoder import TrainedAutoencoder
from nldisco_sae.config import MatryoshkaConfig

__all__ = ["MatryoshkaSAE"]


class MatryoshkaSAE(TrainedAutoencoder[MatryoshkaConfig]):
    """Nested batch-top-k sparse autoencoder (Bussmann et al. 2025, arXiv:2503.17547), one instance per seed.

    ``a = relu(W_enc (x - b_pre) + b_enc)``; level l keeps the B·k_l largest of its first D_l activations over a batch,
    or with nested selection its part of one selection; ``y^_l = out(W_dec s_l + b_dec)``; the objective is the weighted
    sum of the levels' losses and the auxiliary loss of dead latents (see `nldisco_sae.training.Trainer`).
    """

    config_class: ClassVar[type[MatryoshkaConfig]] = MatryoshkaConfig
