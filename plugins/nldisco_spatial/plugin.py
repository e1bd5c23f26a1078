"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_mappers() -> Iterator[Provider]:
    """Maps of space and direction."""
    yield Provider(
        name="spatial",
        target="nldisco_spatial.mapper:Spatial",
        config="nldisco_spatial.config:SpatialConfig",
        summary="Rate and polar maps of each latent; place, grid, border, heading and speed scores, with a shift null.",
    )


@hookimpl
def nldisco_views() -> Iterator[Provider]:
    """Many maps at once, and their scores beside those of recorded units."""
    for name, target, summary in (
        ("map-gallery", "gallery:MapGallery", "Rate maps of many latents at once, best first."),
        ("polar-gallery", "gallery:PolarGallery", "Polar maps of many latents at once, best first."),
        ("latents-beside-cells", "beside:BesideCells", "Spatial scores of latents beside those of recorded units."),
    ):
        yield Provider(name=name, target=f"nldisco_spatial.{target}", summary=summary)
