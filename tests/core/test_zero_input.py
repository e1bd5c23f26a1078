"""A model that is given labels at transform is mapped without any activity as well, and the table says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nldisco_core import pipeline
from nldisco_core.binned import Binned
from nldisco_core.config import RunConfig, parse
from nldisco_core.conformance.models import check_model
from nldisco_core.conformance.toy_dataset import toy_run
from nldisco_core.conformance.toy_fits import fit
from nldisco_core.conformance.toy_label_model import LookUp, LookUpConfig
from nldisco_core.conformance.toys import toy_binned
from nldisco_core.latents import LabelUse, Latents
from nldisco_core.preprocessing import preprocess
from nldisco_core.runs import Run
from nldisco_core.zero_input import ZERO_INPUT, latents_without_activity

MAPPED = ["mappers.selectivity.n_shifts=49", "dataset.duration_s=90.0", "co_smoothing=false"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    mappers = ("selectivity", "decoding")
    return toy_run(tmp_path_factory.mktemp("runs"), model="toy-look-up", mappers=mappers, assignments=MAPPED)


def test_the_toy_model_keeps_the_rules_of_a_model() -> None:
    outcomes = check_model(lambda settings: LookUp(parse(LookUpConfig, settings)))
    assert [str(outcome) for outcome in outcomes if not outcome.passed] == []


def test_silence_is_preprocessed_as_the_data_were() -> None:
    counts = toy_binned()
    data = preprocess(counts, smooth_s=None, normalise="z-score")
    seen: list[Binned] = []

    class Watching(LookUp):
        def transform(self, data: Binned):  # type: ignore[no-untyped-def]  # as its parent's
            seen.append(data)
            return super().transform(data)

    model = Watching(LookUpConfig())
    fit(model, data)
    latents_without_activity(model, counts, data)
    known = data.preprocessing.statistics[0]
    np.testing.assert_allclose(seen[0].activity, np.tile(-known.offset / known.scale, (900, 1)), rtol=1e-5)
    np.testing.assert_array_equal(seen[0].covariate("heading").values, data.covariate("heading").values)


def test_a_model_given_labels_has_a_zero_input_control(run: Run) -> None:
    assert list(run.controls) == [ZERO_INPUT]
    assert run.controls[ZERO_INPUT].record["input"] == "labels and no activity"
    table = run.mapping("selectivity").table
    assert (table["label_use"] == "transform").all()
    zero = run.controls[ZERO_INPUT].mapping("selectivity").table
    whole = table[table["condition"].isna() & (table["split"] == "test")].set_index(["variable", "latent"])
    same = zero[zero["condition"].isna() & (zero["split"] == "test")].set_index(["variable", "latent"])
    np.testing.assert_array_equal(whole["zero_input_score"], same["score"].loc[whole.index])
    assert (whole.loc["heading", "zero_input_score"] >= whole.loc["heading", "score"] - 1e-9).all()


def test_the_table_written_anew_keeps_the_types_of_the_mapper(run: Run) -> None:
    kept, of_control = (part.mapping("selectivity").table for part in (run.model, run.controls[ZERO_INPUT]))
    assert kept[of_control.columns].dtypes.equals(of_control.dtypes)
    assert str(kept["chosen"].dtype) == "boolean"


def test_decoding_without_spikes_stands_beside_decoding_with_them(run: Run) -> None:
    table = run.mapping("decoding").table
    row = table[(table["variable"] == "heading") & (table["split"] == "test")].iloc[0]
    assert row["score"] > 0.8
    assert row["zero_input_score"] > 0.8


def test_the_verdict_says_that_spikes_were_not_needed(run: Run) -> None:
    said = [sentence for sentence in run.about["verdict"] if "without any activity" in sentence]
    assert any("6 of 6 of its mappings to heading are as strong" in sentence for sentence in said)


def test_a_mapper_added_later_has_it_too(run: Run) -> None:
    mapped = pipeline.map_run(run, "spatial", settings={"n_shifts": 0, "variables": ["heading"]})
    table = mapped.mapping("spatial").table
    assert (table["best_control"].dropna() == ZERO_INPUT).all()
    assert table.loc[table["supported"] & table["score"].notna(), "zero_input_score"].notna().all()


def test_a_model_that_was_given_no_labels_has_none(tmp_path: Path) -> None:
    plain = toy_run(tmp_path, model="raw-units", mappers=("selectivity",), assignments=MAPPED)
    assert not plain.controls
    assert "zero_input_score" not in plain.mapping("selectivity").table


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("label_use", "told"),
    [("transform", "was given labels to make them"), ("none", "do not say whether their model"), ("fit", None)],
)
def test_saved_activations_say_that_there_is_no_such_control(
    run: Run, tmp_path: Path, label_use: LabelUse, told: str | None
) -> None:
    config = parse(RunConfig, run.about["config"]).model_copy(update={"mappers": {}})
    latents = Latents.of(replace(run.latents.main, label_use=label_use))
    saved = pipeline.map_activations(latents, config, source="theirs.npy", runs_dir=tmp_path)
    assert ZERO_INPUT not in saved.controls
    said = [note for note in saved.about["notes"] if "no zero-input control" in note]
    assert len(said) == (told is not None)
    assert told is None or told in said[0]
