"""Validation bins in training: batches to judge an epoch by, the best epoch, and when to stop waiting for a better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from nldisco_sae.architecture import Parameters
from nldisco_sae.examples import Examples

__all__ = ["BestEpoch", "held_out_rows"]

_BATCHES = 8  # enough to judge by, and cheap beside an epoch
_PREFIX = "best/"


def held_out_rows(examples: Examples, *, batch_size: int) -> Iterator[Tensor]:
    """At most eight batches (n_rows,) that are each spread evenly over all examples."""
    size = min(batch_size, examples.n_rows)
    n_batches = min(examples.n_rows // size, _BATCHES)
    rows = torch.arange(n_batches * size, device=examples.values.device) * examples.n_rows // (n_batches * size)
    for batch in range(n_batches):
        yield rows[batch::n_batches]


class BestEpoch:
    """Parameters of each instance where its validation loss was lowest, and for how long none has improved."""

    def __init__(self, parameters: Parameters, *, patience: int) -> None:
        self._patience = patience
        self._kept = {name: tensor.detach().clone() for name, tensor in parameters.trained().items()}
        self._lowest = torch.full((len(parameters.encoder),), torch.inf, device=parameters.encoder.device)
        self._waited = torch.zeros(1, dtype=torch.int64)

    def see(self, losses: Tensor, parameters: Parameters) -> None:
        """Take note of one epoch's validation losses (n_instances,)."""
        better = losses < self._lowest
        self._lowest = torch.where(better, losses, self._lowest)
        for name, tensor in parameters.trained().items():
            self._kept[name][better] = tensor.detach()[better]
        self._waited = torch.zeros_like(self._waited) if bool(better.any()) else self._waited + 1

    @property
    def exhausted(self) -> bool:
        """No instance has improved for `patience` epochs."""
        return int(self._waited) >= self._patience

    def put_back(self, parameters: Parameters) -> None:
        """Set `parameters`, in place, to the best ones of every instance that was judged."""
        judged = torch.isfinite(self._lowest)
        for name, tensor in parameters.trained().items():
            tensor.data[judged] = self._kept[name][judged]

    def tensors(self) -> dict[str, Tensor]:
        """All of this by name, for a checkpoint."""
        state = {**self._kept, "lowest": self._lowest, "waited": self._waited}
        return {f"{_PREFIX}{name}": tensor for name, tensor in state.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        for name, own in (*self._kept.items(), ("lowest", self._lowest), ("waited", self._waited)):
            own.copy_(tensors[f"{_PREFIX}{name}"])
