"""What a run keeps of each model: every table, on the split that is reported, beside the evaluation it had before."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nldisco_core.absorption import absorption
from nldisco_core.assessment import assess
from nldisco_core.binned import SPLITS
from nldisco_core.conformance.toy_dataset import toy_run
from nldisco_core.contributions import attributed_units, contributing_units, region_weights
from nldisco_core.cosmoothing import co_smoothing
from nldisco_core.dominance import single_unit_dominance
from nldisco_core.interfaces import Attributes, HasDictionary
from nldisco_core.neighbours import coactive_neighbours, dictionary_neighbours, family_counts
from nldisco_core.runs import ModelPart, Run
from nldisco_core.summary import Findings, comparison, printable
from nldisco_core.tuning import conditions
from nldisco_core.unit_activity import co_activity
from nldisco_core.verdict import verdict

pytestmark = pytest.mark.usefixtures("toys")
SETTINGS = ["dataset.duration_s=60.0", "model.n_latents=3", "model.seeds=[0,1,2]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return toy_run(tmp_path_factory.mktemp("runs"), model="nmf", controls=["pca", "raw-units"], assignments=SETTINGS)


def test_all_tables_are_kept_for_every_model_they_apply_to(run: Run) -> None:
    everybody = {"model", "pca", "raw-units"}
    for name in ("latent_metrics", "example_metrics", "spectra", "weight_histogram", "copies"):
        assert set(run.table(name)["model"]) == everybody
    for name in ("stability", "seed_match"):
        assert set(run.table(name)["model"]) == {"model"}  # the others have one instance
    assert run.table("count_histogram")["n_entries"].sum() == run.counts.n_bins * run.counts.n_units
    active = run.counts.activity > 0
    shares = run.about["active_shares"]
    assert shares == pytest.approx({"entries": active.mean(), "bins": active.any(axis=1).mean()})


def test_further_columns_stand_beside_the_evaluation_at_the_deepest_level_of_the_test_split(run: Run) -> None:
    rows = run.metrics[run.metrics["model"] == "model"]
    assert len(rows) == 9
    test, others = rows[rows["split"] == "test"], rows[rows["split"] != "test"]
    alive = run.table("latent_metrics").query("model == 'model'")
    for instance, row in test.set_index("instance").iterrows():
        mine = alive[alive["instance"] == instance]
        assert row["dead_share_strict"] == pytest.approx(1 - mine["alive"].astype(float).mean())
        examples = run.table("example_metrics").query("model == 'model' and score == 'r2'")
        assert row["example_r2"] == examples[examples["instance"] == instance]["q50"].iloc[0]
        units = run.unit_metrics.query("model == 'model' and split == 'test'")
        units = units[units["instance"] == instance]
        assert row["spectral_fidelity"] == pytest.approx(units["spectral_fidelity"].median())
        assert len(units) == run.counts.n_units
    assert others[["dead_share_strict", "example_r2", "spectral_fidelity"]].isna().all(axis=None)
    assert rows.groupby("split")["co_smoothing_bits"].count().to_dict() == {"test": 3, "train": 0, "validation": 3}
    result = co_smoothing(run.model.load_model(), run.binned, counts=run.counts)
    expected = result.summary[result.summary["split"] == "test"]["co_smoothing_bits"]
    np.testing.assert_allclose(test["co_smoothing_bits"], expected)


def test_what_stands_behind_latents_is_kept_for_the_test_split_of_every_model(run: Run) -> None:
    for part in (run.model, *run.controls.values()):
        space, data = part.latents.main, run.binned
        rows = data.split == SPLITS.index("test")

        def kept(name: str, part: ModelPart = part) -> pd.DataFrame:
            table = run.table(name)
            return table[table["model"] == part.name].drop(columns="model").reset_index(drop=True)

        same = partial(pd.testing.assert_frame_equal, check_dtype=False)
        same(kept("contributions"), contributing_units(co_activity(space, data, rows=rows), data.units))
        assert part.dictionary is not None
        same(kept("region_weights"), region_weights(part.dictionary, data.units))
        absolute = space.code_kind == "signed"
        near = [dictionary_neighbours(part.dictionary, absolute=absolute), coactive_neighbours(space, rows=rows)]
        same(kept("neighbours"), pd.concat(near, ignore_index=True))
        left = single_unit_dominance(part.load_model(), part.latents, data, rows=rows)
        same(kept("copies")[left.columns], left)
    assert "families" not in run.tables  # no levels


def test_families_and_what_children_take_over_are_kept_for_models_with_levels(tmp_path: Path) -> None:
    levels = ["model.levels={4=1,12=3}", "model.epochs=5", "dataset.duration_s=120.0"]
    run = toy_run(tmp_path, model="matryoshka-sae", assignments=levels)
    space, data = run.latents.main, run.binned
    test, train = (data.split == SPLITS.index(name) for name in ("test", "train"))
    counts = run.table("family_counts").drop(columns="model")
    pd.testing.assert_frame_equal(counts, family_counts(space, n_draws=5, seed=run.about["seed"], rows=test))
    found = run.table("absorption").drop(columns="model")
    assert len(found)
    cut = conditions(data.covariate("heading"), rows=train)
    expected = absorption(space, cut, rows=test, chosen_on=train)
    mine = found[found["variable"] == "heading"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, expected, check_dtype=False)
    attributed = run.table("attribution").drop(columns="model")
    model = run.model.load_model()
    assert isinstance(model, Attributes)
    by_model = attributed_units(model.attribution(run.latents, data, rows=test))
    pd.testing.assert_frame_equal(attributed, by_model, check_dtype=False)


def test_leaving_units_out_can_be_turned_off(tmp_path: Path) -> None:
    run = toy_run(tmp_path, model="pca", assignments=[SETTINGS[0], "co_smoothing=false"])
    assert "co_smoothing_bits" not in run.metrics


def test_levels_above_the_deepest_hold_no_further_figures(tmp_path: Path) -> None:
    levels = ["model.levels={2=1,4=1}", "model.epochs=1", SETTINGS[0]]
    run = toy_run(tmp_path, model="matryoshka-sae", assignments=levels)
    rows = run.metrics[run.metrics["split"] == "test"].set_index("level")
    further = ["dead_share_strict", "example_r2", "spectral_fidelity", "co_smoothing_bits"]
    assert rows.loc[0, further].isna().all()
    assert rows.loc[1, further].notna().all()
    assert len(run.unit_metrics) == 6 * run.counts.n_units


def test_seeds_are_matched_on_weights_and_on_activations_beside_their_nulls(run: Run) -> None:
    row = run.table("seed_match").iloc[0]
    assert 0 < row["null_permuted"] < 1
    assert row["activation_null_shifted"] < row["activation_median"]
    per_latent = run.table("stability")
    assert len(per_latent) == 9
    assert row["consensus_share"] == per_latent["decoder_consensus"].mean()
    assert row["activation_consensus_share"] == per_latent["activation_consensus"].mean()


def test_activations_without_their_model_keep_what_needs_none(run: Run) -> None:
    found = assess(None, run.latents, run.binned, counts=run.counts, dictionary=None, leave_units_out=True, seed=0)
    assert set(found.tables) == {"latent_metrics", "copies", "stability", "contributions", "neighbours"}
    assert "remaining" not in found.tables["copies"]
    assert found.tables["latent_metrics"]["alive"].isna().all()
    assert "co_smoothing_bits" not in found.summary


def test_the_summary_tells_of_left_out_units_and_of_latents_that_are_not_alive(run: Run) -> None:
    findings = Findings.of(run)
    model = run.model.load_model()
    assert isinstance(model, HasDictionary)
    printed = printable(comparison(findings), {"model": "nmf"})["reconstruction"]
    assert {"R²", "L0", "bits/spike", "bits/spike left out", "not alive"} <= set(printed.columns)
    said = " ".join(verdict(findings, {"model": "nmf"}))
    assert "Units left out of the input of nmf are foretold from its latents" in said
    assert "of the latents of nmf are alive" in said
    many = findings.metrics.assign(dead_share_strict=0.5)
    assert "too small for so many latents" in " ".join(verdict(Findings(metrics=many), {"model": "nmf"}))
    few = findings.metrics.assign(dead_share_strict=0.01)
    assert "too small for so many latents" not in " ".join(verdict(Findings(metrics=few), {"model": "nmf"}))
