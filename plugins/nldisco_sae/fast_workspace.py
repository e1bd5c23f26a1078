"""What the fast training step works on: the data as flat arrays, trained arrays, and memory that every step reuses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nldisco_sae.architecture import Parameters
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.examples import Examples
from nldisco_sae.fast_kernels import Entries, Floats, Integers, Moments, Sets
from nldisco_sae.single_level_config import BatchTopKConfig

__all__ = ["Config", "Forward", "Instance", "Source", "Workspace", "adam_numbers", "moments_of", "sets_of"]

_LINE = 16  # float32 numbers of a cache line

Config: TypeAlias = MatryoshkaConfig | BatchTopKConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Examples as flat arrays: the inputs at place p are the run of `inputs` that begins at p·`stride`.

    Attributes
    ----------
    inputs, targets : all bins one after another
    stride, target_stride : units of a bin
    n_inputs, n_targets : values of an example
    first_target : bins from an example's first to the first that is predicted
    reconstructs : the targets are the inputs
    starts : (n_rows,) place of each example; None where it is the example's number
    """

    inputs: Floats
    targets: Floats
    stride: int
    target_stride: int
    n_inputs: int
    n_targets: int
    first_target: int
    reconstructs: bool
    starts: Integers | None

    @classmethod
    def of(cls, examples: Examples) -> Self:
        """Views of examples on the CPU."""
        return cls(
            inputs=examples.values.contiguous().numpy().ravel(),
            targets=examples.target_bins.contiguous().numpy().ravel(),
            stride=examples.values.shape[1],
            target_stride=examples.target_bins.shape[1],
            n_inputs=examples.n_inputs,
            n_targets=examples.n_targets,
            first_target=examples.shape.first_target,
            reconstructs=examples.reconstructs,
            starts=None if examples.starts is None else examples.starts.numpy(),
        )

    def places(self, rows: Integers) -> Integers:
        """Where examples begin."""
        return np.ascontiguousarray(rows) if self.starts is None else self.starts[rows]


@dataclass(frozen=True, kw_only=True, eq=False)
class Workspace:
    """What the step of one instance needs; the gradients of latents are zero between steps.

    Attributes
    ----------
    x, y : (n_rows, n_inputs) and (n_rows, n_targets), the same array where the model reconstructs
    pulls, residuals : as `nldisco_sae.fast_reconstruction.reconstruct_rows` fills them
    """

    x: Floats
    y: Floats
    entries: Entries
    pulls: Floats
    residuals: Floats
    encoder_gradient: Floats
    encoder_bias_gradient: Floats
    decoder_gradient: Floats
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, config: Config, source: Source, *, n_rows: int) -> Self:
        """Room for batches of up to `n_rows` examples."""
        n_latents, n_levels = config.level_sizes[-1], len(config.level_sizes)
        n_entries, n_sets = n_rows * n_latents, n_levels * (n_levels + 1) // 2
        x = _room(n_rows, source.n_inputs)
        return cls(
            x=x,
            y=x if source.reconstructs else _room(n_rows, source.n_targets),
            entries=Entries(
                latent=np.empty(n_entries, np.int32),
                value=np.empty(n_entries, np.float32),
                bucket=np.empty(n_entries, np.uint8),
                slope=np.empty(n_entries, np.float32),
                start=np.empty(n_rows, np.int64),
                stop=np.empty(n_rows, np.int64),
                edges=np.empty((n_rows, n_sets), np.int64),
            ),
            pulls=_room(n_sets, n_rows, source.n_targets),
            residuals=_room(n_levels, n_rows, source.n_targets),
            encoder_gradient=_room(n_latents, source.n_inputs),
            encoder_bias_gradient=np.zeros(n_latents, np.float32),
            decoder_gradient=_room(n_latents, source.n_targets),
            squares=np.zeros(n_latents),
        )


def _room(*shape: int) -> Floats:
    """Zeros that begin at a cache line, so that rows of sixteen numbers do."""
    n_values = math.prod(shape)
    numbers = np.zeros(n_values + _LINE, np.float32)
    first = -(numbers.ctypes.data // numbers.itemsize) % _LINE
    return numbers[first : first + n_values].reshape(shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """Trained arrays of one instance, views of the fit's tensors."""

    encoder: Moments
    encoder_bias: Moments
    decoder: Moments
    decoder_bias: Moments


@dataclass(frozen=True, kw_only=True, eq=False)
class Forward:
    """What predicting gave.

    Attributes
    ----------
    losses : (n_levels,) mean loss
    bias_gradient : (n_targets,) of the decoder's bias
    counts : (n_latents,) rows with each latent active at the deepest level
    offset : (n_latents,) b_enc - b_pre W_enc
    """

    losses: NDArray[np.float64]
    bias_gradient: Floats
    counts: NDArray[np.int64]
    offset: Floats


def moments_of(parameters: Parameters, optimiser: torch.optim.Adam) -> list[Instance]:
    """Each instance's arrays, as the tensors are now; moments begin at zero."""
    arrays = {name: _moments(tensor, optimiser.state[tensor]) for name, tensor in parameters.trained().items()}
    return [Instance(**dict(zip(arrays, one, strict=True))) for one in zip(*arrays.values(), strict=True)]


def _moments(tensor: Tensor, state: dict[str, Tensor]) -> list[Moments]:
    if not state:
        state.update(step=torch.tensor(0.0), exp_avg=torch.zeros_like(tensor), exp_avg_sq=torch.zeros_like(tensor))
    arrays = (tensor, state["exp_avg"], state["exp_avg_sq"])
    return [Moments(*one) for one in zip(*(array.detach().numpy() for array in arrays), strict=True)]


def adam_numbers(group: dict[str, Any], *, step: float, rate: float) -> Floats:
    """What `nldisco_sae.fast_descent.step_latents` takes as `adam`, for one learning rate."""
    first, second = group["betas"]
    correction = 1 / math.sqrt(1 - second**step)
    return np.array(
        [1 - first, second, 1 - second, correction, group["eps"], rate / (1 - first**step)], dtype=np.float32
    )


def sets_of(group: NDArray[np.uint8], cutoffs: Floats) -> Sets:
    """The sets of levels that can select an activation, given each level's cutoff.

    An activation of a latent that level g adds is selected by those levels from g on whose cutoff it reaches: the ones
    with the lowest cutoffs.
    """
    n_levels = len(cutoffs)
    lookup = np.zeros((n_levels, n_levels + 1), np.uint8)
    numbers: dict[tuple[bool, ...], int] = {}
    for first in range(n_levels):
        for cutoff in sorted(set(cutoffs[first:].tolist())):
            members = tuple(level >= first and cutoffs[level] <= cutoff for level in range(n_levels))
            lookup[first, sum(members)] = numbers.setdefault(members, len(numbers))
    return Sets(group=group, lookup=lookup, members=np.array(list(numbers), dtype=np.bool_))
