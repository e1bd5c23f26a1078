"""The learned dictionary: its codes are matching pursuit's, and planted atoms come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nldisco_baselines.config import LearnedDictionaryConfig
from nldisco_baselines.dictionary_learning import LearnedDictionary
from sklearn.linear_model import orthogonal_mp

from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.config import ModelConfig
from nldisco_core.monitoring import FitMonitor
from nldisco_core.relations import match_latents


def binned(activity: np.ndarray) -> Binned:
    n_bins, n_units = activity.shape
    session = BinnedSession(
        session_id="s",
        activity=activity,
        units=pd.DataFrame({"id": [f"u{unit}" for unit in range(n_units)], "region": "", "kind": ""}),
        start_ns=np.arange(n_bins, dtype=np.int64) * 50_000_000,
        trial=np.full(n_bins, -1, dtype=np.int32),
        split=np.zeros(n_bins, dtype=np.int8),
    )
    return Binned(sessions=(session,), bin_s=0.05, activity_kind="continuous")


def fitted(data: Binned, **settings: object) -> LearnedDictionary:
    model = LearnedDictionary(LearnedDictionaryConfig(**settings))  # type: ignore[arg-type]
    model.fit(data, validation=None, monitor=FitMonitor("learned-dictionary", quiet=True))
    return model


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, Binned]:
    """Six orthogonal atoms on ten units, two of them in each bin, with a little noise."""
    rng = np.random.default_rng(0)
    atoms = np.linalg.qr(rng.standard_normal((10, 6)))[0].T
    codes = np.zeros((1500, 6))
    for row in codes:
        row[rng.choice(6, 2, replace=False)] = rng.choice([-1, 1], 2) * rng.uniform(1, 2, 2)
    return atoms, binned(codes @ atoms + 0.02 * rng.standard_normal((1500, 10)) + 3)


def test_planted_atoms_come_back(planted: tuple[np.ndarray, Binned]) -> None:
    atoms, data = planted
    for values in fitted(data, n_latents=6, k=2, alpha=0.3, seeds=(0, 1, 2)).dictionary().values:
        similarity = np.abs(match_latents(atoms, values, absolute=True).similarity)
        assert np.median(similarity) > 0.99  # the objective is not convex: a start may end with two atoms mixed
    drawn = np.random.default_rng(0).standard_normal(atoms.shape)
    assert np.median(np.abs(match_latents(atoms, drawn, absolute=True).similarity)) < 0.8


def test_codes_are_those_of_matching_pursuit_with_at_most_k_atoms(planted: tuple[np.ndarray, Binned]) -> None:
    _, data = planted
    model = fitted(data, n_latents=8, k=3)
    codes = model.transform(data).main.dense()
    atoms = model.dictionary().values[0].astype(np.float64)
    centred = data.activity - data.activity.mean(axis=0)
    expected = orthogonal_mp(atoms.T, centred[:200].T, n_nonzero_coefs=3).T
    np.testing.assert_allclose(codes[:200], expected, atol=1e-4)
    assert (np.count_nonzero(codes, axis=1) <= 3).all()
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1, rtol=1e-6)


def test_more_atoms_than_units_and_more_than_bins_work() -> None:
    activity = np.random.default_rng(0).random((5, 3))
    model = fitted(binned(activity), n_latents=7, k=2)
    assert model.transform(binned(activity)).main.dense().shape == (5, 7)


def test_activity_that_never_varies_leaves_all_latents_at_zero() -> None:
    data = binned(np.full((20, 3), 0.1))
    model = fitted(data, n_latents=4)
    assert not model.transform(data).main.dense().any()
    (block,) = model.reconstruct(model.transform(data))
    np.testing.assert_allclose(block.values, 0.1, rtol=1e-6)


def test_other_seeds_start_from_other_bins_and_one_seed_repeats(planted: tuple[np.ndarray, Binned]) -> None:
    _, data = planted
    values = fitted(data, n_latents=12, seeds=(0, 1)).dictionary().values
    again = fitted(data, n_latents=12, seeds=(0,)).dictionary().values
    np.testing.assert_array_equal(values[0], again[0])
    assert not np.allclose(values[0], values[1])


def test_a_saved_model_codes_the_same(planted: tuple[np.ndarray, Binned], tmp_path: Path) -> None:
    _, data = planted
    model = fitted(data, n_latents=5)
    model.save(tmp_path)
    before, after = (made.transform(data).main.dense() for made in (model, LearnedDictionary.load(tmp_path)))
    np.testing.assert_array_equal(before, after)


def test_as_a_control_it_takes_latents_sparsity_and_seeds_of_the_reference() -> None:
    reference = ModelConfig(seeds=(3, 4))
    matched = LearnedDictionaryConfig().matched(reference=reference, n_latents=32, l0=2.6, n_units=10)
    assert matched == LearnedDictionaryConfig(n_latents=32, k=3, seeds=(3, 4))
    kept = LearnedDictionaryConfig(k=1).matched(reference=reference, n_latents=32, l0=2.6, n_units=10)
    assert isinstance(kept, LearnedDictionaryConfig)
    assert kept.k == 1
