"""One training step on the CPU: a dense product for the encoder, everything after it only where latents are active.

It does what the reference step of `nldisco_sae.training.Trainer` does, on the same tensors: parameters, Adam's moments
and silence counters are changed in place, so that either step can follow the other. Rows, then latents, are split over
as many threads as torch uses; each number is written by one thread, in an order fixed by the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from nldisco_sae.architecture import Parameters
from nldisco_sae.config import per_instance
from nldisco_sae.examples import Examples
from nldisco_sae.fast_descent import gradients, step_latents, step_vector
from nldisco_sae.fast_kernels import (
    Floats,
    Integers,
    choose_entries,
    encode_rows,
    encoder_offset,
    gather_rows,
    kth_largest,
)
from nldisco_sae.fast_reconstruction import LOSSES, OUTPUTS, reconstruct_rows
from nldisco_sae.fast_workspace import Config, Forward, Instance, Source, Workspace, adam_numbers, moments_of, sets_of
from nldisco_sae.revival import auxiliary_loss
from nldisco_sae.selection import level_budgets

__all__ = ["FastStep"]

_MARGINS = (0.9, 0.5, 0.0)  # of the last cutoff: where to look for the next one, in turn
_TINY = np.finfo(np.float32).tiny  # zero is never active
_LATENT_COST = 8  # of Adam on one latent, in entries of the batch

T = TypeVar("T")


class FastStep:
    """The step of a batch-top-k fit with linear encoder, built-in loss and every entry observed, on the CPU.

    Parameters
    ----------
    optimiser : Adam over `parameters.trained()`, one group per tensor with the highest instance's rate in ``peak_lr``
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
        self._source, self._input_mean = Source.of(examples), parameters.input_mean.numpy()
        self._sizes = np.array(config.level_sizes)
        self._group = np.searchsorted(self._sizes, np.arange(self._sizes[-1]), side="right").astype(np.uint8)
        n_instances = config.n_instances
        budgets = level_budgets(config.levels, config.selection).values()
        self._budgets = np.array([per_instance(k, n_instances) for k in budgets]).T
        weights = np.array([per_instance(weight, n_instances) for weight in config.weights]).T
        self._factors = (weights / (batch_size * self._source.n_targets * baseline)).astype(np.float32)
        rates = np.array(per_instance(config.lr, n_instances))
        self._rate_shares = rates / rates.max()
        self._cutoffs = np.zeros((n_instances, len(self._sizes)), np.float32)
        n_threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(n_threads) if n_threads > 1 else None
        self._n_parts = 1 if n_instances >= n_threads else n_threads
        n_together = n_threads if self._n_parts == 1 else 1
        self._workspaces = [Workspace.of(config, self._source, n_rows=batch_size) for _ in range(n_together)]

    def update(self, rows: Tensor, rate_factor: float) -> tuple[Tensor, Tensor]:
        """One step of Adam on examples (n_instances, n_rows).

        Parameters
        ----------
        rate_factor : share of the peak learning rates

        Returns
        -------
        losses : (n_levels, n_instances)
        shares : (n_instances, 1, n_latents) share of rows with each latent active at the deepest level
        """
        instances, adam = moments_of(self._parameters, self._optimiser), self._adam(rate_factor)
        order = rows.numpy()

        def step(index: int) -> Forward:
            work = self._workspaces.pop()  # as many as threads that get here at a time
            may_be_dead = bool((self._silent_steps[index] + 1 >= self._dead_after).any())
            forward = self._forward(work, self._source, index, order[index], instances[index], residuals=may_be_dead)
            self._silent_steps[index] += 1
            self._silent_steps[index, forward.counts > 0] = 0
            if self._config.aux_coefficient:
                self._revive(work, index, instances[index], forward)
            self._backward(work, instances[index], forward, adam[index])
            self._workspaces.append(work)
            return forward

        found = self._each_instance(step)
        shares = np.stack([forward.counts for forward in found])[:, None] / order.shape[1]
        return self._relative_losses(found), torch.from_numpy(shares)

    def losses(self, examples: Examples, rows: Tensor) -> Tensor:
        """(n_levels, n_instances) losses of other examples (n_rows,), no more than a batch; nothing is learnt."""
        instances, source = moments_of(self._parameters, self._optimiser), Source.of(examples)
        order = rows.numpy()

        def predict(index: int) -> Forward:
            work = self._workspaces.pop()
            forward = self._forward(work, source, index, order, instances[index], residuals=False)
            self._workspaces.append(work)
            return forward

        return self._relative_losses(self._each_instance(predict))

    def _relative_losses(self, found: list[Forward]) -> Tensor:
        return torch.from_numpy(np.stack([forward.losses for forward in found], axis=1) / self._baseline).float()

    def _adam(self, rate_factor: float) -> list[dict[str, Floats]]:
        """Adam's numbers for each instance and tensor, with the optimiser's step counted."""
        adam: list[dict[str, Floats]] = [{} for _ in self._rate_shares]
        for (name, tensor), group in zip(self._parameters.trained().items(), self._optimiser.param_groups, strict=True):
            count = self._optimiser.state[tensor]["step"]
            count += 1
            for numbers, share in zip(adam, self._rate_shares, strict=True):
                numbers[name] = adam_numbers(group, step=float(count), rate=group["peak_lr"] * share * rate_factor)
        return adam

    def _forward(
        self, work: Workspace, source: Source, index: int, rows: Integers, instance: Instance, *, residuals: bool
    ) -> Forward:
        """Select activations, predict, and find what each activation's gradient is."""
        offset = encoder_offset(instance.encoder.parameter, instance.encoder_bias.parameter, self._input_mean)
        bounds, places = _bounds(len(rows), self._n_parts), source.places(rows)
        self._select(work, source, index, places, instance, offset, bounds)
        cutoffs = self._cutoffs[index]
        sets = sets_of(self._group, cutoffs)
        n_parts, n_levels = len(bounds) - 1, len(self._sizes)
        counts = np.zeros((n_parts, len(offset)), np.int32)
        bias_gradient = np.zeros((n_parts, source.n_targets), np.float32)
        losses = np.zeros((n_parts, n_levels))

        def reconstruct(part: int, first: int, last: int) -> None:
            if not source.reconstructs:
                gather_rows(source.targets, source.target_stride, places + source.first_target, first, last, work.y)
            choose_entries(first, last, cutoffs, sets, work.entries, counts[part])
            reconstruct_rows(
                first,
                last,
                work.y,
                instance.decoder_bias.parameter,
                instance.decoder.parameter,
                sets,
                LOSSES[self._config.loss],
                OUTPUTS[self._config.output],
                self._config.tau,
                self._factors[index],
                work.entries,
                work.pulls,
                bias_gradient[part],
                losses[part],
                work.residuals if residuals else work.residuals[:, :0],
            )

        self._each_part(reconstruct, bounds)
        return Forward(
            losses=losses.sum(axis=0) / (len(rows) * source.n_targets),
            bias_gradient=bias_gradient.sum(axis=0),
            counts=counts.sum(axis=0),
            offset=offset,
        )

    def _select(
        self,
        work: Workspace,
        source: Source,
        index: int,
        places: Integers,
        instance: Instance,
        offset: Floats,
        bounds: list[int],
    ) -> None:
        """Encode, and replace an instance's cutoffs by the exact new ones, found among what lies not far below them."""
        encoder, cutoffs = instance.encoder.parameter.ravel(), self._cutoffs[index]
        n_chosen = [max(round(len(places) * k), 1) for k in self._budgets[index]]
        for margin in _MARGINS:
            guess = np.maximum(cutoffs * np.float32(margin), _TINY)
            lowest = np.minimum.accumulate(guess[::-1])[::-1].copy()

            def encode(part: int, first: int, last: int, lowest: Floats = lowest) -> None:
                inputs = source.inputs, source.stride, places
                encode_rows(*inputs, encoder, offset, self._sizes, lowest, first, last, work.x, work.entries)

            self._each_part(encode, bounds)
            ranges = np.array([(first * len(offset), work.entries.stop[last - 1]) for first, last in pairwise(bounds)])
            bits = work.entries.value.view(np.int32)
            found = [
                kth_largest(bits, work.entries.latent, ranges, size, n)
                for size, n in zip(self._sizes[-len(n_chosen) :], n_chosen, strict=True)
            ]
            exact = np.array(found, np.int32).view(np.float32)
            if not (exact < guess).any():
                break
        cutoffs[:] = np.maximum(exact, _TINY)

    def _revive(self, work: Workspace, index: int, instance: Instance, forward: Forward) -> None:
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

    def _backward(self, work: Workspace, instance: Instance, forward: Forward, adam: dict[str, Floats]) -> None:
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


def _bounds(n_rows: int, n_parts: int) -> list[int]:
    """Edges of parts of about the same size, each but the last a multiple of four rows."""
    size = max(math.ceil(n_rows / n_parts / 4) * 4, 4)
    return [*range(0, n_rows, size), n_rows]
