"""Dead latents: who they are, and the auxiliary loss that brings them back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["auxiliary_loss", "dead_latents", "steps_until_dead", "update_silence"]


def update_silence(silent_steps: Tensor, selected: Tensor) -> None:
    """Count, in place, for how many steps each latent has not been active at the deepest level.

    Parameters
    ----------
    silent_steps : (n_instances, n_latents) int32
    selected : (n_instances, n_rows, n_latents) bool
    """
    silent_steps.add_(1).masked_fill_(selected.any(dim=1), 0)


def steps_until_dead(dead_after: float, steps_per_epoch: int) -> int:
    """Steps of silence in the share `dead_after` of an epoch, at least one."""
    return max(round(dead_after * steps_per_epoch), 1)


def dead_latents(silent_steps: Tensor, *, dead_after: float, steps_per_epoch: int) -> Tensor:
    """(n_instances, n_latents) bool: silent for the share `dead_after` of an epoch, at least one step."""
    return silent_steps >= steps_until_dead(dead_after, steps_per_epoch)


def auxiliary_loss(
    pre_activations: Tensor,
    dead: Tensor,
    decoder: Tensor,
    residuals: Sequence[Tensor],
    *,
    level_sizes: Sequence[int],
    aux_k: int | None,
    observed: Tensor | None,
    combine: Callable[[Tensor, Tensor], Tensor] = torch.matmul,
) -> Tensor:
    """(n_instances,) how badly the dead latents reconstruct what the live ones leave over, summed over levels.

    Level l: ``mean (r - r^)² / var r`` with r = y - stopgrad(y^_l) and r^ decoded from each row's `aux_k` largest
    pre-activations among the level's dead latents (Gao et al. 2024, arXiv:2406.04093, on pre-activations in place of
    activations, so that a latent that never fires still gets a gradient). Only dead latents receive any; without them
    the value is constant.

    Decoder rows learn from positive codes only. Otherwise rows of latents far below zero would turn until their
    negative codes cancel, which reconstructs the residual well enough that nothing lifts them.

    Parameters
    ----------
    pre_activations : (n_instances, n_rows, n_latents)
    dead : (n_instances, n_latents) bool
    decoder : (n_instances, n_latents, n_targets or what the decoder has in their place)
    residuals : per level (n_instances, n_rows, n_targets), outside the graph, 0 where not observed
    aux_k : None takes half of each level
    observed : as in `mean_loss`
    combine : sum of dictionary rows weighted by codes, as `Parameters.combine`
    """
    candidates = pre_activations.masked_fill(~dead[:, None], -torch.inf)
    total = torch.zeros(len(dead), device=dead.device)
    for size, residual in zip(level_sizes, residuals, strict=True):
        k = min(aux_k or max(size // 2, 1), size)
        largest, latents = torch.topk(candidates[..., :size], k, dim=-1, sorted=False)
        largest = largest.masked_fill(torch.isneginf(largest), 0)
        codes = torch.zeros_like(candidates[..., :size]).scatter(-1, latents, largest)
        error = torch.square(residual - _decode(codes, decoder[:, :size], combine))
        error = error if observed is None else error * observed
        spread = torch.square(residual - residual.mean(dim=1, keepdim=True)).sum(dim=(1, 2))
        tiny = torch.finfo(spread.dtype).tiny  # nothing is left over: nothing to learn
        total = total + torch.where(spread > tiny, error.sum(dim=(1, 2)) / spread.clamp(min=tiny), 0)
    return total


def _decode(codes: Tensor, decoder: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """``combine(codes, decoder)``, with a gradient for the decoder from positive codes only."""
    fixed = decoder.detach()
    return combine(codes, fixed) + combine(torch.relu(codes).detach(), decoder - fixed)
