"""The hooks a plugin may answer. Each is asked once, when plugins are discovered.

A plugin is a light module named by an entry point of the group ``nldisco``. It must not import torch, numpy or anything
slow at its top: providers name their code as text, and it is imported when used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from nldisco_core.providers import Preset, Provider

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("nldisco")
hookimpl = pluggy.HookimplMarker("nldisco")


@hookspec
def nldisco_datasets() -> Iterable[Provider]:  # type: ignore[empty-body]  # a hook has no body
    """Datasets; targets satisfy `nldisco_core.interfaces.Dataset`."""


@hookspec
def nldisco_latent_models() -> Iterable[Provider]:  # type: ignore[empty-body]  # a hook has no body
    """Latent models; targets satisfy `nldisco_core.interfaces.LatentModel`."""


@hookspec
def nldisco_mappers() -> Iterable[Provider]:  # type: ignore[empty-body]  # a hook has no body
    """Mappers; targets satisfy `nldisco_core.interfaces.Mapper`."""


@hookspec
def nldisco_views() -> Iterable[Provider]:  # type: ignore[empty-body]  # a hook has no body
    """Explorer tiles; targets satisfy `nldisco_core.interfaces.View`."""


@hookspec
def nldisco_presets() -> Iterable[Preset]:  # type: ignore[empty-body]  # a hook has no body
    """Named settings of one model's config or of a whole run."""


@hookspec
def nldisco_commands(cli: click.Group) -> None:
    """Add commands to the command line; import what they need inside them."""
