"""What counts as found."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from nldisco_core.conformance.toys import toy_binned
from nldisco_core.discoveries import DISTANCE_S, choosing_rows, found, stands_out, with_q
from nldisco_core.mapping import mapping_table


def table(p: np.ndarray, *, supported: np.ndarray, chosen: np.ndarray) -> pd.DataFrame:
    """Two instances alike, two variables, one row per latent, tested on ``test``."""
    n = len(p) // 4
    columns = {
        "instance": np.repeat([0, 1], 2 * n),
        "latent": np.tile(np.arange(n), 4),
        "variable": np.tile(np.repeat(["heading", "speed"], n), 2),
        "split": "test",
        "p": p,
        "supported": supported,
        "chosen": chosen,
    }
    return mapping_table(columns)


def test_q_is_benjamini_hochberg_per_instance_over_what_is_supported_and_chosen() -> None:
    rng = np.random.default_rng(0)
    made = table(rng.random(80), supported=rng.random(80) < 0.8, chosen=rng.random(80) < 0.6)
    made.loc[::7, "p"] = np.nan
    with_all, notes = with_q(made, split="test", n_shifts=1000)
    for _, rows in with_all.groupby("instance"):
        family = rows[rows["supported"] & rows["chosen"] & rows["p"].notna()]
        assert family["variable"].nunique() == 2
        np.testing.assert_allclose(family["q"], stats.false_discovery_control(family["p"]))
        assert rows.drop(family.index)["q"].isna().all()
    members = with_all["q"].notna().sum()
    assert notes[0].startswith(f"q over the {members} of ")


def test_rows_of_other_splits_and_of_conditions_are_no_members() -> None:
    made = table(np.full(8, 0.01), supported=np.ones(8, dtype=bool), chosen=np.ones(8, dtype=bool))
    made.loc[0, "split"], made.loc[1, "condition"] = "train", "left"
    assert with_q(made, split="test", n_shifts=1000)[0]["q"].isna().tolist() == [True, True, *[False] * 6]


def test_one_real_mapping_among_a_thousand_is_found_because_it_was_chosen() -> None:
    rng = np.random.default_rng(1)
    on_train, on_test = rng.integers(1, 101, 1000) / 100, rng.integers(2, 1002, 1000) / 1001
    on_train[0], on_test[0] = 0.01, 1 / 1001
    on_test[5] = 1 / 1001
    everything = np.ones(1000, dtype=bool)
    chosen = stands_out(on_train, n_draws=99)
    q = [
        with_q(
            mapping_table(
                {
                    "instance": 0,
                    "latent": range(1000),
                    "variable": "heading",
                    "split": "test",
                    "p": on_test,
                    "supported": True,
                    "chosen": of,
                }
            ),
            split="test",
            n_shifts=1000,
        )
        for of in (everything, chosen & (np.arange(1000) < 400))
    ]
    assert q[0][0]["q"].min() > 0.05
    assert q[1][0]["q"].idxmin() == 0
    assert q[1][0].loc[0, "q"] < 0.05


def test_the_note_says_how_many_relabellings_one_mapping_needs() -> None:
    made = table(np.full(400, 0.5), supported=np.ones(400, dtype=bool), chosen=np.ones(400, dtype=bool))
    notes = with_q(made, split="test", n_shifts=999)[1]
    assert "with 200 tests and 999 relabellings q < 0.05 takes 4 mappings of the smallest p" in notes[1]
    assert "n_shifts = 4000 would" in notes[1]
    assert stats.false_discovery_control(np.r_[1 / 4001, np.ones(199)])[0] < 0.05
    assert len(with_q(made, split="test", n_shifts=4000)[1]) == 1


def test_too_few_draws_choose_everything() -> None:
    assert stands_out(np.array([0.2, 1.0]), n_draws=4).all()
    assert stands_out(np.array([0.1, 0.2, np.nan]), n_draws=99).tolist() == [True, False, False]


def test_what_another_variable_explains_better_is_not_found() -> None:
    made = table(np.full(8, 0.01), supported=np.arange(8) != 0, chosen=np.ones(8, dtype=bool))
    made = with_q(made, split="test", n_shifts=1000)[0]
    made["better_explained_by"] = pd.array([pd.NA, "heading", *[pd.NA] * 6], dtype="string")
    assert found(made).tolist() == [False, False, *[True] * 6]
    assert found(made.drop(columns="better_explained_by")).tolist() == [False, *[True] * 7]


def test_bins_to_choose_on_keep_a_second_from_tested_ones() -> None:
    data = toy_binned(n_bins=900, n_sessions=2)
    first, last = data.split == 0, data.split == 2
    rows = choosing_rows(data, first, last)
    assert rows is not None
    offset = data.row_offsets
    for session in range(2):
        own = slice(offset[session], offset[session + 1])
        start_s = data.sessions[session].start_ns * 1e-9
        tested = start_s[last[own]]
        # from the end of the one bin to the start of the other
        away = np.array([np.abs(tested - time).min(initial=np.inf) - data.bin_s for time in start_s])
        np.testing.assert_array_equal(rows[own], first[own] & (away >= DISTANCE_S - 1e-9))


def test_without_bins_that_keep_the_distance_nothing_is_chosen_on() -> None:
    data = toy_binned(n_bins=900)
    alternating = np.arange(900) % 20 < 10
    assert choosing_rows(data, alternating, ~alternating) is None
    assert choosing_rows(data, alternating, alternating) is None
