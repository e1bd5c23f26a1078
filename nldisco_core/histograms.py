"""How decoder weights, spike counts and the activity of units are distributed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nldisco_core.binned import Binned
from nldisco_core.interfaces import Dictionary
from nldisco_core.row_blocks import row_slices

__all__ = ["active_shares", "count_histogram", "unit_activity", "weight_histogram"]

N_WEIGHT_BINS = 50

ROWS_AT_ONCE = 1 << 15


def weight_histogram(dictionary: Dictionary) -> pd.DataFrame:
    """Decoder weights of each instance in 50 bins of equal width that all instances share.

    Returns
    -------
    DataFrame
        One row per (instance, bin): ``low`` and ``high`` edge, ``n`` weights in ``[low, high)`` (the last bin holds its
        upper edge).
    """
    values = dictionary.values.astype(np.float64)
    edges = np.histogram_bin_edges(values, bins=N_WEIGHT_BINS)
    return pd.DataFrame(
        {
            "instance": np.repeat(np.arange(len(values), dtype=np.int32), N_WEIGHT_BINS),
            "low": np.tile(edges[:-1], len(values)),
            "high": np.tile(edges[1:], len(values)),
            "n": np.concatenate([np.histogram(instance, bins=edges)[0] for instance in values]),
        }
    )


def count_histogram(counts: Binned) -> pd.DataFrame:
    """How many observed entries (one unit in one bin) hold 0, 1, 2, … spikes; drawn on a logarithmic y axis.

    Returns
    -------
    DataFrame
        Columns ``count``, ``n_entries`` and ``share``; counts that do not occur have a row up to the largest.
    """
    total = np.zeros(1, dtype=np.int64)
    for session in counts.sessions:
        values = session.activity if session.observed is None else session.activity[session.observed]
        found = np.bincount(np.ravel(values).astype(np.int64), minlength=len(total))
        found[: len(total)] += total
        total = found
    return pd.DataFrame({"count": np.arange(len(total)), "n_entries": total, "share": total / max(total.sum(), 1)})


def active_shares(counts: Binned) -> dict[str, float]:
    """Shares that are not zero: of observed entries (``entries``), and of bins in which any unit spiked (``bins``)."""
    entries = n_entries = bins = 0
    for session in counts.sessions:
        active = session.activity > 0 if session.observed is None else (session.activity > 0) & session.observed
        entries += int(active.sum())
        n_entries += active.size if session.observed is None else int(session.observed.sum())
        bins += int(active.any(axis=1).sum())
    return {"entries": entries / max(n_entries, 1), "bins": bins / max(counts.n_bins, 1)}


def unit_activity(data: Binned) -> pd.DataFrame:
    """Mean activity of each unit of each session over the bins in which it was observed, read block by block.

    Returns
    -------
    DataFrame
        One row per unit: ``session``, ``unit`` (its id), ``region``, ``mean`` (spikes per second for counts and rates,
        the recorded unit for continuous activity), ``nonzero_share`` of its observed bins, ``observed_share`` of all
        bins; NaN where it was never observed.
    """
    frames = []
    for session in data.sessions:
        total, active, n_known = np.zeros((3, session.n_units))
        for rows in row_slices(session.n_bins, ROWS_AT_ONCE):
            values = session.activity[rows]
            known = None if session.observed is None else session.observed[rows]
            total += values.sum(axis=0, dtype=np.float64, where=True if known is None else known)
            active += (values != 0).sum(axis=0, where=True if known is None else known)
            n_known += len(values) if known is None else known.sum(axis=0)
        seen = np.where(n_known > 0, n_known, np.nan)
        frames.append(
            pd.DataFrame(
                {
                    "session": session.session_id,
                    "unit": session.units["id"].astype(str),
                    "region": session.units.get("region", pd.Series("", index=session.units.index)),
                    "mean": total / seen / (data.bin_s if data.activity_kind == "counts" else 1.0),
                    "nonzero_share": active / seen,
                    "observed_share": n_known / max(session.n_bins, 1),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
