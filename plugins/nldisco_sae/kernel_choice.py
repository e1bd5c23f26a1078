"""What a CUDA device runs: which fits take its own step, and whose kernels, Triton's or plain torch's."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType

import torch
from torch import Tensor

from nldisco_sae import plain_kernels
from nldisco_sae.config import MatryoshkaConfig, TrainingConfig
from nldisco_sae.examples import Examples
from nldisco_sae.single_level_config import BatchTopKConfig

__all__ = ["cuda_obstacle", "has_triton", "histogram_cutoffs", "kernels_for"]


def has_triton() -> bool:
    """Whether triton is installed; it comes with torch for CUDA on Linux."""
    return importlib.util.find_spec("triton") is not None


def cuda_obstacle(config: TrainingConfig, examples: Examples) -> str:
    """What keeps a fit from taking `nldisco_sae.cuda_step.CudaStep` on a CUDA device; empty where nothing does."""
    obstacles = {
        f"{type(config).__name__}, only batch-top-k": not isinstance(config, MatryoshkaConfig | BatchTopKConfig),
        f"encoder {config.encoder!r}, only 'linear'": config.encoder != "linear",
        f"loss {config.loss!r} on CUDA, only 'mse'": config.loss != "mse",
        f"output {config.output!r} on CUDA, only 'identity'": config.output != "identity",
        "entries that were not observed": examples.observed is not None,
        "CUDA without the package triton": not has_triton(),
    }
    return next((obstacle for obstacle, found in obstacles.items() if found), "")


def kernels_for(device: torch.device) -> ModuleType:
    """`nldisco_sae.triton_kernels` or `nldisco_sae.plain_kernels`."""
    if device.type != "cuda" or not has_triton():
        return plain_kernels
    from nldisco_sae import triton_kernels  # imports triton

    return triton_kernels


def histogram_cutoffs(activations: Tensor, sizes: Sequence[int], places: Sequence[Sequence[int]]) -> Tensor:
    """Per instance and level the place-th largest positive activation, 0 where fewer are positive; never sorts.

    It can be captured in a CUDA graph once it has been called with the same places.

    Parameters
    ----------
    activations : (n_instances, n_rows, n_latents) float32
    sizes : latents of each level
    places : of each instance, at each level, counted from 1

    Returns
    -------
    (n_instances, n_levels)
    """
    wanted = _on_device(tuple(tuple(each) for each in places), activations.device)
    found: Tensor = kernels_for(activations.device).kth_largest(activations, sizes, wanted)
    return found


@lru_cache(maxsize=64)
def _on_device(places: tuple[tuple[int, ...], ...], device: torch.device) -> Tensor:
    """Copied once: a copy from the host cannot be captured in a graph."""
    return torch.tensor(places, dtype=torch.int32, device=device)
