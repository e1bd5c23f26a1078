"""Activations of a fitted autoencoder over any number of bins, the same whichever bins are given together.

Matrix products round differently for other sizes. So bins are always encoded in blocks of `BLOCK_ROWS`, the last one
padded, with the latents padded to a multiple of `LATENT_MULTIPLE`: then a bin's place in a block does not matter either
(with latents in odd numbers the last few rows of a block are computed by another kernel).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from nldisco_core.binned import Binned
from nldisco_core.latents import LatentSpace
from nldisco_sae.architecture import Parameters
from nldisco_sae.config import SparseCodeConfig
from nldisco_sae.examples import require_finite
from nldisco_sae.sparsifier import sparsifier_of

__all__ = ["BLOCK_ROWS", "LATENT_MULTIPLE", "encode"]

Part: TypeAlias = tuple[
    NDArray[Any], NDArray[Any], NDArray[np.float32], NDArray[np.uint8]
]  # rows, latents, values, masks

BLOCK_ROWS = 1024
LATENT_MULTIPLE = 16


def encode(parameters: Parameters, thresholds: Tensor, config: SparseCodeConfig, data: Binned) -> LatentSpace:
    """Sparse activations of all instances and levels, on the CPU in float32.

    An activation is kept where it is selected at any level; the level masks say at which.

    Parameters
    ----------
    thresholds : (n_instances, …) as `nldisco_sae.sparsifier.Finished` has them

    Raises
    ------
    IncompatibleData
        Activity that is not finite.
    """
    sparsifier = sparsifier_of(config)
    level_sizes, n_latents = config.level_sizes, config.level_sizes[-1]
    parts: list[list[Part]] = [[] for _ in config.seeds]
    weights = [_padded(parameters, instance) for instance in range(config.n_instances)]
    for first_row, x in _blocks(data, parameters.input_mean.numpy()):
        for instance, (encoder, offset) in enumerate(weights):
            block = torch.zeros(BLOCK_ROWS, x.shape[1])
            block[: len(x)] = x
            activations = torch.relu(torch.addmm(offset, block, encoder))[: len(x), :n_latents].contiguous()
            parts[instance].append(
                _active(activations, sparsifier.chosen(activations, thresholds[instance]), first_row)
            )
    codes, masks = zip(*(_assemble(part, (data.n_bins, n_latents)) for part in parts), strict=True)
    return LatentSpace(
        codes=codes,
        session_ids=tuple(session.session_id for session in data.sessions),
        row_offsets=data.row_offsets,
        level_sizes=level_sizes,
        level_masks=masks if len(level_sizes) > 1 and not sparsifier.nested else None,
    )


def _padded(parameters: Parameters, instance: int) -> tuple[Tensor, Tensor]:
    """Encoder (n_units, n_padded) and offset (n_padded,) of one instance."""
    encoder, offset = parameters.encoder[instance], parameters.offset()[instance, 0]
    missing = -encoder.shape[1] % LATENT_MULTIPLE
    pad = torch.nn.functional.pad
    return pad(encoder, (0, missing)).contiguous(), pad(offset, (0, missing))


def _blocks(data: Binned, mean: NDArray[np.float32]) -> Iterator[tuple[int, Tensor]]:
    """First stacked row and values (n_rows, n_units) of each block; what was not observed holds the unit's mean."""
    first_row = 0
    for session in data.sessions:
        for start in range(0, session.n_bins, BLOCK_ROWS):
            values = np.array(session.activity[start : start + BLOCK_ROWS], dtype=np.float32)
            if session.observed is not None:
                np.copyto(values, mean, where=~session.observed[start : start + BLOCK_ROWS])
            require_finite(values)
            yield first_row + start, torch.from_numpy(values)
        first_row += session.n_bins


def _active(activations: Tensor, selected: list[Tensor], first_row: int) -> Part:
    """The activations selected at any level, row by row."""
    bits = np.zeros(activations.shape, dtype=np.uint8)
    for level, mask in enumerate(selected):
        bits[:, : mask.shape[1]] |= mask.numpy().astype(np.uint8) << level
    rows, latents = np.nonzero(bits)
    return rows + first_row, latents, activations.numpy()[rows, latents], bits[rows, latents]


def _assemble(parts: list[Part], shape: tuple[int, int]) -> tuple[sparse.csc_array, NDArray[np.uint8]]:
    """Blocks in row order as one canonical matrix by latent, with the level masks in the same order."""
    rows, latents, values, bits = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(latents, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(latents, minlength=shape[1]))])
    return sparse.csc_array((values[order], rows[order], starts), shape=shape), bits[order]
