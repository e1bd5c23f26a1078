"""Whether a fit takes the fast step of the CPU or the reference step."""

from __future__ import annotations

from typing import TypeGuard

from nldisco_core.errors import ModelError
from nldisco_sae.config import BUILT_IN_LOSSES, MatryoshkaConfig, TrainingConfig
from nldisco_sae.examples import Examples
from nldisco_sae.kernel_choice import cuda_obstacle
from nldisco_sae.single_level_config import BatchTopKConfig, TopKConfig

__all__ = ["SMALLEST_WORK", "takes_fast_step", "takes_sparse_decoding"]

SMALLEST_WORK = (
    1 << 35
)  # multiplications of all encoder products; below, the first compilation takes longer than it saves


def takes_fast_step(
    config: TrainingConfig, examples: Examples, *, n_steps: int
) -> TypeGuard[MatryoshkaConfig | BatchTopKConfig]:
    """What `config.engine` asks for; ``auto`` takes the fast step where it applies and there is enough to do.

    Raises
    ------
    ModelError
        ``fast`` is asked for and does not apply; the message says why.
    """
    if config.engine == "reference":
        return False
    obstacle = _obstacle(config, examples)
    if config.engine == "fast":
        if obstacle:
            raise ModelError(f"engine 'fast' does not do {obstacle}; choose engine 'auto' or 'reference'")
        return True
    n_rows = min(config.batch_size, examples.n_rows) * config.n_instances * n_steps
    return not obstacle and n_rows * examples.n_inputs * config.level_sizes[-1] >= SMALLEST_WORK


def takes_sparse_decoding(config: TrainingConfig, examples: Examples, *, n_steps: int) -> bool:
    """Whether codes of single bins, k of which are not 0, are decoded by compiled loops within the reference step."""
    if config.engine == "reference" or config.encoder == "linear" or examples.values.device.type != "cpu":
        return False
    n_codes = min(config.batch_size, examples.n_rows) * config.n_instances * n_steps * config.window
    has_k = isinstance(config, MatryoshkaConfig | BatchTopKConfig | TopKConfig)
    return has_k and n_codes * examples.n_targets * config.level_sizes[-1] >= SMALLEST_WORK


def _obstacle(config: TrainingConfig, examples: Examples) -> str:
    """What keeps a fit from taking the fast step; empty where nothing does."""
    if examples.values.device.type == "cuda":
        return cuda_obstacle(config, examples)
    obstacles = {
        f"{type(config).__name__}, only batch-top-k": not isinstance(config, MatryoshkaConfig | BatchTopKConfig),
        f"encoder {config.encoder!r}, only 'linear'": config.encoder != "linear",
        f"loss {config.loss!r}, only {', '.join(BUILT_IN_LOSSES)}": config.loss not in BUILT_IN_LOSSES,
        "entries that were not observed": examples.observed is not None,
        f"device {examples.values.device.type!r}, only 'cpu'": examples.values.device.type != "cpu",
    }
    return next((obstacle for obstacle, found in obstacles.items() if found), "")
