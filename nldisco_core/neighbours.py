"""Relations between the latents of one instance: nearest ones, and Matryoshka families.

Two latents are near when they point at the same units (cosine of their dictionary rows) or when they are active
together. Of the latter phi is taken, Pearson's correlation of being active: unlike the Jaccard index or the number of
shared bins it is zero for two latents that have nothing to do with each other, however often each is active. Signed
codes are active all the time, so that there the correlation of the activations themselves takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.ablation import MIN_ACTIVE
from nldisco_core.coactivation import active_together, codes_of, latent_blocks, n_active
from nldisco_core.interfaces import Dictionary
from nldisco_core.latents import LatentSpace
from nldisco_core.relations import chosen_rows, ratio

__all__ = ["CONTAINED", "MIN_LIFT", "coactive_neighbours", "dictionary_neighbours", "families", "family_counts"]

CONTAINED = 0.8
"""Share of a child's active bins in which its parent is active, from which they count as a family."""

MIN_LIFT = 2.0
"""Factor by which that share has to exceed the parent's own density: a parent that is always active contains all."""

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def dictionary_neighbours(dictionary: Dictionary, *, k: int = 5, absolute: bool = False) -> pd.DataFrame:
    """The `k` latents whose dictionary rows have the largest cosine with each latent's, over units and lags.

    Parameters
    ----------
    absolute : compare sizes of cosines, for models whose latents have no sign of their own

    Returns
    -------
    DataFrame
        One row per (instance, latent, rank): ``measure``, "decoder cosine"; ``rank`` from 1; ``neighbour``;
        ``similarity``. Of equals the lower latent comes first. A latent whose row is zero has no neighbours.
    """
    tables = []
    for instance, values in enumerate(dictionary.values):
        rows = values.reshape(len(values), -1).astype(np.float64)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = ratio(rows, length, empty=np.nan)
        blocks = ((part, rows[part] @ rows.T) for part in latent_blocks(len(rows)))
        tables.append(_nearest(instance, "decoder cosine", blocks, k=k, absolute=absolute))
    return pd.concat(tables, ignore_index=True)


def coactive_neighbours(space: LatentSpace, *, k: int = 5, rows: NDArray[np.bool_] | None = None) -> pd.DataFrame:
    """The `k` latents that are active together with each latent most, beyond what their densities give.

    With ``n_ab`` of n bins in which both are active, ``phi = (n n_ab - n_a n_b) / sqrt(n_a (n - n_a) n_b (n - n_b))``.
    For signed codes the Pearson correlation of activations, compared by size.

    Parameters
    ----------
    rows : (n_rows,) bins to use, such as those of one split, None for all

    Returns
    -------
    DataFrame
        As `dictionary_neighbours`; ``measure`` is "co-activation phi" or "activation correlation". A latent that is
        never, or always, active has no neighbours.
    """
    chosen = chosen_rows(space, rows)
    signed = space.code_kind == "signed"
    name, similarity = ("activation correlation", _correlations) if signed else ("co-activation phi", _phi)
    tables = [
        _nearest(instance, name, similarity(codes_of(space, instance, chosen)), k=k, absolute=signed)
        for instance in range(space.n_instances)
    ]
    return pd.concat(tables, ignore_index=True)


def families(space: LatentSpace, *, rows: NDArray[np.bool_] | None = None) -> pd.DataFrame:
    """Parents and children: latents of a deeper level whose activations lie inside those of a shallower one.

    A pair is a family where ``P(parent | child)``, the share of the child's active bins in which the parent is active,
    is at least `CONTAINED` and at least `MIN_LIFT` times the parent's own density, both latents being active in at
    least `nldisco_core.ablation.MIN_ACTIVE` bins. Activations are those of the deepest level.

    Parameters
    ----------
    rows : (n_rows,) bins to use, such as those of one split, None for all

    Returns
    -------
    DataFrame
        One row per (instance, child, parent), the fullest parent of a child first: ``child_level`` and
        ``parent_level``, ``n_child``, ``n_parent`` and ``n_both`` active bins, ``containment`` = P(parent | child),
        ``chance`` = P(parent), ``lift`` = containment / chance, and ``share_of_parent`` = P(child | parent). Empty for
        models without levels.
    """
    chosen = chosen_rows(space, rows)
    level = space.level_of_latent
    tables = []
    for instance in range(space.n_instances):
        codes = codes_of(space, instance, chosen)
        n, size = n_active(codes), codes.shape[0]
        child, parent, n_both = _families(codes, level)
        table = pd.DataFrame(
            {
                "instance": np.full(len(child), instance, dtype=np.int32),
                "child": child.astype(np.int32),
                "parent": parent.astype(np.int32),
                "child_level": level[child],
                "parent_level": level[parent],
                "n_child": n[child],
                "n_parent": n[parent],
                "n_both": n_both,
                "containment": n_both / n[child],
                "chance": n[parent] / size,
                "lift": (n_both * size) / (n[child] * n[parent]),
                "share_of_parent": n_both / n[parent],
            }
        )
        order = ["child", "containment", "lift", "parent"]
        tables.append(table.sort_values(order, ascending=[True, False, False, True], ignore_index=True))
    return pd.concat(tables, ignore_index=True)


def family_counts(
    space: LatentSpace, *, n_draws: int, seed: int, rows: NDArray[np.bool_] | None = None
) -> pd.DataFrame:
    """How many latents have a parent, beside how many have one when levels are shifted against each other in time.

    In each draw all latents of a level are shifted in a circle by one amount, each level by its own, which keeps how
    dense and how slow they are and what they share within their level.

    Parameters
    ----------
    n_draws : draws of the null
    rows : (n_rows,) bins to use, such as those of one split, None for all

    Returns
    -------
    DataFrame
        One row per instance: ``n_candidates``, latents of deeper levels than the first with at least `MIN_ACTIVE`
        active bins; ``n_children``, those with a parent; ``n_children_shifted``, mean over draws, and
        ``most_shifted``, the largest of a draw. Empty for models without levels.
    """
    chosen = chosen_rows(space, rows)
    level = space.level_of_latent
    rng = np.random.default_rng(seed)
    found = []
    for instance in range(space.n_instances if space.n_levels > 1 else 0):
        codes = codes_of(space, instance, chosen)
        shifted = [_n_children(_shifted(codes, level, rng), level) for _ in range(n_draws)]
        n_candidates = int(((level > 0) & (n_active(codes) >= MIN_ACTIVE)).sum())
        found.append((instance, n_candidates, _n_children(codes, level), float(np.mean(shifted)), max(shifted)))
    columns = ["instance", "n_candidates", "n_children", "n_children_shifted", "most_shifted"]
    return pd.DataFrame(found, columns=columns).astype({"instance": "int32"})


def _families(codes: sparse.csr_array, level: NDArray[np.int32]) -> tuple[Counts, Counts, Counts]:
    """Child, parent and bins in which both are active, of every pair that counts as a family."""
    n, size = n_active(codes), codes.shape[0]
    found = [np.empty((3, 0))]
    for part, both in active_together(codes, n_first=int((level < level.max()).sum())):
        contained = both / np.maximum(n, 1)
        is_family = (level[part, None] < level) & (n >= MIN_ACTIVE) & (n[part, None] >= MIN_ACTIVE)
        is_family &= (contained >= CONTAINED) & (contained >= MIN_LIFT * n[part, None] / size)
        parent, child = np.nonzero(is_family)
        found.append(np.stack([child, parent + part.start, both[parent, child]]))
    child, parent, n_both = np.concatenate(found, axis=1).astype(np.int64)
    return child, parent, n_both


def _n_children(codes: sparse.csr_array, level: NDArray[np.int32]) -> int:
    return len(np.unique(_families(codes, level)[0]))


def _shifted(codes: sparse.csr_array, level: NDArray[np.int32], rng: np.random.Generator) -> sparse.csr_array:
    """The same activations with each level shifted in a circle by its own number of rows."""
    n_rows, by_latent = codes.shape[0], codes.tocsc()
    shift = rng.integers(0, n_rows, size=int(level.max()) + 1)[level]
    rows = (by_latent.indices + np.repeat(shift, np.diff(by_latent.indptr))) % n_rows
    return sparse.csc_array((by_latent.data, rows, by_latent.indptr), shape=codes.shape).tocsr()


def _phi(codes: sparse.csr_array) -> Iterator[tuple[slice, Floats]]:
    n, size = n_active(codes).astype(np.float64), codes.shape[0]
    spread = np.sqrt(n * (size - n))
    for part, both in active_together(codes):
        yield part, ratio(size * both - n[part, None] * n, spread[part, None] * spread, empty=np.nan)


def _correlations(codes: sparse.csr_array) -> Iterator[tuple[slice, Floats]]:
    values = codes.toarray().astype(np.float64)
    size = np.linalg.norm(values, axis=0)
    values -= values.mean(axis=0)
    length = np.linalg.norm(values, axis=0)
    length[length <= 1e-12 * size] = 0  # no more than rounding: a latent that does not vary
    for part in latent_blocks(codes.shape[1]):
        yield part, ratio(values[:, part].T @ values, length[part, None] * length, empty=np.nan)


def _nearest(
    instance: int, measure: str, blocks: Iterator[tuple[slice, Floats]], *, k: int, absolute: bool
) -> pd.DataFrame:
    """Rows of the `k` largest similarities of each latent with others; of equals the lower latent first."""
    tables: list[dict[str, Any]] = []
    for part, similarity in blocks:
        worth = np.round(np.abs(similarity) if absolute else similarity, 12)  # a product rounds differently by place
        worth[np.arange(len(worth)), np.arange(part.start, part.stop)] = np.nan
        order = np.argsort(-worth, axis=1, kind="stable")[:, :k]  # NaN comes last
        latent, rank = np.nonzero(~np.isnan(np.take_along_axis(worth, order, axis=1)))
        neighbour = order[latent, rank]
        tables.append(
            {
                "latent": (latent + part.start).astype(np.int32),
                "rank": (rank + 1).astype(np.int32),
                "neighbour": neighbour.astype(np.int32),
                "similarity": similarity[latent, neighbour],
            }
        )
    table = pd.concat([pd.DataFrame(columns) for columns in tables], ignore_index=True)
    table.insert(0, "instance", np.full(len(table), instance, dtype=np.int32))
    table.insert(2, "measure", pd.array([measure], dtype="string").repeat(len(table)))
    return table
