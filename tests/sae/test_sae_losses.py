from __future__ import annotations

import numpy as np
import pytest
import torch
from nldisco_sae.architecture import Output, Parameters, apply_output, initialise, project_decoder_gradient
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.losses import element_loss, mean_loss
from nldisco_sae.matryoshka import MatryoshkaSAE
from sklearn.metrics import mean_squared_error, mean_squared_log_error

from nldisco_core.errors import IncompatibleData, PluginLoadError


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fresh(seeds: tuple[int, ...], n_latents: int, mean: torch.Tensor, output: Output = "identity") -> Parameters:
    return initialise(seeds=seeds, n_latents=n_latents, input_mean=mean, output_mean=mean, output=output, gain=1.0)


def parameters(n_units: int = 5, n_latents: int = 7) -> Parameters:
    return fresh((3, 4), n_latents, random(n_units))


def test_losses_agree_with_sklearn_per_instance() -> None:
    target, prediction = random(2, 30, 5).abs(), random(2, 30, 5, seed=1).abs()
    mse = mean_loss(element_loss("mse", tau=1.0)(prediction, target), None)
    msle = mean_loss(element_loss("msle", tau=1.0)(prediction, target), None)
    for i in range(2):
        assert float(mse[i]) == pytest.approx(mean_squared_error(target[i], prediction[i]), rel=1e-5)
        assert float(msle[i]) == pytest.approx(mean_squared_log_error(target[i], prediction[i]), rel=1e-5)


def test_msle_scales_the_predicted_logarithm_by_tau_and_takes_negative_predictions_as_zero() -> None:
    target, prediction = random(1, 6, 4).abs(), random(1, 6, 4, seed=1)
    total = 0.0
    for y, guess in zip(target.flatten().tolist(), prediction.flatten().tolist(), strict=True):
        total += (np.log(1 + y) - 0.7 * np.log(1 + max(guess, 0.0))) ** 2
    assert float(mean_loss(element_loss("msle", tau=0.7)(prediction, target), None)) == pytest.approx(
        total / 24, rel=1e-5
    )


def test_entries_that_were_not_observed_do_not_count() -> None:
    losses = random(2, 8, 3).square()
    observed = (random(2, 8, 3, seed=1) > 0).float()
    expected = [float(losses[i][observed[i] > 0].mean()) for i in range(2)]
    np.testing.assert_allclose(mean_loss(losses, observed).numpy(), expected, rtol=1e-6)


def test_a_loss_can_be_any_function_by_name() -> None:
    assert element_loss("torch.nn.functional:l1_loss", tau=1.0) is torch.nn.functional.l1_loss
    with pytest.raises(PluginLoadError, match="no_such_loss"):
        element_loss("torch:no_such_loss", tau=1.0)


def test_msle_with_negative_targets_says_what_to_choose_instead(as_binned, monitor) -> None:
    model = MatryoshkaSAE(MatryoshkaConfig(loss="msle", epochs=1))
    with pytest.raises(IncompatibleData, match=r"entries are negative.*loss = 'mse'.*'global-max'"):
        model.fit(as_binned(random(50, 4).numpy()), validation=None, monitor=monitor)


@pytest.mark.parametrize("nested", [True, False])
def test_each_level_decodes_as_if_it_stood_alone(nested: bool) -> None:
    model = parameters()
    codes = torch.relu(random(2, 10, 7, seed=2))
    other = torch.relu(random(2, 10, 3, seed=3))
    levels = [codes[..., :3] if nested else other, codes]
    for predicted, code in zip(model.decode_levels(levels, nested=nested), levels, strict=True):
        for i in range(2):
            expected = code[i].double() @ model.decoder[i, : code.shape[-1]].double() + model.decoder_bias[i]
            np.testing.assert_allclose(predicted[i].numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_pre_activations_are_the_formula() -> None:
    model = parameters()
    x = random(2, 10, 5, seed=2)
    for i in range(2):
        expected = (x[i] - model.input_mean).double() @ model.encoder[i].double() + model.encoder_bias[i]
        np.testing.assert_allclose(model.pre_activations(x)[i].numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", ["identity", "softplus"])
def test_before_training_silence_predicts_the_mean(output) -> None:
    mean = torch.tensor([0.1, 2.0, 0.7])
    model = fresh((0,), 4, mean, output=output)
    np.testing.assert_allclose(apply_output(model.decoder_bias, output)[0].numpy(), mean.numpy(), rtol=1e-5)


def test_instances_start_from_their_own_seed_whoever_stands_beside_them() -> None:
    mean = torch.zeros(6)
    together = fresh((5, 6, 7), 4, mean)
    alone = fresh((6,), 4, mean)
    assert torch.equal(together.decoder[1], alone.decoder[0])
    assert float((together.decoder[0] * together.decoder[2]).sum(-1).abs().max()) < 0.99
    np.testing.assert_allclose(together.decoder.norm(dim=-1).numpy(), 1, rtol=1e-6)
    assert torch.equal(together.encoder, together.decoder.transpose(1, 2))


def test_projected_gradient_is_tangent_to_the_unit_sphere() -> None:
    decoder = parameters().decoder
    gradient = random(*decoder.shape, seed=5)
    before = gradient.clone()
    project_decoder_gradient(decoder, gradient)
    np.testing.assert_allclose((gradient * decoder).sum(-1).numpy(), 0, atol=1e-6)
    along = (before - gradient)[0, 0]
    np.testing.assert_allclose((along / along.norm()).abs().numpy(), decoder[0, 0].abs().numpy(), rtol=1e-4, atol=1e-6)
