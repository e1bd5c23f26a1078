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
    lasso : latents caught on the map, None for all
    variable : the variable in view
    mapper : whose table is ranked, None where the run has no mapping
    condition : value of the variable whose scores the table shows, None for scores of the whole variable
    align : event that trials are aligned to, None for the first one the run knows
    by : discrete variable or column of the trial table that aligned trials are grouped by, None for no groups
    split : which bins are drawn, ``all`` or the name of a split
    trial_filter : trials drawn, None for all
    session : id of the session in view, None for the one in which the latent is most active
    window_s : time window in view (s), None for all
    against : what this model is compared with, None before a choice: the name of another run, ``model:`` and the name
        of another model of this run, or ``instance:`` and its number
    """

    run: str
    model: str = "model"
    instance: int = 0
    latent: int | None = None
    sign: int = 0
    pinned: tuple[int, ...] = ()
    lasso: tuple[int, ...] | None = None
    variable: str | None = None
    mapper: str | None = None
    condition: str | None = None
    align: str | None = None
    by: str | None = None
    split: str = "all"
    trial_filter: tuple[int, ...] | None = None
    session: str | None = None
    window_s: tuple[float, float] | None = None
    against: str | None = None
