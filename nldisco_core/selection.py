"""What a person is looking at: plain and frozen here; the explorer makes it live."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Selection"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """One view of a run.

    Attributes
    ----------
    run : name of the run
    model : ``model`` for the run's own model, or the name of one of its controls
    instance, latent : which latent of which instance; None before a choice
    sign : +1 or -1 for a rectified half of a signed code, 0 for a code as it is
    pinned : latents kept aside for comparison
    variable : the variable in view
    split : which bins are drawn, ``all`` or the name of a split
    trial_filter : trials drawn, None for all
    window_s : time window in view (s), None for all
    """

    run: str
    model: str = "model"
    instance: int = 0
    latent: int | None = None
    sign: int = 0
    pinned: tuple[int, ...] = ()
    variable: str | None = None
    split: str = "all"
    trial_filter: tuple[int, ...] | None = None
    window_s: tuple[float, float] | None = None
