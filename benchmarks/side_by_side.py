"""One row of figures per model and its controls on one recording, all on test bins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nldisco_core.assessment import Assessment, assess
from nldisco_core.binned import Binned
from nldisco_core.config import ModelConfig, parse
from nldisco_core.cosmoothing import co_smoothing_retrained
from nldisco_core.interfaces import HasDictionary, LatentModel
from nldisco_core.monitoring import FitMonitor
from nldisco_core.plugins import registry

COLUMNS = {
    "r2": "R²",
    "example_r2": "R² of a bin",
    "spectral_fidelity": "spectrum",
    "l0_mean": "L0",
    "bits_per_spike": "bits/spike",
    "co_smoothing_bits": "left out",
    "co_smoothing_r2": "left out R²",
    "dead_share_strict": "not alive",
}

NEVER_SEEN = ("matryoshka-sae", "nmf", "nmf-omp", "raw-units", "random-encoder")
"""Models that are fitted once more for each unit left out."""


@dataclass(frozen=True)
class Measured:
    """A fitted model and its figures."""

    model: LatentModel
    config: ModelConfig
    assessment: Assessment

    def values(self, split: str = "test") -> pd.DataFrame:
        """One row per instance at the deepest level."""
        summary = self.assessment.summary
        return summary[(summary["level"] == summary["level"].max()) & (summary["split"] == split)]

    def row(self) -> dict[str, str]:
        """Mean and range over instances of every figure there is."""
        values = self.values()
        shown = {label: spread(values[name]) for name, label in COLUMNS.items() if name in values}
        match = self.assessment.tables.get("seed_match")
        if match is not None:
            shown["seeds: decoder (null)"] = f"{match['median'][0]:.2f} ({match['null_gaussian'][0]:.2f})"
            activation = f"{match['activation_median'][0]:.2f} ({match['activation_null_shifted'][0]:.2f})"
            shown["seeds: activation (null)"] = activation
        if "copies" in self.assessment.tables:
            shown["copies"] = f"{self.assessment.tables['copies']['copy'].astype('float64').mean():.2f}"
        return shown


def spread(values: pd.Series) -> str:
    """Mean over instances, with the range where it shows."""
    low, mean, high = values.min(), values.mean(), values.max()
    if np.isnan(mean):
        return ""
    return f"{mean:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def configured(name: str, settings: Mapping[str, Any]) -> ModelConfig:
    """Settings of a model as its own plugin checks them."""
    return parse(registry().listed("model", name).load_config(), settings)


def fitted(name: str, config: ModelConfig, data: Binned) -> LatentModel:
    """A model on the training bins."""
    model: LatentModel = registry().listed("model", name).load()(config)
    model.fit(data.train(), validation=data.part("validation"), monitor=FitMonitor(name, quiet=True))
    return model


def measured(name: str, config: ModelConfig, counts: Binned, data: Binned, *, leave_units_out: bool = True) -> Measured:
    """A model fitted and assessed."""
    model = fitted(name, config, data)
    assessment = assess(
        model,
        model.transform(data),
        data,
        counts=counts if counts.activity_kind == "counts" else None,
        dictionary=model.dictionary() if isinstance(model, HasDictionary) else None,
        leave_units_out=leave_units_out,
        seed=0,
    )
    return Measured(model, config, assessment)


def with_controls(
    name: str, config: ModelConfig, controls: Mapping[str, Mapping[str, Any]], counts: Binned, data: Binned
) -> dict[str, Measured]:
    """The model and its controls, at its size and at its sparsity on validation bins."""
    found = {name: measured(name, config, counts, data)}
    own = found[name]
    l0, n_latents = own.values("validation")["l0_mean"].mean(), own.model.transform(data).main.n_latents
    for control, settings in controls.items():
        matched = configured(control, settings).matched(
            reference=config, n_latents=n_latents, l0=l0, n_units=data.n_units
        )
        found[control] = measured(control, matched, counts, data)
    return found


def never_seen(
    found: Mapping[str, Measured], counts: Binned, data: Binned, *, n_seeds: int, units: set[str] | None = None
) -> dict[str, pd.Series]:
    """Per model the score of units that no part of it ever saw, mean over `units` (all), one value per instance."""
    scores = {}
    for name in (name for name in NEVER_SEEN if name in found):
        config = found[name].config
        config = config.model_copy(update={"seeds": config.seeds[:n_seeds]})

        def fit(part: Binned, name: str = name, config: ModelConfig = config) -> LatentModel:
            return fitted(name, config, part)

        spikes = counts if counts.activity_kind == "counts" else None
        result = co_smoothing_retrained(fit, data, counts=spikes, splits=("test",), units=units)
        scores[name] = result.units.groupby("instance")[result.measure].mean()
    return scores


def printed(found: Mapping[str, Measured], further: Mapping[str, Mapping[str, str]]) -> None:
    """All rows as one table of text."""
    rows = {
        name: one.row() | {label: column.get(name, "") for label, column in further.items()}
        for name, one in found.items()
    }
    print(pd.DataFrame(rows).T.fillna("").to_string())
