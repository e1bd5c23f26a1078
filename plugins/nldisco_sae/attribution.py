"""Which units, at which lags, drive each latent of a fitted autoencoder: gradient times input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nldisco_core.binned import Binned
from nldisco_core.interfaces import Attribution
from nldisco_core.latents import LatentSpace
from nldisco_sae.architecture import Parameters
from nldisco_sae.windows import ExampleShape

__all__ = ["MAX_EXAMPLES", "attribute"]

MAX_EXAMPLES = 256
"""Active examples of a latent that are looked at, spread evenly over all of them."""

PAIRS_AT_ONCE = 1024


def attribute(
    parameters: Parameters, shape: ExampleShape, space: LatentSpace, data: Binned, *, rows: NDArray[np.bool_] | None
) -> Attribution:
    """Mean over a latent's active examples of ``x · da/dx``, by automatic differentiation in double precision.

    An active latent's activation is its pre-activation, so the gradient is that of the encoder, whatever the
    sparsifier; which latents are active is held fixed. An input of zero gets no share: that is silence for activity
    that was not centred, and the unit's mean for z-scores. With a linear encoder the shares of a latent add up to its
    mean activation less ``b_enc - W_enc b_pre``.

    Parameters
    ----------
    space : activations of the rows of `data`, as `nldisco_sae.encoding.encode` gives them
    rows : (n_bins,) bins whose examples count, None for all; their windows may begin before them
    """
    columns, _ = shape.columns(data.units)
    mean = parameters.input_mean.numpy()[: len(columns)]
    activity = data.activity[:, columns].astype(np.float64)
    if data.observed is not None:
        np.copyto(activity, mean, where=~data.observed[:, columns])
    bins = torch.from_numpy(activity)
    means, numbers = [], []
    for instance, single in enumerate(parameters.instances()):
        encoder = replace(single, **{name: tensor.double() for name, tensor in single.named().items()})
        row, latent = _examples(space, instance, rows)
        total = _summed(encoder, bins, row, latent, window=shape.window, n_latents=space.n_latents)
        n = np.bincount(latent, minlength=space.n_latents)
        values = total.numpy().reshape(space.n_latents, shape.window, -1).swapaxes(1, 2)
        means.append(np.where(n[:, None, None] > 0, values / np.maximum(n, 1)[:, None, None], np.nan))
        numbers.append(n)
    return Attribution(
        values=np.stack(means),
        n_examples=np.stack(numbers).astype(np.int64),
        unit_ids=tuple(str(unit) for unit in data.units["id"].iloc[columns]),
        lags_s=tuple(lag * data.bin_s for lag in range(1 - shape.window, 1)),
    )


def _examples(
    space: LatentSpace, instance: int, rows: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and latent of the active examples that are looked at, latent after latent."""
    codes = space.csc(instance)
    found = [codes.indices[first:stop] for first, stop in zip(codes.indptr[:-1], codes.indptr[1:], strict=True)]
    found = found if rows is None else [own[rows[own]] for own in found]
    picked = [own[np.linspace(0, len(own) - 1, min(len(own), MAX_EXAMPLES)).astype(np.int64)] for own in found]
    return np.concatenate(picked).astype(np.int64), np.repeat(np.arange(len(picked)), [len(own) for own in picked])


def _summed(
    encoder: Parameters,
    bins: Tensor,
    row: NDArray[np.int64],
    latent: NDArray[np.int64],
    *,
    window: int,
    n_latents: int,
) -> Tensor:
    """(n_latents, n_inputs) sum over pairs of an example and a latent of gradient times input."""
    weights, _ = encoder.anchor_map()
    total = torch.zeros(n_latents, window * bins.shape[1], dtype=torch.float64)
    for first in range(0, len(row), PAIRS_AT_ONCE):
        own = torch.from_numpy(latent[first : first + PAIRS_AT_ONCE])
        places = torch.from_numpy(row[first : first + PAIRS_AT_ONCE])[:, None] + torch.arange(1 - window, 1)
        x = bins[places].flatten(1).requires_grad_()
        activations = (encoder.anchor_features(x) * weights.T[own]).sum()
        (gradient,) = torch.autograd.grad(activations, x)
        total.index_add_(0, own, gradient * x.detach())
    return total
