"""A model's mappings beside what its controls reach."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nldisco_core.beside_controls import beside_controls
from nldisco_core.mapping import mapping_table
from nldisco_core.zero_input import ZERO_INPUT


def mapped(scores: np.ndarray, *, supported: bool = True) -> pd.DataFrame:
    """(n_instances, n_latents, 2) scores of two variables, one of them by conditions, and a row of all latents."""
    instance, latent, variable = (axis.ravel() for axis in np.indices(scores.shape))
    single = {
        "instance": instance,
        "latent": latent,
        "variable": np.array(["heading", "side"])[variable],
        "condition": np.where(variable == 1, "left", None),
        "statistic": np.where(variable == 1, None, "max mcc"),
        "split": "test",
        "score": scores.ravel(),
        "supported": supported | (latent != 0),
    }
    whole = {
        "instance": np.arange(len(scores)),
        "variable": "heading",
        "split": "test",
        "statistic": "knn r2",
        "score": scores.mean(axis=(1, 2)),
        "supported": pd.array([pd.NA] * len(scores), dtype="boolean"),
    }
    return mapping_table(pd.concat([pd.DataFrame(single), pd.DataFrame(whole)]).to_dict("list"))


def test_best_control_is_the_largest_mean_over_instances_of_the_best_supported_latent() -> None:
    rng = np.random.default_rng(0)
    own, one, other = rng.random((2, 4, 2)), rng.random((3, 5, 2)), rng.random((1, 6, 2))
    one[:, 0] = 5.0  # not supported
    table = beside_controls(mapped(own), {"one": mapped(one, supported=False), "other": mapped(other)})
    for column, name in enumerate(("heading", "side")):
        means = {"one": one[:, 1:, column].max(axis=1).mean(), "other": other[..., column].max()}
        rows = table[(table["variable"] == name) & table["latent"].notna()]
        assert set(rows["best_control"]) == {max(means, key=lambda key: means[key])}
        np.testing.assert_allclose(rows["best_control_score"], max(means.values()))
    whole = table[table["latent"].isna()]
    means = {"one": one.mean(), "other": other.mean()}
    assert set(whole["best_control"]) == {max(means, key=lambda key: means[key])}
    np.testing.assert_allclose(whole["best_control_score"], max(means.values()))


def test_zero_input_stands_beside_the_same_latent() -> None:
    rng = np.random.default_rng(1)
    own, silent = mapped(rng.random((2, 4, 2))), mapped(rng.random((2, 4, 2)))
    shuffled = silent.sample(frac=1, random_state=0)
    table = beside_controls(own, {ZERO_INPUT: shuffled})
    np.testing.assert_array_equal(table["zero_input_score"], silent["score"])
    assert set(table["best_control"]) == {ZERO_INPUT}


def test_a_variable_that_no_control_was_mapped_to_has_no_best_control() -> None:
    own = mapped(np.full((1, 2, 2), 0.5))
    other = own[own["variable"] == "side"]
    table = beside_controls(own, {"other": other})
    assert table["best_control"].notna().tolist() == (table["variable"] == "side").tolist()
    assert "zero_input_score" not in table


def test_tables_without_a_score_stay_as_they_are() -> None:
    own = mapped(np.full((1, 2, 2), 0.5))
    bare = own.drop(columns="score")
    assert beside_controls(bare, {"other": own}) is bare
    assert beside_controls(own, {"other": bare}) is own
