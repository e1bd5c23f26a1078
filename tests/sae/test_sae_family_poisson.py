from __future__ import annotations

import numpy as np
import pytest
import torch
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.examples import Examples
from nldisco_sae.losses import check_targets, element_loss, mean_loss
from nldisco_sae.matryoshka import MatryoshkaSAE
from nldisco_sae.random_encoder import RandomEncoder
from nldisco_sae.training import Trainer
from scipy.stats import poisson
from sklearn.metrics import mean_poisson_deviance

from nldisco_core.config import parse
from nldisco_core.errors import ConfigError, IncompatibleData
from nldisco_core.plugins import discover

FAMILY = ("matryoshka-sae", "batch-topk-sae", "topk-sae", "vanilla-sae", "jumprelu-sae", "gated-sae")


def counts_and_rates(n_bins: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Counts of ten units that six patterns multiply, one at a time."""
    rng = np.random.default_rng(0)
    patterns = rng.uniform(-2, 2, (6, 10))
    rates = np.exp(-0.5 + patterns[rng.integers(0, 6, n_bins)])
    return rng.poisson(rates).astype(float), rates


def test_poisson_loss_is_the_negative_log_likelihood_less_its_smallest_and_half_the_deviance() -> None:
    rng = np.random.default_rng(0)
    counts, rates = rng.poisson(2.0, (30, 4)), rng.uniform(0.1, 5, (30, 4))
    expected = poisson.logpmf(counts, counts) - poisson.logpmf(counts, rates)
    found = element_loss("poisson", tau=1.0)(
        torch.tensor(rates, dtype=torch.float32), torch.tensor(counts, dtype=torch.float32)
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
    half = mean_poisson_deviance(counts.ravel(), rates.ravel()) / 2
    assert float(mean_loss(found[None], None)) == pytest.approx(half, rel=1e-5)


def test_gradient_through_exp_is_rate_less_count() -> None:
    counts = torch.tensor([0.0, 0.0, 3.0, 7.0])
    log_rates = torch.tensor([-30.0, 1.0, -8.0, 2.0], requires_grad=True)
    element_loss("poisson", tau=1.0)(torch.exp(log_rates), counts).sum().backward()
    assert log_rates.grad is not None
    np.testing.assert_allclose(log_rates.grad.numpy(), (torch.exp(log_rates.detach()) - counts).numpy(), rtol=1e-5)


@pytest.mark.parametrize("output", ["identity", "relu"])
def test_poisson_with_an_output_that_can_be_zero_is_a_bad_setting(output: str) -> None:
    with pytest.raises(ConfigError, match="choose output 'exp' or 'softplus'"):
        parse(MatryoshkaConfig, {"loss": "poisson", "output": output})


@pytest.mark.parametrize("wrong", [0.5, -1.0])
def test_targets_that_are_no_counts_are_refused_with_what_to_do(as_binned, monitor, wrong: float) -> None:
    activity = np.ones((50, 4))
    activity[7, 2] = wrong
    model = MatryoshkaSAE(MatryoshkaConfig(loss="poisson", output="exp", epochs=1))
    with pytest.raises(IncompatibleData, match=r"takes spike counts; 0\.5% .*Leave smooth_s and normalise"):
        model.fit(as_binned(activity), validation=None, monitor=monitor)
    observed = torch.ones(50, 4)
    observed[7, 2] = 0
    check_targets("poisson", torch.tensor(activity), observed)


@pytest.mark.parametrize("output", ["exp", "softplus"])
@pytest.mark.parametrize("name", FAMILY)
def test_every_model_explains_deviance_of_counts(as_binned, make_monitor, name: str, output: str) -> None:
    counts, rates = counts_and_rates()
    data = as_binned(counts)
    listed = next(found for found in discover().providers() if (found.kind, found.name) == ("model", name))
    model = listed.make({"loss": "poisson", "output": output, "epochs": 40})
    model.fit(data, validation=None, monitor=make_monitor())
    null = mean_poisson_deviance(counts.ravel(), np.broadcast_to(counts.mean(axis=0), counts.shape).ravel())
    possible = 1 - mean_poisson_deviance(counts.ravel(), rates.ravel()) / null
    for block in model.reconstruct(model.transform(data)):
        assert (block.values > 0).all()
        if block.level == len(model.config.level_sizes) - 1:
            explained = 1 - mean_poisson_deviance(counts.ravel(), block.values.ravel()) / null
            assert explained > 0.7 * possible


@pytest.mark.parametrize("output", ["exp", "softplus"])
def test_before_training_silence_predicts_the_mean_and_the_relative_loss_is_one(as_binned, output) -> None:
    counts, _ = counts_and_rates(300)
    examples = Examples.of(as_binned(counts), torch.device("cpu"))
    trainer = Trainer(MatryoshkaConfig(loss="poisson", output=output, batch_size=300), examples)
    silent = torch.zeros(1, 300, 16)
    decoded = trainer.parameters.decode_levels([silent], nested=True)[0].detach()
    rate = torch.exp(decoded) if output == "exp" else torch.nn.functional.softplus(decoded)
    np.testing.assert_allclose(rate[0, 0].numpy(), counts.mean(axis=0), rtol=1e-5)
    losses = mean_loss(element_loss("poisson", tau=1.0)(rate, examples.values[None]), None)
    null = mean_poisson_deviance(counts.ravel(), np.broadcast_to(counts.mean(axis=0), counts.shape).ravel())
    assert 2 * float(losses) == pytest.approx(null, rel=1e-4)


def test_the_random_control_takes_the_output_of_what_it_controls(as_binned, monitor) -> None:
    counts, _ = counts_and_rates(300)
    reference = MatryoshkaConfig(loss="poisson", output="exp", levels={6: 1.0})
    config = RandomEncoder.config_class().matched(reference=reference, n_latents=6, l0=1.0, n_units=10)
    model = RandomEncoder(config)
    model.fit(as_binned(counts), validation=None, monitor=monitor)
    assert all((block.values > 0).all() for block in model.reconstruct(model.transform(as_binned(counts))))
