"""Thresholds that bring any latents to one sparsity, against plain sorting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from nldisco_core.errors import DataError
from nldisco_core.latents import LatentSpace
from nldisco_core.matched_sparsity import RULES, Rule, at_sparsity

N_ROWS, N_LATENTS = 300, 8
TRAIN = np.arange(N_ROWS) < 200


def space_of(values: np.ndarray, *, signed: bool = False, defined: np.ndarray | None = None) -> LatentSpace:
    return LatentSpace(
        codes=values[None] if signed else (sparse.csc_array(values),),
        session_ids=("s",),
        row_offsets=np.array([0, len(values)]),
        code_kind="signed" if signed else "nonnegative",
        defined=defined,
    )


def activations(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.gamma(1.0, size=(N_ROWS, N_LATENTS)) * np.arange(1, N_LATENTS + 1)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("l0", [1.0, 2.0, 6.0])
def test_train_rows_get_the_sparsity_asked_for_and_kept_values_stay(rule: Rule, l0: float) -> None:
    values = activations()
    codes = at_sparsity(space_of(values), l0=l0, rule=rule, chosen_on=TRAIN).dense()
    assert np.count_nonzero(codes[TRAIN]) == 200 * l0
    assert ((codes == values) | (codes == 0)).all()


@pytest.mark.parametrize("rule", RULES)
def test_what_stays_is_what_a_loop_over_sorted_values_keeps(rule: Rule) -> None:
    values, l0 = activations(1), 2
    scaled = values / np.sqrt((values[TRAIN] ** 2).mean(axis=0))
    compared = values if rule in ("common", "own") else scaled
    expected = np.zeros((20, N_LATENTS), dtype=bool)
    for row in range(20):
        for latent in range(N_LATENTS):
            if rule == "own":
                threshold = sorted(compared[TRAIN, latent])[-200 * l0 // N_LATENTS]
            else:
                pool, k = (compared[row], l0) if rule == "per-row" else (compared[TRAIN].ravel(), 200 * l0)
                threshold = sorted(pool)[-k]
            expected[row, latent] = compared[row, latent] >= threshold
    found = at_sparsity(space_of(values), l0=l0, rule=rule, chosen_on=TRAIN).dense() > 0
    np.testing.assert_array_equal(found[:20], expected)


@pytest.mark.parametrize("rule", ["common", "scaled", "own"])
def test_thresholds_do_not_look_at_other_rows(rule: Rule) -> None:
    values = activations(2)
    changed = values.copy()
    changed[~TRAIN] *= 10
    first, second = (
        at_sparsity(space_of(given), l0=2.0, rule=rule, chosen_on=TRAIN).dense() for given in (values, changed)
    )
    np.testing.assert_array_equal(first[TRAIN], second[TRAIN])


def test_signed_codes_become_halves() -> None:
    values = np.random.default_rng(3).normal(size=(N_ROWS, 2))
    made = at_sparsity(space_of(values, signed=True), l0=1.0, rule="common", chosen_on=TRAIN)
    assert (made.n_latents, made.code_kind) == (4, "nonnegative")
    codes = made.dense()
    kept = codes[:, :2] - codes[:, 2:]
    assert np.count_nonzero(codes[TRAIN]) == 200
    np.testing.assert_array_equal(kept[kept != 0], values[kept != 0])


def test_fewer_activations_than_asked_for_all_stay() -> None:
    values = activations() * (np.arange(N_LATENTS) < 1)
    for rule in RULES:
        assert at_sparsity(space_of(values), l0=4.0, rule=rule, chosen_on=TRAIN).csc().nnz <= N_ROWS
    common = at_sparsity(space_of(values), l0=4.0, rule="common", chosen_on=TRAIN)
    assert common.csc().nnz == N_ROWS


def test_rows_the_model_does_not_speak_of_decide_nothing() -> None:
    values = activations(4)
    defined = np.arange(N_ROWS) >= 100
    made = at_sparsity(space_of(values, defined=defined), l0=2.0, rule="common", chosen_on=TRAIN)
    assert np.count_nonzero(made.dense()[100:200]) == 200
    assert made.defined is not None


def test_no_rows_or_no_sparsity_is_an_error() -> None:
    with pytest.raises(DataError, match="expected l0 above 0"):
        at_sparsity(space_of(activations()), l0=0.0, rule="own", chosen_on=TRAIN)
    with pytest.raises(DataError, match="on 0 rows"):
        at_sparsity(space_of(activations()), l0=1.0, rule="own", chosen_on=np.zeros(N_ROWS, dtype=bool))
