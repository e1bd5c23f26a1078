"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_mappers() -> Iterator[Provider]:
    """Selectivity of single latents."""
    yield Provider(
        name="selectivity",
        target="nldisco_selectivity.mapper:Selectivity",
        config="nldisco_selectivity.config:SelectivityConfig",
        summary="Coverage, specificity, AUROC and tuning of each latent, with a shift null.",
    )
