"""A sealed run holds no test bins; a plan is hashed, its opening recorded first, and each hypothesis judged."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nldisco_core import opening, pipeline
from nldisco_core.binned import SPLITS
from nldisco_core.conformance.toy_dataset import toy_run
from nldisco_core.errors import ConfigError, DataError, RunError
from nldisco_core.files import write_mapping
from nldisco_core.hypotheses import judge
from nldisco_core.ledger import LEDGER, openings, standing
from nldisco_core.opening import open_run
from nldisco_core.preregistration import (
    Expectation,
    Hypothesis,
    Preregistration,
    planned,
    read_plan,
    run_identity,
    write_plan,
)
from nldisco_core.runs import Run
from nldisco_core.summary import Findings

pytestmark = pytest.mark.usefixtures("toys")
SETTINGS = [
    "dataset.duration_s=200.0",
    "mappers.decoding.max_rows=800",
    "bin.trials=trials",
    'bin.signals=["heading"]',
    "split.by=trials",
    "split.train=0.5",
    "split.validation=0.2",
    "split.test=0.3",
    "co_smoothing=false",
    "mappers.selectivity.n_shifts=99",
    "mappers.selectivity.confounds=false",
    "mappers.decoding.n_shifts=99",
]
TEST = SPLITS.index("test")


def made(folder: Path, *, sealed: bool, further: tuple[str, ...] = ()) -> Run:
    return toy_run(
        folder,
        model="nmf",
        mappers=["selectivity", "decoding"],
        controls=["raw-units"],
        assignments=[*SETTINGS, "model.n_latents=4", f"sealed={str(sealed).lower()}", *further],
    )


def plan_for(run: Run, *hypotheses: tuple[str, str]) -> Preregistration:
    from nldisco_core.config import RunConfig, parse

    config = parse(RunConfig, run.about["config"])
    return planned(config, run_identity(run), run.counts, hypotheses=hypotheses)


TUNED = (("heading", "resultant_length > 0.3"), ("heading", "decoding: r2 > 0.3"), ("side", "max_mcc > 0"))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("sealed"), sealed=True)


@pytest.fixture(scope="module")
def unsealed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("unsealed"), sealed=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Sealed, without controls and with one mapper."""
    settings = [setting for setting in SETTINGS if "decoding" not in setting]
    further = ["model.n_latents=2", "sealed=true", "mappers.selectivity.n_shifts=19", 'bin.signals=["heading"]']
    folder = tmp_path_factory.mktemp("small")
    return toy_run(folder, model="nmf", mappers=["selectivity"], assignments=[*settings, *further])


def copied(run: Run, folder: Path) -> Run:
    shutil.copytree(run.folder, folder / run.name)
    return Run(folder / run.name)


@pytest.fixture
def copy(sealed: Run, tmp_path: Path) -> Run:
    """A sealed run to be opened."""
    return copied(sealed, tmp_path)


@pytest.fixture
def bare(small: Run, tmp_path: Path) -> Run:
    """A small sealed run to be opened."""
    return copied(small, tmp_path)


def every_table(folder: Path) -> dict[str, pd.DataFrame]:
    return {str(path.relative_to(folder)): pd.read_parquet(path) for path in sorted(folder.rglob("*.parquet"))}


def test_no_number_of_a_test_bin_is_in_a_sealed_run(sealed: Run, unsealed: Run) -> None:
    assert sealed.sealed
    assert not unsealed.sealed
    whole = unsealed.counts
    assert (whole.split == TEST).sum() == sealed.about["recording"]["n_bins"]["test"] > 100
    assert sealed.counts.n_bins == (whole.split != TEST).sum()
    assert not (sealed.counts.split == TEST).any()
    for part in ("model", "raw-units"):
        assert sealed.part(part).latents.main.n_rows == sealed.counts.n_bins
        for name in ("selectivity", "decoding"):
            result = sealed.part(part).mapping(name)
            assert "validation" in set(result.table["split"])
            assert not any("test" in array for array in result.arrays)
            for array in result.arrays.values():
                assert len(whole.split) not in array.shape
    for name, table in every_table(sealed.folder).items():
        if "split" in table:
            values = set(table["split"])
            assert not values & {"test", TEST}, name
            assert values & {"train", "validation", 0, 1}, name


def test_a_sealed_run_is_read_on_validation_bins_and_says_so(sealed: Run, unsealed: Run) -> None:
    assert Findings.of(sealed).split == "validation"
    assert Findings.of(unsealed).split == "test"
    assert any("supported latents" in sentence for sentence in sealed.about["verdict"])
    assert "sealed" in standing(sealed)
    assert standing(unsealed) == "The test split was open from the start: everything here is exploratory."


def test_a_mapper_added_to_a_sealed_run_scores_validation_bins(bare: Run) -> None:
    settings = {"n_shifts": 19, "confounds": False, "splits": ["train", "test"]}
    mapped = pipeline.map_run(bare, "selectivity", settings=settings)
    assert set(mapped.mapping("selectivity").table["split"]) == {"train", "validation"}


def test_an_opened_run_holds_what_the_same_run_has_that_was_never_sealed(copy: Run, unsealed: Run) -> None:
    opened = open_run(copy, plan_for(copy, *TUNED))
    assert not opened.sealed
    assert opened.about["fingerprint"] == unsealed.about["fingerprint"]
    np.testing.assert_array_equal(opened.counts.activity, unsealed.counts.activity)
    expected, found = every_table(unsealed.folder), every_table(opened.folder)
    assert set(found) == {*expected, "tables/hypotheses.parquet"}
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=False, rtol=1e-6, obj=name)
    assert opened.about["verdict"] == unsealed.about["verdict"]
    assert opened.about["notes"] == unsealed.about["notes"]


@pytest.mark.parametrize("model", ["nmf", "matryoshka-sae"])
def test_blocks_smoothing_and_pruning_leave_the_sealed_fit_as_it_is(tmp_path: Path, model: str) -> None:
    settings = ["split.by=blocks", "preprocess.smooth_s=0.05", "prune.min_r2=0.2", "bin.trials=trials"]
    settings += [] if model == "nmf" else ["model.levels={4=1,6=2}", "model.epochs=2", "model.window=3"]
    runs = {
        sealed: toy_run(
            tmp_path / model, model=model, assignments=["dataset.duration_s=90.0", *settings, f"sealed={sealed}"]
        )
        for sealed in ("true", "false")
    }
    before = runs["true"].unit_metrics
    opened = open_run(runs["true"], None)
    assert len(opened.counts.units) == len(runs["false"].counts.units)
    rows = runs["false"].unit_metrics.query("split != 'test' and model == 'model'").reset_index(drop=True)
    pd.testing.assert_series_equal(before["r2"], rows["r2"], rtol=1e-5)
    expected, found = every_table(runs["false"].folder), every_table(opened.folder)
    assert set(found) == set(expected)
    assert "tables/pruning.parquet" in found
    np.testing.assert_allclose(opened.latents.main.dense(), runs["false"].latents.main.dense(), rtol=1e-5)
    for name in ("metrics.parquet", "unit_metrics.parquet", "history.parquet"):
        pd.testing.assert_frame_equal(found[name], expected[name], check_exact=False, rtol=1e-5, obj=name)


def test_a_planted_feature_is_confirmed_and_what_is_not_there_is_not(copy: Run) -> None:
    plan = plan_for(copy, *TUNED, ("heading", "resultant_length < 0.1"), ("heading", "resultant_length < 0.999"))
    named = [h if h.name != "H5" else h.model_copy(update={"null": "trial permutation"}) for h in plan.hypotheses]
    opened = open_run(copy, plan.model_copy(update={"hypotheses": tuple(named)}))
    table = opened.table("hypotheses").set_index("hypothesis")
    assert list(table["verdict"]) == ["confirmed", "confirmed", "not confirmed", "not confirmed", "not as planned"]
    assert set(table["kind"]) == {"confirmatory"}
    assert table["p"]["H3"] > 0.05
    assert "no supported latent is as expected on train bins" in table["reason"]["H4"]
    assert "trial permutation was planned, circular shift was used" in table["reason"]["H5"]
    tested = table["p"].notna()
    np.testing.assert_allclose(table["q"][tested], stats.false_discovery_control(table["p"][tested]))
    assert table["q"][~tested].isna().all()
    mapping = opened.mapping("selectivity").table
    whole = mapping[(mapping["variable"] == "heading") & mapping["condition"].isna()]
    train, test = (whole[whole["split"] == split].set_index("latent") for split in ("train", "test"))
    chosen = train[train["supported"] & (train["resultant_length"] > 0.3)]["max_mcc"].astype(float).idxmax()
    assert table["latent"]["H1"] == chosen
    assert table["p"]["H1"] == test["p"][chosen]
    assert table["found"]["H1"] == f"{test['resultant_length'][chosen]:.4g}"
    assert table["best_control"]["H1"] == "raw-units"
    control = opened.part("raw-units").mapping("selectivity").table.query("variable == 'heading' and split == 'test'")
    best = control[control["condition"].isna() & control["supported"]]["score"].max()
    assert table["best_control_score"]["H1"] == pytest.approx(best)
    decoded = opened.mapping("decoding").table.query("variable == 'heading' and split == 'test'").iloc[0]
    assert table["score"]["H2"] == pytest.approx(decoded["r2"])
    assert pd.isna(table["latent"]["H2"])


def test_the_missed_range_is_told_with_what_was_found(copy: Run) -> None:
    plan = plan_for(copy, ("heading", "resultant_length > 0.3"))
    only = plan.hypotheses[0].model_copy(update={"latent": 0, "expect": "mutual_information > 5"})
    row = open_run(copy, plan.model_copy(update={"hypotheses": (only,)})).table("hypotheses").iloc[0]
    assert row["latent"] == 0
    assert row["verdict"] == "not confirmed"
    assert row["reason"] == f"expected mutual_information > 5, found {row['found']}"


def test_only_the_first_opening_by_a_plan_of_a_sealed_run_confirms(bare: Run) -> None:
    plan = plan_for(bare, TUNED[0])
    run = open_run(bare, plan)
    again = open_run(run, plan.model_copy(update={"alpha": 0.01}))
    third = open_run(again, None)
    assert [entry["kind"] for entry in openings(third)] == ["confirmatory", "exploratory", "exploratory"]
    assert [entry["finished"] for entry in openings(third)] == [True, True, True]
    assert openings(third)[0]["plan_sha256"] == plan.sha256
    assert openings(third)[0]["plan"] == plan.model_dump(mode="json")
    assert list(third.table("hypotheses")["kind"]) == ["confirmatory", "exploratory"]
    assert list(third.table("hypotheses")["opening"]) == [1, 2]
    assert plan.sha256[:12] in standing(third)


def test_an_opening_without_a_plan_is_recorded_and_leaves_nothing_to_confirm(bare: Run) -> None:
    run = open_run(open_run(bare, None), plan_for(bare, TUNED[0]))
    assert [entry["kind"] for entry in openings(run)] == ["exploratory", "exploratory"]
    assert standing(run) == "The test split was opened without a plan: everything here is exploratory."


def test_in_a_run_that_was_never_sealed_a_plan_confirms_nothing(unsealed: Run, tmp_path: Path) -> None:
    run = open_run(copied(unsealed, tmp_path), plan_for(unsealed, TUNED[0]))
    assert openings(run)[0]["kind"] == "exploratory"
    assert "open from the start" in openings(run)[0]["why"]
    assert list(run.table("hypotheses")["kind"]) == ["exploratory"]
    assert list(run.table("hypotheses")["verdict"]) == ["as expected"]


def test_the_ledger_is_told_before_a_test_bin_is_read(bare: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, other = plan_for(bare, TUNED[0]), plan_for(bare, TUNED[1])

    def broken(_: object) -> Any:
        assert openings(bare)[-1]["plan_sha256"] == plan.sha256
        raise DataError("the disk was pulled out")

    with monkeypatch.context() as patched:
        patched.setattr(opening, "load_counts", broken)
        with pytest.raises(DataError):
            open_run(bare, plan)
    assert Run(bare.folder).sealed
    assert [entry["finished"] for entry in openings(bare)] == [False]
    assert opening._kind(bare, openings(bare), other.sha256)[0] == "exploratory"
    run = open_run(Run(bare.folder), plan)
    assert [entry["kind"] for entry in openings(run)] == ["confirmatory", "confirmatory"]


@pytest.mark.parametrize("change", ["edit", "remove"])
def test_a_ledger_that_was_changed_is_refused(bare: Run, change: str) -> None:
    run = open_run(bare, None)
    path = run.folder / LEDGER
    lines = path.read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0]) | {"kind": "confirmatory"}
    path.write_text("\n".join([json.dumps(first), lines[1]] if change == "edit" else lines[1:]) + "\n", "utf-8")
    with pytest.raises(RunError, match=r"line \d: .*the ledger was changed"):
        openings(run)
    with pytest.raises(RunError, match="the ledger was changed"):
        open_run(run, None)


def test_a_plan_of_other_data_or_other_splits_opens_nothing(bare: Run, tmp_path: Path) -> None:
    other = made(tmp_path / "other", sealed=True, further=("split.test=0.25", "split.train=0.55"))
    with pytest.raises(RunError, match=r"another recording|another split"):
        open_run(bare, plan_for(other, TUNED[0]))
    plan = plan_for(bare, TUNED[0])
    moved = plan.model_copy(update={"data": plan.data.model_copy(update={"split_fingerprint": "0" * 64})})
    with pytest.raises(RunError, match="another split: it states split_fingerprint 000000000000…"):
        open_run(bare, moved)
    assert openings(bare) == ()
    assert bare.sealed


def test_data_that_changed_since_are_not_opened(bare: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "identity", lambda counts: {})
    with pytest.raises(RunError, match="the data have changed"):
        open_run(bare, None)
    assert Run(bare.folder).sealed


def test_a_plan_survives_the_file_and_its_hash_depends_on_content_alone(sealed: Run, tmp_path: Path) -> None:
    plan = plan_for(sealed, *TUNED)
    path = tmp_path / "plan.toml"
    write_plan(plan, path)
    assert read_plan(path) == plan
    assert read_plan(path).sha256 == plan.sha256
    with pytest.raises(ConfigError, match="exists"):
        write_plan(plan, path)
    text = path.read_text(encoding="utf-8")
    head, *tables = text.split("\n\n[")
    shuffled = "\n\n[".join([head.replace("alpha = 0.05", "alpha   =  0.050 # strict"), *tables[1:], tables[0]])
    assert tomllib.loads(shuffled)["data"] == tomllib.loads(text)["data"]
    path.write_text(shuffled.replace("sign = 0\n", ""), encoding="utf-8")
    assert read_plan(path).sha256 == plan.sha256
    for old, new in (("alpha = 0.05", "alpha = 0.01"), ("n_shifts = 99", "n_shifts = 199"), ("> 0.3", "> 0.31")):
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        assert read_plan(path).sha256 != plan.sha256


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('expect = "max_mcc > 0"', 'expect = "large"', "cannot be read"),
        ('mapper = "decoding"', 'mapper = "decodin"', "did you mean 'decoding'"),
        ('name = "H2"', 'name = "H1"', "two hypotheses have one name"),
        ("alpha = 0.05", "alpha = 2", "alpha"),
        ('splits = ["train", "test"]', 'splits = ["train", "validation"]', "a plan is for test bins"),
        ('variable = "side"', 'varible = "side"', "did you mean 'variable'"),
    ],
)
def test_a_plan_that_was_edited_badly_is_refused(sealed: Run, tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "plan.toml"
    write_plan(plan_for(sealed, *TUNED), path)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        read_plan(path)


def test_a_plan_states_the_null_of_each_variable(sealed: Run) -> None:
    nulls = [hypothesis.null for hypothesis in plan_for(sealed, *TUNED).hypotheses]
    assert nulls == ["circular shift", "circular shift", "trial permutation"]
    with pytest.raises(DataError, match="did you mean 'heading'"):
        plan_for(sealed, ("headin", "r2 > 0"))


@given(low=st.floats(-10, 10), width=st.floats(0, 10), value=st.floats(-20, 20))
def test_ranges_hold_their_bounds_and_wrap_around_a_circle(low: float, width: float, value: float) -> None:
    high = low + width
    inside = Expectation.parse(f"score in {low!r}..{high!r}")
    assert inside.met(value) == (low <= value <= high)
    assert inside.met(low)
    assert inside.met(high)
    if high > low:
        assert Expectation.parse(f"score in {high!r}..{low!r}").met(value) == (value >= high or value <= low)
    assert Expectation.parse(f"score > {low!r}").met(value) == (value > low)
    assert Expectation.parse(f"score < {low!r}").met(value) == (value < low)
    assert not inside.met(float("nan"))
    assert not inside.met(None)


def test_labels_are_compared_as_they_stand() -> None:
    expected = Expectation.parse("preferred = 0 to 30°")
    assert expected == Expectation(column="preferred", label="0 to 30°")
    assert expected.met("0 to 30°")
    assert not expected.met(pd.NA)


@pytest.mark.parametrize("text", ["", "r2", "r2 > high", "r2 in 1", "r2 in a..b", "> 3", "r2 > inf"])
def test_what_is_no_expectation_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read|is not a number"):
        Expectation.parse(text)


def test_a_sealed_run_needs_validation_and_test_bins(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"give split\.validation and split\.test a share"):
        made(tmp_path, sealed=True, further=("split.validation=0", "split.test=0.5"))


def test_the_way_from_plan_to_verdict_on_the_command_line(
    bare: Run, tmp_path: Path, nldisco: Callable[..., Any]
) -> None:
    file = tmp_path / "plan.toml"
    words = ("--variable", "heading", "--expect", "resultant_length > 0.3", "--to", file)
    written = nldisco("plan", bare.folder, *words)
    assert written.code == 0, written.err
    assert read_plan(file).sha256 in written.out
    assert nldisco("plan", file).out.splitlines()[0] == f"sha256 {read_plan(file).sha256}"
    assert nldisco("plan", file, *words).code == 1
    assert nldisco("plan", bare.folder, "--variable", "heading", "--to", tmp_path / "b.toml").code == 1
    assert "--without-plan" in nldisco("open", bare.folder).err
    opened = nldisco("open", bare.folder, "--plan", file)
    assert opened.code == 0, opened.err
    assert "confirmatory: the first opening" in opened.out
    assert "H1  heading: resultant_length > 0.3 - confirmed" in opened.out
    assert "exploratory" in nldisco("open", bare.folder, "--without-plan").out


def test_a_plan_made_before_there_is_a_run_fits_the_run(copy: Run, tmp_path: Path, nldisco: Callable[..., Any]) -> None:
    file, plan = tmp_path / "run.toml", tmp_path / "plan.toml"
    config = copy.about["config"]
    sections = {key: config[key] for key in ("dataset", "split", "model")} | {"bin": {"trials": "trials"}}
    lines = []
    for name, section in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in section.items() if value is not None]
    file.write_text("\n".join([*lines, 'signals = ["heading"]']), encoding="utf-8")
    written = nldisco("plan", file, "--variable", "heading", "--expect", "resultant_length > 0.3", "--to", plan)
    assert written.code == 0, written.err
    assert read_plan(plan).data == plan_for(copy, TUNED[0]).data
    assert "confirmatory" in nldisco("open", copy.folder, "--plan", plan).out


def test_a_hypothesis_names_a_latent_that_is_there(bare: Run) -> None:
    plan = plan_for(bare, TUNED[0])
    rows = [
        plan.hypotheses[0].model_copy(update={"name": "latent", "latent": 99}),
        plan.hypotheses[0].model_copy(update={"name": "instance", "instance": 7}),
        Hypothesis(name="variable", variable="speed", expect="max_mcc > 0"),
    ]
    table = open_run(bare, plan.model_copy(update={"hypotheses": tuple(rows)})).table("hypotheses")
    assert set(table["verdict"]) == {"not testable"}
    assert table["reason"].is_unique


def test_an_opening_is_not_spent_on_a_score_that_there_is_not(
    bare: Run, tmp_path: Path, nldisco: Callable[..., Any]
) -> None:
    plan = plan_for(bare, ("heading", "resultant_lenght > 0.3"))
    with pytest.raises(ConfigError, match="H1: unknown score of selectivity 'resultant_lenght'; did you mean 'result"):
        open_run(bare, plan)
    assert not openings(bare)
    words = ("--variable", "heading", "--expect", "resultant_lenght > 0.3", "--to", tmp_path / "plan.toml")
    assert "did you mean 'resultant_length'" in nldisco("plan", bare.folder, *words).err
    assert not (tmp_path / "plan.toml").exists()
    further = plan.model_copy(update={"mappers": {"selectivity": {**plan.mappers["selectivity"], "n_bootstrap": 20}}})
    interval = plan.hypotheses[0].model_copy(update={"expect": "coverage_low > 0"})
    assert "coverage_low" not in bare.mapping("selectivity").table
    opened = open_run(bare, further.model_copy(update={"hypotheses": (interval,)}))
    assert opened.table("hypotheses")["verdict"].iloc[0] != "not testable"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"better_explained_by": "speed"}, "speed explains it better"),
        ({"zero_input_score": 0.99}, "as strong without any activity (max mcc 0.99)"),
    ],
)
def test_what_something_else_explains_is_not_confirmed_however_small_its_p(
    bare: Run, columns: dict[str, Any], reason: str
) -> None:
    plan = plan_for(bare, TUNED[0])
    run = open_run(bare, plan)
    confirmed = run.table("hypotheses").iloc[0]
    assert (confirmed["verdict"], confirmed["n_agreeing"]) == ("confirmed", 1)
    result = run.mapping("selectivity")
    write_mapping(run.folder / "mappings" / "selectivity", replace(result, table=result.table.assign(**columns)))
    row = judge(plan, Run(run.folder)).iloc[0]
    assert (row["verdict"], row["reason"], row["n_agreeing"]) == ("not confirmed", reason, 0)
    assert row["q"] == confirmed["q"] <= 0.05


def test_a_named_latent_counts_by_its_own_p_though_the_mapper_did_not_choose_it(bare: Run) -> None:
    plan = plan_for(bare, TUNED[0])
    run = open_run(bare, plan)
    latent = int(run.table("hypotheses")["latent"].iloc[0])
    result = run.mapping("selectivity")
    unchosen = result.table.assign(chosen=False, q=np.nan)
    write_mapping(run.folder / "mappings" / "selectivity", replace(result, table=unchosen))
    named = plan.hypotheses[0].model_copy(update={"latent": latent})
    row = judge(plan.model_copy(update={"hypotheses": (named,)}), Run(run.folder)).iloc[0]
    assert row["verdict"] == "confirmed"
    assert row["q"] == row["p"] == run.table("hypotheses")["p"].iloc[0]
