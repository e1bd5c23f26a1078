"""What every baseline promises, and each against an independent reference."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nldisco_baselines.config import (
    FactorAnalysisConfig,
    ICAConfig,
    NMFConfig,
    NMFOMPConfig,
    PCAConfig,
    RawUnitsConfig,
    UnitsOMPConfig,
)
from nldisco_baselines.linear import ICA, NMF, PCA, FactorAnalysis
from nldisco_baselines.nmf_pursuit import NMFOMP
from nldisco_baselines.pursuit import UnitsOMP
from nldisco_baselines.units import RawUnits
from sklearn import decomposition
from sklearn.linear_model import orthogonal_mp

from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.conformance.toys import toy_binned
from nldisco_core.errors import IncompatibleData, NotFitted, SchemaTooNew
from nldisco_core.interfaces import FitReport, HasDictionary, LatentModel, Reconstructs

MODELS: dict[str, tuple[type[Any], type[Any]]] = {
    "pca": (PCA, PCAConfig),
    "ica": (ICA, ICAConfig),
    "factor-analysis": (FactorAnalysis, FactorAnalysisConfig),
    "nmf": (NMF, NMFConfig),
    "nmf-omp": (NMFOMP, NMFOMPConfig),
    "units-omp": (UnitsOMP, UnitsOMPConfig),
    "raw-units": (RawUnits, RawUnitsConfig),
}
WITH_N_LATENTS = ("pca", "ica", "factor-analysis", "nmf", "nmf-omp")

every_model = pytest.mark.parametrize("name", MODELS)


class Silent:
    """A monitor that listens to nothing; asks to stop after `patience` calls."""

    def __init__(self, patience: int | None = None) -> None:
        self.patience = patience

    def progress(self, done: int, total: int, message: str = "") -> None:
        self.last = (done, total)

    def scalar(self, step: int, name: str, value: float, *, instance: int | None = None) -> None: ...

    def should_stop(self) -> bool:
        return self.patience is not None and self.last[0] >= self.patience

    def checkpoint_due(self) -> bool:
        return False

    def checkpoint(self, write: object) -> None: ...

    def latest_checkpoint(self) -> None:
        return None


def binned(activity: np.ndarray, **of_session: Any) -> Binned:
    """One session of this activity, all of it for training."""
    n_bins, n_units = activity.shape
    session = BinnedSession(
        session_id="s",
        activity=activity,
        units=pd.DataFrame({"id": [f"u{unit}" for unit in range(n_units)]}),
        start_ns=np.arange(n_bins, dtype=np.int64) * 50_000_000,
        trial=np.full(n_bins, -1, dtype=np.int32),
        split=np.zeros(n_bins, dtype=np.int8),
        **of_session,
    )
    return Binned(sessions=(session,), bin_s=0.05, activity_kind="continuous")


def make(name: str, **settings_: Any) -> Any:
    model_class, config_class = MODELS[name]
    return model_class(config_class(**settings_))


def fitted(name: str, data: Binned, **settings_: Any) -> tuple[Any, FitReport]:
    model = make(name, **settings_)
    return model, model.fit(data, validation=None, monitor=Silent())


def whole(model: Any, latents: Any) -> np.ndarray:
    """(n_instances, n_rows, n_units) reconstruction put together from its blocks."""
    space = latents.main
    values = np.full((space.n_instances, space.n_rows, model.dictionary().values.shape[2]), np.nan)
    for block in model.reconstruct(latents):
        assert np.isnan(values[block.instance, block.rows]).all(), "a row was given twice"
        values[block.instance, block.rows] = block.values
    assert not np.isnan(values).any(), "a row was left out"
    return values


@every_model
def test_model_meets_the_interfaces(name: str) -> None:
    model = make(name)
    assert isinstance(model, LatentModel)
    assert isinstance(model, Reconstructs)
    assert isinstance(model, HasDictionary)


@every_model
def test_latents_do_not_depend_on_the_other_bins(name: str) -> None:
    rng = np.random.default_rng(1)
    data = binned(rng.gamma(0.5, 1, (300, 45)))
    model, _ = fitted(name, data)
    alone = model.transform(data).main
    for mask in (*(rng.random((20, 300)) < rng.random((20, 1))), np.arange(300) == 17, np.arange(300) >= 291):
        part = model.transform(data.rows(mask)).main
        for instance in range(part.n_instances):
            assert np.array_equal(part.dense(instance), alone.dense(instance)[mask])


@every_model
def test_reconstruction_is_offset_plus_codes_times_dictionary(name: str) -> None:
    data = toy_binned(n_bins=5000, n_units=5)  # more rows than a block holds
    model, _ = fitted(name, data, seeds=(0, 1))
    latents = model.transform(data)
    dictionary = model.dictionary()
    assert dictionary.unit_ids == (tuple(data.units["id"]),)
    for instance, values in enumerate(whole(model, latents)):
        rest = values - latents.main.dense(instance).astype(np.float64) @ dictionary.values[instance]
        assert np.allclose(rest, rest[0], atol=1e-4)


@every_model
def test_same_seed_gives_the_same_result_and_input_is_left_alone(name: str) -> None:
    data = toy_binned(n_bins=300)
    before = data.activity.copy()
    first = fitted(name, data)[0].transform(data).main.dense()
    assert np.array_equal(first, fitted(name, data)[0].transform(data).main.dense())
    assert np.array_equal(data.activity, before)


@every_model
def test_one_instance_per_seed(name: str) -> None:
    data = toy_binned(n_bins=300)
    model, report = fitted(name, data, seeds=(3, 4, 5))
    space = model.transform(data).main
    assert space.n_instances == len(model.dictionary().values) == 3
    if name == "nmf":
        assert not np.allclose(space.dense(0), space.dense(1))
    assert report.stop_reason == "finished"


def test_stopping_keeps_the_instances_that_are_done() -> None:
    data = toy_binned(n_bins=200)
    model = make("nmf", seeds=(0, 1, 2))
    report = model.fit(data, validation=None, monitor=Silent(patience=2))
    assert report.stop_reason == "stopped"
    assert "stopped after 2 of 3 instances" in report.notes
    assert model.transform(data).main.n_instances == 2


@every_model
def test_saved_model_gives_the_same_latents_in_a_fresh_process(name: str, tmp_path: Path) -> None:
    data = toy_binned(n_bins=120)
    model, _ = fitted(name, data, seeds=(0, 2))
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "weights.safetensors"]
    script = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from nldisco_core.conformance.toys import toy_binned\n"
        "from nldisco_core.providers import load_target\n"
        "model = load_target(sys.argv[1]).load(Path(sys.argv[2]))\n"
        "data = toy_binned(n_bins=120)\n"
        "latents = model.transform(data)\n"
        "blocks = [block.values for block in model.reconstruct(latents)]\n"
        "codes, kind = latents.main.dense(1), latents.main.code_kind\n"
        "np.savez(Path(sys.argv[2]) / 'fresh.npz', codes=codes, kind=kind, last=blocks[-1])\n"
    )
    target = f"{type(model).__module__}:{type(model).__name__}"
    subprocess.run([sys.executable, "-c", script, target, str(tmp_path)], check=True)
    fresh = np.load(tmp_path / "fresh.npz")
    latents = model.transform(data)
    assert np.array_equal(fresh["codes"], latents.main.dense(1))
    assert fresh["kind"] == latents.main.code_kind
    assert np.array_equal(fresh["last"], list(model.reconstruct(latents))[-1].values)
    assert type(model).load(tmp_path).config == model.config


def test_files_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    model, _ = fitted("pca", toy_binned(n_bins=50))
    model.save(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(SchemaTooNew, match="99"):
        PCA.load(tmp_path)


@every_model
def test_before_fit_everything_is_not_fitted(name: str, tmp_path: Path) -> None:
    model = make(name)
    with pytest.raises(NotFitted):
        model.transform(toy_binned(n_bins=30))
    with pytest.raises(NotFitted):
        model.dictionary()
    with pytest.raises(NotFitted):
        model.save(tmp_path)


@every_model
def test_other_units_are_incompatible(name: str) -> None:
    data = toy_binned(n_bins=100, n_units=5)
    model, _ = fitted(name, data)
    with pytest.raises(IncompatibleData, match="fitted on 5 units; this data has 4"):
        model.transform(toy_binned(n_bins=100, n_units=4))
    renamed = data.units.assign(id=["u0", "u2", "u1", "u3", "u4"])
    session = replace(data.sessions[0], units=renamed)
    with pytest.raises(IncompatibleData, match="'u1' and is 'u2'"):
        model.transform(replace(data, sessions=(session,)))


@every_model
def test_latents_of_another_model_are_not_reconstructed(name: str) -> None:
    small, large = toy_binned(n_bins=60, n_units=3), toy_binned(n_bins=60, n_units=4)
    model, other = fitted(name, small)[0], fitted(name, large)[0]
    with pytest.raises(IncompatibleData, match="latents"):
        list(model.reconstruct(other.transform(large)))


@every_model
@pytest.mark.parametrize("case", ["silent unit", "one unit", "constant", "all silent", "two bins", "twin units"])
def test_awkward_activity_gives_finite_latents(name: str, case: str) -> None:
    rng = np.random.default_rng(0)
    activity = rng.poisson(1.0, (80, 4)).astype(np.float64)
    match case:
        case "silent unit":
            activity[:, 2] = 0
        case "one unit":
            activity = activity[:, :1]
        case "constant":
            activity[:] = 2.0
        case "all silent":
            activity[:] = 0
        case "two bins":
            activity = activity[:2]
        case "twin units":
            activity[:, 1] = activity[:, 0]
    data = binned(activity)
    model, _ = fitted(name, data)
    latents = model.transform(data)
    assert np.isfinite(latents.main.dense()).all()
    assert np.isfinite(whole(model, latents)).all()
    if case in ("constant", "all silent"):
        assert np.allclose(whole(model, latents)[0], activity, atol=1e-3)


@pytest.mark.parametrize("name", WITH_N_LATENTS)
def test_one_latent_works_and_default_is_sixteen_or_all_units(name: str) -> None:
    data = toy_binned(n_bins=300, n_units=6)
    assert fitted(name, data, n_latents=1)[0].transform(data).main.n_latents == 1
    assert fitted(name, data)[0].transform(data).main.n_latents == 6
    assert fitted(name, toy_binned(n_bins=100, n_units=18))[0].dictionary().values.shape[1] == 16


@pytest.mark.parametrize("name", ["pca", "ica", "factor-analysis"])
def test_more_components_than_units_are_refused_with_the_number_to_choose(name: str) -> None:
    with pytest.raises(IncompatibleData, match=r"Set model\.n_latents to 5"):
        fitted(name, toy_binned(n_bins=50, n_units=5), n_latents=6)


def test_latents_the_activity_cannot_support_stay_at_zero_and_are_noted() -> None:
    activity = np.random.default_rng(0).normal(size=(60, 3))
    activity[:, 2] = activity[:, 0] - activity[:, 1]
    for name in ("pca", "ica", "factor-analysis"):
        model, report = fitted(name, binned(activity))
        assert any("1 of 3 latents stay at zero" in note for note in report.notes)
        assert not model.transform(binned(activity)).main.dense()[:, 2].any()


@pytest.mark.parametrize(
    "reference", [decomposition.PCA(3, svd_solver="full"), decomposition.FactorAnalysis(3, svd_method="lapack")]
)
def test_pca_and_factor_analysis_equal_scikit_learn_up_to_sign(reference: Any) -> None:
    data = toy_binned(n_bins=400, n_units=6)
    name = "pca" if isinstance(reference, decomposition.PCA) else "factor-analysis"
    latents = fitted(name, data, n_latents=3)[0].transform(data).main
    expected = reference.fit_transform(data.activity.astype(np.float64))
    signs = np.sign((latents.dense() * expected).sum(axis=0))
    assert np.allclose(latents.dense() * signs, expected, atol=1e-4)
    assert latents.code_kind == "signed"


def test_ica_finds_the_components_that_scikit_learn_finds_from_another_start() -> None:
    data = toy_binned(n_bins=400, n_units=6)
    activity = data.activity.astype(np.float64)
    reference = decomposition.FastICA(6, whiten="unit-variance", max_iter=500, random_state=0)
    model, _ = fitted("ica", data)
    latents = model.transform(data)
    size = np.abs(np.corrcoef(latents.main.dense().T, reference.fit_transform(activity).T)[:6, 6:])
    assert (size.max(axis=1) > 0.98).all()
    assert np.allclose(whole(model, latents)[0], activity, atol=1e-4)


def test_pca_reconstruction_equals_scikit_learn() -> None:
    data = toy_binned(n_bins=400, n_units=6)
    reference = decomposition.PCA(2, svd_solver="full").fit(data.activity)
    model, _ = fitted("pca", data, n_latents=2)
    expected = reference.inverse_transform(reference.transform(data.activity))
    assert np.allclose(whole(model, model.transform(data))[0], expected, atol=1e-4)


def test_nmf_latents_reach_the_optimum_that_scikit_learn_iterates_to() -> None:
    data = toy_binned(n_bins=300, n_units=8)
    activity = data.activity.astype(np.float64)
    model, _ = fitted("nmf", data, n_latents=3)
    dictionary = model.dictionary().values[0].astype(np.float64)
    reference, _, _ = decomposition.non_negative_factorization(
        activity, H=dictionary, update_H=False, n_components=3, tol=1e-10, max_iter=5000
    )
    latents = model.transform(data).main
    assert latents.code_kind == "nonnegative"
    assert np.allclose(latents.dense(), reference, atol=1e-3)
    assert np.allclose(np.linalg.norm(dictionary, axis=1), 1, atol=1e-6)


def test_nmf_finds_planted_ensembles() -> None:
    rng = np.random.default_rng(0)
    ensembles = np.repeat(np.eye(3), 4, axis=1)
    strength = rng.gamma(0.5, 2, (800, 3))
    data = binned(rng.poisson(strength @ ensembles).astype(np.float64))
    model, _ = fitted("nmf", data, n_latents=3)
    correlation = np.corrcoef(model.transform(data).main.dense().T, strength.T)[:3, 3:]
    assert (correlation.max(axis=0) > 0.9).all()


def test_nmf_says_what_to_choose_for_negative_activity() -> None:
    signed = binned(np.random.default_rng(0).normal(size=(40, 3)))
    with pytest.raises(IncompatibleData, match="unit-max"):
        fitted("nmf", signed)


@pytest.mark.parametrize("name", ["nmf", "units-omp", "raw-units"])
def test_nonnegative_model_refuses_negative_activity_later(name: str) -> None:
    model, _ = fitted(name, binned(np.ones((10, 2))))
    with pytest.raises(IncompatibleData, match="Normalise both in the same way"):
        model.transform(binned(-np.ones((10, 2))))


def test_convergence_warnings_become_notes() -> None:
    data = toy_binned(n_bins=200)
    for name in ("nmf", "ica", "factor-analysis"):
        _, report = fitted(name, data, max_iter=1)
        assert any("converge" in note.lower() for note in report.notes), name
        assert report.history["value"].tolist() == [1.0]


@given(k=st.integers(1, 6), seed=st.integers(0, 1000), signed=st.booleans())
@settings(max_examples=30, deadline=None)
def test_units_omp_is_orthogonal_matching_pursuit_on_the_identity(k: int, seed: int, signed: bool) -> None:
    rng = np.random.default_rng(seed)
    activity = rng.normal(size=(40, 6)) if signed else rng.gamma(0.5, 1, (40, 6))
    model, _ = fitted("units-omp", binned(activity), k=k)
    space = model.transform(binned(activity)).main
    offset = whole(model, model.transform(binned(activity)))[0] - space.dense()
    assert np.allclose(offset, offset[0], atol=1e-6)
    reference = orthogonal_mp(np.eye(6), (activity - offset[0]).T, n_nonzero_coefs=k).T
    if signed:
        assert space.code_kind == "signed"
        assert np.allclose(space.dense(), reference, atol=1e-5)
    else:
        excess = np.where(activity > offset[0], activity - offset[0], 0)
        loop = np.zeros_like(excess)
        for row, values in enumerate(excess):
            for unit in sorted(range(6), key=lambda u: -values[u])[:k]:
                loop[row, unit] = values[unit]
        assert np.allclose(space.dense(), loop, atol=1e-5)
        assert (space.dense() >= 0).all()
    assert (np.count_nonzero(space.dense(), axis=1) <= k).all()


def test_fitted_offset_is_a_fixed_point_and_beats_mean_and_zero() -> None:
    data = toy_binned(n_bins=900, n_units=8)
    activity = data.activity.astype(np.float64)
    model, _ = fitted("units-omp", data, k=2)
    latents = model.transform(data)
    values = whole(model, latents)[0]
    offset = (values - latents.main.dense())[0]
    taken = latents.main.dense() > 0
    for unit in range(8):
        assert offset[unit] == pytest.approx(activity[~taken[:, unit], unit].mean(), abs=1e-5)

    def error_around(base: np.ndarray) -> float:
        excess = activity - base
        best = np.argsort(-np.abs(excess), axis=1)[:, :2]
        np.put_along_axis(excess, best, 0, axis=1)
        return float((excess**2).sum())

    own = float(((activity - values) ** 2).sum())
    assert own < error_around(activity.mean(axis=0))
    assert own < error_around(np.zeros(8))


def test_raw_units_are_the_activity() -> None:
    data = toy_binned(n_bins=100)
    space = fitted("raw-units", data)[0].transform(data).main
    assert space.is_sparse
    assert np.array_equal(space.dense(), data.activity)
    signed = binned(np.random.default_rng(0).normal(size=(50, 3)))
    space = fitted("raw-units", signed, seeds=(0, 1))[0].transform(signed).main
    assert space.code_kind == "signed"
    assert np.array_equal(space.dense(1), signed.activity.astype(np.float32))


@every_model
def test_unobserved_entries_have_no_say(name: str) -> None:
    rng = np.random.default_rng(0)
    activity = rng.poisson(2.0, (200, 4)).astype(np.float64)
    seen = rng.random(activity.shape) < 0.8
    clean, dirty = (np.where(seen, activity, wrong) for wrong in (0.0, 0.5))
    results = []
    for values in (clean, dirty):
        if name == "raw-units":
            values = clean
        data = binned(values, observed=seen)
        model, report = fitted(name, data)
        assert any("unobserved" in note for note in report.notes)
        results.append(model.transform(data).main.dense())
    assert np.allclose(results[0], results[1])
    if name in ("units-omp", "raw-units"):
        assert not results[0][~seen].any()


@every_model
def test_activity_that_is_not_finite_is_refused(name: str) -> None:
    activity = np.ones((10, 2))
    activity[3, 1] = np.nan
    with pytest.raises(IncompatibleData, match="1 entries"):
        fitted(name, binned(activity))


def test_matched_fills_only_what_nobody_set() -> None:
    reference = NMFConfig(seeds=(7, 8, 9))
    about: dict[str, Any] = {"reference": reference, "n_latents": 40, "l0": 2.4, "n_units": 15}
    assert PCAConfig().matched(**about) == PCAConfig(n_latents=15)
    assert FactorAnalysisConfig().matched(**about).n_latents == 15  # type: ignore[attr-defined]
    assert ICAConfig().matched(**about) == ICAConfig(n_latents=15, seeds=(7, 8, 9))
    assert NMFConfig().matched(**about) == NMFConfig(n_latents=40, seeds=(7, 8, 9))
    assert NMFConfig(n_latents=3, seeds=(1,)).matched(**about) == NMFConfig(n_latents=3, seeds=(1,))
    assert UnitsOMPConfig().matched(**about) == UnitsOMPConfig(k=2)
    assert UnitsOMPConfig().matched(**{**about, "l0": 0.2}) == UnitsOMPConfig(k=1)
    assert UnitsOMPConfig(k=5).matched(**about) == UnitsOMPConfig(k=5)
    assert RawUnitsConfig().matched(**about) == RawUnitsConfig()
