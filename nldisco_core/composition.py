"""From presets, files and flags to one checked run configuration and the objects it names."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nldisco_core.config import ModelConfig, RunConfig, merge, parse, parse_assignments, read_toml
from nldisco_core.errors import ConfigError, unknown_name
from nldisco_core.interfaces import Dataset, DatasetCard, Mapper
from nldisco_core.plugins import Listed, registry
from nldisco_core.providers import Preset
from nldisco_core.sealing import on_validation

__all__ = ["Plan", "compose", "mapper_named", "plan", "preset_settings"]


def preset_settings(name: str) -> dict[str, Any]:
    """Settings of a preset, as sections of a run configuration.

    Raises
    ------
    PluginNotFound
        No preset of that name.
    """
    preset = registry().listed("preset", name).provider
    assert isinstance(preset, Preset)  # the registry lists presets only under this kind
    try:
        settings = tomllib.loads(preset.text())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"preset {name!r} ({preset.source}): {error}") from error
    return settings if preset.provider is None else {"model": {"name": preset.provider, **settings}}


def compose(
    *,
    dataset: str | None = None,
    path: Path | None = None,
    model: str | None = None,
    mappers: Iterable[str] = (),
    controls: Iterable[str] = (),
    preset: str | None = None,
    file: Path | None = None,
    assignments: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> RunConfig:
    """A run configuration: what suits the dataset, then preset, file, settings, named arguments and ``--set`` flags.

    Naming another model than the preset or file does drops that model's settings.

    Raises
    ------
    ConfigError
        An unknown key, a value out of range, or no dataset or model.
    PluginNotFound
        A name that no plugin offers.
    """
    merged: dict[str, Any] = {}
    for layer in (
        {} if preset is None else preset_settings(preset),
        {} if file is None else read_toml(file),
        settings or {},
    ):
        merged = merge(merged, layer)
    given = parse_assignments(assignments)
    for source in (merged, given):
        for section in ("dataset", "model", "mappers", "controls"):
            if not isinstance(source.get(section, {}), Mapping):
                raise ConfigError(f"{section} is {source[section]!r}; expected a table: set {section}.name or its keys")
    if model is not None and merged.get("model", {}).get("name", model) != model:
        merged["model"] = {}
    if dataset is not None and merged.get("dataset", {}).get("name", dataset) != dataset:
        merged["dataset"] = {}
    named = {
        "dataset": {
            key: value
            for key, value in (("name", dataset), ("path", path and str(path.absolute())))
            if value is not None
        },
        "model": {} if model is None else {"name": model},
        "mappers": {name: {} for name in mappers},
        "controls": {name: {} for name in controls},
        **({} if seed is None else {"seed": seed}),
    }
    merged = merge(merge(merged, named), given)
    if not merged["dataset"].get("name"):
        known = (listed.name for listed in registry().providers("dataset"))
        raise ConfigError(f"no dataset is named; give --dataset, one of: {', '.join(sorted(known))}")
    if not merged["model"].get("name"):
        known = (listed.name for listed in registry().providers("model"))
        raise ConfigError(f"no model is named; give --model, one of: {', '.join(sorted(known))}")
    suited = _nested(_dataset(merged["dataset"])[1].card().defaults)
    of_model = suited.pop("model", {}).get(merged["model"]["name"], {})
    merged["model"] = {**of_model, **merged["model"]}  # a table that is set, such as levels, replaces the card's
    return parse(RunConfig, merge(suited, merged))


def _nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for key, value in dotted.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        tables = merge(tables, value)
    return tables


def _dataset(section: Mapping[str, Any]) -> tuple[Listed, Dataset]:
    listed = registry().listed("dataset", section["name"])
    own = {key: value for key, value in section.items() if key not in ("name", "sessions")}
    made: Dataset = listed.make(own)
    return listed, made


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A checked configuration with everything it names, made before anything is read or written.

    Attributes
    ----------
    config : the whole configuration
    dataset, card, session_ids : the data to load
    mappers : provider, object and all its settings by name
    controls : provider and configuration by name
    """

    config: RunConfig
    dataset_listed: Listed
    dataset: Dataset
    card: DatasetCard
    session_ids: tuple[str, ...]
    mappers: Mapping[str, tuple[Listed, Mapper, dict[str, Any]]]
    controls: Mapping[str, tuple[Listed, ModelConfig]]

    def model(self) -> tuple[Listed, ModelConfig]:
        """The latent model's provider and its checked configuration, seeds included."""
        return _model(str(self.config.model["name"]), self.config.model, self.config.seed)


def plan(config: RunConfig) -> Plan:
    """Look up every provider and check every setting.

    Raises
    ------
    PluginNotFound, PluginLoadError, ConfigError
        Whatever is wrong, before any data are read.
    """
    dataset_listed, dataset = _dataset(config.dataset)
    known = tuple(dataset.session_ids())
    wanted = config.dataset.get("sessions")
    session_ids = known if wanted is None else tuple(wanted)
    for session_id in session_ids:
        if session_id not in known:
            raise ConfigError(unknown_name("session", str(session_id), known))
    return Plan(
        config=config,
        dataset_listed=dataset_listed,
        dataset=dataset,
        card=dataset.card(),
        session_ids=session_ids,
        mappers={name: mapper_named(name, section, sealed=config.sealed) for name, section in config.mappers.items()},
        controls={
            name: _model(name, section, config.seed, shift_default=False) for name, section in config.controls.items()
        },
    )


def mapper_named(
    name: str, settings: Mapping[str, Any] | None = None, *, sealed: bool = False
) -> tuple[Listed, Mapper, dict[str, Any]]:
    """A mapper's provider, the mapper as these settings make it, and all of its settings.

    Parameters
    ----------
    sealed : whether it is for a sealed run, see `nldisco_core.sealing.on_validation`
    """
    listed = registry().listed("mapper", name)
    config_class = listed.load_config()
    if config_class is None:
        unset: Mapper = listed.make(settings)
        return listed, unset, {}
    used = parse(config_class, settings or {}, where=f"mapper {name!r}").model_dump(mode="json")
    used = on_validation(used) if sealed else used
    made: Mapper = listed.make(used)
    return listed, made, used


def _model(
    name: str, section: Mapping[str, Any], seed: int, *, shift_default: bool = True
) -> tuple[Listed, ModelConfig]:
    listed = registry().listed("model", name)
    config_class = listed.load_config()
    if config_class is None or not issubclass(config_class, ModelConfig):
        raise ConfigError(f"latent model {name!r} states no configuration derived from nldisco_core.config.ModelConfig")
    own = {key: value for key, value in section.items() if key != "name"}
    config: ModelConfig = parse(config_class, own, where=f"latent model {name!r}")
    if seed and (shift_default or "seeds" in config.model_fields_set):
        config = config.model_copy(update={"seeds": tuple(value + seed for value in config.seeds)})
    return listed, config
