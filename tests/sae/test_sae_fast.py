from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nldisco_sae.checkpoints import read_checkpoint, write_checkpoint
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.examples import Examples
from nldisco_sae.fast_choice import SMALLEST_WORK, takes_fast_step
from nldisco_sae.fast_kernels import kth_largest
from nldisco_sae.fast_reconstruction import exponential, logarithm_above_one, natural_logarithm
from nldisco_sae.matryoshka import MatryoshkaSAE
from nldisco_sae.seeding import data_order
from nldisco_sae.single_level_config import BatchTopKConfig, TopKConfig
from nldisco_sae.training import Trainer, train
from nldisco_sae.windows import ExampleShape

from nldisco_core.errors import Diverged, ModelError

LEVELS = {8: 1.5, 16: 2.0, 50: 4.3}


def examples_of(n_rows: int = 2000, n_units: int = 21, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    rates = rng.gamma(0.3, 1.0, (n_rows, 8)) @ rng.gamma(0.3, 0.5, (8, n_units))
    values = torch.from_numpy(rng.poisson(rates).astype(np.float32))
    return Examples(values=values, observed=None, mean=values.mean(0))


def pair(examples: Examples, **settings) -> tuple[Trainer, Trainer]:
    defaults = {"levels": LEVELS, "batch_size": 130, "lr": 1e-3, "epochs": 3, "seeds": (0, 3)}
    configs = (MatryoshkaConfig(**(defaults | settings), engine=engine) for engine in ("reference", "fast"))
    reference, fast = (Trainer(config, examples) for config in configs)
    return reference, fast


def step_both(reference: Trainer, fast: Trainer, n_steps: int) -> None:
    """Steps of both, each compared in losses, L0 and silence."""
    for _ in range(n_steps):
        batch = reference.step % reference.steps_per_epoch
        order = data_order(
            reference.config.seeds, reference.examples.n_rows, reference.step // reference.steps_per_epoch
        )
        rows = order[:, batch * reference.batch_size : (batch + 1) * reference.batch_size]
        (losses, active), (fast_losses, shares) = reference._update(rows), fast._update(rows)
        reference.step += 1
        fast.step += 1
        torch.testing.assert_close(fast_losses, losses, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(shares.sum(2).float().mean(1), active.sum(2).float().mean(1))
        assert torch.equal(reference.silent_steps, fast.silent_steps)


def run(trainer: Trainer, n_steps: int) -> None:
    """Steps through the data, in the order of training."""
    for _ in range(n_steps):
        epoch, batch = divmod(trainer.step, trainer.steps_per_epoch)
        order = data_order(trainer.config.seeds, trainer.examples.n_rows, epoch)
        trainer._update(order[:, batch * trainer.batch_size : (batch + 1) * trainer.batch_size])
        trainer.step += 1


def assert_same_state(reference: Trainer, fast: Trainer) -> None:
    """Moments to rounding; parameters to a small part of a step, since Adam enlarges gradients that almost vanish."""
    tensors = fast.checkpoint().tensors
    for name, expected in reference.checkpoint().tensors.items():
        atol = 1e-5 * float(expected.abs().max()) if "/" in name else 5e-5
        np.testing.assert_allclose(
            tensors[name].detach().numpy(), expected.detach().numpy(), rtol=1e-3, atol=atol, err_msg=name
        )


@pytest.mark.parametrize("selection", ["nested", "per-level"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"seeds": (5,), "levels": {7: 3.0}, "batch_size": 33},
        {"seeds": (1, 2, 3), "levels": {1: 1.0, 2: 1.0, 3: 2.0, 90: 1.2}, "level_weights": (0.5, 0.0, 1.0, 2.0)},
        {"grad_clip": 0.05},
        {"aux_coefficient": 0.0, "batch_size": 2},
        {"levels": {4: 4.0, 9: 9.0}},
        {"lr": (1e-3, 2e-4), "levels": {8: (1.5, 0.5), 50: 3.0}, "level_weights": (1.0, (0.3, 2.0))},
    ],
)
def test_steps_equal_the_reference(selection: str, settings: dict) -> None:
    reference, fast = pair(examples_of(), selection=selection, **settings)
    step_both(reference, fast, 8)
    assert_same_state(reference, fast)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "msle"},
        {"loss": "msle", "tau": 0.7, "output": "relu", "selection": "nested"},
        {"loss": "mse", "output": "relu"},
        {"loss": "mse", "output": "softplus"},
        {"loss": "poisson", "output": "softplus"},
        {"loss": "poisson", "output": "exp", "lr": 1e-4, "selection": "nested"},
    ],
)
def test_every_loss_and_output_equals_the_reference(settings: dict) -> None:
    reference, fast = pair(examples_of(), dead_after=0.1, **settings)
    step_both(reference, fast, 8)
    assert_same_state(reference, fast)


@pytest.mark.parametrize(
    ("shape", "target_units"),
    [
        (ExampleShape(window=4), None),
        (ExampleShape(window=3, target="last"), None),
        (ExampleShape(window=2, target_lag=1), 5),
        (ExampleShape(), 7),
    ],
)
@pytest.mark.parametrize("loss", ["mse", "msle"])
def test_windows_and_other_targets_equal_the_reference(
    shape: ExampleShape, target_units: int | None, loss: str
) -> None:
    bins = examples_of()
    apart = np.flatnonzero(np.arange(bins.n_rows) % 50 < 50 - shape.reach + 1)  # trials of 50 bins
    other = None if target_units is None else bins.values[:, -target_units:].contiguous() + 0.5
    examples = replace(
        bins,
        shape=shape,
        starts=torch.from_numpy(apart) if shape.reach > 1 else None,
        target_values=other,
        target_mean=None if other is None else other.mean(0),
    )
    reference, fast = pair(examples, loss=loss, dead_after=0.1)
    step_both(reference, fast, 8)
    assert_same_state(reference, fast)


def test_an_instance_learns_in_a_sweep_what_it_learns_alone() -> None:
    swept = {"lr": (1e-3, 3e-3), "levels": {8: (1.0, 2.0), 16: (2.0, 3.0)}, "level_weights": ((1.0, 0.2), 1.0)}
    together = pair(examples_of(), seeds=(0, 3), **swept)[1]
    run(together, 20)
    for instance, seed in enumerate((0, 3)):
        alone = pair(
            examples_of(),
            seeds=(seed,),
            lr=swept["lr"][instance],
            levels={size: k[instance] for size, k in swept["levels"].items()},
            level_weights=(swept["level_weights"][0][instance], 1.0),
        )[1]
        run(alone, 20)
        for name, tensor in alone.parameters.trained().items():
            assert torch.equal(tensor[0], together.parameters.trained()[name][instance]), name


@pytest.mark.parametrize("loss", ["mse", "msle"])
@pytest.mark.parametrize("selection", ["nested", "per-level"])
def test_losses_of_other_examples_equal_the_reference_and_teach_nothing(selection: str, loss: str) -> None:
    reference, fast = pair(examples_of(), selection=selection, loss=loss)
    step_both(reference, fast, 3)
    held_out = examples_of(n_rows=300, seed=1)
    rows = torch.arange(0, 200, 2)
    x, y, _ = held_out.batch(rows.expand(2, -1))
    with torch.no_grad():
        encoded = reference.sparsifier.encode(reference.parameters, x, scale=reference.objective.scale)
        expected = reference.objective.parts(reference.parameters, encoded, y, None, penalised=1.0)[0]
    torch.testing.assert_close(fast._fast.losses(held_out, rows), expected, rtol=1e-4, atol=1e-6)
    step_both(reference, fast, 3)
    assert_same_state(reference, fast)


def test_written_out_functions_are_right_to_rounding() -> None:
    rng = np.random.default_rng(0)
    small = np.exp(rng.normal(-2, 6, 5000)).astype(np.float32)
    for function, values, expected in (
        (logarithm_above_one, small, np.log1p),
        (natural_logarithm, small, np.log),
        (exponential, rng.normal(0, 20, 5000).astype(np.float32), np.exp),
    ):
        found = np.array([function(value) for value in values])
        np.testing.assert_allclose(found, expected(values.astype(float)), rtol=6e-7, atol=1e-7)
    for value, expected in ((np.nan, np.nan), (np.inf, np.inf), (-np.inf, 0.0), (200.0, np.inf), (-200.0, 0.0)):
        np.testing.assert_equal(abs(exponential(np.float32(value))), expected)
    assert np.isnan(logarithm_above_one(np.float32(np.nan)))
    assert logarithm_above_one(np.float32(0)) == 0


@pytest.mark.parametrize("selection", ["nested", "per-level"])
@pytest.mark.parametrize("aux_k", [None, 2, 60])
@pytest.mark.parametrize("grad_clip", [None, 0.05])
def test_dead_latents_are_revived_as_in_the_reference(
    selection: str, aux_k: int | None, grad_clip: float | None
) -> None:
    levels = {20: 0.1, 120: 0.3}
    reference, fast = pair(
        examples_of(), selection=selection, levels=levels, dead_after=0.01, aux_k=aux_k, grad_clip=grad_clip
    )
    step_both(reference, fast, 6)
    assert int(reference._dead().sum()) > 20
    assert_same_state(reference, fast)


def test_silent_latents_get_no_gradient_and_then_momentum_as_in_the_reference() -> None:
    reference, fast = pair(examples_of(), aux_coefficient=0.0)
    step_both(reference, fast, 2)
    for trainer in (reference, fast):
        with torch.no_grad():
            trainer.parameters.encoder_bias[:, 3:30] = -1e3
    before = fast.parameters.encoder.detach().clone()
    step_both(reference, fast, 3)
    assert int(fast.silent_steps[:, 3:30].min()) == 3
    assert not torch.equal(before[..., 3:30], fast.parameters.encoder[..., 3:30])
    assert_same_state(reference, fast)


def test_either_step_can_follow_the_other(tmp_path: Path) -> None:
    reference, fast = pair(examples_of())
    step_both(reference, fast, 2)
    write_checkpoint(reference.checkpoint(), tmp_path)
    fast.restore(read_checkpoint(tmp_path, reference.identity()))
    step_both(reference, fast, 2)
    step, fast._fast = fast._fast, None
    step_both(reference, fast, 2)
    fast._fast = step
    step_both(reference, fast, 2)
    assert_same_state(reference, fast)


def test_a_unit_that_is_silent_and_rows_of_zeros_do_no_harm() -> None:
    values = examples_of().values.clone()
    values[:, 4] = 0
    values[::2] = 0
    reference, fast = pair(Examples(values=values, observed=None, mean=values.mean(0)))
    step_both(reference, fast, 5)
    assert_same_state(reference, fast)


@pytest.mark.parametrize("selection", ["nested", "per-level"])
def test_loss_curves_stay_close_over_two_hundred_steps(selection: str, make_monitor) -> None:
    curves = []
    for engine in ("reference", "fast"):
        config = MatryoshkaConfig(
            levels=LEVELS, selection=selection, batch_size=100, epochs=10, seeds=(0, 1), dead_after=0.1, engine=engine
        )
        trained = train(config, examples_of(), make_monitor())
        frame = trained.history.frame()
        curves.append(frame[frame["name"] == "loss"]["value"].to_numpy().reshape(-1, 20).mean(axis=1))
    assert curves[0][-1] < 0.5 * curves[0][0]
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.01)


@pytest.mark.parametrize("checkpoint_at", [1, 7])
def test_resumed_fast_fit_equals_an_uninterrupted_one_bit_for_bit(
    planted, make_monitor, tmp_path: Path, checkpoint_at: int
) -> None:
    data, _, _ = planted
    config = MatryoshkaConfig(levels={4: 1.0, 8: 2.0}, seeds=(0, 1), epochs=6, dead_after=0.1, engine="fast")
    whole, killed, resumed = (MatryoshkaSAE(config) for _ in range(3))
    whole.fit(data, validation=None, monitor=make_monitor())
    killed.fit(
        data,
        validation=None,
        monitor=make_monitor(checkpoint_at=checkpoint_at, stop_after=checkpoint_at + 2, folder=tmp_path / "c"),
    )
    report = resumed.fit(data, validation=None, monitor=make_monitor(resume_from=tmp_path / "c"))
    assert report.stop_reason == "finished"
    assert np.array_equal(whole.dictionary().values, resumed.dictionary().values)
    assert (whole.transform(data).main.csc(1) != resumed.transform(data).main.csc(1)).nnz == 0


@pytest.mark.parametrize(("n_threads", "seeds"), [(2, (0,)), (3, (0, 1)), (2, (0, 1, 2))])
def test_threads_give_the_reference_and_the_same_bits_each_time(n_threads: int, seeds: tuple[int, ...]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        first, second = (pair(examples_of(), seeds=seeds, dead_after=0.01, grad_clip=0.1) for _ in range(2))
        for both in (first, second):
            step_both(*both, 6)
    finally:
        torch.set_num_threads(before)
    assert_same_state(*first)
    again = second[1].checkpoint().tensors
    for name, tensor in first[1].checkpoint().tensors.items():
        assert torch.equal(tensor, again[name]), name


def test_divergence_is_seen(planted, make_monitor) -> None:
    data, _, _ = planted
    config = MatryoshkaConfig(levels={8: 2.0}, lr=1e25, epochs=3, engine="fast")
    with pytest.raises(Diverged, match=r"instance 0 \(seed 0\)"):
        MatryoshkaSAE(config).fit(data, validation=None, monitor=make_monitor())


@pytest.mark.parametrize("k", [1, 7, 500, 999, 1200])
def test_kth_largest_is_exact(k: int) -> None:
    rng = np.random.default_rng(k)
    values = np.exp(rng.normal(0, 20, 1500)).astype(np.float32)
    values[rng.integers(0, 1500, 400)] = values[0]
    latent = rng.integers(0, 10, 1500).astype(np.int32)
    ranges = np.array([[0, 600], [700, 1500]])
    chosen = np.r_[values[:600][latent[:600] < 8], values[700:][latent[700:] < 8]]
    expected = np.sort(chosen)[-k] if k <= len(chosen) else 0.0
    found = kth_largest(values.view(np.int32), latent, ranges, 8, k)
    assert np.array(found, np.int32).view(np.float32) == expected


def test_engine_is_chosen_by_what_applies_and_pays() -> None:
    examples = examples_of()
    per_step = 130 * 21 * 50
    config = MatryoshkaConfig(levels=LEVELS, batch_size=130)
    assert not takes_fast_step(config, examples, n_steps=SMALLEST_WORK // per_step)
    assert takes_fast_step(config, examples, n_steps=SMALLEST_WORK // per_step + 1)
    for other in ({"loss": "numpy:subtract"}, {"encoder": "convolution"}, {"engine": "reference"}):
        chosen = MatryoshkaConfig(**({"levels": LEVELS, "batch_size": 130} | other))
        assert not takes_fast_step(chosen, examples, n_steps=SMALLEST_WORK)
    assert takes_fast_step(BatchTopKConfig(engine="fast"), examples, n_steps=1)
    assert not takes_fast_step(TopKConfig(), examples, n_steps=SMALLEST_WORK)
    masked = Examples(values=examples.values, observed=torch.ones_like(examples.values), mean=examples.mean)
    assert not takes_fast_step(config, masked, n_steps=SMALLEST_WORK)


def test_a_forced_engine_that_does_not_apply_says_why() -> None:
    with pytest.raises(ModelError, match="engine 'fast' does not do loss 'torch:dist', only mse, msle, poisson"):
        takes_fast_step(MatryoshkaConfig(loss="torch:dist", engine="fast"), examples_of(), n_steps=1)
    with pytest.raises(ModelError, match="TopKConfig, only batch-top-k"):
        Trainer(TopKConfig(engine="fast"), examples_of())


def test_training_a_small_model_does_not_import_numba() -> None:
    script = (
        "import sys, torch; from nldisco_sae.training import Trainer; from nldisco_sae.examples import Examples;"
        "from nldisco_sae.config import MatryoshkaConfig; x = torch.rand(300, 5);"
        "trainer = Trainer(MatryoshkaConfig(), Examples(values=x, observed=None, mean=x.mean(0)));"
        "trainer._update(torch.arange(256)[None]);"
        "print('numba' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
