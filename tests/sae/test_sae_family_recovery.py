from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from nldisco_sae.architecture import Parameters
from nldisco_sae.autoencoder import TrainedAutoencoder
from nldisco_sae.batch_topk import BatchTopKSAE
from nldisco_sae.gated import GatedSAE
from nldisco_sae.jumprelu import JumpReLUSAE
from nldisco_sae.matryoshka import MatryoshkaSAE
from nldisco_sae.single_level_config import SingleLevelConfig
from nldisco_sae.sparsifier import Encoded, Sparsifier
from nldisco_sae.topk import TopKSAE
from nldisco_sae.vanilla import VanillaSAE
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from nldisco_core.binned import Binned
from nldisco_core.errors import IncompatibleData

FAMILY = {
    "batch-topk": (BatchTopKSAE, {"k": 2.0}),
    "topk": (TopKSAE, {"k": 2}),
    "vanilla": (VanillaSAE, {}),
    "vanilla plain": (VanillaSAE, {"penalty": "plain"}),
    "jumprelu": (JumpReLUSAE, {}),
    "gated": (GatedSAE, {"sparsity": 0.4}),
}
WORM = {"layers": "linear", "penalty": "mean", "sparsity": 0.05, "warmup": 0.0, "hold": 1.0, "final_lr": 1.0}
EVERY = {**FAMILY, "worm": (VanillaSAE, WORM)}


def fitted(name: str, data: Binned, monitor, *, validation: Binned | None = None, **settings):
    model_class, own = EVERY[name]
    model = model_class(model_class.config_class(**{"n_latents": 12, "seeds": (0, 1), "epochs": 3, **own, **settings}))
    model.fit(data, validation=validation, monitor=monitor)
    return model


@pytest.fixture
def sums(as_binned) -> tuple[Binned, NDArray[np.float64], NDArray[np.float64]]:
    """Sums of eight random directions over 20 units, each there in a quarter of the bins, with a little noise."""
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((8, 20))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = (rng.random((3000, 8)) < 0.25) * rng.uniform(0.5, 1.5, (3000, 8))
    return as_binned(codes @ atoms + 0.01 * rng.standard_normal((3000, 20))), atoms, codes


@pytest.mark.parametrize("name", FAMILY)
def test_a_planted_dictionary_is_found(sums, planted, monitor, name: str) -> None:
    data, atoms, codes = planted if name == "topk" else sums  # in `planted` every bin holds the same number
    model = fitted(name, data, monitor, epochs=50)
    latents = model.transform(data).main
    for instance, rows in enumerate(model.dictionary().values):
        cosine = rows @ atoms.T
        latent, atom = linear_sum_assignment(-cosine)
        assert (cosine[latent, atom] > 0.95).sum() >= 7
        found = latents.dense(instance)
        agreement = [np.corrcoef(found[:, a], codes[:, b])[0, 1] for a, b in zip(latent, atom, strict=True)]
        assert np.median(agreement) > 0.9
        assert latents.csc(instance).nnz / data.n_bins < 3.5


@pytest.mark.parametrize("name", EVERY)
def test_dictionary_rows_have_unit_norm_and_reconstruct(sums, monitor, name: str) -> None:
    data, _, _ = sums
    model = fitted(name, data, monitor, epochs=20)
    np.testing.assert_allclose(np.linalg.norm(model.dictionary().values, axis=2), 1, rtol=1e-5)
    sst = np.square(data.activity - data.activity.mean(axis=0)).sum()
    for block in model.reconstruct(model.transform(data)):
        assert 1 - np.square(data.activity - block.values).sum() / sst > 0.7


@pytest.mark.parametrize("name", EVERY)
def test_a_bins_latents_do_not_depend_on_which_bins_are_given_with_it(sums, monitor, name: str) -> None:
    data, _, _ = sums
    model = fitted(name, data, monitor, n_latents=13, epochs=1)
    whole = model.transform(data).main
    rng = np.random.default_rng(1)
    for n_rows in (1, 3, 1023, 1025):
        rows = np.zeros(data.n_bins, dtype=bool)
        rows[rng.choice(data.n_bins, n_rows, replace=False)] = True
        part = model.transform(data.rows(rows)).main
        for instance in range(2):
            np.testing.assert_array_equal(part.dense(instance), whole.rows(rows).dense(instance))


@pytest.mark.parametrize("name", EVERY)
def test_an_instance_does_not_depend_on_those_trained_beside_it(sums, make_monitor, name: str) -> None:
    data, _, _ = sums
    together = fitted(name, data, make_monitor(), seeds=(7, 1, 3), grad_clip=0.5)
    alone = fitted(name, data, make_monitor(), seeds=(1,), grad_clip=0.5)
    np.testing.assert_allclose(together.dictionary().values[1], alone.dictionary().values[0], atol=1e-4)
    assert np.abs(together.dictionary().values[0] - together.dictionary().values[2]).max() > 0.1


@pytest.mark.parametrize("name", FAMILY)
def test_scale_of_the_data_does_not_matter(sums, as_binned, make_monitor, name: str) -> None:
    data, _, _ = sums
    small = fitted(name, data, make_monitor())
    large = fitted(name, as_binned(data.activity * 1024.0), make_monitor())
    np.testing.assert_allclose(small.dictionary().values, large.dictionary().values, atol=0.02)  # a few choices flip


@pytest.mark.parametrize("name", EVERY)
def test_what_was_not_observed_has_no_influence(sums, as_binned, make_monitor, name: str) -> None:
    activity = np.array(sums[0].activity)
    observed = np.random.default_rng(1).random(activity.shape) > 0.2
    first, second = (as_binned(np.where(observed, activity, other), observed=observed) for other in (0, 99))
    one, other = (fitted(name, data, make_monitor()).transform(data).main for data in (first, second))
    assert (one.csc() != other.csc()).nnz == 0


@pytest.mark.parametrize("name", EVERY)
def test_resumed_fit_equals_an_uninterrupted_one_bit_for_bit(sums, make_monitor, tmp_path: Path, name: str) -> None:
    data, _, _ = sums
    whole = fitted(name, data, make_monitor())
    fitted(name, data, make_monitor(checkpoint_at=15, stop_after=17, folder=tmp_path / "c"))
    resumed = fitted(name, data, make_monitor(resume_from=tmp_path / "c"))
    for part, tensor in whole._require_fitted().tensors().items():
        assert torch.equal(tensor, resumed._require_fitted().tensors()[part]), part


def test_saved_models_give_the_same_latents_in_a_fresh_process(sums, make_monitor, tmp_path: Path) -> None:
    data, _, _ = sums
    np.save(tmp_path / "activity.npy", data.activity)
    for name in EVERY:
        (tmp_path / name).mkdir()
        fitted(name, data, make_monitor()).save(tmp_path / name)
    script = f"""
import sys, numpy as np
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import binned
from nldisco_core.providers import load_target
folder = Path({str(tmp_path)!r})
data = binned(np.load(folder / "activity.npy"))
for name, target in {[(n, f"{c.__module__}:{c.__name__}") for n, (c, _) in EVERY.items()]!r}:
    space = load_target(target).load(folder / name).transform(data).main
    np.save(folder / name / "found.npy", np.stack([space.dense(i) for i in range(2)]))
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    for name, (model_class, _) in EVERY.items():
        expected = model_class.load(tmp_path / name).transform(data).main
        again = fitted(name, data, make_monitor()).transform(data).main
        for instance, found in enumerate(np.load(tmp_path / name / "found.npy")):
            np.testing.assert_array_equal(found, expected.dense(instance))
            np.testing.assert_array_equal(found, again.dense(instance))


def test_batch_top_k_is_the_matryoshka_of_one_level(sums, make_monitor) -> None:
    data, _, _ = sums
    one = fitted("batch-topk", data, make_monitor(), k=1.7)
    matryoshka = MatryoshkaSAE(MatryoshkaSAE.config_class(levels={12: 1.7}, seeds=(0, 1), epochs=3))
    matryoshka.fit(data, validation=None, monitor=make_monitor())
    for name, tensor in matryoshka._require_fitted().tensors().items():
        assert torch.equal(tensor, one._require_fitted().tensors()[name]), name


class HalfConfig(SingleLevelConfig):
    sparsifier: ClassVar[str] = f"{__name__}:Half"


class Half(Sparsifier[HalfConfig]):
    """The first half of the latents, where positive."""

    def encode(self, parameters: Parameters, x: torch.Tensor, *, scale: float) -> Encoded:
        pre_activations = parameters.pre_activations(x)
        (active,) = self.chosen(pre_activations.detach(), torch.zeros(1))
        return Encoded(pre_activations=pre_activations, codes=[pre_activations * active], active=active)

    def chosen(self, activations: torch.Tensor, thresholds: torch.Tensor) -> list[torch.Tensor]:
        return [(activations > 0) & (torch.arange(activations.shape[-1]) < activations.shape[-1] // 2)]


class HalfSAE(TrainedAutoencoder[HalfConfig]):
    config_class: ClassVar[type[HalfConfig]] = HalfConfig


def test_a_new_sparsifier_is_a_class_with_two_methods(sums, monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, types.SimpleNamespace(Half=Half))
    model = HalfSAE(HalfConfig(n_latents=12, seeds=(0, 1), epochs=20, aux_coefficient=0.0))
    report = model.fit(sums[0], validation=sums[0], monitor=monitor)
    used = [np.flatnonzero(np.diff(model.transform(sums[0]).main.csc(i).indptr)) for i in range(2)]
    assert [latents.tolist() for latents in used] == [[0, 1, 2, 3, 4, 5]] * 2
    curve = report.history.query("name == 'loss' and instance == 0")["value"]
    assert curve.iloc[-1] < 0.5 * curve.iloc[0]


def test_signed_activity_with_msle_is_refused_by_all(sums, make_monitor) -> None:
    for name in EVERY:
        with pytest.raises(IncompatibleData, match="loss = 'mse'"):
            fitted(name, sums[0], make_monitor(), loss="msle")
