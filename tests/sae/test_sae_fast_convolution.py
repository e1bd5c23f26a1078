from __future__ import annotations

import numpy as np
import pytest
import torch
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.examples import Examples
from nldisco_sae.fast_choice import SMALLEST_WORK, takes_sparse_decoding
from nldisco_sae.seeding import data_order
from nldisco_sae.sequences import SequenceParameters
from nldisco_sae.training import Trainer
from nldisco_sae.windows import ExampleShape

N_LAGS = 4


def examples_of(n_rows: int = 600, n_units: int = 7) -> Examples:
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.normal(size=(n_rows, 3)) @ rng.normal(size=(3, n_units))).float()
    return Examples(values=values, mean=values.mean(0), shape=ExampleShape(window=N_LAGS))


def trainer_of(encoder: str, *, sparse: bool, **settings) -> Trainer:
    config = MatryoshkaConfig(
        **{"levels": {6: 0.7, 20: 1.3}, "window": N_LAGS, "encoder": encoder, "encoder_width": 8, "seeds": (0, 4)}
        | settings
    )
    trainer = Trainer(config, examples_of())
    if sparse:
        trainer._decode_sparsely()
    return trainer


def run(trainer: Trainer, n_steps: int) -> torch.Tensor:
    losses = []
    for _ in range(n_steps):
        order = data_order(trainer.config.seeds, trainer.examples.n_rows, 0)
        rows = order[:, trainer.step * 64 : (trainer.step + 1) * 64]
        losses.append(trainer._update(rows)[0])
        trainer.step += 1
    return torch.stack(losses)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_decoding_and_its_gradients_are_those_of_the_dense_convolution(n_threads: int) -> None:
    dense, sparse = (trainer_of("convolution", sparse=sparse).parameters for sparse in (False, True))
    assert isinstance(dense, SequenceParameters)
    draw = torch.Generator().manual_seed(0)
    codes = torch.relu(torch.randn(2, 5 * N_LAGS, 20, generator=draw) - 1) * 3
    weights = torch.randn(2, 5, N_LAGS * 7, generator=draw)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        found = []
        for parameters in (dense, sparse):
            leaves = codes.clone().requires_grad_(), dense.decoder.detach().clone().requires_grad_()
            predicted = parameters.combine(*leaves)
            gradients = torch.autograd.grad((weights * predicted).sum(), leaves)
            found.append((predicted.detach(), gradients[0] * (codes != 0), gradients[1]))
    finally:
        torch.set_num_threads(before)
    for expected, tensor in zip(*found, strict=True):
        torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("encoder", ["convolution", "transformer"])
@pytest.mark.parametrize("settings", [{}, {"selection": "nested", "dead_after": 0.01, "levels": {6: 0.1, 20: 0.2}}])
def test_steps_equal_the_reference(encoder: str, settings: dict) -> None:
    dense, sparse = (trainer_of(encoder, sparse=sparse, lr=1e-3, batch_size=64, **settings) for sparse in (False, True))
    torch.testing.assert_close(run(sparse, 6), run(dense, 6), rtol=1e-4, atol=1e-6)
    assert torch.equal(sparse.silent_steps, dense.silent_steps)
    for name, tensor in dense.parameters.trained().items():
        torch.testing.assert_close(sparse.parameters.trained()[name], tensor, rtol=1e-3, atol=5e-5, msg=name)


def test_only_long_fits_with_a_code_for_each_bin_decode_sparsely() -> None:
    examples = examples_of()
    n_steps = SMALLEST_WORK // (256 * N_LAGS * 7 * N_LAGS * 20)
    config = MatryoshkaConfig(levels={20: 2.0}, window=N_LAGS, encoder="transformer", encoder_width=8)
    assert not takes_sparse_decoding(config, examples, n_steps=n_steps)
    assert takes_sparse_decoding(config, examples, n_steps=n_steps + 1)
    for other in ({"engine": "reference"}, {"encoder": "linear"}):
        assert not takes_sparse_decoding(config.model_copy(update=other), examples, n_steps=n_steps + 1)
