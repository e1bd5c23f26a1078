"""Reconstruction losses, per instance and relative to predicting the mean of each unit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from nldisco_core.errors import IncompatibleData
from nldisco_core.providers import load_target

__all__ = ["ElementLoss", "check_targets", "element_loss", "mean_loss", "msle", "poisson_deviance", "squared_error"]

ElementLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """(y - y^)² of each entry; its mean is the MSE."""
    return torch.square(target - prediction)


def msle(prediction: Tensor, target: Tensor, *, tau: float) -> Tensor:
    """(log(1 + y) - tau·log(1 + max(y^, 0)))² of each entry; its mean is the MSLE. Targets must not be negative."""
    return torch.square(torch.log1p(target) - tau * torch.log1p(prediction.clamp(min=0)))


def poisson_deviance(prediction: Tensor, target: Tensor) -> Tensor:
    """y·log(y/y^) - (y - y^) of each entry: the Poisson negative log-likelihood of counts y at the rates y^ > 0, less
    that of a perfect prediction, so that it is never negative and 0 is best; half of the deviance.
    """
    rate = prediction.clamp(min=torch.finfo(prediction.dtype).tiny)
    return torch.xlogy(target, target) - target * torch.log(rate) - (target - prediction)


def element_loss(name: str, *, tau: float) -> ElementLoss:
    """The loss of that name; ``module:function`` is imported.

    Raises
    ------
    PluginLoadError
        The module or function cannot be had.
    """
    if name == "mse":
        return squared_error
    if name == "msle":
        return partial(msle, tau=tau)
    if name == "poisson":
        return poisson_deviance
    function: ElementLoss = load_target(name)
    return function


def check_targets(name: str, targets: Tensor, observed: Tensor | None = None) -> None:
    """Refuse targets that the loss is not defined for.

    Parameters
    ----------
    targets, observed : (n_rows, n_units), as `Examples` has them

    Raises
    ------
    IncompatibleData
        Negative targets for ``msle``; for ``poisson`` targets that are no counts.
    """
    if name == "msle" and bool((targets < 0).any()):
        share = float((targets < 0).float().mean())
        raise IncompatibleData(
            f"loss 'msle' takes activity >= 0; {share:.1%} of the entries are negative (smallest "
            f"{float(targets.min()):.3g}). Choose loss = 'mse', or normalise with 'global-max', 'unit-max' or 'none' "
            "in place of 'z-score'"
        )
    if name == "poisson":
        no_count = (targets < 0) | (targets != targets.round())
        if observed is not None:
            no_count &= observed > 0
        if bool(no_count.any()):
            raise IncompatibleData(
                f"loss 'poisson' takes spike counts; {float(no_count.float().mean()):.1%} of the entries are negative "
                f"or no whole numbers (one is {float(targets[no_count][0]):.3g}). Leave smooth_s and normalise of "
                "[preprocess] out, or choose loss = 'mse'"
            )


def mean_loss(losses: Tensor, observed: Tensor | None) -> Tensor:
    """(n_instances,) mean over rows and units; entries that were not observed do not count.

    Parameters
    ----------
    losses : (n_instances, n_rows, n_units)
    observed : same shape, 1 where observed and 0 where not; None where all are
    """
    if observed is None:
        return losses.mean(dim=(1, 2))
    return (losses * observed).sum(dim=(1, 2)) / observed.sum(dim=(1, 2)).clamp(min=1)
