"""Choices of the decoding mapper."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nldisco_core.config import Config

__all__ = ["DecodingConfig"]


class DecodingConfig(Config):
    """What is decoded, and how.

    Attributes
    ----------
    variables : names of the variables to decode, None for all of the data
    n_neighbours : neighbours of the kNN decoder
    n_shifts : relabellings by which the same decoder is tried on chance; 0 for none
    max_rows : most bins used of each split, evenly spread over it
    few : numbers of latents, chosen on train, from which variables are read as well
    n_subsets : random subsets of each size behind the curves of how decoding grows with latents; 0 for none
    """

    variables: tuple[str, ...] | None = None
    n_neighbours: int = Field(default=36, ge=1)
    n_shifts: int = Field(default=99, ge=0)
    max_rows: int = Field(default=10_000, ge=1)
    few: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 5, 16)
    n_subsets: int = Field(default=0, ge=0)
