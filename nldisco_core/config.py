"""Configurations: strict, frozen, and read from presets, TOML files and ``--set`` flags, in that order."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nldisco_core.errors import ConfigError, unknown_name

__all__ = [
    "BinConfig",
    "Config",
    "ModelConfig",
    "PreprocessConfig",
    "PruneConfig",
    "RunConfig",
    "SplitConfig",
    "merge",
    "parse",
    "parse_assignments",
    "read_toml",
]


class Config(BaseModel):
    """Base of every configuration: frozen, no unknown keys, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ModelConfig(Config):
    """What every latent model's configuration has.

    Attributes
    ----------
    seeds : one per instance; the instances are trained or fitted side by side
    """

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)

    def matched(self, *, reference: ModelConfig, n_latents: int, l0: float, n_units: int) -> ModelConfig:
        """This configuration as a control of another model.

        Fields left at their default (not in `model_fields_set`) take what makes the comparison fair: the same number of
        latents, sparsity or seeds. The default implementation changes nothing.

        Parameters
        ----------
        reference : configuration of the model that is controlled
        n_latents, l0 : its latents, and how many of them are active per bin on average (on validation rows)
        n_units : units of the recording
        """
        return self

    def candidates(self, *, n_units: int) -> Mapping[str, ModelConfig]:
        """Configurations by label among which co-smoothing on validation bins is to choose; none where all is set."""
        return {}


class BinConfig(Config):
    """From events in time to bins."""

    bin_s: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    epoch: str | None = None
    trials: str | None = None
    only_trials: bool = False
    signals: tuple[str, ...] | None = None


class PreprocessConfig(Config):
    """What is done to the activity after binning; statistics come from training rows."""

    smooth_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    normalise: Literal["none", "global-max", "unit-max", "z-score", "sqrt"] = "none"


class PruneConfig(Config):
    """Units that a first fit reconstructs poorly are left out and the model is fitted again.

    Attributes
    ----------
    min_r2 : largest R² on training bins of a unit that is left out; None keeps all units
    """

    min_r2: float | None = Field(default=None, lt=1, allow_inf_nan=False)


class SplitConfig(Config):
    """Which bins are for fitting, for choosing and for reporting.

    ``auto`` splits by trial where a trial table was chosen and by blocks of time where not.
    """

    by: Literal["auto", "trials", "blocks", "sessions"] = "auto"
    train: float = Field(default=0.7, gt=0, le=1)
    validation: float = Field(default=0.15, ge=0, lt=1)
    test: float = Field(default=0.15, ge=0, lt=1)
    block_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    gap_s: float = Field(default=1.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _shares_add_up(self) -> SplitConfig:
        total = self.train + self.validation + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"train + validation + test is {total:g}; expected 1")
        return self


class RunConfig(Config):
    """All of a run. The sections of providers hold ``name`` and the provider's own settings.

    `co_smoothing` says whether units are left out of every model's input and foretold from its latents, see
    `nldisco_core.cosmoothing`; that takes a transform of some thousand bins for each of up to 32 units. A `sealed` run
    holds no test bins until `nldisco open` adds them; until then validation bins stand in for them.
    """

    dataset: dict[str, Any]
    bin: BinConfig = BinConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    split: SplitConfig = SplitConfig()
    prune: PruneConfig = PruneConfig()
    model: dict[str, Any]
    mappers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    controls: dict[str, dict[str, Any]] = Field(default_factory=dict)
    co_smoothing: bool = True
    sealed: bool = False
    seed: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _providers_are_named(self) -> RunConfig:
        for section in ("dataset", "model"):
            if not isinstance(getattr(self, section).get("name"), str):
                raise ValueError(f"{section}.name is missing")
        sessions = self.dataset.get("sessions")
        if sessions is not None and not (isinstance(sessions, list) and all(isinstance(s, str) for s in sessions)):
            raise ValueError(f"dataset.sessions is {sessions!r}; expected a list of session ids")
        if self.sealed and not (self.split.validation and self.split.test):
            raise ValueError(
                "a sealed run is looked at on validation bins; give split.validation and split.test a share"
            )
        return self


C = TypeVar("C", bound=BaseModel)


def parse(config_class: type[C], values: Mapping[str, Any], *, where: str = "configuration") -> C:
    """Check values as TOML gave them against a config class.

    They go through JSON, where lists stand for tuples and quoted numbers for integer keys, which strict mode refuses in
    Python objects.

    Raises
    ------
    ConfigError
        One line naming each bad key, what was found and, for unknown keys, the nearest known.
    """
    try:
        return config_class.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise ConfigError(f"{where}: {'; '.join(_complaints(config_class, error))}") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _complaints(config_class: type[BaseModel], error: ValidationError) -> Iterable[str]:
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _fields_at(config_class, problem["loc"][:-1])
            yield unknown_name("key", str(problem["loc"][-1]), known)
        elif problem["type"] == "missing":
            yield f"{key} is missing"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            found = "" if not problem["loc"] else f", found {problem['input']!r}"
            yield f"{key}: {message}{found}" if key else message


def _fields_at(config_class: type[BaseModel], path: tuple[int | str, ...]) -> Iterable[str]:
    inner: Any = config_class
    for part in path:
        if get_origin(inner) is dict:
            inner = get_args(inner)[1]
            continue
        if isinstance(part, int):  # an entry of a list, whose type was taken with the list's
            continue
        field = inner.model_fields.get(str(part)) if _is_model(inner) else None
        inner = None if field is None else field.annotation
        if get_origin(inner) is not dict:  # an optional model
            inner = next((option for option in get_args(inner) if _is_model(option)), inner)
    return inner.model_fields if _is_model(inner) else ()


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; `ConfigError` names the file and the line that is wrong."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config file {path} does not exist") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"config file {path}: {error}") from error


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Nested tables from ``key.sub=value`` flags; values are TOML, and bare words are text.

    >>> parse_assignments(["model.lr=1e-3", "bin.epoch=wake", "model.levels={8=1,16=2}"])
    {'model': {'lr': 0.001, 'levels': {'8': 1, '16': 2}}, 'bin': {'epoch': 'wake'}}
    """
    tables: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not all(part.strip() for part in key.split(".")):
            raise ConfigError(f"--set {assignment!r} is not of the form key.sub=value")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        for part in reversed(key.split(".")):
            value = {part.strip(): value}
        tables = merge(tables, value)
    return tables


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two sets of nested tables; where both hold a key, `above` wins, tables are merged."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
