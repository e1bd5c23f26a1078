"""Learning rate over the course of training."""

from __future__ import annotations

import math

__all__ = ["learning_rate_factor"]


def learning_rate_factor(step: int, total: int, *, warmup: float, hold: float, final: float) -> float:
    """Share of the peak learning rate at one step.

    It rises linearly over the first `warmup` share of all steps, is 1 until the share `hold`, and then falls along half
    a cosine to `final` at the last step.

    >>> [round(learning_rate_factor(step, 11, warmup=0.2, hold=0.5, final=0.0), 2) for step in range(11)]
    [0.33, 0.67, 1.0, 1.0, 1.0, 1.0, 0.9, 0.65, 0.35, 0.1, 0.0]
    """
    position = step / max(total - 1, 1)
    if position < warmup:
        return (step + 1) / (warmup * (total - 1) + 1)
    if position <= hold or hold >= 1:
        return 1.0
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * (position - hold) / (1 - hold)))
