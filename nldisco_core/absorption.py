"""Absorption: what latents of deeper Matryoshka levels take over from a shallower one, measured on behaviour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.ablation import MIN_ACTIVE
from nldisco_core.coactivation import active_bins, codes_of
from nldisco_core.errors import IncompatibleData
from nldisco_core.latents import LatentSpace
from nldisco_core.relations import chosen_rows, ratio
from nldisco_core.tuning import Conditions

__all__ = ["absorption"]

MIN_MISSES = 10
_COLUMNS = ["parent", "rank", "child", "condition", "coverage", "outside", "n_misses", "absorption", "chance"]
_TYPES = {
    **dict.fromkeys(("parent", "rank", "child"), "int32"),
    **dict.fromkeys(("coverage", "outside", "absorption", "chance"), "float64"),
    "n_misses": "int64",
}

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def absorption(
    space: LatentSpace,
    conditions: Conditions,
    *,
    rows: NDArray[np.bool_] | None = None,
    chosen_on: NDArray[np.bool_] | None = None,
    n_children: int = 3,
) -> pd.DataFrame:
    """How far latents of deeper levels stand in for a shallower one where it fails its own condition.

    Each latent of a level above the deepest is taken with the condition c at which its Youden's J, ``P(active | c) -
    P(active | not c)``, is largest. Its misses are the bins of c in which it is silent; the *absorption* by a child, a
    latent of a deeper level, is the share of the misses at which the child is active, and ``chance`` is the child's
    share of the bins outside of c in which the parent is silent. Children are ordered by what absorption exceeds
    chance by. After the feature absorption of Chanin et al. (2024, arXiv:2409.14507), on behaviour in place of labels.

    Parameters
    ----------
    conditions : a variable cut into conditions; bins without a condition count nowhere
    rows : (n_rows,) bins to measure on, such as those of one split, None for all
    chosen_on : (n_rows,) bins on which conditions and children are chosen, such as the training bins; None takes
        `rows`, and what is measured is then the best of many
    n_children : children kept of each parent

    Returns
    -------
    DataFrame
        One row per (instance, parent, rank): ``variable``, ``condition``, ``coverage`` and ``outside`` of the parent,
        ``n_misses``, ``child``, ``absorption``, ``chance``. Left out are, where they are chosen, parents and children
        with fewer than `nldisco_core.ablation.MIN_ACTIVE` active bins and children that do not exceed chance, and
        parents with fewer than 10 misses there or in what is measured.

    Raises
    ------
    IncompatibleData
        The conditions are not of the rows of the latents.
    """
    if len(conditions.codes) != space.n_rows:
        raise IncompatibleData(
            f"conditions of {len(conditions.codes)} bins for latents of {space.n_rows}; give the bins they were made of"
        )
    level = space.level_of_latent
    tables = []
    for instance in range(space.n_instances):
        measured = _Labelled.of(space, instance, conditions, rows)
        chooser = measured if chosen_on is None else _Labelled.of(space, instance, conditions, chosen_on)
        found = _absorbed(measured, chooser, level, n_children=n_children)
        table = pd.DataFrame(found, columns=_COLUMNS)
        table["condition"] = pd.array(conditions.labels, dtype="string").take(table["condition"].astype("int64"))
        table.insert(0, "instance", np.full(len(table), instance, dtype=np.int32))
        table.insert(1, "variable", pd.array([conditions.variable], dtype="string").repeat(len(table)))
        tables.append(table.astype(_TYPES))
    return pd.concat(tables, ignore_index=True).sort_values(["instance", "parent", "rank"], ignore_index=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Labelled:
    """Some bins of one instance, each with its condition.

    Attributes
    ----------
    active : (n_rows, n_latents) ones where a latent is active
    code : (n_rows,) condition
    n_on : (n_conditions,) bins of each condition
    hits : (n_conditions, n_latents) bins of each condition in which a latent is active
    """

    active: sparse.csr_array
    code: NDArray[np.int32]
    n_on: Counts
    hits: Floats

    @classmethod
    def of(cls, space: LatentSpace, instance: int, conditions: Conditions, rows: NDArray[np.bool_] | None) -> _Labelled:
        chosen = chosen_rows(space, rows) & (conditions.codes >= 0)
        code, n_conditions = conditions.codes[chosen], conditions.n_conditions
        active = active_bins(codes_of(space, instance, chosen))
        one_hot = (np.ones(len(code)), (code, np.arange(len(code))))
        hits = sparse.csr_array(one_hot, shape=(n_conditions, len(code))) @ active
        n_on = np.bincount(code, minlength=n_conditions).astype(np.int64)
        return cls(active=active, code=code, n_on=n_on, hits=np.asarray(hits.toarray()))

    @property
    def n_active(self) -> Floats:
        """(n_latents,) active bins."""
        return np.asarray(self.hits.sum(axis=0))

    def shares(self) -> tuple[Floats, Floats]:
        """(n_conditions, n_latents) share of the bins inside, and outside, that a latent is active in; NaN for none."""
        n_off = len(self.code) - self.n_on
        outside = self.n_active - self.hits
        return ratio(self.hits, self.n_on[:, None], empty=np.nan), ratio(outside, n_off[:, None], empty=np.nan)

    def taken(self, condition: int, parents: Counts) -> tuple[Floats, Floats]:
        """(n_parents, n_latents) share of the parents' silent bins that a latent is active in, inside and outside."""
        inside = self.active[self.code == condition]
        both, both_inside = (_product(part, parents) for part in (self.active, inside))
        hits, n = self.hits[condition], self.n_active
        silent_inside = self.n_on[condition] - hits[parents]
        silent = len(self.code) - n[parents]
        taken = ratio(hits - both_inside, silent_inside[:, None], empty=np.nan)
        return taken, ratio(n - hits - both + both_inside, (silent - silent_inside)[:, None], empty=0)


def _absorbed(
    measured: _Labelled, chooser: _Labelled, level: NDArray[np.int32], *, n_children: int
) -> list[tuple[float, ...]]:
    """Rows of `_COLUMNS`, the condition by number."""
    if not len(chooser.n_on):
        return []
    coverage, outside = chooser.shares()
    youden = np.nan_to_num(coverage - outside, nan=-np.inf)
    preferred, every = youden.argmax(axis=0), np.arange(len(level))
    misses, misses_measured = (one.n_on[preferred] - one.hits[preferred, every] for one in (chooser, measured))
    supported = chooser.n_active >= MIN_ACTIVE
    usable = (level < level.max()) & supported & np.isfinite(youden[preferred, every])
    usable &= (misses >= MIN_MISSES) & (misses_measured >= MIN_MISSES)
    coverage, outside = measured.shares()
    found: list[tuple[float, ...]] = []
    for c in np.unique(preferred[usable]):
        parents = np.flatnonzero(usable & (preferred == c))
        taken, chance = chooser.taken(c, parents)
        eligible = (level > level[parents, None]) & supported & (taken > chance)
        excess = np.where(eligible, taken - chance, -np.inf)
        order = np.argsort(-excess.round(12), axis=1, kind="stable")[:, :n_children]
        if measured is not chooser:
            taken, chance = measured.taken(c, parents)
        for row, rank in np.argwhere(np.isfinite(np.take_along_axis(excess, order, axis=1))):
            parent, child = parents[row], order[row, rank]
            figures = (coverage[c, parent], outside[c, parent], misses_measured[parent])
            found.append((parent, rank + 1, child, c, *figures, taken[row, child], chance[row, child]))
    return found


def _product(active: sparse.csr_array, parents: Counts) -> Floats:
    """(n_parents, n_latents) bins in which a parent and a latent are both active."""
    return np.asarray((active[:, parents].T @ active).toarray())
