"""What a plugin offers, said without importing any of it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module, resources
from typing import Any

from nldisco_core.errors import PluginLoadError

__all__ = ["Preset", "Provider", "load_target"]


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A dataset, latent model, mapper or view that a plugin offers.

    Attributes
    ----------
    name : how users ask for it; unique among providers of its kind
    target : ``"module:Class"``, imported when first used
    config : ``"module:Config"`` of the pydantic model the class is made with, None where it takes nothing
    summary : one sentence for listings
    """

    name: str
    target: str
    summary: str
    config: str | None = None


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Named settings: of one provider's config, or of a whole run.

    Attributes
    ----------
    name : how users ask for it
    source : ``"package:file.toml"``, read when used
    provider : name of the latent model whose config it sets, None for a whole run
    summary : one sentence for listings
    """

    name: str
    source: str
    summary: str
    provider: str | None = None

    def text(self) -> str:
        """The TOML of the preset; `PluginLoadError` where its file is missing."""
        package, _, file = self.source.partition(":")
        try:
            return resources.files(package).joinpath(file).read_text(encoding="utf-8")
        except (OSError, ImportError) as error:
            raise PluginLoadError(f"preset {self.name!r}: cannot read {self.source}: {error}") from error


def load_target(target: str) -> Any:
    """Import ``"module:attribute"``.

    Raises
    ------
    PluginLoadError
        The module or the attribute cannot be had; the message says why.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise PluginLoadError(f"target {target!r} is not of the form 'module:attribute'")
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as error:  # a plugin's code may fail in any way
        raise PluginLoadError(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise PluginLoadError(f"{module_name} has no {attribute!r}") from error
