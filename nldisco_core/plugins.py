"""Discover plugins, keep broken ones apart, and look providers up by kind and name."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import pluggy

from nldisco_core import hookspecs
from nldisco_core.errors import ConfigError, DuplicateProvider, PluginLoadError, PluginNotFound, unknown_name
from nldisco_core.providers import Preset, Provider, load_target

if TYPE_CHECKING:
    import click

__all__ = ["KINDS", "Kind", "Listed", "PluginRecord", "Registry", "discover", "get", "make", "registry", "use"]

Kind = Literal["dataset", "model", "mapper", "view", "preset"]

KINDS: Mapping[Kind, str] = MappingProxyType(
    {
        "dataset": "nldisco_datasets",
        "model": "nldisco_latent_models",
        "mapper": "nldisco_mappers",
        "view": "nldisco_views",
        "preset": "nldisco_presets",
    }
)
_GROUP = "nldisco"
_NAME = re.compile("[a-z0-9]+(-[a-z0-9]+)*")  # names are folders of a run
_OWN_DISTRIBUTION = "nldisco-core"


@dataclass(frozen=True, kw_only=True)
class PluginRecord:
    """A plugin that was found. `reason` is None for a working one."""

    name: str
    distribution: str
    version: str
    reason: str | None = None

    @property
    def state(self) -> str:
        """``ok`` or ``BROKEN`` with the reason."""
        return "ok" if self.reason is None else f"BROKEN {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A provider with the kind it is of and the plugin it came from."""

    kind: Kind
    provider: Provider | Preset
    plugin: PluginRecord

    @property
    def name(self) -> str:
        """How users ask for the provider."""
        return self.provider.name

    def load(self) -> Any:
        """The class behind the provider; `PluginLoadError` says why it cannot be had."""
        if isinstance(self.provider, Preset):
            raise PluginLoadError(f"{self.name!r} is a preset and has no class")
        return load_target(self.provider.target)

    def load_config(self) -> Any:
        """The provider's config class, None where it takes none."""
        if isinstance(self.provider, Preset) or self.provider.config is None:
            return None
        return load_target(self.provider.config)

    def make(self, settings: Mapping[str, Any] | None = None) -> Any:
        """An object made with these settings.

        Raises
        ------
        ConfigError
            A setting is unknown or out of range.
        PluginLoadError
            The code behind it cannot be imported.
        """
        config_class = self.load_config()
        if config_class is None:
            if settings:
                raise ConfigError(f"{self.kind} {self.name!r} takes no settings; got {', '.join(settings)}")
            return self.load()()
        from nldisco_core.config import parse

        return self.load()(parse(config_class, settings or {}, where=f"{self.kind} {self.name!r}"))


class Registry:
    """The plugins that were found and what they offer."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("nldisco")
        self._manager.add_hookspecs(hookspecs)
        self._records: dict[str, PluginRecord] = {}
        self._listed: dict[tuple[Kind, str], Listed] = {}

    @property
    def plugins(self) -> tuple[PluginRecord, ...]:
        """All plugins found, working and broken, in order of loading."""
        return tuple(self._records.values())

    def providers(self, kind: Kind | None = None) -> tuple[Listed, ...]:
        """What working plugins offer, of one kind or all."""
        return tuple(listed for listed in self._listed.values() if kind in (None, listed.kind))

    def listed(self, kind: Kind, name: str) -> Listed:
        """One provider.

        Raises
        ------
        PluginNotFound
            No provider of that kind and name; the message lists the nearest and names broken plugins.
        """
        try:
            return self._listed[kind, name]
        except KeyError:
            label = {"model": "latent model"}.get(kind, kind)
            message = unknown_name(label, name, (known for found, known in self._listed if found == kind))
            broken = [record.name for record in self.plugins if record.reason is not None]
            if broken:
                message += f". Broken plugins (see `nldisco plugins`): {', '.join(broken)}"
            raise PluginNotFound(message) from None

    def add(self, name: str, module: object, *, distribution: str, version: str) -> None:
        """Register a plugin's module and collect what it offers; a failure is kept as its record's reason."""
        record = PluginRecord(name=name, distribution=distribution, version=version)
        try:
            if name in self._records:
                raise DuplicateProvider(f"a plugin named {name!r} is already loaded")
            self._manager.register(module, name=name)
            self._manager.check_pending()
            self._collect(record)
        except (Exception, SystemExit) as error:  # the plugin loader: any failure of a plugin is that plugin's alone
            if self._manager.get_plugin(name) is module:
                self._manager.unregister(name=name)
            self.add_broken(record, error)
        else:
            self._records[name] = record

    def add_broken(self, record: PluginRecord, error: BaseException) -> None:
        """Keep a plugin that cannot be used, with the reason."""
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        key = record.name if record.name not in self._records else f"{record.name} ({record.distribution})"
        self._records[key] = PluginRecord(
            name=key, distribution=record.distribution, version=record.version, reason=reason
        )

    def add_file(self, path: Path) -> None:
        """Load one Python file as a plugin named after it."""
        record = PluginRecord(name=path.stem, distribution=str(path), version="")
        module = None
        specification = importlib.util.spec_from_file_location(path.stem, path)
        try:
            if specification is None or specification.loader is None or not path.is_file():
                raise FileNotFoundError(f"{path} is not a Python file")
            if path.stem in sys.modules:
                raise ImportError(f"a module named {path.stem!r} is already loaded; rename the file")
            module = importlib.util.module_from_spec(specification)
            sys.modules[path.stem] = module  # its own targets are named "stem:Class"
            specification.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # the plugin loader: any failure of a plugin is that plugin's alone
            if module is not None and sys.modules.get(path.stem) is module:
                del sys.modules[path.stem]
            self.add_broken(record, error)
        else:
            self.add(path.stem, module, distribution=str(path), version="")

    def add_commands(self, cli: click.Group) -> None:
        """Let each working plugin add its commands."""
        for name, record in list(self._records.items()):
            if record.reason is None:
                before = dict(cli.commands)
                try:
                    self._ask(name, "nldisco_commands", cli=cli)
                    taken = [command for command in before if cli.commands.get(command) is not before[command]]
                    if taken:
                        raise DuplicateProvider(f"command {', '.join(taken)} is already there; rename it")
                except (Exception, SystemExit) as error:  # the plugin loader: a failing hook is its plugin's alone
                    cli.commands.clear()
                    cli.commands.update(before)
                    del self._records[name]
                    self.add_broken(record, error)

    def _ask(self, name: str, hook: str, **arguments: Any) -> list[Any]:
        others = [plugin for other, plugin in self._manager.list_name_plugin() if other != name and plugin is not None]
        return list(self._manager.subset_hook_caller(hook, others)(**arguments))

    def _collect(self, record: PluginRecord) -> None:
        found: dict[tuple[Kind, str], Listed] = {}
        for kind, hook in KINDS.items():
            for answer in self._ask(record.name, hook):
                for provider in answer:
                    expected = Preset if kind == "preset" else Provider
                    if not isinstance(provider, expected):
                        raise TypeError(f"{hook} gave {provider!r}; expected {expected.__name__} records")
                    if not _NAME.fullmatch(provider.name) or provider.name == "model":
                        raise ValueError(
                            f"{kind} name {provider.name!r}: expected small letters, digits and hyphens; not 'model'"
                        )
                    taken = self._listed.get((kind, provider.name)) or found.get((kind, provider.name))
                    if taken is not None:
                        raise DuplicateProvider(
                            f"{kind} {provider.name!r} is already offered by plugin {taken.plugin.name!r}; rename one"
                        )
                    found[kind, provider.name] = Listed(kind=kind, provider=provider, plugin=record)
        self._listed.update(found)


def discover(*, only: Iterable[str] | None = None, files: Sequence[Path] = ()) -> Registry:
    """Load every installed plugin, own ones first, then the given files.

    Parameters
    ----------
    only : names of the entry points to load; None loads all, or those named in ``NLDISCO_PLUGINS`` (comma-separated)
    files : Python files to load as one-off plugins
    """
    if only is None and "NLDISCO_PLUGINS" in os.environ:
        only = [name.strip() for name in os.environ["NLDISCO_PLUGINS"].split(",") if name.strip()]
    wanted = None if only is None else set(only)
    found = Registry()
    entry_points = [
        point for point in importlib.metadata.entry_points(group=_GROUP) if wanted is None or point.name in wanted
    ]
    entry_points.sort(key=lambda point: (_distribution(point)[0] != _OWN_DISTRIBUTION, point.name))
    for point in entry_points:
        distribution, version = _distribution(point)
        try:
            module = point.load()
        except (Exception, SystemExit) as error:  # the plugin loader: any failure of a plugin is that plugin's alone
            found.add_broken(PluginRecord(name=point.name, distribution=distribution, version=version), error)
        else:
            found.add(point.name, module, distribution=distribution, version=version)
    for path in files:
        found.add_file(path)
    return found


def _distribution(point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    return ("unknown", "") if point.dist is None else (point.dist.name, point.dist.version)


_active: Registry | None = None


def registry() -> Registry:
    """The plugins of this process, discovered when first asked for."""
    global _active
    if _active is None:
        _active = discover()
    return _active


def use(chosen: Registry | None) -> None:
    """Make `chosen` the plugins of this process; None discovers them anew."""
    global _active
    _active = chosen


def get(kind: Kind, name: str) -> Any:
    """The class behind a provider, by kind (``dataset``, ``model``, ``mapper``, ``view``) and name."""
    return registry().listed(kind, name).load()


def make(kind: Kind, name: str, settings: Mapping[str, Any] | None = None) -> Any:
    """An object of a provider made with these settings, checked against its config."""
    return registry().listed(kind, name).make(settings)
