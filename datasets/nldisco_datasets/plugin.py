"""What this package offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Preset, Provider

if TYPE_CHECKING:
    import click


@hookimpl
def nldisco_datasets() -> Iterator[Provider]:
    """The bundled recording."""
    yield Provider(
        name="head-direction",
        target="nldisco_datasets.head_direction:HeadDirection",
        summary="Mouse ADN and CA1, 15 units, sleep and wake with head direction and position (bundled, real).",
    )


@hookimpl
def nldisco_presets() -> Iterator[Preset]:
    """The whole demo."""
    yield Preset(
        name="head-direction-demo",
        source="nldisco_datasets:presets/head-direction-demo.toml",
        summary="The demo: a small Matryoshka autoencoder of five seeds on head-direction cells, with its controls.",
    )


@hookimpl
def nldisco_commands(cli: click.Group) -> None:
    """``nldisco demo``."""
    from nldisco_datasets.demo import demo

    cli.add_command(demo)
