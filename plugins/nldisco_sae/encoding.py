"""Activations of a fitted autoencoder over any number of bins, the same whichever bins are given together.

Matrix products round differently for other sizes. So bins are always encoded in blocks of `BLOCK_ROWS`, the last one
padded, with the latents padded to a multiple of `LATENT_MULTIPLE`: then a bin's place in a block does not matter either
(with latents in odd numbers the last few rows of a block are computed by another kernel).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nldisco_core.assembly import Assembly
from nldisco_core.binned import Binned
from nldisco_core.latents import LatentSpace
from nldisco_sae.architecture import Parameters
from nldisco_sae.config import SparseCodeConfig
from nldisco_sae.examples import require_finite
from nldisco_sae.sparsifier import sparsifier_of
from nldisco_sae.windows import ExampleShape

__all__ = ["BLOCK_ROWS", "LATENT_MULTIPLE", "encode"]

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
    per_level = len(level_sizes) > 1 and not sparsifier.nested
    assembly = Assembly(n_instances=config.n_instances, n_latents=n_latents, masked=per_level)
    shape = ExampleShape.of(config)
    anchored = shape.anchored(data)
    instances = list(parameters.instances())
    maps = [_padded(instance) for instance in instances]
    product = torch.empty(BLOCK_ROWS, maps[0][0].shape[1])
    block = torch.empty(0)
    for first_row, x in _blocks(data, parameters.input_mean.numpy(), shape):
        block = torch.zeros(BLOCK_ROWS, x.shape[1]) if len(block) == 0 else block
        block[: len(x)] = x
        block[len(x) :] = 0
        for instance, (encoder, offset) in enumerate(maps):
            torch.relu_(torch.addmm(offset, instances[instance].anchor_features(block), encoder, out=product))
            activations = product[: len(x), :n_latents].contiguous()
            if anchored is not None:
                activations[torch.from_numpy(~anchored[first_row : first_row + len(x)])] = 0
            selected = sparsifier.chosen(activations, thresholds[instance])
            assembly.add(instance, *_active(activations, selected if per_level else selected[-1:], masked=per_level))
    codes, masks = assembly.finish()
    return LatentSpace(
        codes=codes,
        session_ids=tuple(session.session_id for session in data.sessions),
        row_offsets=data.row_offsets,
        level_sizes=level_sizes,
        level_masks=masks,
        defined=anchored,
    )


def _padded(parameters: Parameters) -> tuple[Tensor, Tensor]:
    """Encoder (n_features, n_padded) and offset (n_padded,) of one instance."""
    encoder, offset = parameters.anchor_map()
    missing = -encoder.shape[1] % LATENT_MULTIPLE
    pad = torch.nn.functional.pad
    return pad(encoder, (0, missing)).contiguous(), pad(offset, (0, missing))


def _blocks(data: Binned, mean: NDArray[np.float32], shape: ExampleShape) -> Iterator[tuple[int, Tensor]]:
    """First stacked row of each block, and what is put in (n_rows, n_inputs) for the example that ends at each row.

    What was not observed holds the unit's mean, and so does what lies before the session.
    """
    first_row, before = 0, shape.window - 1
    columns, _ = shape.columns(data.units)
    mean = mean[: len(columns)]
    for session in data.sessions:
        for start in range(0, session.n_bins, BLOCK_ROWS):
            bins = slice(max(start - before, 0), start + BLOCK_ROWS)
            values = np.array(session.activity[bins][:, columns], dtype=np.float32, order="C")
            if session.observed is not None:
                np.copyto(values, mean, where=~session.observed[bins][:, columns])
            require_finite(values)
            missing = before - (start - bins.start)
            values = np.concatenate([np.tile(mean, (missing, 1)), values]) if missing else values
            n_rows, n_units = len(values) - before, len(columns)
            windows = torch.from_numpy(values).as_strided((n_rows, shape.window * n_units), (n_units, 1))
            yield first_row + start, windows
        first_row += session.n_bins


def _active(
    activations: Tensor, selected: Sequence[Tensor], *, masked: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.uint8] | None]:
    """Number per row, latents, values and level masks of the activations selected at any level, row by row."""
    union = selected[-1]
    if masked:
        union = union.clone()
        for mask in selected[:-1]:
            union[:, : mask.shape[1]] |= mask
    places = np.flatnonzero(union.numpy())
    rows, latents = np.divmod(places, activations.shape[1])
    bits = np.zeros(len(places), dtype=np.uint8) if masked else None
    if bits is not None:
        for level, mask in enumerate(selected):
            inside = latents < mask.shape[1]
            bits[inside] |= mask.numpy()[rows[inside], latents[inside]].astype(np.uint8) << level
    return np.bincount(rows, minlength=len(activations)), latents, activations.numpy().reshape(-1)[places], bits
