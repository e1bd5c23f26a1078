"""Which units stand behind each latent, as tables: who is active with it, who drives it, and its weights by region."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nldisco_core.errors import IncompatibleData
from nldisco_core.interfaces import Attribution, Dictionary
from nldisco_core.relations import ratio
from nldisco_core.unit_activity import CoActivity

__all__ = ["attributed_units", "contributing_units", "region_weights"]


def contributing_units(found: CoActivity, units: pd.DataFrame, *, n_units: int = 5) -> pd.DataFrame:
    """The most and the least active units of each latent.

    Parameters
    ----------
    units : unit table of the data
    n_units : how many at each end; where there are fewer than twice as many, a unit may stand at both

    Returns
    -------
    DataFrame
        One row per (instance, latent, end, rank): ``end``, top or bottom; ``rank`` from 1; ``unit``, ``region``,
        ``mean_z``, ``sem_bins``, ``sem_blocks``, ``n_bins``, ``n_blocks``. Of equals the unit that comes first in the
        table. Units without a mean, and latents without active bins, have no rows.
    """
    regions = pd.array(units["region"], dtype="string") if "region" in units else pd.array([""] * len(units))
    ids = pd.array(found.unit_ids, dtype="string")
    tables = []
    for end, sign in (("top", -1.0), ("bottom", 1.0)):
        order = np.argsort(sign * found.mean_z, axis=2, kind="stable")[..., :n_units]  # NaN comes last
        instance, latent, rank = (axis.ravel() for axis in np.indices(order.shape))
        unit = order.ravel()
        table = pd.DataFrame(
            {
                "instance": instance.astype(np.int32),
                "latent": latent.astype(np.int32),
                "end": pd.array([end], dtype="string").repeat(len(unit)),
                "rank": (rank + 1).astype(np.int32),
                "unit": ids.take(unit),
                "region": pd.array(regions.take(unit), dtype="string"),
            }
        )
        for name in ("mean_z", "sem_bins", "sem_blocks", "n_bins", "n_blocks"):
            table[name] = getattr(found, name)[instance, latent, unit]
        tables.append(table[table["mean_z"].notna()])
    joined = pd.concat(tables, ignore_index=True)
    return joined.sort_values(["instance", "latent"], kind="stable", ignore_index=True)


def attributed_units(found: Attribution, *, n_units: int = 5) -> pd.DataFrame:
    """The units that drive each latent most, and at which lag.

    Returns
    -------
    DataFrame
        One row per (instance, latent, rank): ``unit``; ``attribution``, gradient times input summed over lags, by which
        units are ranked; ``lag_s``, the lag of the largest single one (s), and ``at_lag``, its attribution;
        ``n_examples``. Latents without examples have no rows.
    """
    summed = found.values.sum(axis=3)
    order = np.argsort(-summed, axis=2, kind="stable")[..., :n_units]
    instance, latent, rank = (axis.ravel() for axis in np.indices(order.shape))
    place = (instance, latent, order.ravel())
    lag = np.nan_to_num(found.values[place], nan=-np.inf).argmax(axis=1)
    table = pd.DataFrame(
        {
            "instance": instance.astype(np.int32),
            "latent": latent.astype(np.int32),
            "rank": (rank + 1).astype(np.int32),
            "unit": pd.array(found.unit_ids, dtype="string").take(place[2]),
            "attribution": summed[place],
            "lag_s": np.asarray(found.lags_s)[lag],
            "at_lag": found.values[(*place, lag)],
            "n_examples": found.n_examples[instance, latent],
        }
    )
    return table[table["attribution"].notna()].reset_index(drop=True)


def region_weights(dictionary: Dictionary, units: pd.DataFrame) -> pd.DataFrame:
    """Decoder weights of each latent by the region of the units they point at.

    Parameters
    ----------
    units : unit table that holds the dictionary's units

    Returns
    -------
    DataFrame
        One row per (instance, latent, region): ``n_units``; ``mean_weight``, over units and lags; ``share``,
        ``sum w²`` in the region over ``sum w²`` of the latent, NaN for a latent without weights; ``strongest_unit``,
        the unit with the largest sum of squared weights over lags there, and ``strongest_share``, its share of the
        latent. The region is "" where it is not stated.

    Raises
    ------
    IncompatibleData
        The dictionary points at units that are not in the table.
    """
    ids = dictionary.unit_ids[0]
    missing = [unit for unit in ids if unit not in set(units["id"])]
    if missing:
        raise IncompatibleData(f"the dictionary points at unit {missing[0]!r}, which the unit table does not hold")
    region = units.set_index("id")["region"].reindex(list(ids)).fillna("").astype(str).to_numpy()
    weights = dictionary.values.astype(np.float64)
    weights = weights if weights.ndim == 4 else weights[..., None]
    power = (weights**2).sum(axis=3)
    total = power.sum(axis=2)
    instance, latent = (axis.ravel() for axis in np.indices(total.shape))
    tables = []
    for name in np.unique(region):
        inside = np.flatnonzero(region == name)
        best = inside[power[:, :, inside].argmax(axis=2)]
        strongest = np.take_along_axis(power, best[..., None], axis=2)[..., 0]
        tables.append(
            pd.DataFrame(
                {
                    "instance": instance.astype(np.int32),
                    "latent": latent.astype(np.int32),
                    "region": pd.array([name], dtype="string").repeat(len(instance)),
                    "n_units": len(inside),
                    "mean_weight": weights[:, :, inside].mean(axis=(2, 3)).ravel(),
                    "share": ratio(power[:, :, inside].sum(axis=2), total, empty=np.nan).ravel(),
                    "strongest_unit": pd.array(np.asarray(ids, dtype=object)[best.ravel()], dtype="string"),
                    "strongest_share": ratio(strongest, total, empty=np.nan).ravel(),
                }
            )
        )
    joined = pd.concat(tables, ignore_index=True)
    return joined.sort_values(["instance", "latent"], kind="stable", ignore_index=True)
