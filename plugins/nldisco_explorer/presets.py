"""Ways to look at a ranking that are one click away: which of its rows are kept, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from nldisco_core.beside_controls import AS_GOOD
from nldisco_core.discoveries import Q_LEVEL

__all__ = ["PRESETS", "Preset"]

STRENGTHS = ("score", "mutual_information", "max_mcc", "spatial_information", "resultant_length", "youden", "auroc")
"""Columns that say how strongly a latent is tuned, the first that a ranking has is taken."""

UNSTABLE = 0.5
"""Correlation of the tuning in two halves of the recording below which a latent is called unstable."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A choice among the rows of a ranking, and their order.

    Attributes
    ----------
    says : what it shows, for its button's tip
    needs : columns without which it is not offered
    kept : which rows of a ranking it shows
    order : by what it puts them in order, the first first
    falling : whether the largest come first
    """

    says: str
    needs: tuple[str, ...] = ()
    kept: Callable[[pd.DataFrame], pd.Series]
    order: Callable[[pd.DataFrame], pd.Series]
    falling: bool = True

    def fits(self, rows: pd.DataFrame) -> bool:
        """Whether a ranking has what it needs."""
        return all(name in rows for name in self.needs) and (bool(self.needs) or _strength(rows) is not None)

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Its rows of a ranking that it fits."""
        kept = rows[self.kept(rows).to_numpy(bool)]
        by = self.order(kept).sort_values(ascending=not self.falling, kind="stable", na_position="last")
        return kept.loc[by.index].reset_index(drop=True)


def _strength(rows: pd.DataFrame) -> str | None:
    return next((name for name in STRENGTHS if name in rows), None)


def _by_strength(rows: pd.DataFrame) -> pd.Series:
    name = _strength(rows)
    return rows["active"] if name is None else rows[name]


def _supported(rows: pd.DataFrame) -> pd.Series:
    every = pd.Series(True, index=rows.index)
    return rows["supported"].astype("boolean").fillna(False).astype(bool) if "supported" in rows else every


def _beyond(rows: pd.DataFrame) -> pd.Series:
    """By how much the best latent of every control is exceeded."""
    return (rows["score"] - rows["best_control_score"]).fillna(0.0)


def _copies(rows: pd.DataFrame) -> pd.Series:
    return rows["flags"].str.split(", ").map(lambda flags: "copy" in flags)


PRESETS = {
    "most selective": Preset(
        says="enough support; the most strongly tuned first",
        kept=lambda rows: _supported(rows) & _by_strength(rows).notna(),
        order=_by_strength,
    ),
    "best held-out": Preset(
        says=f"enough support and q below {Q_LEVEL:g} on test bins; the most strongly tuned first",
        needs=("q", "split"),
        kept=lambda rows: _supported(rows) & (rows["q"] < Q_LEVEL) & (rows["split"] == "test"),
        order=_by_strength,
    ),
    "beyond every control": Preset(
        says="a higher score than any latent of any control; the furthest beyond first",
        needs=("score", "best_control_score"),
        kept=lambda rows: _supported(rows) & (_beyond(rows) > AS_GOOD),
        order=_beyond,
    ),
    "no copy of a unit": Preset(
        says="enough support, and no copy of a single unit; the most strongly tuned first",
        needs=("copy",),
        kept=lambda rows: _supported(rows) & ~_copies(rows),
        order=_by_strength,
    ),
    "unstable": Preset(
        says=f"tuning in the two halves of the recording correlates below {UNSTABLE:g}; the least stable first",
        needs=("stability",),
        kept=lambda rows: _supported(rows) & (rows["stability"] < UNSTABLE),
        order=lambda rows: rows["stability"],
        falling=False,
    ),
    "named": Preset(
        says="those that people gave a name; the most strongly tuned first",
        needs=("name",),
        kept=lambda rows: rows["name"] != "",
        order=_by_strength,
    ),
}
"""By what their buttons say."""
