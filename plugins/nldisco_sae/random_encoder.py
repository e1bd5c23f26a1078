"""The untrained architecture with calibrated thresholds: what sparsity alone makes of the data."""

from __future__ import annotations

from typing import ClassVar

from nldisco_core.interfaces import Monitor
from nldisco_sae.autoencoder import SparseAutoencoder
from nldisco_sae.config import RandomEncoderConfig
from nldisco_sae.examples import Examples
from nldisco_sae.history import History
from nldisco_sae.sparsifier import sparsifier_of
from nldisco_sae.training import Trained

__all__ = ["RandomEncoder"]


class RandomEncoder(SparseAutoencoder[RandomEncoderConfig]):
    """Random encoder rows, the decoder their transpose, b_dec the mean; only thresholds come from the data."""

    config_class: ClassVar[type[RandomEncoderConfig]] = RandomEncoderConfig

    def learn(self, examples: Examples, monitor: Monitor, *, validation: Examples | None) -> Trained:
        """The parameters that training would start from."""
        parameters = sparsifier_of(self.config).initialise(examples, scale=1.0)
        monitor.progress(1, 1, "untrained")
        return Trained(
            parameters=parameters,
            history=History(),
            stop_reason="finished",
            steps=0,
            notes=(
                "Nothing was trained: the decoder is the encoder's transpose, so reconstruction is poor by design.",
            ),
        )
