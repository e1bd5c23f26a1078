"""The figures side by side are those of the tables, and the plain words follow from them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nldisco_core.mapping import mapping_table
from nldisco_core.statements import Statement, grouped, recorded
from nldisco_core.summary import Findings, comparison, printable, top_mappings
from nldisco_core.verdict import statements, verdict, verdict_record


def _metrics() -> pd.DataFrame:
    rows = [
        (model, instance, level, split, r2 + 0.01 * instance - 0.1 * (1 - level), l0)
        for model, r2, l0 in (("model", 0.9, 2.0), ("same", 0.8, 2.1), ("wide", 0.99, 15.0))
        for instance in (0, 1)
        for level in (0, 1)
        for split in ("train", "test")
    ]
    frame = pd.DataFrame(rows, columns=["model", "instance", "level", "split", "r2", "l0_mean"])
    return frame.assign(bits_per_spike=np.nan, lag_s=0.0)


def _mapping(n_tuned: int, lengths: float, r2: float) -> tuple[pd.DataFrame, ...]:
    tuning = mapping_table(
        {
            "instance": [0] * 4,
            "latent": range(4),
            "variable": ["heading"] * 4,
            "split": ["test"] * 4,
            "p": [0.001] * 4,
            "q": [0.01 if latent < n_tuned else 0.5 for latent in range(4)],
            "supported": [True, True, True, False],
            "resultant_length": [lengths] * 4,
            "mutual_information": [0.1, 0.2, 0.3, 0.9],
            "youden": [0.4, 0.3, 0.2, 0.1],
        }
    )
    decoding = mapping_table(
        {
            "instance": [0, 0],
            "latent": [None, None],
            "variable": ["heading"] * 2,
            "split": ["test"] * 2,
            "method": ["knn", "ridge"],
            "r2": [r2, -5.0],
            "median_error_deg": [12.0, 90.0],
        }
    )
    return tuning, decoding


def _findings() -> Findings:
    return Findings(
        metrics=_metrics(),
        mappings={"model": _mapping(4, 0.9, 0.8), "same": _mapping(0, 0.95, 0.9)},
        seed_match=pd.DataFrame(
            {"model": ["model"], "median": [0.9], "lowest_pair": [0.8], "highest_pair": [1.0], "null_gaussian": [0.4]}
        ),
        copies=pd.DataFrame(
            {
                "model": "model",
                "instance": 0,
                "latent": range(4),
                "correlation": [0.9, 0.1, 0.2, np.nan],
                "copy": [True, False, False, False],
            }
        ),
    )


def _values(table: pd.DataFrame, model: str) -> dict[str, float]:
    return table[table["model"] == model].set_index("quantity")["mean"].to_dict()


def test_the_deepest_level_on_test_bins_is_reported_with_its_range() -> None:
    table = comparison(_findings())
    r2 = table[(table["model"] == "model") & (table["quantity"] == "r2")].iloc[0]
    assert (r2["mean"], r2["low"], r2["high"], r2["n_instances"]) == (pytest.approx(0.905), 0.9, 0.91, 2)


def test_counts_speak_of_supported_latents_only() -> None:
    found = _values(comparison(_findings()), "model")
    assert (found["n_supported"], found["n_tuned"], found["n_sharp"]) == (3, 3, 3)
    assert found["best_information"] == 0.3
    assert found["copy_share"] == pytest.approx(1 / 3)
    assert found["decoding_r2"] == 0.8


def test_the_words_name_equals_at_the_same_sparsity_only() -> None:
    sentence = verdict(_findings(), {"model": "sae"})[0]
    assert "of its equals at that sparsity it is in every instance above same 0.805." in sentence
    assert "wide" not in sentence


def test_the_words_say_when_controls_tell_as_much_or_look_as_sharp() -> None:
    said = " ".join(verdict(_findings(), {"model": "sae"}))
    assert "do not tell more than same" in said
    assert "sharp tuning alone is no evidence" in said
    assert "gaussian 0.40" in said


def test_a_run_without_controls_says_that_nothing_can_be_judged() -> None:
    metrics = _metrics()
    said = verdict(Findings(metrics=metrics[metrics["model"] == "model"]), {"model": "sae"})
    assert "No controls were run" in said[-1]


def test_top_mappings_are_ranked_by_q_then_youden() -> None:
    assert top_mappings(_findings(), n=2)["latent"].tolist() == [0, 1]


def test_printed_tables_have_a_row_per_model_and_named_columns() -> None:
    tables = printable(comparison(_findings()), {"model": "sae"})
    assert list(tables) == ["reconstruction", "heading", "copies and seeds"]
    assert tables["reconstruction"].loc["sae", "R²"] == "0.91 [0.90, 0.91]"
    assert tables["heading"].index.tolist() == ["sae", "same"]


def _scored(best: float, explained: tuple[str | None, ...], *, zero: float | None = None) -> tuple[pd.DataFrame, ...]:
    """Three supported latents with q < .05 for position, some of which another variable explains better."""
    columns = {
        "instance": 0,
        "latent": range(3),
        "variable": "position",
        "split": "test",
        "statistic": "max mcc",
        "p": 0.001,
        "q": 0.01,
        "supported": True,
        "better_explained_by": pd.array(explained, dtype="string"),
        "score": [best, best / 2, best / 3],
    }
    return (mapping_table(columns if zero is None else {**columns, "zero_input_score": zero}),)


def _position(own: tuple[pd.DataFrame, ...], control: tuple[pd.DataFrame, ...]) -> Findings:
    return Findings(metrics=_metrics(), mappings={"model": own, "same": control})


def test_what_another_variable_explains_better_is_neither_counted_nor_listed() -> None:
    findings = _position(_scored(0.6, ("heading", "heading", None)), _scored(0.4, (None, None, None)))
    table = comparison(findings)
    own = table[table["model"] == "model"].set_index("quantity")["mean"]
    assert (own["n_tuned"], own["n_explained"], own["n_supported"]) == (1, 2, 3)
    assert top_mappings(findings)["latent"].tolist() == [2]
    assert top_mappings(findings)["found"].all()
    said = " ".join(verdict(findings, {"model": "sae"}))
    assert "1 of 3 supported latents of sae are tuned to position at q < .05, mean over instances (same 3)." in said
    assert "2 more not reported: another variable explains them better." in said
    assert "same has at least as many, so their number is no evidence of a good model." in said


def test_the_words_say_when_a_control_equals_the_best_latent() -> None:
    nothing = (None, None, None)
    above = verdict(_position(_scored(0.6, nothing), _scored(0.4, nothing)), {"model": "sae"})
    assert "The best latent of sae for position (0.60) is above that of every control (same 0.40)." in above
    equal = verdict(_position(_scored(0.6, nothing), _scored(0.595, nothing)), {"model": "sae"})
    assert "The best latent of sae for position (0.60) is equalled by that of same (0.59)." in equal


def test_no_best_latent_is_named_where_none_was_found() -> None:
    explained = _position(_scored(0.6, ("heading",) * 3), _scored(0.4, (None,) * 3))
    said = " ".join(verdict(explained, {"model": "sae"}))
    assert "0 of 3 supported latents of sae are tuned to position" in said
    assert "best latent" not in said
    partly = _position(_scored(0.6, ("heading", None, None)), _scored(0.4, (None,) * 3))
    assert "position (0.30) is equalled by that of same (0.40)." in " ".join(verdict(partly, {"model": "sae"}))


def test_a_variable_without_p_values_is_said_to_be_untested() -> None:
    untested = tuple(table.assign(p=np.nan, q=np.nan) for table in _scored(0.6, (None,) * 3))
    said = " ".join(verdict(_position(untested, _scored(0.4, (None,) * 3)), {"model": "sae"}))
    assert "No latent of sae could be tested for position: there are no p values, the notes say why." in said
    assert "best latent" not in said


def test_the_words_say_how_much_labels_alone_give() -> None:
    findings = _position(_scored(0.6, (None,) * 3, zero=0.3), _scored(0.4, (None,) * 3))
    said = " ".join(verdict(findings, {"model": "sae"}))
    assert "sae was given labels: without any activity 2 of 3 of its mappings to position are as strong." in said


def _standing(found: tuple[Statement, ...], words: str) -> str | None:
    (statement,) = (each for each in found if words in each.text)
    return statement.standing


def test_each_statement_has_the_standing_of_its_figures() -> None:
    found = statements(_findings(), {"model": "sae"})
    assert (
        _standing(found, "of its equals at that sparsity it is in every instance above")
        == "above every control compared"
    )
    assert _standing(found, "do not tell more than same") == "a control is as good or better"
    assert _standing(found, "sharp tuning alone is no evidence") == "a control is as good or better"
    assert _standing(found, "match at a median cosine of 0.90") == "above every control compared"
    assert _standing(found, "copy a single unit") == "not compared"
    assert {each.topic for each in found} == {"Reconstruction", "Decoding", "Tuning", "Seeds and copies"}


@pytest.mark.parametrize(
    ("best", "standing"), [(0.4, "above every control compared"), (0.595, "a control is as good or better")]
)
def test_the_best_latent_stands_where_its_controls_leave_it(best: float, standing: str) -> None:
    nothing = (None, None, None)
    found = statements(_position(_scored(0.6, nothing), _scored(best, nothing)), {"model": "sae"})
    assert _standing(found, "The best latent of sae for position (0.60)") == standing


def test_what_was_not_found_or_not_tested_is_not_shown() -> None:
    explained = statements(_position(_scored(0.6, ("heading",) * 3), _scored(0.4, (None,) * 3)), {})
    assert _standing(explained, "are tuned to position at") == "not shown"
    untested = tuple(table.assign(p=np.nan, q=np.nan) for table in _scored(0.6, (None,) * 3))
    assert _standing(statements(_position(untested, ()), {}), "could be tested for position") == "not shown"
    untold = Findings(metrics=_metrics(), mappings={"model": _mapping(4, 0.9, -0.2), "same": _mapping(0, 0.9, -0.5)})
    assert _standing(statements(untold, {}), "The latents do not tell it on held-out bins.") == "not shown"


def test_without_controls_nothing_is_above_one() -> None:
    metrics = _metrics()
    found = statements(Findings(metrics=metrics[metrics["model"] == "model"]), {"model": "sae"})
    assert {each.standing for each in found} == {"not compared"}
    sparse = metrics.assign(l0_mean=np.where(metrics["model"] == "model", 2.0, 15.0))
    said = statements(Findings(metrics=sparse), {"model": "sae"})[0]
    assert (said.standing, "at which no control is as sparse" in said.text) == ("not compared", True)


def test_the_strongest_standing_of_a_topic_comes_first_and_nothing_is_lost() -> None:
    nothing = (None, None, None)
    found = statements(_position(_scored(0.6, nothing), _scored(0.4, nothing)), {"model": "sae"})
    topics = dict(grouped(found))
    assert [each.standing for each in topics["Tuning"]] == [
        "above every control compared",
        "a control is as good or better",
    ]
    assert sorted(each.text for held in topics.values() for each in held) == sorted(each.text for each in found)


def test_a_run_keeps_sentences_with_their_standing() -> None:
    kept = verdict_record(_findings(), {"model": "sae"})
    assert kept["verdict"] == verdict(_findings(), {"model": "sae"})
    assert recorded(kept) == statements(_findings(), {"model": "sae"})
    older = recorded({"verdict": ["Something else.", *kept["verdict"][:1]], "findings": kept["findings"]})
    assert [(each.topic, each.standing is None) for each in older] == [("As recorded", True), ("Reconstruction", False)]
