"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Preset, Provider


@hookimpl
def nldisco_latent_models() -> Iterator[Provider]:
    """Sparse autoencoders and their controls."""
    yield Provider(
        name="matryoshka-sae",
        target="nldisco_sae.matryoshka:MatryoshkaSAE",
        config="nldisco_sae.config:MatryoshkaConfig",
        summary="Nested batch-top-k sparse autoencoder.",
    )
    yield Provider(
        name="batch-topk-sae",
        target="nldisco_sae.batch_topk:BatchTopKSAE",
        config="nldisco_sae.single_level_config:BatchTopKConfig",
        summary="Batch-top-k sparse autoencoder of one level.",
    )
    yield Provider(
        name="topk-sae",
        target="nldisco_sae.topk:TopKSAE",
        config="nldisco_sae.single_level_config:TopKConfig",
        summary="Sparse autoencoder with the k largest activations of each bin.",
    )
    yield Provider(
        name="vanilla-sae",
        target="nldisco_sae.vanilla:VanillaSAE",
        config="nldisco_sae.single_level_config:VanillaConfig",
        summary="ReLU autoencoder with an L1 penalty.",
    )
    yield Provider(
        name="jumprelu-sae",
        target="nldisco_sae.jumprelu:JumpReLUSAE",
        config="nldisco_sae.single_level_config:JumpReLUConfig",
        summary="JumpReLU autoencoder: learnt thresholds and an L0 penalty.",
    )
    yield Provider(
        name="gated-sae",
        target="nldisco_sae.gated:GatedSAE",
        config="nldisco_sae.single_level_config:GatedConfig",
        summary="Gated autoencoder: what is active and how much are decided apart.",
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
    """Named settings of the autoencoders."""
    yield Preset(
        name="head-direction-small",
        provider="matryoshka-sae",
        source="nldisco_sae:presets/head-direction.toml",
        summary="Sixteen latents, two active a bin, for about 15 head-direction cells; five instances.",
    )
    yield Preset(
        name="nldisco-tutorial",
        provider=None,
        source="nldisco_sae:presets/nldisco-tutorial.toml",
        summary="The public NLDisco tutorial from bins to mappings: levels 256, 512 and 1024, MSLE, pruned units.",
    )
    yield Preset(
        name="nldisco-window",
        provider=None,
        source="nldisco_sae:presets/nldisco-window.toml",
        summary="The published size for windows of ten bins: levels 96 and 192, linear encoder.",
    )
    yield Preset(
        name="nldisco-transformer",
        provider=None,
        source="nldisco_sae:presets/nldisco-transformer.toml",
        summary="The published transformer on windows of ten bins: levels 96 and 192, a code for each bin.",
    )
    yield Preset(
        name="ensembles",
        provider=None,
        source="nldisco_sae:presets/ensembles.toml",
        summary="Overlapping ensembles in about a hundred units: L1 autoencoder, 64 latents, 100 ms bins.",
    )
    yield Preset(
        name="worm",
        provider="vanilla-sae",
        source="nldisco_sae:presets/worm.toml",
        summary="The recipe of the worm study: two plain linear layers, 378 latents, MSE + 5·mean activation.",
    )
