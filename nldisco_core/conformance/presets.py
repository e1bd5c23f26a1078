"""Checks that any preset must pass; each takes the preset as it is listed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

from nldisco_core.config import RunConfig, merge, parse
from nldisco_core.conformance.checks import CheckResult, ConformanceFailure, run_checks
from nldisco_core.errors import ConfigError
from nldisco_core.plugins import registry
from nldisco_core.providers import Preset

__all__ = ["PRESET_CHECKS", "check_preset", "check_settings_are_valid"]


def check_preset(preset: Preset, *, expected_failures: Mapping[str, str] | None = None) -> tuple[CheckResult, ...]:
    """Run every check of this module; `expected_failures` gives the reason by name of a check known to fail."""
    return run_checks(PRESET_CHECKS, preset, expected_failures=expected_failures)


def check_settings_are_valid(preset: Preset) -> None:
    """Its file is TOML and holds settings that its latent model, or a whole run, takes."""
    try:
        settings = tomllib.loads(preset.text())
        if preset.provider is None:
            config, below = RunConfig, {"dataset": {"name": "any"}, "model": {"name": "any"}}
        else:
            config, below = registry().listed("model", preset.provider).load_config(), {}
        parse(config, merge(below, settings), where=f"preset {preset.name!r}")
    except (ConfigError, tomllib.TOMLDecodeError) as error:
        raise ConformanceFailure(f"{error}; correct {preset.source}") from error


PRESET_CHECKS = (check_settings_are_valid,)
"""Every check of a preset."""
