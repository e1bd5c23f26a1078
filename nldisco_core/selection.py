"""What a person is looking at: plain and frozen here; the explorer makes it live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
    pinned : (latent, sign) of what is kept aside for comparison
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
    view : (``tile.setting``, value) of what a person set on single tiles, in order of their names; what is not named
        is as the tile has it
    """

    run: str
    model: str = "model"
    instance: int = 0
    latent: int | None = None
    sign: int = 0
    pinned: tuple[tuple[int, int], ...] = ()
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
    view: tuple[tuple[str, str], ...] = ()

    def setting(self, name: str) -> str | None:
        """What ``tile.setting`` is set to; None where it is left as the tile has it."""
        return dict(self.view).get(name)

    def set_to(self, settings: Mapping[str, str | None]) -> Selection:
        """The same with settings of tiles changed; None takes one back.

        Examples
        --------
        >>> chosen = Selection(run="r").set_to({"latent-map.colour": "density"})
        >>> chosen.setting("latent-map.colour"), chosen.set_to({"latent-map.colour": None}).view
        ('density', ())
        """
        merged = {**dict(self.view), **settings}
        return replace(self, view=tuple(sorted((name, value) for name, value in merged.items() if value is not None)))
