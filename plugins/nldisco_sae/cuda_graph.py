"""Many training steps without the host: a step is captured in a CUDA graph once, batches are drawn on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from nldisco_core.errors import ModelError
from nldisco_sae.cuda_step import prepare_adam
from nldisco_sae.plain_kernels import Precision

__all__ = ["GraphedSteps", "Step", "products"]

_WARM_UP = 3  # steps before a capture, in which libraries choose their kernels and Triton compiles its own
_TORCH_NAMES: dict[Precision, str] = {"float32": "highest", "tf32": "high", "bf16": "high"}


class Step(Protocol):
    """A training step that changes tensors in place and takes no decision by what they hold."""

    def __call__(self, rows: Tensor, rate_factor: Tensor, warmth: Tensor, *, revive: bool) -> tuple[Tensor, Tensor]:
        """Losses (n_parts, n_instances) and what was active, of a step on examples (n_instances, n_rows).

        Parameters
        ----------
        rate_factor, warmth : () shares of the peak learning rates and of the penalty
        revive : False where no latent can be dead at this step
        """


class GraphedSteps:
    """Runs steps from one report to the next; on a CUDA device each is the replay of a graph.

    Rates, batches and losses are read and written by a counter on the device. The state of a fit stays where it is: in
    the parameters, the optimiser and the silence counters, which must not be replaced after the first run. There are
    two graphs, with and without revival, and the host knows which is needed: no latent can be dead sooner than the one
    longest silent.

    Parameters
    ----------
    optimiser : of the parameters, whose tensors `step` changes
    silent_steps : (n_instances, n_latents) as `nldisco_sae.revival.update_silence` counts them
    order : gives, on the CPU, the order of the examples (n_instances, n_rows) in an epoch
    shares : (n_steps, 2) of the peak learning rates and of the penalty, at each step of the fit
    n_parts : of the losses
    longest : steps that `run` takes at most
    dead_after : steps of silence after which a latent is dead; None where none are revived
    precision : of the factors of torch's products; ``bf16`` ones are cast by the step itself
    """

    def __init__(
        self,
        step: Step,
        optimiser: torch.optim.Adam,
        silent_steps: Tensor,
        *,
        order: Callable[[int], Tensor],
        batch_size: int,
        steps_per_epoch: int,
        shares: Tensor,
        n_parts: int,
        longest: int,
        dead_after: int | None,
        precision: Precision,
    ) -> None:
        self._step, self._optimiser, self._silent_steps = step, optimiser, silent_steps
        self._order_of, self._steps_per_epoch, self._dead_after = order, steps_per_epoch, dead_after
        self._precision = precision
        device = silent_steps.device
        self._columns = torch.arange(batch_size, device=device)
        self._shares = shares.to(device)
        self._losses = torch.zeros(longest, n_parts, len(silent_steps), device=device)
        self._at, self._seen = (torch.zeros(1, dtype=torch.int64, device=device) for _ in range(2))
        self._epoch, self._order, self._next = -1, torch.empty(0), (-1, torch.empty(0))
        self._graphs: dict[bool, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def run(self, first_step: int, n_steps: int) -> tuple[Tensor, Tensor]:
        """Take steps of one epoch, the first of them numbered `first_step` from the start of the fit.

        Returns
        -------
        losses : (n_steps, n_parts, n_instances)
        active : (n_instances, n_rows, n_latents) bool, at the last step; overwritten by the next run

        Raises
        ------
        ModelError
            The step cannot be captured.
        """
        epoch, batch = divmod(first_step, self._steps_per_epoch)
        self._load(epoch)
        self._at.fill_(first_step)
        self._seen.zero_()
        quiet = self._steps_without_dead(n_steps)
        for index in range(n_steps):
            active = self._play(revive=index >= quiet)
        if batch + n_steps == self._steps_per_epoch and first_step + n_steps < len(self._shares):
            self._next = epoch + 1, self._order_of(epoch + 1)  # while the device works
        return self._losses[:n_steps].clone(), active

    def _load(self, epoch: int) -> None:
        """Bring the order of an epoch to the device, always to the same place."""
        if epoch == self._epoch:
            return
        ready, order = self._next
        order = order if ready == epoch else self._order_of(epoch)
        if self._epoch < 0:
            self._order = torch.empty_like(order, device=self._silent_steps.device)
        self._order.copy_(order)
        self._epoch = epoch

    def _steps_without_dead(self, n_steps: int) -> int:
        if self._dead_after is None:
            return n_steps
        return max(self._dead_after - int(self._silent_steps.max()) - 1, 0)

    def _play(self, *, revive: bool) -> Tensor:
        if self._silent_steps.device.type != "cuda":
            return self._take(revive=revive)
        if revive not in self._graphs:
            self._graphs[revive] = self._capture(revive=revive)
        graph, active = self._graphs[revive]
        graph.replay()
        return active

    def _take(self, *, revive: bool) -> Tensor:
        """One step by the counters, which it moves on."""
        columns = self._at % self._steps_per_epoch * len(self._columns) + self._columns
        rate_factor, warmth = self._shares.index_select(0, self._at)[0]
        with products(self._precision):
            losses, active = self._step(self._order.index_select(1, columns), rate_factor, warmth, revive=revive)
        self._losses.index_copy_(0, self._seen, losses[None])
        self._at += 1
        self._seen += 1
        return active

    def _capture(self, *, revive: bool) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """A graph of one step, and where it leaves what was active; the state is as before."""
        prepare_adam(self._optimiser)
        state = list(self._state())
        before = [tensor.detach().clone() for tensor in state]
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                self._take(revive=revive)
                _put_back(state, before)
        torch.cuda.current_stream().wait_stream(stream)
        try:
            with torch.cuda.graph(graph):
                active = self._take(revive=revive)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"this step cannot be captured in a CUDA graph ({reason}); choose engine 'reference'"
            ) from error
        return graph, active

    def _state(self) -> Iterator[Tensor]:
        """Everything that a step changes and the next one reads."""
        for group in self._optimiser.param_groups:
            for tensor in group["params"]:
                yield tensor
                yield from self._optimiser.state[tensor].values()
        yield from (self._silent_steps, self._at, self._seen)


@contextmanager
def products(precision: Precision) -> Iterator[None]:
    """Let torch's float32 products on a CUDA device have factors of that precision."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(_TORCH_NAMES[precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@torch.no_grad()
def _put_back(state: list[Tensor], before: list[Tensor]) -> None:
    for tensor, value in zip(state, before, strict=True):
        tensor.copy_(value)
