"""How two latents move together: the mean change of both at each pair of their activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FlowField", "flow_field"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowField:
    """Mean speed of two latents in the plane of their activations.

    Attributes
    ----------
    x_edges, y_edges : (n_cells + 1,) borders of the cells in activations of the one and of the other
    dx, dy : (n_cells, n_cells) mean change of either (activation per s) from cells of the y axis by those of the x
        axis; NaN where nothing starts
    n_steps : (n_cells, n_cells) steps that start in each cell
    dt_s : time between the two bins of a step
    """

    x_edges: NDArray[np.float64]
    y_edges: NDArray[np.float64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    n_steps: NDArray[np.int64]
    dt_s: float


def flow_field(
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    *,
    segments: NDArray[np.int32],
    bin_s: float,
    rows: NDArray[np.bool_] | None = None,
    skip: int = 1,
    n_cells: int = 20,
) -> FlowField:
    """Flow of two latents: ``(a(t + skip) - a(t)) / (skip bin_s)``, mean over the steps that start in each cell.

    A step never goes from one contiguous stretch into another, so never across trials, gaps, sessions or animals.

    Parameters
    ----------
    one, other : (n_bins,) activations
    segments : (n_bins,) contiguous stretch of each bin, as `Binned.segments`
    rows : (n_bins,) bins that count, at both ends of a step; None: all
    skip : bins of a step
    n_cells : cells along either axis, equal parts of the range
    """
    start, stop = np.arange(len(one) - skip), np.arange(skip, len(one))
    kept = segments[start] == segments[stop]
    if rows is not None:
        kept &= rows[start] & rows[stop]
    start, stop = start[kept], stop[kept]
    edges = [_edges(values if rows is None else values[rows], n_cells) for values in (one, other)]
    x, y = (
        np.clip(np.searchsorted(border, values[start], side="right") - 1, 0, n_cells - 1)
        for border, values in zip(edges, (one, other), strict=True)
    )
    cell, dt_s = y * n_cells + x, skip * bin_s
    n_steps = np.bincount(cell, minlength=n_cells**2)
    change = [
        np.bincount(cell, weights=(values[stop] - values[start]) / dt_s, minlength=n_cells**2)
        for values in (one, other)
    ]
    dx, dy = (np.where(n_steps > 0, total / np.maximum(n_steps, 1), np.nan) for total in change)
    shape = (n_cells, n_cells)
    return FlowField(
        x_edges=edges[0],
        y_edges=edges[1],
        dx=dx.reshape(shape),
        dy=dy.reshape(shape),
        n_steps=n_steps.reshape(shape),
        dt_s=dt_s,
    )


def _edges(values: NDArray[np.float64], n_cells: int) -> NDArray[np.float64]:
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    return np.linspace(low, high if high > low else low + 1.0, n_cells + 1)
