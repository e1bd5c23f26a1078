"""A plan before the test: hypotheses, nulls, splits and mappers, written down and hashed before test bins are seen."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from nldisco_core.binned import Binned
from nldisco_core.composition import mapper_named
from nldisco_core.config import Config, RunConfig, SplitConfig, parse, read_toml
from nldisco_core.errors import ConfigError, DataError, RunError, unknown_name
from nldisco_core.nulls import choose_null
from nldisco_core.runs import Run
from nldisco_core.sealing import identity
from nldisco_core.toml_text import toml_text
from nldisco_core.tuning import one_per_channel

__all__ = [
    "DEFAULT_MAPPER",
    "Expectation",
    "Hypothesis",
    "PlannedData",
    "Preregistration",
    "planned",
    "read_plan",
    "require_known_scores",
    "require_same_data",
    "run_identity",
    "write_plan",
]

DEFAULT_MAPPER = "selectivity"
_FORM = re.compile(
    r"""\s*(?P<column>\w+)\s*
    (?: in\s+(?P<low>\S+?)\s*\.\.\s*(?P<high>\S+) | (?P<sign>[<>])\s*(?P<bound>\S+) | =\s*(?P<label>.+?) )\s*""",
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What a hypothesis says of one score.

    Attributes
    ----------
    column : of the mapper's table
    low, high : bounds of the score, ``-inf`` and ``inf`` where it has none; ``low > high`` is a range of a circle that
        holds its zero
    label : what the score says, for one that is no number, such as the preferred condition
    """

    column: str
    low: float = -math.inf
    high: float = math.inf
    label: str | None = None

    @classmethod
    def parse(cls, text: str) -> Expectation:
        """``r2 > 0.3``, ``speed_score < 0``, ``preferred_direction in 5.5..0.8`` or ``preferred = left``.

        Raises
        ------
        ConfigError
            The text is of none of these forms.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise ConfigError(
                f"expectation {text!r} cannot be read; write SCORE > NUMBER, SCORE < NUMBER, SCORE in LOW..HIGH or "
                "SCORE = LABEL, where SCORE is a column of the mapping"
            )
        column, label = found["column"], found["label"]
        if label is not None:
            return cls(column=column, label=label)
        if found["sign"] == ">":
            return cls(column=column, low=_number(found["bound"], text))
        if found["sign"] == "<":
            return cls(column=column, high=_number(found["bound"], text))
        return cls(column=column, low=_number(found["low"], text), high=_number(found["high"], text))

    def met(self, found: object) -> bool:
        """Whether a score is as expected; one that is not defined is not. Bounds of a range belong to it."""
        if self.label is not None:
            return isinstance(found, str) and found == self.label
        if not isinstance(found, (int, float, np.number)) or found != found:
            return False
        value = float(found)
        if self.low > self.high:
            return value >= self.low or value <= self.high
        above = value > self.low if math.isinf(self.high) else value >= self.low
        return above and (value < self.high if math.isinf(self.low) else value <= self.high)


def _number(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"expectation {whole!r}: {text!r} is not a number")
    return value


class Hypothesis(Config):
    """One statement that test bins can contradict.

    Attributes
    ----------
    name : how it is called
    variable, mapper : whose test it is
    statistic : which of the mapper's tests, where it has several for the variable; None for the first
    expect : what the latent's score is to be besides above chance, see `Expectation.parse`
    instance : the instance whose p counts; the others are reported beside it
    latent, sign : the latent; None for the one with the largest score among those that are as expected on the
        mapper's first split
    null : the null that the mapper is to test against, None for one not known beforehand
    """

    name: str = Field(min_length=1)
    variable: str = Field(min_length=1)
    mapper: str = DEFAULT_MAPPER
    statistic: str | None = None
    expect: str
    instance: int = Field(default=0, ge=0)
    latent: int | None = Field(default=None, ge=0)
    sign: Literal[-1, 0, 1] = 0
    null: str | None = None

    @property
    def expectation(self) -> Expectation:
        """What `expect` says."""
        return Expectation.parse(self.expect)


class PlannedData(Config):
    """The recording a plan is for, see `nldisco_core.sealing.identity`."""

    dataset: str
    fingerprint: str
    split_fingerprint: str
    n_bins: dict[str, int]


class Preregistration(Config):
    """All that is fixed before test bins are seen.

    Attributes
    ----------
    alpha : false discovery rate over the hypotheses at which one is confirmed
    seed : of the mappers' nulls
    split : how bins were split
    mappers : all settings of every mapper, by name
    """

    schema_version: Literal[1] = 1
    alpha: float = Field(default=0.05, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    data: PlannedData
    split: SplitConfig
    mappers: dict[str, dict[str, Any]] = Field(min_length=1)
    hypotheses: tuple[Hypothesis, ...] = Field(min_length=1)

    @property
    def sha256(self) -> str:
        """SHA-256 of the content as JSON, keys sorted, defaults filled in: comments, order and spacing do not count."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()


def planned(
    config: RunConfig,
    recording: Mapping[str, Any],
    counts: Binned,
    *,
    hypotheses: Iterable[tuple[str, str]],
    alpha: float = 0.05,
) -> Preregistration:
    """A plan for a configuration and its recording.

    Parameters
    ----------
    recording : `nldisco_core.sealing.identity` of all of its bins
    counts : the bins at hand, which tell the variables and their nulls; those of the test split are not needed
    hypotheses : pairs of a variable and what is expected, such as ``("heading", "resultant_length > 0.3")``, with the
        mapper's name and a colon before it where it is not `DEFAULT_MAPPER`

    Raises
    ------
    ConfigError
        An expectation cannot be read, or a mapper does not score test bins last.
    DataError
        An unknown variable; the nearest are named.
    """
    made, mappers = [], {name: mapper_named(name, section)[2] for name, section in config.mappers.items()}
    for number, (variable, text) in enumerate(hypotheses, start=1):
        mapper, colon, expect = text.partition(":")
        mapper, expect = (mapper.strip(), expect.strip()) if colon else (DEFAULT_MAPPER, text.strip())
        Expectation.parse(expect)
        mappers.setdefault(mapper, mapper_named(mapper)[2])
        null = _null(variable, counts, mappers[mapper])
        made.append(Hypothesis(name=f"H{number}", variable=variable, mapper=mapper, expect=expect, null=null))
    _require_test_last(mappers)
    return Preregistration(
        alpha=alpha,
        seed=config.seed,
        data=PlannedData(dataset=config.dataset["name"], **recording),
        split=config.split,
        mappers={name: _stated(settings) for name, settings in mappers.items()},
        hypotheses=tuple(made),
    )


def _stated(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that hold a value: TOML has no null, which is what the others are without being named."""
    return {key: value for key, value in settings.items() if value is not None}


def _null(variable: str, counts: Binned, settings: Mapping[str, Any]) -> str | None:
    """Name of the null that suits a variable; None for those a mapper makes of others."""
    own = {part.name: part for name in counts.covariate_names for part in one_per_channel(counts.covariate(name))}
    made_of_others = [f"around {event}" for event in settings.get("windows", {})]
    made_of_others += [" & ".join(pair) for pair in settings.get("conjunctions", ())]
    if variable in made_of_others:
        return None
    if variable not in own:
        raise DataError(unknown_name("variable", variable, [*own, *made_of_others]))
    everywhere = np.ones(counts.n_bins, dtype=bool)
    return choose_null(own[variable], counts, usable=everywhere, tested=everywhere, seed=0).name


def _require_test_last(mappers: Mapping[str, Mapping[str, Any]]) -> None:
    for name, settings in mappers.items():
        if settings.get("splits", ["test"])[-1] != "test":
            raise ConfigError(f"mapper {name!r} tests {settings['splits'][-1]} bins; a plan is for test bins")


def run_identity(run: Run) -> dict[str, Any]:
    """What `nldisco_core.sealing.identity` said of the recording of a run, test bins and all units included."""
    kept: dict[str, Any] | None = run.about.get("recording")
    return identity(run.counts) if kept is None else kept


def require_same_data(plan: Preregistration, run: Run) -> None:
    """`RunError` where a plan is for another recording or other splits than those of a run."""
    recording = run_identity(run)
    for key, what in (("fingerprint", "recording"), ("split_fingerprint", "split")):
        expected = getattr(plan.data, key)
        if recording[key] != expected:
            raise RunError(
                f"the plan is for another {what}: it states {key} {expected[:12]}…, {run.name} has "
                f"{recording[key][:12]}…. Plan again for this run, or open the run the plan is for"
            )


def require_known_scores(plan: Preregistration, run: Run) -> None:
    """`ConfigError` where a hypothesis speaks of a score that its mapper does not give.

    Known where the run was mapped with the planned settings, test bins or none: an opening is not spent on a typing
    error.
    """
    for hypothesis in plan.hypotheses:
        name, column = hypothesis.mapper, hypothesis.expectation.column
        settings = run.about.get("mappers", {}).get(name, {}).get("config", {})
        if name in run.mappings and _beside_splits(settings) == _beside_splits(plan.mappers[name]):
            columns = list(run.mapping(name).table.columns)
            if column not in columns:
                raise ConfigError(f"hypothesis {hypothesis.name}: {unknown_name(f'score of {name}', column, columns)}")


def _beside_splits(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in _stated(settings).items() if key != "splits"}


def read_plan(path: Path) -> Preregistration:
    """The plan in a TOML file; `ConfigError` says what is wrong with it."""
    plan = parse(Preregistration, read_toml(path), where=f"plan {path}")
    for hypothesis in plan.hypotheses:
        Expectation.parse(hypothesis.expect)
        if hypothesis.mapper not in plan.mappers:
            raise ConfigError(f"plan {path}: {unknown_name('mapper', hypothesis.mapper, plan.mappers)}; add its table")
    names = [hypothesis.name for hypothesis in plan.hypotheses]
    if len(set(names)) < len(names):
        raise ConfigError(f"plan {path}: two hypotheses have one name; name each as {', '.join(dict.fromkeys(names))}")
    _require_test_last(plan.mappers)
    return plan


def write_plan(plan: Preregistration, path: Path) -> None:
    """Write a plan as TOML that can be read and edited by hand; `ConfigError` where the file exists."""
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(f"{_HEAD}\n{toml_text(plan.model_dump(mode='json'))}")
    except FileExistsError:
        raise ConfigError(f"{path} exists; plans are not written over. Name another file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


_HEAD = """\
# What is tested on the test bins, written before they are seen. Edit it until it says what you mean.
# `nldisco plan FILE` checks it and prints its hash, which you may publish.
# `nldisco open RUN --plan FILE` keeps a copy in the run and does what it says.
"""
