"""Sizes chosen on validation bins, and units left out before the final fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nldisco_core
from nldisco_core.binned import SPLITS, Binned
from nldisco_core.choosing import choose
from nldisco_core.config import ModelConfig
from nldisco_core.conformance.toys import toy_binned
from nldisco_core.cosmoothing import co_smoothing
from nldisco_core.errors import ConfigError, ModelError
from nldisco_core.metrics import Evaluation
from nldisco_core.plugins import registry
from nldisco_core.pruning import poorly_reconstructed
from nldisco_core.splits import assign_splits


def ensembles(n_bins: int = 3000, n_units: int = 24, n_latents: int = 4, *, seed: int = 0) -> Binned:
    """Counts that a few sources drive, six units or so each, in blocks of training, validation and test."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((n_latents, n_units))
    weights[np.arange(n_units) % n_latents, np.arange(n_units)] = rng.uniform(1, 3, n_units)
    sources = (rng.random((n_bins, n_latents)) < 0.25).astype(float)
    data = toy_binned(n_bins=n_bins, n_units=n_units, n_trials=n_bins // 50)
    session = replace(data.sessions[0], activity=rng.poisson(sources @ weights + 0.1).astype(np.uint8))
    return assign_splits(replace(data, sessions=(session,)), seed=0)


class Sized(ModelConfig):
    n_latents: int = 1


def fit_nmf(data: Binned):
    def fit(label: str, config: ModelConfig) -> Any:
        assert isinstance(config, Sized)
        listed = registry().listed("model", "nmf")
        model = listed.load()(listed.load_config()(n_latents=config.n_latents, seeds=config.seeds))
        model.fit(data.train(), validation=None, monitor=nldisco_core.monitoring.FitMonitor(label, quiet=True))
        return model

    return fit


CANDIDATES: Mapping[str, Sized] = {f"{size} latents": Sized(n_latents=size) for size in (1, 2, 4, 8)}


def test_the_number_of_sources_is_chosen_and_more_are_said_to_be_too_many() -> None:
    data = ensembles()
    choice = choose(fit_nmf(data), CANDIDATES, data, counts=data, seeds=(3, 4))
    assert choice.label == "4 latents"
    assert (choice.config.n_latents, choice.config.seeds) == (4, (3, 4))  # type: ignore[attr-defined]
    assert choice.table["chosen"].tolist() == [False, False, True, False]
    assert "too small for 8 latents and more" in choice.notes[1]


def test_the_table_is_the_paired_comparison_over_units() -> None:
    data = ensembles(1500)
    fit = fit_nmf(data)
    table = choose(fit, CANDIDATES, data, counts=data, seeds=(0,)).table.set_index("candidate")
    scores = {}
    for label, config in CANDIDATES.items():
        found = co_smoothing(fit(label, config), data, counts=data, splits=("validation",))
        scores[label] = found.units["co_smoothing_bits"].to_numpy()
        assert table.loc[label, "co_smoothing_bits"] == found.summary["co_smoothing_bits"].iloc[0]
    best = max(scores, key=lambda label: table.loc[label, "co_smoothing_bits"])
    for label, values in scores.items():
        difference = scores[best] - values
        assert table.loc[label, "behind"] == pytest.approx(difference.mean())
        assert table.loc[label, "behind_se"] == pytest.approx(difference.std(ddof=1) / np.sqrt(24))
    allowed = table[table["behind"] <= table["behind_se"]]
    assert allowed["n_latents"].idxmin() == table.index[table["chosen"]][0]


def test_noise_without_ensembles_takes_the_smallest_size() -> None:
    data = ensembles(1500)
    rng = np.random.default_rng(1)
    noise = replace(data.sessions[0], activity=rng.poisson(0.7, (1500, 24)).astype(np.uint8))
    alone = replace(data, sessions=(noise,))
    choice = choose(fit_nmf(alone), CANDIDATES, alone, counts=alone, seeds=(0,))
    assert choice.label == "1 latents"


def test_choosing_needs_validation_bins() -> None:
    data = assign_splits(ensembles(500), train=0.7, validation=0.0, test=0.3)
    with pytest.raises(ConfigError, match=r"set split\.validation above 0"):
        choose(fit_nmf(data), CANDIDATES, data, counts=data, seeds=(0,))


def evaluation(r2: Mapping[str, float]) -> Evaluation:
    rows = [
        (i, level, split, unit, value)
        for unit, value in r2.items()
        for i in (0, 1)
        for level in (0, 1)
        for split in SPLITS
    ]
    table = pd.DataFrame(rows, columns=["instance", "level", "split", "unit", "r2"])
    decisive = (table["instance"] == 0) & (table["level"] == 1) & (table["split"] == "train")
    return Evaluation(summary=pd.DataFrame(), units=table.assign(r2=table["r2"].where(decisive, 1.0)))


def test_units_at_or_below_the_bound_in_the_first_instance_are_dropped() -> None:
    pruning = poorly_reconstructed(evaluation({"a": 0.5, "b": 0.1, "c": -2.0, "d": np.nan, "e": 0.11}), min_r2=0.1)
    assert pruning.dropped.tolist() == [1, 2, 3]
    assert pruning.table["kept"].tolist() == [True, False, False, False, True]
    assert pruning.note.startswith("2 of 5 units (40%)")


def test_dropping_every_unit_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"best 0\.05"):
        poorly_reconstructed(evaluation({"a": 0.05}), min_r2=0.1)


def run(tmp_path: Path, **settings: Any) -> Any:
    return nldisco_core.run(
        "place-ensembles",
        model="batch-topk-sae",
        settings={
            "dataset": {"duration_s": 120.0, "n_units": 50, "n_features": 8},
            "bin": {"bin_s": 0.1},
            "preprocess": {"smooth_s": 0.1, "normalise": "global-max"},
            "model": {"epochs": 3, "seeds": [0, 1], **settings.pop("model", {})},
            **settings,
        },
        runs_dir=tmp_path,
        quiet=True,
    )


def test_a_run_with_pruning_keeps_both_tables_and_fits_on_the_kept_units(tmp_path: Path) -> None:
    made = run(tmp_path, prune={"min_r2": 0.2})
    table = made.table("pruning")
    kept = table["unit"][table["kept"]].tolist()
    assert 0 < len(kept) < 50
    assert made.binned.units["id"].astype(str).tolist() == kept
    assert set(made.unit_metrics["unit"]) == set(kept)
    assert set(made.table("unit_metrics_before_pruning")["unit"]) == set(table["unit"])
    assert any("were dropped and the model was fitted again" in note for note in made.about["notes"])
    np.testing.assert_array_equal(
        made.model.load_model().transform(made.binned).main.dense(), made.latents.main.dense()
    )


def test_a_run_chooses_its_size_when_asked(tmp_path: Path) -> None:
    made = run(tmp_path, model={"n_latents": "auto", "k": 2.0})
    table = made.table("choice")
    assert table["chosen"].sum() == 1
    chosen = table[table["chosen"]].iloc[0]
    assert made.latents.main.n_latents == chosen["n_latents"]
    assert made.latents.main.n_instances == 2
    assert made.about["model"]["config"]["n_latents"] == chosen["n_latents"]
    assert made.about["notes"][0].startswith(chosen["candidate"])
