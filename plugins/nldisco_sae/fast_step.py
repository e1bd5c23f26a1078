"""One training step on the CPU: a dense product for the encoder, everything after it only where latents are active.

It does what the reference step of `nldisco_sae.training.Trainer` does, on the same tensors: parameters, Adam's moments
and silence counters are changed in place, so that either step can follow the other. Rows, then latents, are split over
as many threads as torch uses; each number is written by one thread, in an order fixed by the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nldisco_sae.architecture import Parameters
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.examples import Examples
from nldisco_sae.fast_kernels import (
    Entries,
    Moments,
    encode_rows,
    encoder_offset,
    gradients,
    kth_largest,
    reconstruct_rows,
    step_latents,
    step_vector,
)
from nldisco_sae.revival import auxiliary_loss
from nldisco_sae.selection import level_budgets
from nldisco_sae.single_level_config import BatchTopKConfig

__all__ = ["FastStep"]

_MARGINS = (0.9, 0.5, 0.0)  # of the last cutoff: where to look for the next one, in turn
_TINY = np.finfo(np.float32).tiny  # zero is never active
_LATENT_COST = 8  # of Adam on one latent, in entries of the batch

Floats = NDArray[np.float32]
Config: TypeAlias = MatryoshkaConfig | BatchTopKConfig
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Workspace:
    """What the step of one instance needs; the gradients of latents are zero between steps."""

    x: Floats
    entries: Entries
    pulls: Floats
    residuals: Floats
    encoder_gradient: Floats
    encoder_bias_gradient: Floats
    decoder_gradient: Floats
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, config: Config, *, n_rows: int, n_units: int) -> _Workspace:
        n_latents, n_levels = config.level_sizes[-1], len(config.level_sizes)
        n_entries, n_buckets = n_rows * n_latents, n_levels * (n_levels + 1) // 2
        return cls(
            x=np.empty((n_rows, n_units), np.float32),
            entries=Entries(
                latent=np.empty(n_entries, np.int32),
                value=np.empty(n_entries, np.float32),
                bucket=np.empty(n_entries, np.uint8),
                slope=np.empty(n_entries, np.float32),
                start=np.empty(n_rows, np.int64),
                stop=np.empty(n_rows, np.int64),
            ),
            pulls=np.empty((n_buckets, n_rows, n_units), np.float32),
            residuals=np.empty((n_levels, n_rows, n_units), np.float32),
            encoder_gradient=np.zeros((n_latents, n_units), np.float32),
            encoder_bias_gradient=np.zeros(n_latents, np.float32),
            decoder_gradient=np.zeros((n_latents, n_units), np.float32),
            squares=np.zeros(n_latents),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Instance:
    """Trained arrays of one instance, views of the fit's tensors."""

    encoder: Moments
    encoder_bias: Moments
    decoder: Moments
    decoder_bias: Moments


@dataclass(frozen=True, kw_only=True, eq=False)
class _Forward:
    """What predicting gave.

    Attributes
    ----------
    losses : (n_levels,) mean squared error
    bias_gradient : (n_units,) of the decoder's bias
    counts : (n_latents,) rows with each latent active at the deepest level
    offset : (n_latents,) b_enc - b_pre W_enc
    """

    losses: NDArray[np.float64]
    bias_gradient: Floats
    counts: NDArray[np.int64]
    offset: Floats


class FastStep:
    """The step of a fit with squared error, identity output and every entry observed, on the CPU.

    Parameters
    ----------
    optimiser : Adam over `parameters.trained()`, one group per tensor with its rate in ``peak_lr``
    silent_steps : (n_instances, n_latents) as `nldisco_sae.revival.update_silence` counts them
    baseline : what losses are divided by
    dead_after : steps of silence after which a latent is dead
    """

    def __init__(
        self,
        config: Config,
        examples: Examples,
        parameters: Parameters,
        optimiser: torch.optim.Adam,
        silent_steps: Tensor,
        *,
        batch_size: int,
        baseline: float,
        dead_after: int,
    ) -> None:
        self._config, self._parameters, self._optimiser = config, parameters, optimiser
        self._silent_steps, self._dead_after, self._baseline = silent_steps.numpy(), dead_after, baseline
        self._values, self._input_mean = examples.values.numpy(), parameters.input_mean.numpy()
        self._sizes = np.array(config.level_sizes)
        self._group = np.searchsorted(self._sizes, np.arange(self._sizes[-1]), side="right").astype(np.uint8)
        scale = 2 / (batch_size * examples.n_units * baseline)
        self._factors = (np.array(config.weights) * scale).astype(np.float32)
        self._cutoffs = np.zeros((config.n_instances, len(self._sizes)), np.float32)
        n_threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(n_threads) if n_threads > 1 else None
        self._n_parts = 1 if config.n_instances >= n_threads else n_threads
        n_together = n_threads if self._n_parts == 1 else 1
        self._workspaces = [
            _Workspace.of(config, n_rows=batch_size, n_units=examples.n_units) for _ in range(n_together)
        ]

    def update(self, rows: Tensor, rate_factor: float) -> tuple[Tensor, Tensor]:
        """One step of Adam on rows (n_instances, n_rows) of the data.

        Parameters
        ----------
        rate_factor : share of the peak learning rates

        Returns
        -------
        losses : (n_levels, n_instances)
        shares : (n_instances, 1, n_latents) share of rows with each latent active at the deepest level
        """
        instances, adam = self._bind(rate_factor)
        order = rows.numpy()

        def step(index: int) -> _Forward:
            work = self._workspaces.pop()  # as many as threads that get here at a time
            forward = self._forward(work, index, order[index], instances[index])
            self._silent_steps[index] += 1
            self._silent_steps[index, forward.counts > 0] = 0
            if self._config.aux_coefficient:
                self._revive(work, index, instances[index], forward)
            self._backward(work, instances[index], forward, adam)
            self._workspaces.append(work)
            return forward

        found = self._each_instance(step)
        losses = np.stack([forward.losses for forward in found], axis=1) / self._baseline
        shares = np.stack([forward.counts for forward in found])[:, None] / order.shape[1]
        return torch.from_numpy(losses).float(), torch.from_numpy(shares)

    def _bind(self, rate_factor: float) -> tuple[list[_Instance], dict[str, Floats]]:
        """Views of the tensors as they are now, with the optimiser's step counted, and Adam's numbers for each."""
        moments, adam = {}, {}
        for (name, tensor), group in zip(self._parameters.trained().items(), self._optimiser.param_groups, strict=True):
            state = self._optimiser.state[tensor]
            if not state:
                state.update(
                    step=torch.tensor(0.0), exp_avg=torch.zeros_like(tensor), exp_avg_sq=torch.zeros_like(tensor)
                )
            state["step"] += 1
            arrays = (tensor.detach().numpy(), state["exp_avg"].detach().numpy(), state["exp_avg_sq"].detach().numpy())
            moments[name] = [Moments(*one) for one in zip(*arrays, strict=True)]
            adam[name] = _adam_numbers(group, float(state["step"]), rate_factor)
        per_instance = zip(*moments.values(), strict=True)
        return [_Instance(**dict(zip(moments, one, strict=True))) for one in per_instance], adam

    def _forward(self, work: _Workspace, index: int, rows: NDArray[np.int64], instance: _Instance) -> _Forward:
        """Select activations, predict, and find what each activation's gradient is."""
        offset = encoder_offset(instance.encoder.parameter, instance.encoder_bias.parameter, self._input_mean)
        bounds = _bounds(len(rows), self._n_parts)
        cutoffs = self._cutoffs[index]
        self._select(work, cutoffs, rows, instance, offset, bounds)
        lookup, members = _buckets(cutoffs)
        n_parts = len(bounds) - 1
        counts = np.zeros((n_parts, len(offset)), np.int32)
        bias_gradient = np.zeros((n_parts, work.x.shape[1]), np.float32)
        losses = np.zeros((n_parts, len(self._sizes)))
        may_be_dead = bool((self._silent_steps[index] + 1 >= self._dead_after).any())

        def reconstruct(part: int, first: int, last: int) -> None:
            reconstruct_rows(
                first,
                last,
                work.x,
                instance.decoder_bias.parameter,
                instance.decoder.parameter,
                cutoffs,
                self._group,
                lookup,
                members,
                self._factors,
                work.entries,
                work.pulls,
                counts[part],
                bias_gradient[part],
                losses[part],
                work.residuals if may_be_dead else work.residuals[:, :0],
            )

        self._each_part(reconstruct, bounds)
        return _Forward(
            losses=losses.sum(axis=0) / work.x.size,
            bias_gradient=bias_gradient.sum(axis=0),
            counts=counts.sum(axis=0),
            offset=offset,
        )

    def _select(
        self,
        work: _Workspace,
        cutoffs: Floats,
        rows: NDArray[np.int64],
        instance: _Instance,
        offset: Floats,
        bounds: list[int],
    ) -> None:
        """Encode, and replace cutoffs (n_levels,) by the exact new ones, found among what lies not far below them."""
        config, encoder = self._config, instance.encoder.parameter.ravel()
        budgets = level_budgets(config.levels, config.selection)
        places = [max(round(len(rows) * k), 1) for k in budgets.values()]
        for margin in _MARGINS:
            guess = np.maximum(cutoffs * np.float32(margin), _TINY)
            lowest = np.minimum.accumulate(guess[::-1])[::-1].copy()

            def encode(part: int, first: int, last: int, lowest: Floats = lowest) -> None:
                encode_rows(self._values, rows, encoder, offset, self._sizes, lowest, first, last, work.x, work.entries)

            self._each_part(encode, bounds)
            ranges = np.array([(first * len(offset), work.entries.stop[last - 1]) for first, last in pairwise(bounds)])
            bits = work.entries.value.view(np.int32)
            found = [
                kth_largest(bits, work.entries.latent, ranges, size, place)
                for size, place in zip(budgets, places, strict=True)
            ]
            exact = np.array(found, np.int32).view(np.float32)
            if not (exact < guess).any():
                break
        cutoffs[:] = np.maximum(exact, _TINY)

    def _revive(self, work: _Workspace, index: int, instance: _Instance, forward: _Forward) -> None:
        """Add the gradient of the auxiliary loss to that of dead latents."""
        latents = np.flatnonzero(self._silent_steps[index] >= self._dead_after)
        if not len(latents):
            return
        config, x = self._config, torch.from_numpy(work.x)
        encoder = torch.from_numpy(instance.encoder.parameter[:, latents])
        codes = torch.addmm(torch.from_numpy(forward.offset[latents]), x, encoder)[None].requires_grad_()
        decoder = torch.from_numpy(instance.decoder.parameter[latents])[None].requires_grad_()
        total = torch.zeros(1)
        for size, residual in zip(config.level_sizes, torch.from_numpy(work.residuals), strict=True):
            if n_dead := int(np.searchsorted(latents, size)):
                total = total + auxiliary_loss(
                    codes[..., :n_dead],
                    torch.ones(1, n_dead, dtype=torch.bool),
                    decoder[:, :n_dead],
                    [residual[None]],
                    level_sizes=[n_dead],
                    aux_k=config.aux_k or max(size // 2, 1),
                    observed=None,
                )
        slopes, turns = torch.autograd.grad(config.aux_coefficient * total.sum(), (codes, decoder))
        work.encoder_gradient[latents] = (slopes[0].T @ x).numpy()
        work.encoder_bias_gradient[latents] = slopes[0].sum(0).numpy()
        work.decoder_gradient[latents] = turns[0].numpy()

    def _backward(self, work: _Workspace, instance: _Instance, forward: _Forward, adam: dict[str, Floats]) -> None:
        """Gradients of all latents, and one step of Adam on all parameters."""
        largest = self._config.grad_clip
        costs = np.cumsum(forward.counts + _LATENT_COST)
        shares = costs[-1] * np.arange(1, self._n_parts) / self._n_parts
        bounds = [0, *np.searchsorted(costs, shares).tolist(), len(costs)]

        def collect(part: int, first: int, last: int) -> None:
            gradients(
                first,
                last,
                work.x,
                self._input_mean,
                instance.decoder.parameter,
                work.entries,
                work.pulls,
                work.encoder_gradient,
                work.encoder_bias_gradient,
                work.decoder_gradient,
                work.squares,
            )

        def step(part: int, first: int, last: int, scale: float = 1.0) -> None:
            gradient = work.encoder_gradient, work.decoder_gradient
            step_latents(first, last, instance.encoder, instance.decoder, *gradient, scale, adam["encoder"])

        def collect_and_step(part: int, first: int, last: int) -> None:
            collect(part, first, last)
            step(part, first, last)

        scale = 1.0
        if largest is None:
            self._each_part(collect_and_step, bounds)
        else:
            self._each_part(collect, bounds)
            norm = math.sqrt(work.squares.sum() + np.square(forward.bias_gradient).sum(dtype=np.float64))
            scale = largest / norm if norm > largest else 1.0
            self._each_part(partial(step, scale=scale), bounds)
        step_vector(instance.encoder_bias, work.encoder_bias_gradient, scale, adam["encoder_bias"])
        step_vector(instance.decoder_bias, forward.bias_gradient, scale, adam["decoder_bias"])
        work.encoder_bias_gradient[:] = 0

    def _each_instance(self, work: Callable[[int], T]) -> list[T]:
        """Instances side by side where each has a thread of its own."""
        indices = range(len(self._cutoffs))
        if self._pool is not None and self._n_parts == 1:
            return list(self._pool.map(work, indices))
        return [work(index) for index in indices]

    def _each_part(self, work: Callable[[int, int, int], None], bounds: list[int]) -> None:
        """Parts of one instance side by side; `work` takes the part's number, its first and its last item."""
        parts = [(part, *edges) for part, edges in enumerate(pairwise(bounds))]
        if self._pool is None or len(parts) == 1:
            for part in parts:
                work(*part)
        else:
            list(self._pool.map(lambda part: work(*part), parts))


def _adam_numbers(group: dict[str, Any], step: float, rate_factor: float) -> Floats:
    """What `step_latents` and `step_vector` take as `adam`."""
    first, second = group["betas"]
    correction = 1 / math.sqrt(1 - second**step)
    rate = group["peak_lr"] * rate_factor / (1 - first**step)
    return np.array([1 - first, second, 1 - second, correction, group["eps"], rate], np.float32)


def _bounds(n_rows: int, n_parts: int) -> list[int]:
    """Edges of parts of about the same size, each but the last a multiple of four rows."""
    size = max(math.ceil(n_rows / n_parts / 4) * 4, 4)
    return [*range(0, n_rows, size), n_rows]


def _buckets(cutoffs: Floats) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The sets of levels that can select an activation, numbered.

    An activation of a latent that level g adds is selected by those levels from g on whose cutoff it reaches: the ones
    with the lowest cutoffs.

    Returns
    -------
    lookup : (n_levels, n_levels + 1) number of the set, by g and by how many levels select it
    members : (n_sets, n_levels)
    """
    n_levels = len(cutoffs)
    lookup = np.zeros((n_levels, n_levels + 1), np.uint8)
    sets: dict[tuple[bool, ...], int] = {}
    for group in range(n_levels):
        for cutoff in sorted(set(cutoffs[group:].tolist())):
            members = tuple(level >= group and cutoffs[level] <= cutoff for level in range(n_levels))
            lookup[group, sum(members)] = sets.setdefault(members, len(sets))
    return lookup, np.array(list(sets), dtype=np.bool_)
