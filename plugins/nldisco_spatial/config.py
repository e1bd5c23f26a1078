"""Choices of the spatial mapper."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nldisco_core.config import Config

__all__ = ["SpatialConfig", "Split"]

Split = Literal["train", "validation", "test", "all"]


class SpatialConfig(Config):
    """How maps are drawn, on which bins of time they are scored, and against how many shifts.

    Attributes
    ----------
    variables : names of the positions, directions and speeds to map, None for all of the data
    speeds : linear variables that are a speed, None for those with ``speed`` in their name
    n_pixels : square pixels along the longest side of the arena
    n_directions : parts that the circle of a direction is cut into
    smooth_pixels, smooth_directions : sigma of the Gaussian over activation and occupancy, in pixels and in parts of
        the circle
    block_s : the maps of odd and of even blocks of this length (s) are compared for the stability
    n_shifts : relabellings drawn for each p; 0 for none
    confounds : compare each mapping of a supported latent, unless its p is above .05, with the other variables
    splits : bins that are scored. On the first the mappings that are worth a test are chosen, and the grid score is
        tested where it is positive there; p are of the last. ``all`` takes every bin, whatever its split
    """

    variables: tuple[str, ...] | None = None
    speeds: tuple[str, ...] | None = None
    n_pixels: int = Field(default=20, ge=5, le=100)
    n_directions: int = Field(default=60, ge=6)
    smooth_pixels: float = Field(default=1.5, ge=0)
    smooth_directions: float = Field(default=1.0, ge=0)
    block_s: float = Field(default=10.0, gt=0)
    n_shifts: int = Field(default=1000, ge=0)
    confounds: bool = True
    splits: tuple[Split, ...] = Field(default=("train", "test"), min_length=1)
