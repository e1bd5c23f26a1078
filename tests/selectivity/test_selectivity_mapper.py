from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from nldisco_selectivity.config import SelectivityConfig
from nldisco_selectivity.mapper import Selectivity
from scipy import signal as filters
from scipy import stats

from nldisco_core.binned import Binned, Covariate
from nldisco_core.config import parse
from nldisco_core.conformance.toys import toy_binned, toy_latents
from nldisco_core.discoveries import found
from nldisco_core.errors import ConfigError, DataError, IncompatibleData
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult


def mapped(data: Binned, latents: Latents | None = None, seed: int = 0, **settings: object) -> MapperResult:
    config = parse(SelectivityConfig, {"n_shifts": 199, **settings})
    return Selectivity(config).map(toy_latents(data) if latents is None else latents, data, seed=seed)


def whole(result: MapperResult, variable: str, split: str = "test") -> pd.DataFrame:
    table = result.table
    rows = table[table["condition"].isna() & (table["variable"] == variable) & (table["split"] == split)]
    return rows.set_index(["instance", "latent", "sign"]).sort_index()


def with_covariate(data: Binned, covariate: Covariate) -> Binned:
    (session,) = data.sessions
    return replace(data, sessions=(replace(session, covariates={**session.covariates, covariate.name: covariate}),))


@pytest.fixture(scope="module")
def data() -> Binned:
    return toy_binned(n_bins=3000, n_trials=100)


@pytest.fixture(scope="module")
def result(data: Binned) -> MapperResult:
    return mapped(data, toy_latents(data, n_instances=2))


def test_planted_tuning_is_found_where_it_was_planted(result: MapperResult) -> None:
    rows = whole(result, "heading").xs(0, level="sign")
    for instance in (0, 1):
        tuned = rows.loc[instance].loc[range(6)]
        assert (tuned["q"] < 0.05).all()
        away = np.angle(np.exp(1j * (tuned["preferred_direction"].to_numpy() - 2 * np.pi * np.arange(6) / 6)))
        assert np.abs(away).max() < 0.25
        assert (tuned["resultant_length"] > 0.8).all()
        assert (tuned["stability"] > 0.8).all()
        assert tuned["preferred"].iloc[0] in ("0 to 30°", "330 to 360°")


def test_noise_and_trial_labels_are_not_found(result: MapperResult) -> None:
    for variable in ("speed", "side"):
        assert (whole(result, variable)["q"].dropna() > 0.05).all()


def test_dead_latent_has_no_score_at_all(result: MapperResult) -> None:
    dead = result.table[result.table["latent"] == 6]
    scores = ["coverage", "specificity", "precision", "selectivity", "youden", "mcc", "lift", "auroc", "cohens_d"]
    more = [
        "mean_on",
        "mean_off",
        "max_mcc",
        "mutual_information",
        "stability",
        "resultant_length",
        "p",
        "q",
        "null_mean",
    ]
    assert len(dead)
    assert dead[[*scores, *more]].isna().all(axis=None)
    assert (dead["n_active"] == 0).all()
    assert not dead["supported"].any()


def test_only_the_last_split_is_tested_and_only_supported_and_chosen_latents_are_called(result: MapperResult) -> None:
    assert whole(result, "heading", "train")["p"].isna().all()
    for variable in ("heading", "speed", "side"):
        tested = whole(result, variable)
        assert (tested["q"].notna() == (tested["supported"] & tested["chosen"] & tested["p"].notna())).all()


def test_planted_tuning_is_chosen_on_train_and_most_of_the_rest_is_not(result: MapperResult) -> None:
    assert whole(result, "heading").query("latent < 6")["chosen"].all()
    others = pd.concat([whole(result, variable).query("latent < 6") for variable in ("speed", "side", "place")])
    assert others["chosen"].mean() < 0.4
    assert any("stand out on the first split" in note for note in result.notes)


def test_without_a_split_to_choose_on_every_supported_latent_is_tested(data: Binned) -> None:
    rows = whole(mapped(data, splits=["all"], n_shifts=39), "speed", "all")
    assert rows["chosen"].all()
    assert (rows["q"].notna() == (rows["supported"] & rows["p"].notna())).all()


def test_variable_that_drifts_has_a_p_once_its_trend_is_removed() -> None:
    wander = filters.lfilter([1.0], [1.0, -np.exp(-1 / 40)], np.random.default_rng(2).standard_normal(3000))
    drifting = np.linspace(-3, 3, 3000) * wander.std() + wander
    data = with_covariate(
        toy_binned(n_bins=3000, n_trials=100), Covariate(name="pupil", values=drifting, kind="linear")
    )
    refused = mapped(data, variables=["pupil"], n_shifts=39)
    assert whole(refused, "pupil")["p"].isna().all()
    assert any("remove it (`detrend`)" in note for note in refused.notes)
    level = mapped(data, variables=["pupil"], n_shifts=39, detrend=["pupil"])
    assert whole(level, "pupil")["p"].notna().any()
    assert "pupil: less its slow drift through each session" in level.notes
    with pytest.raises(DataError, match="did you mean 'pupil'"):
        mapped(data, detrend=["pupils"])
    with pytest.raises(DataError, match="linear variables only"):
        mapped(data, detrend=["heading"])


def test_a_mapping_is_compared_with_variables_that_were_not_asked_for(data: Binned) -> None:
    heading = data.covariate("heading").values[:, 0]
    noisy = np.cos(heading) + 0.5 * np.random.default_rng(0).standard_normal(len(heading))
    both = with_covariate(data, Covariate(name="shadow", values=noisy, kind="linear"))
    result = mapped(both, variables=["shadow"])
    rows = whole(result, "shadow")
    tuned = rows[rows["supported"] & (rows["p"] <= 0.05)]
    assert len(tuned)
    assert (tuned["better_explained_by"] == "heading").all()
    assert not found(result.table).any()
    assert found(mapped(both, variables=["shadow"], confounds=False).table).any()


def test_preferred_condition_is_chosen_on_train_and_scored_on_test(result: MapperResult) -> None:
    table = result.table[(result.table["variable"] == "heading") & (result.table["latent"] == 2)]
    table = table[table["instance"] == 0]
    conditions = table[table["condition"].notna()]
    best = conditions[conditions["split"] == "train"].set_index("condition")["mcc"].idxmax()
    row = table[table["condition"].isna() & (table["split"] == "test")].iloc[0]
    same = conditions[(conditions["condition"] == best) & (conditions["split"] == "test")].iloc[0]
    assert row["preferred"] == best
    for name in ("coverage", "auroc", "youden", "n_on", "n_off"):
        assert row[name] == same[name]


def test_supported_needs_fifty_active_bins_and_ten_visits(result: MapperResult) -> None:
    table = result.table
    enough = (table["n_active"] >= 50) & (table["n_visits"] >= 10)
    assert (table["supported"] == enough).all()
    assert enough.any()
    assert not enough.all()


def test_top_marks_the_best_latents_of_each_condition_on_train(data: Binned) -> None:
    table = mapped(data, n_shifts=0, top_n=2, min_activation_frac=0.2, variables=["heading"]).table
    rows = table[table["condition"].notna()]
    train = rows[rows["split"] == "train"].set_index(["condition", "latent"])
    for condition, group in train.groupby("condition"):
        worthy = group[group["coverage"] >= 0.2].nlargest(2, "youden")
        assert set(group.index[group["top"]]) == set(worthy.index), condition
    test = rows[rows["split"] == "test"].set_index(["condition", "latent"])
    pd.testing.assert_series_equal(train["top"].sort_index(), test["top"].sort_index())


def test_signed_codes_are_mapped_as_two_rectified_halves(data: Binned) -> None:
    heading = np.nan_to_num(data.covariate("heading").values)
    codes = np.concatenate([np.cos(heading), np.sin(heading)], axis=1)[None].astype(np.float32)
    session_ids = tuple(session.session_id for session in data.sessions)
    space = LatentSpace(codes=codes, session_ids=session_ids, row_offsets=data.row_offsets, code_kind="signed")
    result = mapped(data, Latents.of(space), variables=["heading"])
    rows = whole(result, "heading").loc[0]
    assert sorted(rows.index) == [(0, -1), (0, 1), (1, -1), (1, 1)]
    directions = rows["preferred_direction"]
    for key, expected in {(0, 1): 0.0, (0, -1): np.pi, (1, 1): np.pi / 2, (1, -1): -np.pi / 2}.items():
        assert abs(np.angle(np.exp(1j * (directions[key] - expected)))) < 0.1
    assert rows["unit"].loc[(0, 1)] == rows["unit"].loc[(0, -1)]
    assert result.arrays["heading/curve"].shape == (1, 4, 12)


def test_latents_that_follow_one_unit_are_named_after_it(result: MapperResult) -> None:
    rows = whole(result, "heading").loc[0].droplevel("sign")
    assert rows["unit"].loc[range(6)].tolist() == [f"u{unit}" for unit in range(6)]
    assert rows["copy"].loc[range(6)].all()
    assert rows["copy"].isna().loc[6]


def test_arrays_hold_curves_occupancy_and_maps_of_every_variable(data: Binned, result: MapperResult) -> None:
    arrays = result.arrays
    assert arrays["heading/polar"].shape == (2, 7, 60)
    assert arrays["place/map"].shape == (2, 7, 5, 5)
    np.testing.assert_allclose(arrays["place/map"].reshape(2, 7, 25), arrays["place/curve"])
    heading = data.covariate("heading").values[:, 0]
    train = (data.split == 0) & (heading < np.pi / 6)
    expected = toy_latents(data).main.dense()[train].mean(axis=0)
    np.testing.assert_allclose(arrays["heading/curve_train"][0, :, 0], expected)
    for variable in ("heading", "speed", "place", "side"):
        defined = data.covariate(variable).defined.sum()
        assert arrays[f"{variable}/occupancy_s"].sum() == pytest.approx(defined * data.bin_s)
        n_conditions = len(arrays[f"{variable}/labels"])
        assert arrays[f"{variable}/curve"].shape == (2, 7, n_conditions)
        assert len(arrays[f"{variable}/centres"]) == n_conditions
    assert arrays["heading/polar_occupancy_s"].sum() == pytest.approx(data.covariate("heading").defined.sum() * 0.05)


def test_order_of_sessions_is_irrelevant() -> None:
    data = toy_binned(n_bins=1200, n_sessions=2)
    swapped = replace(data, sessions=data.sessions[::-1])
    tables = [
        mapped(d).table.sort_values(["variable", "split", "latent", "condition"], ignore_index=True)
        for d in (data, swapped)
    ]
    pd.testing.assert_frame_equal(*tables, rtol=1e-9)


def test_undefined_bins_of_a_variable_count_neither_inside_nor_outside(data: Binned) -> None:
    table = mapped(data, n_shifts=0, variables=["heading"]).table
    rows = table[table["condition"].notna() & (table["split"] == "train")]
    defined = (data.covariate("heading").defined & (data.split == 0)).sum()
    assert defined < (data.split == 0).sum()
    assert (rows["n_on"] + rows["n_off"] == defined).all()


def test_too_few_independent_shifts_give_no_p_and_say_why() -> None:
    slow = np.sin(np.arange(900) / 900 * 2 * np.pi)
    data = with_covariate(toy_binned(), Covariate(name="slow", values=slow, kind="linear"))
    result = mapped(data)
    rows = whole(result, "slow")
    assert rows["p"].isna().all()
    assert rows["q"].isna().all()
    assert rows["coverage"].notna().any()
    assert (rows["effective_shifts"] < 20).all()
    assert any("slow: no p values" in note and "at least 20" in note for note in result.notes)
    assert whole(result, "heading")["p"].notna().any()


def test_variables_that_cannot_be_mapped_are_left_out_with_their_reason() -> None:
    missing = Covariate(name="missing", values=np.full(900, np.nan), kind="linear")
    names = tuple(str(code) for code in range(900))
    many = Covariate(name="many", values=np.arange(900.0), kind="discrete", categories=names)
    constant = Covariate(name="constant", values=np.ones(900), kind="linear")
    data = with_covariate(with_covariate(with_covariate(toy_binned(), missing), many), constant)
    result = mapped(data, n_shifts=19)
    notes = " ".join(result.notes)
    assert "missing is left out" in notes
    assert "many is left out: 900 conditions" in notes
    assert set(result.table["variable"]) == {*toy_binned().covariate_names, "constant"}
    rows = whole(result, "constant")
    assert rows[["p", "specificity", "auroc", "max_mcc"]].isna().all(axis=None)


def test_data_without_behaviour_give_an_empty_table() -> None:
    data = toy_binned()
    bare = replace(data, sessions=(replace(data.sessions[0], covariates={}),))
    result = mapped(bare)
    assert result.table.empty
    assert not result.arrays


def test_bad_input_is_named() -> None:
    data = toy_binned()
    with pytest.raises(DataError, match="did you mean 'heading'"):
        mapped(data, variables=["headng"])
    with pytest.raises(IncompatibleData, match="900 bins for 897 bins"):
        mapped(data.rows(np.arange(900) >= 3), toy_latents(data))
    unsplit = replace(data, sessions=(replace(data.sessions[0], split=np.full(900, -1, dtype=np.int8)),))
    with pytest.raises(DataError, match="splits = \\['all'\\]"):
        mapped(unsplit)
    explored = mapped(unsplit, splits=["all"], n_shifts=19, variables=["heading"])
    assert set(explored.table["split"]) == {"all"}
    with pytest.raises(ConfigError, match="n_shift"):
        parse(SelectivityConfig, {"n_shift": 3})


def test_label_use_of_the_latents_is_in_every_row() -> None:
    data = toy_binned()
    told = replace(toy_latents(data).main, label_use="fit")
    assert (mapped(data, Latents.of(told), n_shifts=0).table["label_use"] == "fit").all()


def test_p_of_latents_that_follow_another_animal_is_no_smaller_than_stated() -> None:
    p = []
    for seed in range(25):
        seen, heard = toy_binned(n_bins=1800, seed=seed), toy_binned(n_bins=1800, seed=1000 + seed)
        table = whole(mapped(seen, toy_latents(heard), variables=["heading"], n_shifts=99, seed=seed), "heading")
        p.append(table["p"].dropna().to_numpy())
    for alpha in (0.05, 0.2):
        share = np.mean([(found <= alpha).mean() for found in p])
        assert share <= stats.binom.ppf(0.999, len(p), alpha) / len(p)


def test_conjunctions_and_windows_are_mapped_beside_the_variables(data: Binned) -> None:
    (session,) = data.sessions
    frame = session.trials.frame.assign(cue_s=session.trials.frame["start_s"] + 0.4)
    trials = replace(session, trials=replace(session.trials, frame=frame, events=("cue_s",)))
    conjoined = mapped(
        replace(data, sessions=(trials,)),
        variables=["heading"],
        conjunctions=[["heading", "side"]],
        windows={"cue": [0.1, 0.3]},
        n_circular=6,
    )
    assert set(conjoined.table["variable"]) == {"heading", "heading & side", "around cue"}
    assert set(whole(conjoined, "around cue")["null"]) == {"within-trial shift"}
    assert "-0.1 to 0.3 s" in set(conjoined.table["condition"].dropna())
    assert (whole(conjoined, "heading & side").loc[0].loc[range(6), "p"] <= 0.05).all()
    with pytest.raises(DataError, match="did you mean 'cue'"):
        mapped(replace(data, sessions=(trials,)), windows={"cu": [0.1, 0.3]})


def test_quantiles_are_set_per_variable(data: Binned) -> None:
    found = mapped(data, variables=["speed"], n_shifts=0, n_quantiles_of={"speed": 4})
    assert found.table["condition"].nunique() == 4
    with pytest.raises(DataError, match="did you mean 'speed'"):
        mapped(data, n_quantiles_of={"sped": 4})


def test_conditions_are_permuted_inside_named_blocks(data: Binned) -> None:
    half = (data.trial >= 50).astype(float)
    blocked = with_covariate(data, Covariate(name="half", values=half, kind="discrete", source="trial"))
    assert set(whole(mapped(blocked, variables=["side"], blocks="half"), "side")["null"]) == {"trial permutation"}
    by_itself = mapped(blocked, variables=["half"], blocks="half")
    assert whole(by_itself, "half")["p"].isna().all()
    with pytest.raises(DataError, match="did you mean 'half'"):
        mapped(blocked, blocks="hal")


def test_intervals_hold_their_score(data: Binned) -> None:
    table = mapped(data, variables=["heading"], n_shifts=0, n_bootstrap=50).table
    rows = table[table["condition"].notna() & table["supported"]]
    assert len(rows)
    for score in ("coverage", "selectivity"):
        assert ((rows[f"{score}_low"] <= rows[score]) & (rows[score] <= rows[f"{score}_high"])).mean() > 0.95


def test_session_without_the_variable_is_named_and_its_bins_do_not_count() -> None:
    data = toy_binned(n_bins=1200, n_sessions=2)
    first, second = data.sessions
    bare = {name: variable for name, variable in second.covariates.items() if name != "heading"}
    found = mapped(replace(data, sessions=(first, replace(second, covariates=bare))), n_shifts=0)
    assert "heading: not in session toy-2, whose bins do not count" in found.notes
    rows = found.table[(found.table["variable"] == "heading") & found.table["condition"].notna()]
    defined = (first.covariates["heading"].defined & (first.split == 2)).sum()
    test = rows[rows["split"] == "test"]
    assert (test["n_on"] + test["n_off"] == defined).all()
