from __future__ import annotations

import numpy as np
import torch
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.examples import Examples
from nldisco_sae.revival import auxiliary_loss, dead_latents, update_silence
from nldisco_sae.training import Trainer, clip_gradients, residual


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_auxiliary_loss_is_the_formula() -> None:
    pre, decoder = random(2, 6, 5), random(2, 5, 4, seed=1)
    dead = torch.tensor([[True, False, True, True, True], [False, False, False, True, False]])
    residuals = [random(2, 6, 4, seed=2), random(2, 6, 4, seed=3)]
    found = auxiliary_loss(pre, dead, decoder, residuals, level_sizes=(3, 5), aux_k=2, observed=None)
    for i in range(2):
        expected = 0.0
        for size, left in zip((3, 5), residuals, strict=True):
            candidates = [latent for latent in range(size) if dead[i, latent]]
            squares = 0.0
            for row in range(6):
                largest = sorted(candidates, key=lambda latent: -float(pre[i, row, latent]))[:2]
                guess = sum((pre[i, row, latent] * decoder[i, latent] for latent in largest), torch.zeros(4))
                squares += float(((left[i, row] - guess) ** 2).sum())
            expected += squares / float(((left[i] - left[i].mean(0)) ** 2).sum())
        np.testing.assert_allclose(float(found[i]), expected, rtol=1e-5)


def test_latents_that_never_fire_get_a_gradient_and_live_ones_none() -> None:
    pre = (random(1, 20, 4) - 100).requires_grad_()  # far below zero: relu passes nothing
    decoder = random(1, 4, 3, seed=1).requires_grad_()
    dead = torch.tensor([[False, True, False, True]])
    left = [random(1, 20, 3, seed=2)]
    auxiliary_loss(pre, dead, decoder, left, level_sizes=(4,), aux_k=2, observed=None).sum().backward()
    assert bool((pre.grad[..., dead[0]] != 0).all())
    assert not bool(pre.grad[..., ~dead[0]].any())
    assert not bool(decoder.grad[:, ~dead[0]].any())


def test_decoder_rows_learn_from_positive_codes_only() -> None:
    pre, decoder = random(1, 20, 4), random(1, 4, 3, seed=1).requires_grad_()
    pre[..., 2:] = -pre[..., 2:].abs()
    everyone = torch.ones(1, 4, dtype=torch.bool)
    left = random(1, 20, 3, seed=2)
    auxiliary_loss(pre, everyone, decoder, [left], level_sizes=(4,), aux_k=4, observed=None).sum().backward()
    error = pre[0] @ decoder.detach()[0] - left[0]
    expected = 2 * torch.relu(pre[0]).T @ error / (left[0] - left[0].mean(0)).square().sum()
    np.testing.assert_allclose(decoder.grad[0].numpy(), expected.numpy(), rtol=1e-4, atol=1e-6)
    assert not bool(decoder.grad[0, 2:].any())


def test_a_perfect_reconstruction_leaves_nothing_to_revive() -> None:
    pre = random(1, 5, 2).requires_grad_()
    dead = torch.ones(1, 2, dtype=torch.bool)
    loss = auxiliary_loss(pre, dead, random(1, 2, 3), [torch.zeros(1, 5, 3)], level_sizes=(2,), aux_k=1, observed=None)
    loss.sum().backward()
    assert float(loss.detach()) == 0
    assert not bool(pre.grad.any())


def test_dead_means_silent_for_the_share_of_an_epoch() -> None:
    silent = torch.zeros(1, 2, dtype=torch.int32)
    for step in range(1, 6):
        update_silence(silent, torch.tensor([[[True, False], [False, False]]]))
        dead = dead_latents(silent, dead_after=0.5, steps_per_epoch=8)
        assert dead.tolist() == [[False, step >= 4]]


def trained_with_silenced_latents(data, *, aux_coefficient: float, monitor) -> Trainer:
    config = MatryoshkaConfig(levels={8: 2}, seeds=(0, 1), epochs=60, aux_coefficient=aux_coefficient)
    trainer = Trainer(config, Examples.of(data, torch.device("cpu")))
    with torch.no_grad():
        trainer.parameters.encoder_bias[:, :5] = -1.5  # these have never fired and cannot
    trainer.run(monitor)
    return trainer


def test_revival_brings_back_latents_that_never_fired(planted, monitor) -> None:
    data, _, _ = planted
    revived = trained_with_silenced_latents(data, aux_coefficient=1 / 32, monitor=monitor)
    assert int((revived.silent_steps >= revived.steps_per_epoch).sum()) <= 1
    given_up = trained_with_silenced_latents(data, aux_coefficient=0.0, monitor=monitor)
    assert int((given_up.silent_steps == given_up.total_steps).sum()) == 10
    assert float(revived.history.frame().query("name == 'loss'").value.iloc[-1]) < 0.5 * float(
        given_up.history.frame().query("name == 'loss'").value.iloc[-1]
    )


def test_each_instance_has_a_gradient_norm_of_its_own() -> None:
    first, second = torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 2, 2, requires_grad=True)
    first.grad, second.grad = torch.ones(2, 3), torch.ones(2, 2, 2)
    first.grad[1] *= 0.01
    second.grad[1] *= 0.01
    clip_gradients([first, second], 0.5)
    norms = torch.cat([first.grad.flatten(1), second.grad.flatten(1)], dim=1).norm(dim=1)
    np.testing.assert_allclose(norms.numpy(), [0.5, 0.01 * 7**0.5], rtol=1e-6)


def test_a_residual_is_zero_where_nothing_was_observed() -> None:
    target, prediction = random(1, 4, 3), random(1, 4, 3, seed=1)
    observed = torch.ones(1, 4, 3)
    observed[0, 2] = 0
    assert not bool(residual(target, prediction, observed)[0, 2].any())
