"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Preset, Provider


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


@hookimpl
def nldisco_presets() -> Iterator[Preset]:
    """Named settings of matryoshka-sae."""
    yield Preset(
        name="head-direction-small",
        provider="matryoshka-sae",
        source="nldisco_sae:presets/head-direction.toml",
        summary="Sixteen latents, two active a bin, for about 15 head-direction cells; five instances.",
    )
    yield Preset(
        name="nldisco-tutorial",
        provider="matryoshka-sae",
        source="nldisco_sae:presets/nldisco-tutorial.toml",
        summary="The recipe of the public NLDisco tutorial: levels 256, 512 and 1024, MSLE, two instances.",
    )
