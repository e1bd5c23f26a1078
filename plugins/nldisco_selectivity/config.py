"""Choices of the selectivity mapper."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nldisco_core.config import Config

__all__ = ["SelectivityConfig", "Split"]

Split = Literal["train", "validation", "test", "all"]


class SelectivityConfig(Config):
    """How variables are cut into conditions, on which bins latents are scored, and against how many shifts.

    Attributes
    ----------
    variables : names of the variables to map, None for all of the data
    conjunctions : pairs of variables whose pairs of conditions are mapped as well
    windows : by the name of an event, seconds before and after it; bins in this window are compared with all others
    n_quantiles, n_circular, n_position : conditions of a linear and a circular variable, side of the grid of a position
    n_quantiles_of : conditions of single linear variables by name, in place of `n_quantiles`
    detrend : linear variables whose slow drift through each session is removed before they are cut: a straight line and
        up to two waves. A variable that drifts too much to be shifted inside parts of the session has no p without it
    n_shifts : relabellings drawn for each p; 0 for none
    blocks : variable that names the blocks of the session within which conditions of trials were drawn at random; they
        are permuted inside these only
    n_bootstrap : draws for the 95 % intervals of coverage and selectivity over trials or 10 s; 0 for none
    confounds : compare each mapping of a supported latent, unless its p is above .05, with the other variables. Takes 1
        to 20 ms for each latent and variable with five others and 20,000 bins, the longer the more these go together
    splits : bins that are scored. On the first the conditions are cut, and the preferred one and the mappings that are
        worth a test are chosen; the last is tested; ``all`` takes every bin, whatever its split
    min_activation_frac, top_n : a row is marked ``top`` where the latent is among the `top_n` of its condition by
        Youden's J, of those active in at least this share of the condition's bins, on the first split
    """

    variables: tuple[str, ...] | None = None
    conjunctions: tuple[tuple[str, str], ...] = ()
    windows: dict[str, tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]]] = Field(
        default_factory=dict
    )
    n_quantiles: int = Field(default=10, ge=2)
    n_circular: int = Field(default=12, ge=3)
    n_position: int = Field(default=5, ge=2)
    n_quantiles_of: dict[str, Annotated[int, Field(ge=2)]] = Field(default_factory=dict)
    detrend: tuple[str, ...] = ()
    n_shifts: int = Field(default=1000, ge=0)
    blocks: str | None = None
    n_bootstrap: int = Field(default=0, ge=0)
    confounds: bool = True
    splits: tuple[Split, ...] = Field(default=("train", "test"), min_length=1)
    min_activation_frac: float = Field(default=0.1, ge=0, le=1)
    top_n: int = Field(default=3, ge=1)
