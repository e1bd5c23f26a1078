"""How well a model explains the activity, per instance, level, lag and split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nldisco_core.accumulation import RATE_FLOOR, Floats, Key, Mask, Sums, Target, observed_means
from nldisco_core.binned import SPLITS, Binned
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.interfaces import LatentModel, Reconstructs
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.row_blocks import entry_blocks

__all__ = ["RATE_FLOOR", "Evaluation", "evaluate"]

ROWS_AT_ONCE = 1 << 15

KEYS = ("instance", "level", "lag_s", "split")
SCORES = ("r2", "fvu", "cosine", "population_r2", "deviance_explained", "bits_per_spike")
UNIT_SCORES = ("r2", "cosine", "deviance_explained")
SPARSITY = ("l0_mean", "l0_sd", "dead_share", "density_mean")


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Scores of one model on one data set; NaN where a score is not defined.

    Attributes
    ----------
    summary : one row per (instance, level, lag_s, split) with ``n_rows``, the bins scored at that lag, and

        - ``r2`` = 1 - SSE/SST summed over units, SST about each unit's mean over the split; ``fvu`` = SSE/SST
        - ``cosine``: mean over bins of the cosine of activity and prediction, without bins where either is all zero
        - ``population_r2``: R² of the sum over units
        - ``deviance_explained`` = 1 - D/D0: Poisson deviance of the counts under the predictions over that under each
          unit's mean count in the training bins (McCullagh & Nelder 1989)
        - ``bits_per_spike`` = (logL - logL0) / (n_spikes ln 2), the same two likelihoods (Pei et al. 2021)
        - ``l0_mean``, ``l0_sd``: active latents per bin; ``dead_share``: share of the level's latents never active in
          the split; ``density_mean``: share of bins in which a latent is active, mean over the level's latents
    units : one row per (instance, level, lag_s, split, unit) with r2, cosine (over bins) and deviance_explained
    """

    summary: pd.DataFrame
    units: pd.DataFrame


def evaluate(model: LatentModel | None, latents: Latents, data: Binned, *, counts: Binned | None = None) -> Evaluation:
    """Scores of every instance, level and lag on each split that holds bins.

    Reconstruction blocks are read one at a time and only sums per unit are kept. Entries that were not observed are
    left out, and so are rows the model does not speak of. A model without `Reconstructs` gets its sparsity only.

    Parameters
    ----------
    model : None for activations whose model is not at hand
    data : what the model was given, with splits; its rows are those of `latents`
    counts : the same bins before smoothing and normalising; without them the Poisson scores are NaN. Predictions are
        brought back to counts per bin and raised to `RATE_FLOOR`, as is the mean training count

    Raises
    ------
    DataError
        No bin belongs to a split.
    IncompatibleData
        Rows or units of latents, data, counts and predictions differ, or `counts` holds no counts.
    """
    space = latents.main
    _check_rows(space, data, counts)
    in_split = _split_masks(space, data)
    if not in_split:
        raise DataError("no bin belongs to a split; assign splits before evaluating")
    sums: dict[Key, Sums] = {}
    if isinstance(model, Reconstructs):
        target = Target(data, counts, in_split)
        for block in model.reconstruct(latents):
            target.add(block, sums)
    summary, units = _scores(sums, data, counts)
    return Evaluation(summary=_with_sparsity(summary, _sparsity(space, in_split)), units=units)


def _split_masks(space: LatentSpace, data: Binned) -> dict[str, Mask]:
    """(n_bins,) rows of each split that holds any, as far as the model speaks of them."""
    defined = np.ones(space.n_rows, dtype=bool) if space.defined is None else space.defined
    masks = {name: (data.split == code) & defined for code, name in enumerate(SPLITS)}
    return {name: mask for name, mask in masks.items() if mask.any()}


def _check_rows(space: LatentSpace, data: Binned, counts: Binned | None) -> None:
    if space.n_rows != data.n_bins:
        raise IncompatibleData(
            f"latents of {space.n_rows} {space.row_kind}s for {data.n_bins} bins; give the bins they were made of"
        )
    if counts is None:
        return
    if counts.activity_kind != "counts":
        raise IncompatibleData(
            f"counts hold {counts.activity_kind} activity; give the bins before preprocessing, or leave counts out"
        )
    shapes = [(one.n_bins, one.n_units) for one in (counts, data)]
    if shapes[0] != shapes[1]:
        raise IncompatibleData(f"counts are {shapes[0]}, data {shapes[1]}; give the same bins and units")


def _null_count(data: Binned, counts: Binned | None) -> Floats:
    """(n_units,) mean count in the training bins, at least `RATE_FLOOR`; NaN without counts or training bins."""
    training = data.split == SPLITS.index("train")
    if counts is None or not training.any():
        return np.full(data.n_units, np.nan)
    return np.maximum(observed_means(counts, {"train": training}, seen=data)["train"], RATE_FLOOR)


def _scores(sums: Mapping[Key, Sums], data: Binned, counts: Binned | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reconstruction scores of the population and of each unit."""
    summary: list[dict[str, Any]] = []
    units = [pd.DataFrame(columns=[*KEYS, "unit", *UNIT_SCORES])]
    null_count = _null_count(data, counts) if sums else np.empty(0)
    for key, part in sums.items():
        names = dict(zip(KEYS, key, strict=True))
        sse, sst, unit = part.unit["sse"], part.sst(), part.unit
        deviance, null = part.deviances(null_count)
        fvu = _ratio(sse.sum(), sst.sum())
        summary.append(
            names
            | {
                "r2": 1 - fvu,
                "fvu": fvu,
                "cosine": _ratio(part.cosine_sum, part.cosine_n),
                "population_r2": 1 - _ratio(part.population["sse"], part.population_sst()),
                "deviance_explained": 1 - _ratio(deviance.sum(), null.sum()),
                "bits_per_spike": _ratio((null - deviance).sum() / 2, unit["count"].sum() * np.log(2)),
                "n_rows": part.n_rows,
            }
        )
        scores = {
            "unit": data.units["id"].to_numpy(),
            "r2": 1 - _ratio(sse, sst),
            "cosine": _ratio(unit["yp"], np.sqrt(unit["yy"] * unit["pp"])),
            "deviance_explained": 1 - _ratio(deviance, null),
        }
        units.append(pd.DataFrame(names | scores))
    return pd.DataFrame(summary, columns=[*KEYS, *SCORES, "n_rows"]), _typed(pd.concat(units[1:] or units))


def _sparsity(space: LatentSpace, in_split: Mapping[str, Mask]) -> pd.DataFrame:
    """Sparsity columns of each (instance, level, split)."""
    found = []
    sizes = space.level_sizes or (space.n_latents,)
    for instance in range(space.n_instances):
        shape = (len(sizes), len(in_split))
        active, squares, used = np.zeros(shape, int), np.zeros(shape, int), np.zeros((*shape, space.n_latents), bool)
        for block in entry_blocks(space, instance, ROWS_AT_ONCE):
            inside = [mask[block.rows] for mask in in_split.values()]
            for level in range(len(sizes)):
                chosen = block.at_level(level)
                row, latent = block.row[chosen], block.latent[chosen]
                per_bin = np.bincount(row, minlength=block.n_rows)
                for split, mask in enumerate(inside):
                    active[level, split] += per_bin[mask].sum()
                    squares[level, split] += np.square(per_bin[mask]).sum()
                    used[level, split, latent[mask[row]]] = True
        for level, size in enumerate(sizes):
            for split, (name, mask) in enumerate(in_split.items()):
                n_rows, total = int(mask.sum()), int(active[level, split])
                spread = np.sqrt(n_rows * int(squares[level, split]) - total**2) / n_rows
                alive, mean = np.count_nonzero(used[level, split]), total / n_rows
                found.append((instance, level, name, mean, spread, 1 - alive / size, mean / size, n_rows))
    return pd.DataFrame(found, columns=["instance", "level", "split", *SPARSITY, "n_rows"])


def _with_sparsity(summary: pd.DataFrame, sparsity: pd.DataFrame) -> pd.DataFrame:
    """One row per key: the reconstruction scores where there are any, and the sparsity of the same latents."""
    if summary.empty:
        return _typed(
            sparsity.assign(lag_s=0.0, **dict.fromkeys(SCORES, np.nan))[[*KEYS, *SCORES, *SPARSITY, "n_rows"]]
        )
    merged = summary.merge(sparsity.drop(columns="n_rows"), on=["instance", "level", "split"], how="left")
    return _typed(merged[[*KEYS, *SCORES, *SPARSITY, "n_rows"]])


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in order of instance, level, lag and split, every column in its type."""
    types = {"instance": "int32", "level": "int32", "lag_s": "float64", "split": "string", "unit": "string"}
    types |= dict.fromkeys((*SCORES, *SPARSITY), "float64") | {"n_rows": "int64"}
    order = frame.assign(split=frame["split"].map({name: code for code, name in enumerate(SPLITS)}))
    index = order.reset_index(drop=True).sort_values(list(KEYS), kind="stable").index
    return frame.iloc[index].astype({key: kind for key, kind in types.items() if key in frame}).reset_index(drop=True)


def _ratio(above: Any, below: Any) -> Any:
    """`above` / `below`, NaN where `below` is not positive."""
    below = np.asarray(below, dtype=np.float64)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)[()]
