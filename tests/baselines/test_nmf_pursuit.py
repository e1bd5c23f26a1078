"""NMF with matching pursuit: its codes against a plain loop, and its atoms are NMF's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nldisco_baselines.config import NMFConfig, NMFOMPConfig
from nldisco_baselines.linear import NMF
from nldisco_baselines.nmf_pursuit import NMFOMP
from scipy.optimize import nnls

from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.config import ModelConfig
from nldisco_core.monitoring import FitMonitor


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


def fitted(data: Binned, **given_settings: object) -> NMFOMP:
    model = NMFOMP(NMFOMPConfig(**given_settings))  # type: ignore[arg-type]
    model.fit(data, validation=None, monitor=FitMonitor("nmf-omp", quiet=True))
    return model


def planted(seed: int = 0, n_bins: int = 600) -> tuple[np.ndarray, Binned]:
    """Six overlapping non-negative atoms on ten units, two in each bin, with a little noise."""
    rng = np.random.default_rng(seed)
    atoms = rng.gamma(0.5, 1.0, (6, 10))
    codes = np.zeros((n_bins, 6))
    for row in codes:
        row[rng.choice(6, 2, replace=False)] = rng.uniform(0.5, 1.5, 2)
    return atoms, binned(np.maximum(codes @ atoms + 0.02 * rng.standard_normal((n_bins, 10)), 0))


def loop(x: np.ndarray, atoms: np.ndarray, k: int) -> np.ndarray:
    """Non-negative orthogonal matching pursuit of one bin."""
    code = np.zeros(len(atoms))
    taken: list[int] = []
    for _ in range(k):
        gain = atoms @ (x - code @ atoms)
        gain[taken] = -np.inf
        if gain.max() <= 1e-9 * np.linalg.norm(x):
            break
        taken.append(int(gain.argmax()))
        code[taken] = nnls(atoms[taken].T, x)[0]
    return code


@given(seed=st.integers(0, 1000), k=st.integers(1, 6))
@settings(max_examples=10, deadline=None)
def test_codes_are_those_of_a_plain_loop(seed: int, k: int) -> None:
    _, data = planted(seed, n_bins=60)
    model = fitted(data, n_latents=6, k=k, max_iter=50)
    atoms = model._atoms()[0]
    expected = np.stack([loop(row, atoms, k) for row in data.activity])
    np.testing.assert_allclose(model.transform(data).main.dense(), expected, atol=1e-5)


def test_pursuit_corrects_coefficients_that_turn_negative() -> None:
    atoms = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]) / np.array([[2**0.5], [1], [1]])
    model = fitted(binned(np.ones((9, 3))), n_latents=3, k=3)
    model._weights["dictionary"] = atoms[None]
    x = np.array([[1.0, 0.2, 0.0], [0.2, 1.0, 0.0], [1.0, 1.0, 0.3], [0.0, 0.0, 0.0]])
    codes = model.transform(binned(x)).main.dense()
    assert (codes >= 0).all()
    np.testing.assert_allclose(codes, [loop(row, atoms, 3) for row in x], atol=1e-6)


def test_atoms_are_those_of_nmf_and_more_of_them_explain_more() -> None:
    _, data = planted()
    nmf = NMF(NMFConfig(n_latents=6, seeds=(3,)))
    nmf.fit(data, validation=None, monitor=FitMonitor("nmf", quiet=True))
    errors = []
    for k in (1, 2, 6):
        model = fitted(data, n_latents=6, k=k, seeds=(3,))
        np.testing.assert_array_equal(model.dictionary().values, nmf.dictionary().values)
        codes = model.transform(data).main
        assert np.count_nonzero(codes.dense(), axis=1).max() <= k
        (block,) = model.reconstruct(model.transform(data))
        errors.append(float(np.square(block.values - data.activity).sum()))
    assert errors[0] > errors[1] > errors[2]
    (best,) = nmf.reconstruct(nmf.transform(data))
    assert errors[2] == pytest.approx(float(np.square(best.values - data.activity).sum()), rel=0.02)


def test_as_a_control_it_takes_latents_sparsity_and_seeds_of_the_reference() -> None:
    reference = ModelConfig(seeds=(3, 4))
    matched = NMFOMPConfig().matched(reference=reference, n_latents=32, l0=2.6, n_units=10)
    assert matched == NMFOMPConfig(n_latents=32, k=3, seeds=(3, 4))
    kept = NMFOMPConfig(k=1).matched(reference=reference, n_latents=32, l0=2.6, n_units=10)
    assert isinstance(kept, NMFOMPConfig)
    assert kept.k == 1
