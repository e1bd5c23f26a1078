"""The pipeline gives models training rows only, matches controls, and keeps what it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import nldisco_core
from nldisco_core import pipeline
from nldisco_core.activations import read_activations
from nldisco_core.binned import SPLITS, Binned
from nldisco_core.composition import compose, plan
from nldisco_core.conformance.toy_dataset import toy_run
from nldisco_core.errors import ConfigError, IncompatibleData, ModelError, RunError
from nldisco_core.preprocessing import preprocess
from nldisco_core.provenance import fingerprint
from nldisco_core.run_writer import RunWriter

pytestmark = pytest.mark.usefixtures("toys")
SHORT = "dataset.duration_s=60.0"


def test_statistics_come_from_training_bins_only() -> None:
    counts, data = pipeline.load_binned(
        plan(compose(dataset="toy", model="pca", assignments=[SHORT, "preprocess.normalise=z-score"]))
    )
    session = counts.sessions[0]
    changed = session.activity.copy()
    changed[session.split != SPLITS.index("train")] += 7
    other = preprocess(
        replace(counts, sessions=(replace(session, activity=changed),)), smooth_s=None, normalise="z-score"
    )
    np.testing.assert_array_equal(other.preprocessing.statistics[0].scale, data.preprocessing.statistics[0].scale)
    np.testing.assert_array_equal(other.preprocessing.statistics[0].offset, data.preprocessing.statistics[0].offset)


def test_a_model_is_fitted_on_training_rows_and_validated_on_validation_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[int]] = {}
    pca = nldisco_core.get("model", "pca")
    fit = pca.fit

    def watched(self: object, train: Binned, *, validation: Binned, monitor: object) -> object:
        seen["train"], seen["validation"] = set(train.split.tolist()), set(validation.split.tolist())
        return fit(self, train, validation=validation, monitor=monitor)

    monkeypatch.setattr(pca, "fit", watched)
    toy_run(tmp_path, model="pca", assignments=[SHORT])
    assert seen == {"train": {SPLITS.index("train")}, "validation": {SPLITS.index("validation")}}


def test_controls_take_size_and_sparsity_of_the_model(tmp_path: Path) -> None:
    run = toy_run(
        tmp_path,
        model="matryoshka-sae",
        controls=["pca", "nmf", "units-omp", "random-encoder"],
        assignments=[SHORT, "model.epochs=3", "model.levels={3=1,5=2}", "model.seeds=[0,1]"],
    )
    assert run.part("nmf").latents.main.n_latents == 5
    assert run.part("pca").latents.main.n_latents == 5
    assert run.part("units-omp").record["config"]["k"] == round(
        run.metrics.query("model == 'model' and split == 'validation' and level == 1")["l0_mean"].mean()
    )
    random = run.part("random-encoder")
    assert random.latents.main.level_sizes == (3, 5)
    assert random.record["config"]["seeds"] == [0, 1]
    assert set(run.table("seed_match")["model"]) >= {"model", "random-encoder", "nmf"}
    assert set(run.table("copies")["model"]) == {"model", *run.controls}


def test_a_control_keeps_what_was_set_for_it(tmp_path: Path) -> None:
    run = toy_run(tmp_path, model="pca", controls=["nmf"], assignments=[SHORT, "controls.nmf.n_latents=2"])
    assert run.part("nmf").latents.main.n_latents == 2


def test_smoothing_that_crosses_the_gap_between_blocks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"split\.gap_s"):
        toy_run(tmp_path, model="pca", assignments=[SHORT, "preprocess.smooth_s=0.2"])
    toy_run(tmp_path, model="pca", assignments=[SHORT, "preprocess.smooth_s=0.3", "bin.trials=trials"])


def test_sessions_with_other_units_are_refused_by_models_that_stack_them(tmp_path: Path) -> None:
    with pytest.raises(IncompatibleData, match="share their units"):
        pipeline._require(
            nldisco_core.registry().listed("model", "pca"),
            replace(_two(6), sessions=(_two(6).sessions[0], _two(5).sessions[0])),
        )


def _two(n_units: int) -> Binned:
    return pipeline.load_binned(
        plan(compose(dataset="toy", model="pca", assignments=[SHORT, f"dataset.n_units={n_units}"]))
    )[0]


def test_several_sessions_run_together(tmp_path: Path) -> None:
    run = toy_run(tmp_path, model="nmf", mappers=["selectivity"], assignments=[SHORT, "dataset.n_sessions=2"])
    assert [session.session_id for session in run.binned.sessions] == ["toy-1", "toy-2"]
    assert run.latents.main.session_ids == ("toy-1", "toy-2")


def test_the_fingerprint_moves_with_any_of_the_data() -> None:
    counts = _two(6)
    session = counts.sessions[0]
    first = fingerprint(counts)
    activity = session.activity.copy()
    activity[3, 2] += 1
    assert fingerprint(replace(counts, sessions=(replace(session, activity=activity),))) != first
    assert fingerprint(replace(counts, sessions=(replace(session, split=np.roll(session.split, 1)),))) != first
    assert fingerprint(_two(6)) == first


def test_python_gives_the_same_run_as_the_command_line(tmp_path: Path) -> None:
    run = nldisco_core.run(
        "toy",
        model="pca",
        mappers=["selectivity"],
        settings={"dataset": {"duration_s": 60.0}},
        runs_dir=tmp_path,
        quiet=True,
    )
    assert run.mapping("selectivity").table["variable"].nunique() > 1
    model = run.model.load_model()
    np.testing.assert_array_equal(model.transform(run.binned).main.dense(), run.latents.main.dense())


def test_mapping_a_run_again_replaces_the_older_mapping_and_keeps_the_rest(tmp_path: Path) -> None:
    run = toy_run(tmp_path, model="raw-units", controls=["pca"], mappers=["selectivity"], assignments=[SHORT])
    before = len(run.mapping("selectivity").table)
    again = nldisco_core.map_run(run, "selectivity", settings={"variables": ["heading"], "n_shifts": 20})
    assert len(again.mapping("selectivity").table) < before
    assert again.about["mappers"]["selectivity"]["config"]["variables"] == ["heading"]
    assert again.part("pca").mapping("selectivity").table["variable"].unique().tolist() == ["heading"]


def test_a_run_holds_all_that_is_needed_to_repeat_it(tmp_path: Path) -> None:
    first = toy_run(
        tmp_path,
        model="matryoshka-sae",
        mappers=["selectivity"],
        controls=["nmf"],
        assignments=[SHORT, "model.epochs=2", "seed=4", "threads=1", "preprocess.normalise=unit-max"],
    )
    again = nldisco_core.run(settings=first.about["config"], runs_dir=tmp_path, quiet=True)
    assert again.about["config_digest"] == first.about["config_digest"]
    assert again.about["fingerprint"] == first.about["fingerprint"]
    np.testing.assert_array_equal(again.latents.main.dense(), first.latents.main.dense())
    for part in ("model", "nmf"):
        assert again.part(part).mapping("selectivity").table.equals(first.part(part).mapping("selectivity").table)


def test_two_mappings_added_at_once_are_both_recorded(tmp_path: Path) -> None:
    run = toy_run(tmp_path, model="raw-units", assignments=[SHORT])
    stale = nldisco_core.Run(run.folder)
    assert stale.about["mappers"] == {}
    nldisco_core.map_run(run, "selectivity", settings={"n_shifts": 20}, seed=5)
    both = nldisco_core.map_run(stale, "decoding", settings={"n_shifts": 5})
    assert set(both.about["mappers"]) == {"selectivity", "decoding"} == set(both.mappings)
    recorded = both.about["mappers"]["selectivity"]
    assert (recorded["seed"], recorded["config"]["n_shifts"]) == (5, 20)
    assert recorded["config"]["n_circular"] > 0


def test_mapping_a_run_renews_its_words_and_notes(tmp_path: Path) -> None:
    run = toy_run(tmp_path, model="raw-units", controls=["pca"], assignments=[SHORT])
    assert "tuned to heading" not in " ".join(run.about["verdict"])
    for _ in range(2):
        run = nldisco_core.map_run(run, "selectivity", settings={"n_shifts": 50})
    assert "tuned to heading" in " ".join(run.about["verdict"])
    notes = [note for note in run.about["notes"] if note.startswith("selectivity: heading")]
    assert len(notes) == 1


def test_saved_activations_of_several_sessions_keep_their_sessions(tmp_path: Path) -> None:
    config = compose(dataset="toy", model="elsewhere", assignments=[SHORT, "dataset.n_sessions=2"])
    counts = pipeline.load_binned(plan(config))[0]
    np.save(tmp_path / "a.npy", counts.activity.astype(np.float32))
    run = pipeline.map_activations(read_activations(tmp_path / "a.npy"), config, source="a.npy", runs_dir=tmp_path)
    assert run.latents.main.session_ids == ("toy-1", "toy-2")
    np.testing.assert_array_equal(run.latents.main.row_offsets, counts.row_offsets)


def test_saved_activations_stand_beside_controls_that_are_matched_to_them(tmp_path: Path) -> None:
    few = [SHORT, "mappers.selectivity.n_shifts=19", "co_smoothing=false"]
    config = compose(dataset="toy", model="elsewhere", mappers=["selectivity"], controls=["nmf"], assignments=few)
    counts = pipeline.load_binned(plan(config))[0]
    saved = np.stack([counts.activity[:, :3], counts.activity[:, 3:6]]).astype(np.float32)
    np.save(tmp_path / "a.npy", saved)
    run = pipeline.map_activations(read_activations(tmp_path / "a.npy"), config, source="a.npy", runs_dir=tmp_path)
    control = run.controls["nmf"].latents.main
    assert (control.n_instances, control.n_latents) == (2, 3)
    table = run.mapping("selectivity").table
    heading = table[(table["variable"] == "heading") & table["condition"].isna() & (table["split"] == "test")]
    assert set(heading["best_control"]) == {"nmf"}
    assert not any("No controls were run" in sentence for sentence in run.about["verdict"])


def test_stored_zeros_of_saved_activations_are_not_active(tmp_path: Path) -> None:
    matrix = sparse.csc_array(np.ones((6, 2)))
    matrix.data[:6] = 0
    sparse.save_npz(tmp_path / "a.npz", matrix)
    assert read_activations(tmp_path / "a.npz").main.csc().nnz == 6


def test_a_model_that_does_not_fit_into_memory_is_a_stated_problem(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nmf does not fit into memory"):
        toy_run(tmp_path, model="nmf", assignments=[SHORT, "model.n_latents=100000000000"])
    assert list(tmp_path.iterdir()) == []


def test_data_that_changed_since_the_interrupt_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="data have changed"):
        _interrupted_then_resumed(tmp_path)


def _interrupted_then_resumed(runs_dir: Path) -> None:
    config = compose(dataset="toy", model="pca", assignments=[SHORT])
    with pytest.raises(KeyboardInterrupt), RunWriter.open(config, runs_dir=runs_dir, resume=False) as writer:
        (writer.checkpoints("model") / "last").mkdir(parents=True)
        writer.about["fingerprint"] = "of other data"
        raise KeyboardInterrupt
    pipeline.execute(config, runs_dir=runs_dir, resume=True, quiet=True)
