"""Each sparsifier against a plain reference."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest
import torch
from nldisco_sae.architecture import Parameters
from nldisco_sae.examples import Examples
from nldisco_sae.gated import Gated, GatedParameters
from nldisco_sae.jumprelu import JumpReLU, ThresholdParameters, jump_relu, step
from nldisco_sae.plugin import nldisco_presets
from nldisco_sae.seeding import data_order
from nldisco_sae.single_level_config import (
    BatchTopKConfig,
    GatedConfig,
    JumpReLUConfig,
    TopKConfig,
    VanillaConfig,
)
from nldisco_sae.sparsifier import sparsifier_of
from nldisco_sae.topk import TopK
from nldisco_sae.training import Trainer, train
from nldisco_sae.vanilla import L1, VanillaSAE

from nldisco_core.config import parse
from nldisco_core.errors import ConfigError

SHAPE: dict[str, Any] = {"n_latents": 7, "seeds": (0, 1)}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def examples(n_rows: int = 64, n_units: int = 5) -> Examples:
    values = random(n_rows, n_units) + 0.3
    return Examples(values=values, observed=None, mean=values.mean(dim=0))


def perturbed(parameters: Parameters) -> Parameters:
    """Parameters that no longer are at their symmetric start, with gradients asked for."""
    for index, tensor in enumerate(parameters.trained().values()):
        tensor += 0.2 * random(*tensor.shape, seed=50 + index)
        tensor.requires_grad_()
    return parameters


def affine(parameters: Parameters, x: torch.Tensor, instance: int) -> np.ndarray:
    weights = {name: tensor[instance].detach().double().numpy() for name, tensor in parameters.trained().items()}
    return (x[instance] - parameters.input_mean).double().numpy() @ weights["encoder"]


@pytest.mark.parametrize(
    ("config", "settings", "complaint"),
    [
        (TopKConfig, {"n_latents": 3, "k": 4}, "k 4 of 3 latents"),
        (BatchTopKConfig, {"n_latents": 3, "k": 3.5}, "k 3.5 of 3 latents"),
        (TopKConfig, {"k": 1.5}, "k"),
        (VanillaConfig, {"penalty": "l2"}, "penalty"),
        (JumpReLUConfig, {"bandwidth": 0.0}, "bandwidth"),
        (GatedConfig, {"levels": {"8": 1}}, "levels"),
    ],
)
def test_bad_settings_are_named(config, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse(config, settings)


def test_top_k_keeps_the_k_largest_positive_of_each_bin_in_training_and_after() -> None:
    sparsifier = TopK(TopKConfig(k=3, **SHAPE))
    parameters = perturbed(sparsifier.initialise(examples(), scale=1.0))
    x = random(2, 40, 5, seed=9)
    encoded = sparsifier.encode(parameters, x, scale=1.0)
    for instance in range(2):
        z = affine(parameters, x, instance) + parameters.encoder_bias[instance].detach().numpy()
        expected = np.zeros_like(z)
        for row in range(40):
            for latent in np.argsort(-z[row])[:3]:
                expected[row, latent] = max(z[row, latent], 0)
        found = encoded.codes[0][instance].detach()
        np.testing.assert_allclose(found, expected, atol=1e-5)
        activations = torch.relu(encoded.pre_activations[instance].detach())
        kept = sparsifier.finish(parameters, examples()).thresholds[instance]
        assert torch.equal(sparsifier.chosen(activations, kept)[0], found > 0)


@pytest.mark.parametrize("penalty", ["weighted", "plain", "mean"])
def test_l1_penalties_are_sums_over_a_loop(penalty) -> None:
    sparsifier = L1(VanillaConfig(penalty=penalty, sparsity=0.7, **SHAPE))
    parameters = perturbed(sparsifier.initialise(examples(), scale=2.0))
    encoded = sparsifier.encode(parameters, random(2, 30, 5, seed=9), scale=2.0)
    found = sparsifier.penalty(parameters, encoded, scale=2.0, loss=lambda _: torch.zeros(2)).detach()
    for instance in range(2):
        total = 0.0
        for row in encoded.codes[0][instance].detach().numpy():
            for latent, value in enumerate(row):
                norm = np.linalg.norm(parameters.decoder[instance, latent].detach())
                total += value * (norm if penalty == "weighted" else 1)
        expected = 0.7 / 2 * total / 30 / (7 if penalty == "mean" else 1)
        assert float(found[instance]) == pytest.approx(expected, rel=1e-4)


def test_gradients_of_jump_relu_are_the_straight_through_estimates() -> None:
    z, theta, width = random(1, 200, 3), torch.tensor([[[0.2, 0.5, 0.9]]]), 0.4
    upstream = random(1, 200, 3, seed=1)
    for function in (jump_relu, step):
        values, threshold = z.clone().requires_grad_(), theta.clone().requires_grad_()
        with_graph = function(values, threshold, bandwidth=width)
        (with_graph * upstream).sum().backward()
        result = with_graph.detach()
        expected_z, expected_theta = np.zeros((200, 3)), np.zeros(3)
        for row in range(200):
            for latent in range(3):
                value, cut, g = float(z[0, row, latent]), float(theta[0, 0, latent]), float(upstream[0, row, latent])
                on, kernel = value > cut, float(abs(value - cut) / width < 0.5)
                if function is jump_relu:
                    assert float(result[0, row, latent]) == pytest.approx(value if on else 0.0)
                    expected_z[row, latent] = g * on
                    expected_theta[latent] -= g * cut / width * kernel
                else:
                    assert float(result[0, row, latent]) == on
                    expected_theta[latent] -= g / width * kernel
        np.testing.assert_allclose(threshold.grad[0, 0].numpy(), expected_theta, rtol=1e-4, atol=1e-5)
        if function is jump_relu:
            np.testing.assert_allclose(values.grad[0].numpy(), expected_z, atol=1e-6)
        else:
            assert values.grad is None


def test_jump_relu_penalty_is_the_number_of_active_latents() -> None:
    sparsifier = JumpReLU(JumpReLUConfig(sparsity=0.3, **SHAPE))
    parameters = perturbed(sparsifier.initialise(examples(), scale=2.0))
    assert isinstance(parameters, ThresholdParameters)
    x = random(2, 30, 5, seed=9) * 2
    encoded = sparsifier.encode(parameters, x, scale=2.0)
    found = sparsifier.penalty(parameters, encoded, scale=2.0, loss=lambda _: torch.zeros(2)).detach()
    for instance in range(2):
        z = affine(parameters, x, instance) + parameters.encoder_bias[instance].detach().numpy()
        active = z > np.exp(parameters.log_threshold[instance].detach().double().numpy())
        np.testing.assert_array_equal(encoded.active[instance].numpy(), active)
        np.testing.assert_allclose(encoded.codes[0][instance].detach(), z * active, atol=1e-5)
        assert float(found[instance]) == pytest.approx(0.3 * active.sum() / 30, rel=1e-5)


def test_gates_and_magnitudes_are_those_of_a_loop_and_only_gates_pay() -> None:
    sparsifier = Gated(GatedConfig(sparsity=0.3, **SHAPE))
    parameters = perturbed(sparsifier.initialise(examples(), scale=2.0))
    assert isinstance(parameters, GatedParameters)
    x = random(2, 30, 5, seed=9)
    encoded = sparsifier.encode(parameters, x, scale=2.0)

    def error(decoded: torch.Tensor) -> torch.Tensor:
        return torch.square(x - decoded).mean(dim=(1, 2))

    found = sparsifier.penalty(parameters, encoded, scale=2.0, loss=error)
    for instance in range(2):
        p = {name: tensor[instance].detach().double().numpy() for name, tensor in parameters.trained().items()}
        z = affine(parameters, x, instance)
        gates = z + p["encoder_bias"]
        magnitudes = np.exp(p["log_gain"]) * z + p["magnitude_bias"]
        expected = np.where(gates > 0, np.maximum(magnitudes, 0), 0)
        np.testing.assert_allclose(encoded.codes[0][instance].detach(), expected, atol=1e-5)
        opened = np.maximum(gates, 0)
        auxiliary = np.square(x[instance].double().numpy() - opened @ p["decoder"] - p["decoder_bias"]).mean()
        assert float(found[instance].detach()) == pytest.approx(0.3 / 2 * opened.sum() / 30 + auxiliary, rel=1e-4)
    found.sum().backward()
    for frozen in (parameters.decoder, parameters.decoder_bias, parameters.log_gain, parameters.magnitude_bias):
        assert frozen.grad is None
    assert parameters.encoder.grad is not None
    assert parameters.encoder_bias.grad is not None


@pytest.mark.parametrize(
    "config",
    [
        TopKConfig(k=2, **SHAPE),
        VanillaConfig(**SHAPE),
        VanillaConfig(layers="linear", **SHAPE),
        JumpReLUConfig(**SHAPE),
        GatedConfig(**SHAPE),
    ],
    ids=lambda config: f"{type(config).__name__} {getattr(config, 'layers', '')}",
)
def test_the_finished_model_is_the_trained_function(config) -> None:
    """Codes times decoder rows are the same before and after thresholds, gains and norms were folded in."""
    data, sparsifier = examples(), sparsifier_of(config)
    parameters = perturbed(sparsifier.initialise(data, scale=1.5))
    x = data.values.expand(2, -1, -1)
    encoded = sparsifier.encode(parameters, x, scale=1.5)
    finished = sparsifier.finish(parameters.detached("cpu"), data)
    activations = torch.relu(finished.parameters.pre_activations(x))
    assert type(finished.parameters) is Parameters
    for instance in range(2):
        (chosen,) = sparsifier.chosen(activations[instance], finished.thresholds[instance])
        assert torch.equal(chosen, encoded.active[instance])
        assert 0 < int(chosen.sum()) < chosen.numel()
        before = encoded.codes[0][instance] @ parameters.decoder[instance] + parameters.decoder_bias[instance]
        after = (activations[instance] * chosen) @ finished.parameters.decoder[instance]
        np.testing.assert_allclose(
            (after + finished.parameters.decoder_bias[instance]).numpy(), before.detach().numpy(), atol=1e-5
        )


def test_the_worm_recipe_is_two_torch_layers_trained_by_adam(monitor) -> None:
    text = next(preset.text() for preset in nldisco_presets() if preset.name == "worm")
    recipe = parse(VanillaConfig, tomllib.loads(text))
    assert (recipe.n_latents, recipe.lr, recipe.batch_size, recipe.epochs) == (378, 1e-3, 1024, 100)
    config = recipe.model_copy(update={"n_latents": 12, "batch_size": 16, "epochs": 5, "seeds": (0, 1)})
    data = examples()
    start = Trainer(config, data).parameters
    found = train(config, data, monitor).parameters
    for instance, seed in enumerate(config.seeds):
        first, last = torch.nn.Linear(5, 12), torch.nn.Linear(12, 5)
        bounds = [(start.encoder, 5), (start.encoder_bias, 5), (start.decoder, 12), (start.decoder_bias, 12)]
        for tensor, n_inputs in bounds:
            assert float(tensor.detach().abs().max()) <= n_inputs**-0.5
        with torch.no_grad():
            first.weight.copy_(start.encoder[instance].T)
            first.bias.copy_(start.encoder_bias[instance])
            last.weight.copy_(start.decoder[instance].T)
            last.bias.copy_(start.decoder_bias[instance])
        adam = torch.optim.Adam([*first.parameters(), *last.parameters()], lr=1e-3)
        for epoch in range(5):
            for rows in data_order([seed], 64, epoch)[0].split(16):
                hidden = torch.relu(first(data.values[rows]))
                loss = torch.nn.functional.mse_loss(last(hidden), data.values[rows]) + 5 * hidden.mean()
                adam.zero_grad()
                loss.backward()
                adam.step()
        np.testing.assert_allclose(found.encoder[instance].T, first.weight.detach(), atol=1e-5)
        np.testing.assert_allclose(found.encoder_bias[instance], first.bias.detach(), atol=1e-5)
        np.testing.assert_allclose(found.decoder[instance].T, last.weight.detach(), atol=1e-5)
        np.testing.assert_allclose(found.decoder_bias[instance], last.bias.detach(), atol=1e-5)


@pytest.mark.parametrize("sparsity", [0.02, 0.2])
def test_the_penalty_rises_with_the_warm_up_and_is_part_of_the_loss(planted, monitor, sparsity: float) -> None:
    data, _, _ = planted
    model = VanillaSAE(VanillaConfig(sparsity=sparsity, epochs=10))
    history = model.fit(data, validation=None, monitor=monitor).history
    curves = history.pivot(index="step", columns="name", values="value")[["loss", "loss/16", "penalty"]].dropna()
    np.testing.assert_allclose(curves["loss"], curves["loss/16"] + curves["penalty"], rtol=1e-5)
    assert curves["penalty"].iloc[0] < 0.2 * curves["penalty"].iloc[10:20].mean()


def test_more_sparsity_means_fewer_active_latents(planted, make_monitor) -> None:
    data, _, _ = planted
    for config, low, high in [(VanillaConfig, 0.02, 0.3), (JumpReLUConfig, 0.005, 0.1), (GatedConfig, 0.1, 0.8)]:
        counts = []
        for sparsity in (low, high):
            settings = config(sparsity=sparsity, epochs=20)
            trained = train(settings, Examples.of(data, torch.device("cpu")), make_monitor())
            counts.append(trained.history.points[-2][2][0])
            assert trained.history.points[-2][1] == "l0"
        assert counts[1] < 0.8 * counts[0]
