"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_latent_models() -> Iterator[Provider]:
    """Sparse autoencoders and their untrained control."""
    yield Provider(
        name="matryoshka-sae",
        target="nldisco_sae.matryoshka:MatryoshkaSAE",
        config="nldisco_sae.config:MatryoshkaConfig",
        summary="Nested batch-top-k sparse autoencoder.",
    )
    yield Provider(
        name="random-encoder",
        target="nldisco_sae.random_encoder:RandomEncoder",
        config="nldisco_sae.config:RandomEncoderConfig",
        summary="The same architecture untrained, with calibrated thresholds: a control.",
    )
    yield Provider(
        name="unit-shuffled-sae",
        target="nldisco_sae.unit_shuffled:UnitShuffledSAE",
        config="nldisco_sae.config:UnitShuffledConfig",
        summary="matryoshka-sae trained on units shifted independently in time: a control.",
    )
