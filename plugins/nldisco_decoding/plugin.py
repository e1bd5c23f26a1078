"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_mappers() -> Iterator[Provider]:
    """Decoding from all latents together, and from few."""
    yield Provider(
        name="decoding",
        target="nldisco_decoding.mapper:Decoding",
        config="nldisco_decoding.config:DecodingConfig",
        summary="Held-out kNN, ridge and logistic decoding of each variable from all latents and from few.",
    )
