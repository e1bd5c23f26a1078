"""A dense code as a space that activity moves through: places in three dimensions, and mean displacement on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

if TYPE_CHECKING:
    from nldisco_explorer.readings import Readings

__all__ = ["Flow", "Space3", "flow_field", "is_dense", "space3"]

MOST_FITTED = 20_000
DENSE_SHARE = 0.5
SEED = 0

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Space3:
    """All bins of one instance in three dimensions.

    Attributes
    ----------
    places : (n_bins, 3), in the unit of the code; zero beyond the dimensions there are
    axes : what each axis is
    """

    places: NDArray[np.float32]
    axes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Flow:
    """Mean displacement from one bin to the next, by where it starts.

    Attributes
    ----------
    x, y : (n_cells,) centres of the cells that hold enough steps
    u, v : (n_cells,) mean displacement in one bin
    n_steps : (n_cells,) steps that start there
    cell : (2,) width and height of a cell
    """

    x: Floats
    y: Floats
    u: Floats
    v: Floats
    n_steps: NDArray[np.int64]
    cell: tuple[float, float]


def is_dense(reads: Readings, model: str) -> bool:
    """Whether a code is signed, or kept dense: traces and trajectories say more of it than tuning of single latents."""
    space = reads.space(model)
    return space.code_kind == "signed" or not space.is_sparse


_kept: WeakKeyDictionary[Readings, dict[tuple[str, int], Space3]] = WeakKeyDictionary()


def space3(reads: Readings, model: str, instance: int) -> Space3:
    """The latents themselves where there are three or fewer, else their first three principal components."""
    made = _kept.setdefault(reads, {})
    if (model, instance) not in made:
        made[model, instance] = _space3(reads, model, instance)
    return made[model, instance]


def _space3(reads: Readings, model: str, instance: int) -> Space3:
    code = np.asarray(reads.space(model).dense(instance), dtype=np.float32)
    if code.shape[1] <= 3:
        places = np.zeros((len(code), 3), dtype=np.float32)
        places[:, : code.shape[1]] = code
        return Space3(places=places, axes=tuple(f"latent {i}" for i in range(code.shape[1])))
    known = np.flatnonzero(reads.defined(model))
    pca = PCA(n_components=3, random_state=SEED).fit(code[known[:: -(-len(known) // MOST_FITTED)]])
    axes = tuple(f"PC {i + 1} ({share:.0%})" for i, share in enumerate(pca.explained_variance_ratio_))
    return Space3(places=pca.transform(code).astype(np.float32), axes=axes)


def flow_field(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    joined: NDArray[np.bool_],
    *,
    n_cells: int = 16,
    least_steps: int = 5,
) -> Flow:
    """Mean of ``z[t + 1] - z[t]`` over the steps that start in each cell of a grid from percentile 0.5 to 99.5.

    Parameters
    ----------
    a, b : (n_bins,) two latents
    joined : (n_bins - 1,) steps that count: both bins in one stretch and of the chosen split
    """
    start = np.stack([a, b])[:, :-1][:, joined].astype(np.float64)
    step = np.stack([np.diff(a), np.diff(b)])[:, joined].astype(np.float64)
    edges = [
        np.linspace(float(np.percentile(values, 0.5)), float(np.percentile(values, 99.5)), n_cells + 1)
        if len(values)
        else np.zeros(n_cells + 1)
        for values in start
    ]
    cells = [np.searchsorted(edge, values, side="right") - 1 for edge, values in zip(edges, start, strict=True)]
    inside = np.logical_and.reduce([(cell >= 0) & (cell < n_cells) for cell in cells])
    flat = cells[0][inside] * n_cells + cells[1][inside]
    n_steps = np.bincount(flat, minlength=n_cells**2)
    enough = n_steps >= least_steps
    u, v = (np.bincount(flat, weights=each[inside], minlength=n_cells**2)[enough] / n_steps[enough] for each in step)
    centres = [(edge[:-1] + edge[1:]) / 2 for edge in edges]
    return Flow(
        x=np.repeat(centres[0], n_cells)[enough],
        y=np.tile(centres[1], n_cells)[enough],
        u=u,
        v=v,
        n_steps=n_steps[enough],
        cell=(float(edges[0][1] - edges[0][0]), float(edges[1][1] - edges[1][0])),
    )
