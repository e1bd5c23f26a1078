"""What this plugin offers; listing it imports none of the code behind it."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_datasets() -> Iterator[Provider]:
    """A simulation."""
    yield Provider(
        name="example-track",
        target="nldisco_example.dataset:Track",
        config="nldisco_example.dataset:TrackConfig",
        summary="Simulated place cells on a linear track.",
    )


@hookimpl
def nldisco_latent_models() -> Iterator[Provider]:
    """A model that learns nothing."""
    yield Provider(
        name="example-projection",
        target="nldisco_example.model:RandomProjection",
        config="nldisco_example.model:RandomProjectionConfig",
        summary="Rectified random projections of the units.",
    )


@hookimpl
def nldisco_mappers() -> Iterator[Provider]:
    """A score with a null."""
    yield Provider(
        name="example-correlation",
        target="nldisco_example.mapper:Correlation",
        config="nldisco_example.mapper:CorrelationConfig",
        summary="Pearson correlation of each latent with each linear signal, with a shift null.",
    )
