from __future__ import annotations

import dataclasses
import importlib.util
import os
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from nldisco_sae import plain_kernels, selection, training
from nldisco_sae.architecture import normalise_decoder, project_decoder_gradient
from nldisco_sae.config import MatryoshkaConfig, TrainingConfig
from nldisco_sae.cuda_graph import GraphedSteps, products
from nldisco_sae.cuda_step import CudaStep, prepare_adam
from nldisco_sae.examples import Examples
from nldisco_sae.plain_kernels import Adam, Precision
from nldisco_sae.revival import steps_until_dead
from nldisco_sae.schedule import learning_rate_factor
from nldisco_sae.seeding import data_order
from nldisco_sae.selection import batch_cutoffs
from nldisco_sae.single_level_config import (
    BatchTopKConfig,
    GatedConfig,
    JumpReLUConfig,
    TopKConfig,
    VanillaConfig,
)
from nldisco_sae.training import Trainer
from nldisco_sae.windows import ExampleShape
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

LEVELS = {8: 1.5, 16: 2.0, 50: 4.3}
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
CUDA = torch.cuda.is_available() and not INTERPRETED
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim:DeprecationWarning")  # triton 3.6's
needs_cuda = pytest.mark.skipif(not CUDA, reason="needs a CUDA device, and TRITON_INTERPRET not set")


@pytest.fixture(params=["plain", "triton"])
def kernels(request: pytest.FixtureRequest) -> ModuleType:
    if request.param == "plain":
        return plain_kernels
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    if not (CUDA or INTERPRETED):
        pytest.skip("triton needs a CUDA device, or TRITON_INTERPRET=1 for its interpreter")
    from nldisco_sae import triton_kernels

    return triton_kernels


@pytest.fixture
def device(kernels: ModuleType) -> torch.device:
    return torch.device("cuda" if CUDA and kernels is not plain_kernels else "cpu")


def examples_of(
    n_rows: int = 600, n_units: int = 21, *, device: torch.device, shape: ExampleShape | None = None
) -> Examples:
    """Smooth activity: equal bins would tie at a cutoff, where rounding decides."""
    rng = np.random.default_rng(0)
    activity = rng.gamma(0.3, 1.0, (n_rows, 8)) @ rng.gamma(0.3, 0.5, (8, n_units)) + rng.normal(size=(n_rows, n_units))
    values = torch.from_numpy(activity.astype(np.float32))
    if shape is None:
        return Examples(values=values.to(device), mean=values.mean(0))
    starts = torch.from_numpy(np.setdiff1d(np.arange(n_rows - shape.reach + 1), np.arange(200, 230)))
    return Examples(values=values.to(device), mean=values.mean(0), shape=shape, starts=starts.to(device))


def codes_of(n_instances: int, n_rows: int, n_latents: int, device: torch.device) -> Tensor:
    rng = np.random.default_rng(n_latents)
    codes = rng.normal(0, 1, (n_instances, n_rows, n_latents)) * np.exp(rng.normal(0, 1, (n_instances, 1, n_latents)))
    return torch.from_numpy(codes.astype(np.float32)).to(device)


@pytest.mark.parametrize(
    ("n_instances", "n_rows", "sizes"),
    [(1, 130, (8, 16, 50)), (3, 70, (40,)), (2, 33, (3, 90)), (1, 1, (1,)), (2, 200, (64,))],
)
def test_kth_largest_is_what_sorting_gives(
    kernels: ModuleType, device: torch.device, n_instances: int, n_rows: int, sizes: tuple[int, ...]
) -> None:
    values = codes_of(n_instances, n_rows, sizes[-1], device).cpu()
    values = torch.exp(20 * values) * torch.sign(values)
    values[:, ::3] = float(values[0, 0, 0])  # ties
    values[:, ::7] = 0
    values[0, 0, 0] = 1e-42  # not normal
    for place in (1, 2, n_rows * sizes[0] // 3, n_rows * sizes[0]):
        places = torch.full((n_instances, len(sizes)), min(max(place, 1), n_rows * sizes[0]), dtype=torch.int32)
        places[-1] = (places[-1] + 1) // 2
        found = kernels.kth_largest(values.to(device), sizes, places.to(device)).cpu()
        for instance in range(n_instances):
            for level, size in enumerate(sizes):
                ordered = np.sort(np.maximum(values[instance, :, :size].numpy().ravel(), 0))[::-1]
                assert found[instance, level] == ordered[places[instance, level] - 1]


def test_kth_largest_ignores_nan_and_orders_infinity(kernels: ModuleType, device: torch.device) -> None:
    values = torch.tensor([[[torch.nan, torch.inf, 3.0, 2.0, -torch.inf]]], device=device)
    places = torch.tensor([[1], [2], [3], [4]], dtype=torch.int32, device=device)
    found = [kernels.kth_largest(values, (5,), place[None]).item() for place in places]
    assert found == [torch.inf, 3.0, 2.0, 0.0]


@pytest.mark.parametrize("selection", ["per-level", "nested"])
def test_kth_largest_are_the_cutoffs_of_the_reference(
    kernels: ModuleType, device: torch.device, selection: Any
) -> None:
    activations = torch.relu(codes_of(2, 130, 50, device))
    expected = batch_cutoffs(activations, LEVELS, selection)
    sizes = tuple(LEVELS) if selection == "per-level" else (50,)
    places = [max(round(130 * LEVELS[size]), 1) for size in sizes]
    found = kernels.kth_largest(activations, sizes, torch.tensor([places] * 2, dtype=torch.int32, device=device))
    assert torch.equal(found.expand(2, 3), expected)


@pytest.mark.parametrize(
    ("n_instances", "n_rows", "n_units", "sizes"),
    [(1, 130, 21, (8, 16, 50)), (3, 70, 100, (40,)), (2, 33, 7, (3, 90)), (1, 1, 1, (1,))],
)
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_products_over_selected_codes_are_those_of_autograd(
    kernels: ModuleType,
    device: torch.device,
    n_instances: int,
    n_rows: int,
    n_units: int,
    sizes: tuple[int, ...],
    precision: Precision,
) -> None:
    if precision == "bf16" and kernels is not plain_kernels and INTERPRETED:
        pytest.skip("the interpreter multiplies the bits of bf16 as whole numbers")
    torch.manual_seed(0)
    codes = codes_of(n_instances, n_rows, sizes[-1], device)
    cutoffs = torch.rand(n_instances, len(sizes), device=device) + 0.1
    factors = -torch.rand(n_instances, len(sizes), device=device)
    decoder = torch.randn(n_instances, sizes[-1], n_units, device=device)
    bias, target = (torch.randn(n_instances, *rest, n_units, device=device) for rest in ((), (n_rows,)))
    arguments = {"sizes": sizes, "precision": precision}
    residuals, squares = kernels.decode_levels(codes, cutoffs, decoder, bias, target, **arguments)
    slopes = kernels.pull_back(codes, cutoffs, decoder, residuals, factors, **arguments)
    turns = kernels.decoder_gradient(codes, cutoffs, residuals, factors, **arguments)

    leaves = [tensor.double().requires_grad_() for tensor in (codes, decoder)]
    exact = []
    for level, size in enumerate(sizes):
        selected = leaves[0][..., :size] * (codes[..., :size] >= cutoffs[:, level, None, None])
        exact.append(target - bias[:, None] - selected @ leaves[1][:, :size])
    sums = torch.stack([torch.square(left).sum(dim=(1, 2)) for left in exact])
    expected = torch.autograd.grad((-0.5 * factors.T * sums).sum(), leaves)
    tolerance = {"float32": 1e-5, "tf32": 2e-3, "bf16": 2e-2}[precision]
    for found, wanted in zip((residuals, squares, slopes, turns), (torch.stack(exact), sums, *expected), strict=True):
        assert found.dtype == torch.float32
        assert torch.linalg.vector_norm(found - wanted) <= tolerance * torch.linalg.vector_norm(wanted)


def test_codes_that_are_not_finite_reach_the_loss(kernels: ModuleType, device: torch.device) -> None:
    codes = codes_of(1, 40, 16, device)
    codes[0, 3, 5] = torch.nan
    decoder, target = torch.ones(1, 16, 4, device=device), torch.zeros(1, 40, 4, device=device)
    cutoffs, bias = torch.full((1, 1), 0.5, device=device), torch.zeros(1, 4, device=device)
    _, squares = kernels.decode_levels(codes, cutoffs, decoder, bias, target, sizes=(16,), precision="float32")
    assert not torch.isfinite(squares).any()


@pytest.mark.parametrize("unit_rows", [False, True])
@pytest.mark.parametrize("shape", [(2, 19, 37), (3, 5), (1, 1, 1)])
def test_adam_is_that_of_torch(
    kernels: ModuleType, device: torch.device, unit_rows: bool, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(1)
    start = torch.randn(shape)
    if unit_rows:
        normalise_decoder(start)
    rates, scales = torch.rand(shape[0]) + 0.1, torch.rand(shape[0])
    expected = [one.clone().requires_grad_() for one in start]
    optimiser = torch.optim.Adam([{"params": [one], "lr": 0.0} for one in expected])
    found, mean, square = start.to(device), torch.zeros(shape, device=device), torch.zeros(shape, device=device)
    for step in range(1, 5):
        gradient = torch.randn(shape)
        factor = torch.tensor(1 / step, device=device)
        adam = Adam(
            rates=rates.to(device),
            factor=factor,
            scales=scales.to(device),
            step=torch.tensor(float(step), device=device),
            betas=(0.9, 0.999),
            eps=1e-8,
        )
        kernels.adam_rows(found, gradient.to(device), mean, square, adam, unit_rows=unit_rows)
        for one, group, rate, scale, slope in zip(
            expected, optimiser.param_groups, rates, scales, gradient, strict=True
        ):
            group["lr"], one.grad = float(rate) / step, scale * slope
            if unit_rows:
                project_decoder_gradient(one.data, one.grad)
        optimiser.step()
        if unit_rows:
            for one in expected:
                normalise_decoder(one.data)
        np.testing.assert_allclose(found.cpu(), torch.stack(list(expected)).detach(), rtol=1e-4, atol=2e-6)


def fitted_by(
    kernels: ModuleType, device: torch.device, config: MatryoshkaConfig | BatchTopKConfig, examples: Examples
) -> tuple[Trainer, Trainer, CudaStep]:
    """A fit by the reference's step, another one, and the step under test on the tensors of that."""
    reference, other = (Trainer(config, examples) for _ in range(2))
    step = CudaStep(
        config,
        examples,
        other.parameters,
        other._optimiser,
        other.silent_steps,
        weights=other.objective.weights,
        batch_size=other.batch_size,
        baseline=other.objective.baseline,
        dead_after=steps_until_dead(config.dead_after, other.steps_per_epoch),
        precision="float32",
        kernels=kernels,
    )
    return reference, other, step


def config_of(**settings: Any) -> MatryoshkaConfig:
    """Four steps an epoch, and no dead latents unless asked for."""
    defaults = {"levels": LEVELS, "batch_size": 130, "lr": 1e-3, "epochs": 3, "seeds": (0, 3), "dead_after": 9.0}
    return MatryoshkaConfig(**(defaults | settings), engine="reference")


def shares_of(trainer: Trainer) -> Tensor:
    """(n_steps, 2) of the peak learning rates and of the penalty."""
    config, total = trainer.config, trainer.total_steps
    rate = {"warmup": config.warmup, "hold": config.hold, "final": config.final_lr}
    warmth = rate | {"hold": 1.0, "final": 1.0}
    shares = [[learning_rate_factor(step, total, **kind) for kind in (rate, warmth)] for step in range(total)]
    return torch.tensor(shares)


def step_both(reference: Trainer, other: Trainer, step: CudaStep, n_steps: int, *, revive: bool) -> None:
    """Steps of both, each compared in losses, activity and silence."""
    for _ in range(n_steps):
        epoch, batch = divmod(reference.step, reference.steps_per_epoch)
        order = data_order(reference.config.seeds, reference.examples.n_rows, epoch)
        rows = order[:, batch * reference.batch_size : (batch + 1) * reference.batch_size].to(
            reference.silent_steps.device
        )
        factor, warmth = shares_of(reference)[reference.step].to(rows.device)
        losses, active = reference._update(rows)
        other_losses, other_active = step(rows, factor, warmth, revive=revive)
        reference.step += 1
        other.step += 1
        torch.testing.assert_close(other_losses, losses, rtol=1e-4, atol=1e-6)
        assert torch.equal(other_active, active)
        assert torch.equal(reference.silent_steps, other.silent_steps)


def assert_same_state(reference: Trainer, other: Trainer) -> None:
    """Each tensor's change since the start, to a percent: Adam enlarges gradients that almost vanish to full steps."""
    start = Trainer(reference.config, reference.examples).checkpoint().tensors
    found = other.checkpoint().tensors
    for name, expected in reference.checkpoint().tensors.items():
        before = start.get(name, torch.zeros_like(expected))
        change = torch.linalg.vector_norm((expected - before).double())
        assert change > 0 or name == "silent_steps", name
        assert torch.linalg.vector_norm((found[name] - expected).double()) <= 0.01 * change, name


@pytest.mark.parametrize("selection", ["nested", "per-level"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"seeds": (5,), "levels": {7: 3.0}, "batch_size": 33},
        {"levels": {4: 1.0, 90: (1.2, 3.0)}, "level_weights": ((0.5, 1.0), 2.0), "lr": (1e-3, 4e-4)},
        {"grad_clip": 0.05},
        {"levels": {4: 4.0, 9: 9.0}, "batch_size": 2},
    ],
)
def test_steps_equal_the_reference(
    kernels: ModuleType, device: torch.device, selection: str, settings: dict[str, Any]
) -> None:
    both = fitted_by(kernels, device, config_of(selection=selection, **settings), examples_of(device=device))
    step_both(*both, 5, revive=False)
    assert_same_state(*both[:2])


@pytest.mark.parametrize(
    "shape", [ExampleShape(window=3), ExampleShape(window=3, target="last"), ExampleShape(window=2, target_lag=2)]
)
def test_steps_on_windows_equal_the_reference(kernels: ModuleType, device: torch.device, shape: ExampleShape) -> None:
    config = BatchTopKConfig(n_latents=30, k=3.0, batch_size=64, lr=1e-3, epochs=2, dead_after=9.0, engine="reference")
    both = fitted_by(kernels, device, config, examples_of(device=device, shape=shape))
    step_both(*both, 4, revive=False)
    assert_same_state(*both[:2])


@pytest.mark.parametrize("aux_k", [None, 2])
@pytest.mark.parametrize("grad_clip", [None, 0.05])
def test_dead_latents_are_revived_as_in_the_reference(
    kernels: ModuleType, device: torch.device, aux_k: int | None, grad_clip: float | None
) -> None:
    config = config_of(levels={20: 0.1, 120: 0.3}, dead_after=0.01, aux_k=aux_k, grad_clip=grad_clip)
    both = fitted_by(kernels, device, config, examples_of(device=device))
    step_both(*both, 5, revive=True)
    assert int(both[0]._dead().sum()) > 20
    assert_same_state(*both[:2])


def graphed(trainer: Trainer, step: CudaStep, *, longest: int) -> GraphedSteps:
    config = trainer.config
    return GraphedSteps(
        step,
        trainer._optimiser,
        trainer.silent_steps,
        order=lambda epoch: data_order(config.seeds, trainer.examples.n_rows, epoch),
        batch_size=trainer.batch_size,
        steps_per_epoch=trainer.steps_per_epoch,
        shares=shares_of(trainer),
        n_parts=len(trainer.objective.weights),
        longest=longest,
        dead_after=steps_until_dead(config.dead_after, trainer.steps_per_epoch),
        precision="float32",
    )


@pytest.mark.parametrize("dead_after", [0.2, 5.0])
def test_steps_that_draw_their_batches_equal_the_reference(
    kernels: ModuleType, device: torch.device, dead_after: float
) -> None:
    config = config_of(levels={20: 0.3, 50: 1.0}, dead_after=dead_after, epochs=3)
    reference, other, step = fitted_by(kernels, device, config, examples_of(device=device))
    steps = graphed(other, step, longest=4)
    while reference.step < reference.total_steps:
        n_steps = min(3, reference.steps_per_epoch - reference.step % reference.steps_per_epoch)
        losses, active = steps.run(reference.step, n_steps)
        assert losses.shape == (n_steps, 2, 2)
        for index in range(n_steps):
            epoch, batch = divmod(reference.step, reference.steps_per_epoch)
            order = data_order(config.seeds, reference.examples.n_rows, epoch).to(device)
            expected, expected_active = reference._update(order[:, batch * 130 : (batch + 1) * 130])
            torch.testing.assert_close(losses[index], expected, rtol=1e-3, atol=1e-5)
            reference.step += 1
        assert torch.equal(active, expected_active)
        assert torch.equal(other.silent_steps, reference.silent_steps)
    assert bool(reference._dead().any()) == (dead_after < 1)
    assert_same_state(reference, other)


@needs_cuda
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_products_of_low_precision_train_as_well(precision: Precision) -> None:
    from nldisco_sae import triton_kernels

    device = torch.device("cuda")
    config = config_of(batch_size=60, epochs=20)
    final = {}
    for name in ("float32", precision):
        _, other, step = fitted_by(triton_kernels, device, config, examples_of(device=device))
        step._precision = name
        steps = graphed(other, step, longest=other.steps_per_epoch)
        for epoch in range(config.epochs):
            losses, _ = steps.run(epoch * other.steps_per_epoch, other.steps_per_epoch)
        final[name] = losses.mean(dim=0)
    torch.testing.assert_close(final[precision], final["float32"], rtol=0.02, atol=0)


@needs_cuda
def test_capturing_a_step_leaves_the_state_as_it_was() -> None:
    device = torch.device("cuda")
    _, other, step = fitted_by(plain_kernels, device, config_of(), examples_of(device=device))
    steps = graphed(other, step, longest=4)
    steps._load(0)
    prepare_adam(other._optimiser)
    before = {name: tensor.clone() for name, tensor in other.checkpoint().tensors.items()}
    steps._capture(revive=True)
    for name, tensor in other.checkpoint().tensors.items():
        assert torch.equal(tensor, before[name]), name


def test_the_precision_of_torch_is_put_back() -> None:
    before = torch.get_float32_matmul_precision()
    with products("tf32"):
        assert torch.get_float32_matmul_precision() == "high"
    with products("float32"):
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == before


COMMON = {"batch_size": 130, "epochs": 3, "lr": 1e-3, "dead_after": 0.4, "seeds": (0, 3), "engine": "reference"}
EVERY_KIND = [
    MatryoshkaConfig(levels=LEVELS, grad_clip=0.1, **COMMON | {"lr": (1e-3, 5e-4)}),
    MatryoshkaConfig(levels=LEVELS, loss="msle", output="relu", **COMMON),
    VanillaConfig(n_latents=20, **COMMON),
    GatedConfig(n_latents=20, **COMMON),
    JumpReLUConfig(n_latents=20, **COMMON),
    TopKConfig(n_latents=20, **COMMON),
    MatryoshkaConfig(levels={8: 1.0, 20: 2.0}, encoder="convolution", window=4, **COMMON),
    MatryoshkaConfig(levels={8: 1.0, 20: 2.0}, encoder="transformer", encoder_width=16, window=4, **COMMON),
]
each_kind = pytest.mark.parametrize(
    "config", EVERY_KIND, ids=lambda config: f"{type(config).__name__}-{config.encoder}"
)


def examples_for(config: TrainingConfig, device: torch.device) -> Examples:
    examples = examples_of(device=device, shape=ExampleShape.of(config) if config.window > 1 else None)
    positive = examples.values.abs()
    return dataclasses.replace(examples, values=positive, mean=positive.mean(0).cpu())


def fit_of(config: TrainingConfig, make_monitor: Any, device: torch.device, *, graphed: bool) -> training.Trained:
    trainer = Trainer(config, examples_for(config, device))
    if graphed:
        trainer._graphed = trainer._graphed_steps()
    return trainer.run(make_monitor())


@each_kind
@pytest.mark.parametrize("where", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_a_fit_of_steps_that_draw_their_batches_is_the_fit_step_by_step(
    config: TrainingConfig, where: str, make_monitor: Any
) -> None:
    config, device = config.model_copy(update={"precision": "float32"}), torch.device(where)
    expected, found = (fit_of(config, make_monitor, device, graphed=graphed) for graphed in (False, True))
    pd.testing.assert_frame_equal(found.history.frame(), expected.history.frame(), rtol=1e-3, atol=1e-5)
    for name, tensor in expected.parameters.trained().items():
        torch.testing.assert_close(found.parameters.trained()[name], tensor, rtol=1e-2, atol=1e-3, msg=name)


class HostLeftAlone(TorchDispatchMode):
    """Refuses what brings a value from the device to the host, or a list of the host's to the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket.__name__ not in ("_local_scalar_dense", "is_nonzero", "nonzero", "lift_fresh"), func
        return func(*args, **(kwargs or {}))


@each_kind
@pytest.mark.parametrize("revive", [False, True])
def test_no_step_asks_the_device_or_brings_it_anything(
    config: TrainingConfig, revive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "may_hold_dead", lambda dead: True)  # as on a CUDA device, and its selection
    monkeypatch.setattr(selection, "_kth_largest", lambda values, k: torch.topk(values, k).values.amin(-1))
    trainer = Trainer(config, examples_for(config, torch.device("cpu")))
    rows, share = torch.arange(130).repeat(2, 1), torch.tensor(0.5)
    trainer._take(rows, share, share, revive=revive)  # what is copied once may be copied now
    with HostLeftAlone():
        losses, _ = trainer._take(rows, share, share, revive=revive)
        with pytest.raises(AssertionError, match="_local_scalar_dense"):
            float(losses.sum())
    assert torch.isfinite(losses).all()


@needs_cuda
@pytest.mark.parametrize(("engine", "graphed"), [("auto", True), ("fast", True), ("reference", False)])
def test_the_engine_is_chosen_by_the_device_and_can_be_forced(engine: Any, graphed: bool) -> None:
    examples = examples_of(device=torch.device("cuda"))
    trainer = Trainer(MatryoshkaConfig(levels=LEVELS, engine=engine), examples)
    assert (trainer._graphed is not None) == graphed
    assert (graphed and isinstance(trainer._graphed._step, CudaStep)) == (engine == "fast")
