"""How latents relate to each other and to single units: matching across instances, its nulls, copy or composite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from nldisco_core.binned import Binned
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.interfaces import Dictionary
from nldisco_core.latents import LatentSpace
from nldisco_core.session import read_only

__all__ = [
    "COPY_CORRELATION",
    "MATCHED",
    "Matching",
    "SeedMatch",
    "SeedMatchNulls",
    "activation_match",
    "activation_match_null",
    "chosen_rows",
    "consensus",
    "copy_or_composite",
    "match_latents",
    "ratio",
    "seed_match",
    "seed_match_nulls",
    "stability",
]

MATCHED = 0.8
"""Similarity above which two latents count as the same."""

COPY_CORRELATION = 0.8
"""Size of the correlation with one unit from which a latent counts as a copy of it."""

CONSENSUS_SHARE = 0.75

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Matching:
    """Best one-to-one assignment between two sets of latents.

    Attributes
    ----------
    pairs : (n_pairs, 2) int64, latent of the first and of the second set, ordered by the first
    similarity : (n_pairs,) float64
    """

    pairs: NDArray[np.int64]
    similarity: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", read_only(self.pairs))
        object.__setattr__(self, "similarity", read_only(self.similarity))


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedMatch:
    """How far instances found the same latents.

    Attributes
    ----------
    similarity : (n_instances, n_instances, n_latents) float64, similarity of latent d of instance i with the latent of
        instance j that it is matched with; NaN for an instance with itself
    partner : (n_instances, n_instances, n_latents) int64, that latent; -1 for an instance with itself
    """

    similarity: Floats
    partner: NDArray[np.int64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "similarity", read_only(self.similarity))
        object.__setattr__(self, "partner", read_only(self.partner))

    @property
    def pairs(self) -> Floats:
        """(n_pairs, n_latents) matched similarities of every pair of instances i < j."""
        return np.asarray(self.similarity[np.triu_indices(len(self.similarity), k=1)])

    @property
    def median(self) -> float:
        """Median matched similarity over all pairs of instances; NaN for a single instance."""
        return float(np.median(self.pairs)) if self.pairs.size else float("nan")

    @property
    def share_matched(self) -> float:
        """Share of matched latents with a similarity above `MATCHED`; NaN for a single instance."""
        return float(np.mean(self.pairs > MATCHED)) if self.pairs.size else float("nan")


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedMatchNulls:
    """Median matched cosine that dictionaries without anything in common reach.

    Attributes
    ----------
    gaussian : (n_draws,) two dictionaries of independent Gaussian weights, of the same shape
    permuted : (n_draws,) two of the instances, each latent's weights permuted over the units by itself
    """

    gaussian: Floats
    permuted: Floats


def match_latents(a: NDArray[Any], b: NDArray[Any], *, absolute: bool = False) -> Matching:
    """Hungarian assignment of dictionary rows on their cosine (Kuhn 1955).

    Parameters
    ----------
    a, b : (n_latents, n_units) or (n_latents, n_units, n_lags); a row of zeros has cosine 0 with every other
    absolute : compare sizes of cosines, for models whose latents have no sign of their own (PCA, ICA, factor analysis)

    Raises
    ------
    IncompatibleData
        The rows differ in length.
    """
    if a.shape[1:] != b.shape[1:]:
        raise IncompatibleData(
            f"dictionary rows of shape {a.shape[1:]} and {b.shape[1:]}; match latents on the same units"
        )
    return _assign(_unit_rows(a) @ _unit_rows(b).T, absolute=absolute)


def seed_match(dictionary_values: NDArray[Any], *, absolute: bool = False) -> SeedMatch:
    """Decoder match of every pair of instances.

    Parameters
    ----------
    dictionary_values : (n_instances, n_latents, n_units) or (n_instances, n_latents, n_units, n_lags)
    absolute : as in `match_latents`
    """
    rows = [_unit_rows(values) for values in dictionary_values]
    return _match_all(len(rows), rows[0].shape[0], lambda i, j: _assign(rows[i] @ rows[j].T, absolute=absolute))


def seed_match_nulls(
    dictionary_values: NDArray[Any], *, n_draws: int, seed: int, absolute: bool = False
) -> SeedMatchNulls:
    """Median matched cosine of `n_draws` pairs of random dictionaries, and of pairs of permuted ones.

    Each draw is one pair, as each row of `SeedMatch.pairs` is; the instances to permute are drawn anew each time. With
    a single instance the pair is two permutations of it.

    Parameters
    ----------
    dictionary_values : as in `seed_match`
    """
    rng = np.random.default_rng(seed)
    shape = dictionary_values.shape[1:]
    gaussian, permuted = np.empty(n_draws), np.empty(n_draws)
    for draw in range(n_draws):
        a, b = rng.standard_normal((2, *shape))
        gaussian[draw] = np.median(match_latents(a, b, absolute=absolute).similarity)
        first, second = rng.choice(len(dictionary_values), size=2, replace=len(dictionary_values) == 1)
        a, b = _permuted(dictionary_values[first], rng), _permuted(dictionary_values[second], rng)
        permuted[draw] = np.median(match_latents(a, b, absolute=absolute).similarity)
    return SeedMatchNulls(gaussian=read_only(gaussian), permuted=read_only(permuted))


def activation_match(space: LatentSpace, *, rows: NDArray[np.bool_] | None = None, absolute: bool = False) -> SeedMatch:
    """Match of every pair of instances on the Pearson correlation of activations over bins.

    Parameters
    ----------
    rows : (n_rows,) bins to use, such as those of one split, None for all; without those the model does not speak of
    absolute : compare sizes of correlations

    A latent that does not vary has correlation 0 with every other.
    """
    codes = _all_codes(space, rows)
    return _match_all(
        space.n_instances,
        space.n_latents,
        lambda i, j: _assign(_correlations(codes[i], codes[j]), absolute=absolute),
    )


def activation_match_null(
    space: LatentSpace, *, n_draws: int, seed: int, rows: NDArray[np.bool_] | None = None, absolute: bool = False
) -> Floats:
    """(n_draws,) median matched correlation of two instances, one of them shifted circularly in time.

    Shifts are of at least a tenth of the bins. What is left is what sparsity and slowness give by chance.

    Parameters
    ----------
    rows, absolute : as in `activation_match`
    """
    rng = np.random.default_rng(seed)
    codes = _all_codes(space, rows)
    n_rows = codes[0].shape[0]
    medians = np.empty(n_draws)
    for draw in range(n_draws):
        first, second = rng.choice(len(codes), size=2, replace=len(codes) == 1)
        shift = int(rng.integers(n_rows // 10, n_rows - n_rows // 10))
        order = np.roll(np.arange(n_rows), shift)
        similarity = _correlations(codes[first], codes[second][order])
        medians[draw] = np.median(_assign(similarity, absolute=absolute).similarity)
    return medians


def stability(decoder: SeedMatch | None, activation: SeedMatch) -> pd.DataFrame:
    """How well each latent is found again by other instances, which is what makes it a consensus latent.

    Returns
    -------
    DataFrame
        One row per (instance, latent): ``decoder_similarity`` and ``activation_similarity``, medians over the other
        instances, and ``decoder_consensus`` and ``activation_consensus``, see `consensus`; the decoder's are null
        where there is no decoder.
    """
    n_instances, _, n_latents = activation.similarity.shape
    table = {
        "instance": np.repeat(np.arange(n_instances, dtype=np.int32), n_latents),
        "latent": np.tile(np.arange(n_latents, dtype=np.int32), n_instances),
    }
    frame = pd.DataFrame(table)
    for name, match in (("decoder", decoder), ("activation", activation)):
        similarity = np.full(len(frame), np.nan)
        agreed = pd.Series(pd.NA, index=frame.index, dtype="boolean")
        if match is not None:
            others = [np.delete(match.similarity[i], i, axis=0) for i in range(n_instances)]
            similarity = np.concatenate([np.median(values, axis=0) for values in others])
            agreed = pd.Series(consensus(match).ravel(), dtype="boolean")
        frame[f"{name}_similarity"], frame[f"{name}_consensus"] = similarity, agreed
    return frame


def consensus(match: SeedMatch) -> NDArray[np.bool_]:
    """(n_instances, n_latents) True where matched above `MATCHED` in at least three quarters of the other instances.

    Raises
    ------
    DataError
        A single instance, which has nothing to agree with.
    """
    n_instances = len(match.similarity)
    if n_instances < 2:
        raise DataError("consensus needs at least 2 instances, found 1; give the model more seeds")
    agreeing = (match.similarity > MATCHED).sum(axis=1)
    return np.asarray(agreeing >= CONSENSUS_SHARE * (n_instances - 1))


def copy_or_composite(
    space: LatentSpace,
    data: Binned,
    *,
    rows: NDArray[np.bool_] | None = None,
    dictionary: Dictionary | None = None,
) -> pd.DataFrame:
    """Whether each latent follows one unit, and how many units stand behind it.

    Parameters
    ----------
    data : the bins the latents speak of; correlations leave out what was not observed
    rows : (n_rows,) bins to use, None for all
    dictionary : weights from latents to units of the model

    Returns
    -------
    DataFrame
        One row per (instance, latent): ``unit``, the id of the unit whose activity has the largest Pearson correlation
        (in size) with the latent's activation over bins; ``correlation``; ``copy``, whether its size is at least
        `COPY_CORRELATION`; ``n_effective_units``, the participation ratio ``(sum w²)² / sum w⁴`` of the latent's
        dictionary weights (squares summed over lags), or of its correlations where there is no dictionary: 1 for one
        unit, n for n equal ones. Null for latents that do not vary.

    Raises
    ------
    IncompatibleData
        The rows of the latents are not the bins of the data.
    """
    if space.n_rows != data.n_bins:
        raise IncompatibleData(
            f"latents of {space.n_rows} rows for {data.n_bins} bins; give the bins they were made of"
        )
    chosen = chosen_rows(space, rows)
    activity = data.activity[chosen].astype(np.float64)
    seen = np.ones((len(activity), 1)) if data.observed is None else data.observed[chosen].astype(np.float64)
    unit_ids = data.units["id"].to_numpy(dtype=object)
    tables = []
    for instance in range(space.n_instances):
        correlation = _unit_correlations(_codes(space, instance, chosen), activity, seen)
        weights = correlation if dictionary is None else dictionary.values[instance].astype(np.float64)
        tables.append(_copies(instance, correlation, weights, unit_ids))
    return pd.concat(tables, ignore_index=True)


def _unit_rows(values: NDArray[Any]) -> Floats:
    """(n_latents, n_weights) dictionary rows at unit length; rows of zeros stay zero."""
    rows = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    return ratio(rows, np.linalg.norm(rows, axis=1, keepdims=True), empty=0)


def _permuted(values: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Each latent's weights permuted over the units by itself; the lags of a unit stay together."""
    order = rng.permuted(np.tile(np.arange(values.shape[1]), (len(values), 1)), axis=1)
    return np.take_along_axis(values, order.reshape(order.shape + (1,) * (values.ndim - 2)), axis=1)


def _assign(similarity: Floats, *, absolute: bool) -> Matching:
    similarity = np.abs(similarity) if absolute else similarity
    first, second = linear_sum_assignment(similarity, maximize=True)
    return Matching(pairs=np.column_stack([first, second]), similarity=similarity[first, second])


def _match_all(n_instances: int, n_latents: int, match: Callable[[int, int], Matching]) -> SeedMatch:
    similarity = np.full((n_instances, n_instances, n_latents), np.nan)
    partner = np.full(similarity.shape, -1, dtype=np.int64)
    for i, j in combinations(range(n_instances), 2):
        found = match(i, j)
        for one, other, mine, theirs in ((i, j, 0, 1), (j, i, 1, 0)):
            similarity[one, other, found.pairs[:, mine]] = found.similarity
            partner[one, other, found.pairs[:, mine]] = found.pairs[:, theirs]
    return SeedMatch(similarity=similarity, partner=partner)


def chosen_rows(space: LatentSpace, rows: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """(n_rows,) rows asked for that the model speaks of; `DataError` where there are none."""
    chosen = np.ones(space.n_rows, dtype=bool) if rows is None else rows
    chosen = chosen if space.defined is None else chosen & space.defined
    if not chosen.any():
        raise DataError("no rows are left to correlate; choose a split that holds bins the model speaks of")
    return chosen


def _all_codes(space: LatentSpace, rows: NDArray[np.bool_] | None) -> list[Any]:
    """Activations of every instance over the rows asked for."""
    chosen = chosen_rows(space, rows)
    return [_codes(space, index, chosen) for index in range(space.n_instances)]


def _correlations(a: Any, b: Any) -> Floats:
    """(n_latents, n_latents) Pearson correlations of the columns of two sets of activations; 0 for constant ones."""
    ones = np.ones((a.shape[0], 1))
    (mean_a, variance_a), (mean_b, variance_b) = _moments(a, ones), _moments(b, ones)
    product = a.T @ b
    product = product if isinstance(product, np.ndarray) else product.toarray()
    return ratio(product / len(ones) - mean_a @ mean_b.T, np.sqrt(variance_a @ variance_b.T), empty=0)


def _codes(space: LatentSpace, instance: int, chosen: NDArray[np.bool_]) -> Any:
    """(n_chosen, n_latents) float64 activations of one instance, sparse or dense as they come."""
    codes = space.csr(instance) if space.is_sparse else space.dense(instance)
    return codes[chosen].astype(np.float64)


def _moments(codes: Any, seen: Floats) -> tuple[Floats, Floats]:
    """(n_latents, n_units) mean and variance of each latent over the bins in which each unit was seen."""
    n = np.maximum(seen.sum(axis=0), 1)
    mean, square = codes.T @ seen / n, (codes * codes).T @ seen / n
    return mean, _above_rounding(square - mean**2, square)


def _unit_correlations(codes: Any, activity: Floats, seen: Floats) -> Floats:
    """(n_latents, n_units) Pearson correlations over bins in which the unit was seen; NaN where either is constant."""
    n = np.maximum(seen.sum(axis=0), 1)
    mean = (activity * seen).sum(axis=0) / n
    centred = (activity - mean) * seen
    variance = (centred**2).sum(axis=0) / n
    variance = _above_rounding(variance, variance + mean**2)
    return ratio(codes.T @ centred / n, np.sqrt(_moments(codes, seen)[1] * variance), empty=np.nan)


def _above_rounding(variance: Floats, square: Floats) -> Floats:
    """Variances, zero where they are no more than the rounding of the mean square they were taken from."""
    return np.where(variance > 1e-12 * square, variance, 0.0)


def ratio(above: Floats, below: NDArray[Any], *, empty: float) -> Floats:
    """`above` / `below`; `empty` where `below` is zero."""
    shape = np.broadcast_shapes(above.shape, below.shape)
    return np.asarray(np.divide(above, below, out=np.full(shape, empty, dtype=np.float64), where=below > 0))


def _copies(instance: int, correlation: Floats, weights: Floats, unit_ids: NDArray[Any]) -> pd.DataFrame:
    """Rows of `copy_or_composite` for one instance."""
    size = np.nan_to_num(np.abs(correlation), nan=-1.0)
    best = size.argmax(axis=1)
    varies = size.max(axis=1) >= 0
    largest = correlation[np.arange(len(best)), best]
    power = np.nan_to_num(weights).reshape(*correlation.shape, -1) ** 2
    power = power.sum(axis=2)
    effective = ratio(power.sum(axis=1) ** 2, (power**2).sum(axis=1), empty=np.nan)
    return pd.DataFrame(
        {
            "instance": np.full(len(best), instance, dtype=np.int32),
            "latent": np.arange(len(best), dtype=np.int32),
            "unit": pd.Series(unit_ids[best], dtype="string").where(varies),
            "correlation": np.where(varies, largest, np.nan),
            "copy": pd.Series(np.abs(largest) >= COPY_CORRELATION, dtype="boolean").where(varies),
            "n_effective_units": np.where(varies, effective, np.nan),
        }
    )
