"""How much of a known truth a model's latents recover: features of a simulator against activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from nldisco_core.alignment import bin_means
from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.grid import Grid, to_ns
from nldisco_core.latents import LatentSpace
from nldisco_core.session import Session, read_only
from nldisco_core.tuning import rectified, rectified_columns

__all__ = [
    "ACTIVE",
    "FOUND_AUROC",
    "MIN_OFF",
    "MIN_ON",
    "BinnedTruth",
    "FeatureTruth",
    "Recovery",
    "align_truth",
    "feature_auroc",
    "recovery",
]

ACTIVE = 0.5
"""A feature is active where its mean over the bin reaches half of its maximum."""

FOUND_AUROC = 0.9
"""AUROC from which a latent counts as a feature's."""

MIN_ON, MIN_OFF = 5, 20
"""Bins with and without a feature that its scores need."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureTruth:
    """The features behind a simulated recording; a simulator keeps it as ``Session.truth["features"]``.

    Attributes
    ----------
    features : one row per feature, columns ``name`` (unique), ``kind`` and ``parent`` (name of the feature within which
        it is active, "" for none)
    times_s : (n_samples,) s, increasing
    activity : (n_samples, n_features) from 0 (absent) to 1 (as strong as it gets)
    mixing : (n_features, n_units) what each feature adds to each unit at activity 1, in the simulator's unit
    """

    features: pd.DataFrame
    times_s: Floats
    activity: NDArray[np.floating[Any]]
    mixing: Floats

    def __post_init__(self) -> None:
        missing = [column for column in ("name", "kind", "parent") if column not in self.features.columns]
        if missing:
            raise DataError(f"feature table lacks {', '.join(missing)}; it has {', '.join(self.features.columns)}")
        shape = (len(self.times_s), len(self.features))
        if self.activity.shape != shape or len(self.mixing) != len(self.features):
            raise DataError(
                f"features: activity of shape {self.activity.shape} and mixing of shape {self.mixing.shape}; expected "
                f"{shape} and ({len(self.features)}, n_units)"
            )
        for name in ("times_s", "activity", "mixing"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


@dataclass(frozen=True, kw_only=True, eq=False)
class BinnedTruth:
    """Features on the stacked bins of a data set.

    Attributes
    ----------
    features : as in `FeatureTruth`
    activity : (n_bins, n_features) mean over the bin, NaN where the truth says nothing
    """

    features: pd.DataFrame
    activity: Floats

    @property
    def active(self) -> Mask:
        """(n_bins, n_features) True where the activity is at least `ACTIVE`."""
        return np.asarray(self.activity >= ACTIVE)

    @property
    def defined(self) -> Mask:
        """(n_bins,) True where every feature has a value."""
        return np.asarray(~np.isnan(self.activity).any(axis=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Recovery:
    """Features against their matched latents.

    Attributes
    ----------
    table : one row per (instance, feature): ``feature``, ``kind``, ``latent`` (null where there were fewer latents than
        features) and ``sign`` of its half, ``auroc``, ``mcc``, ``best_feature`` (the one with which the latent has its
        largest AUROC), ``found``, ``n_duplicates``, ``n_on`` (bins with the feature)
    summary : one row per instance: ``n_features``, ``n_found``, ``share_found``, ``mean_auroc``, ``mean_mcc``,
        ``n_duplicates``; a feature without a latent counts as AUROC 0.5 and MCC 0
    notes : features left out, and why
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    notes: tuple[str, ...] = ()


def align_truth(sessions: Sequence[Session], data: Binned) -> BinnedTruth:
    """The features of simulated sessions averaged over the bins of `data`, which were made of these sessions.

    Raises
    ------
    DataError
        A session of the data is not given, knows no features, or knows other features than the first.
    """
    known = {session.session_id: session for session in sessions}
    truths = [_truth_of(known, session.session_id) for session in data.sessions]
    first = truths[0].features
    for session, truth in zip(data.sessions, truths, strict=True):
        if not truth.features.equals(first):
            raise DataError(f"session {session.session_id!r} has other features than {data.sessions[0].session_id!r}")
    parts = [
        bin_means(to_ns(truth.times_s), np.asarray(truth.activity, dtype=np.float64), _grid(session, data.bin_ns))
        for session, truth in zip(data.sessions, truths, strict=True)
    ]
    return BinnedTruth(features=first, activity=read_only(np.concatenate(parts)))


def recovery(space: LatentSpace, truth: BinnedTruth, *, matched_on: Mask, scored_on: Mask) -> Recovery:
    """Score every instance's latents against the features.

    Latents are assigned to features one to one so that the sum of AUROCs is largest (Kuhn 1955), on the rows
    `matched_on`; every score speaks of the rows `scored_on`. ``auroc = P(a_on > a_off) + P(a_on = a_off)/2`` with a the
    activation, on and off the bins with and without the feature (Mann & Whitney 1947). ``mcc`` is the correlation of
    feature and latent as two binary variables (Matthews 1975), the latent on above the threshold that is best on
    `matched_on`. A feature is *found* where its latent's AUROC is at least `FOUND_AUROC` and no other feature's AUROC
    with that latent is larger. *Duplicates* are further latents of which the same holds. Signed codes enter as
    rectified halves.

    Parameters
    ----------
    truth : features on the rows of `space`
    matched_on, scored_on : (n_rows,) masks, such as those of the train and the test split

    Raises
    ------
    IncompatibleData
        Latents and features speak of different rows, or of trials.
    DataError
        No feature has enough bins on both sets of rows.
    """
    if space.row_kind != "bin" or space.n_rows != len(truth.activity):
        raise IncompatibleData(
            f"latents of {space.n_rows} {space.row_kind}s for features on {len(truth.activity)} bins; "
            "align the truth with the bins that were transformed"
        )
    usable = truth.defined if space.defined is None else truth.defined & space.defined
    rows = (matched_on & usable, scored_on & usable)
    active = tuple(truth.active[mask] for mask in rows)
    enough = np.logical_and(*(_enough(part) for part in active))
    if not enough.any():
        raise DataError(
            f"no feature is on in {MIN_ON} and off in {MIN_OFF} bins of both sets of rows; simulate a longer recording"
        )
    features = truth.features[enough].reset_index(drop=True)
    parts = tuple(space.rows(mask) for mask in rows)
    table = pd.concat(
        [
            _one_instance(tuple(rectified(part, instance) for part in parts), tuple(on[:, enough] for on in active))
            .assign(instance=instance, feature=features["name"], kind=features["kind"])
            .pipe(_named, space, features)
            for instance in range(space.n_instances)
        ],
        ignore_index=True,
    )
    left_out = truth.features["name"][~enough]
    note = f"{len(left_out)} features are on or off in too few bins to be scored: {', '.join(left_out)}"
    return Recovery(table=table, summary=_summary(table), notes=(note,) if len(left_out) else ())


def feature_auroc(codes: sparse.csc_array, active: Mask) -> Floats:
    """(n_columns, n_features) ``P(a_on > a_off) + P(a_on = a_off)/2`` of every column with every feature.

    From the rank sums of the stored entries; silent rows share the lowest rank and are never touched.

    Parameters
    ----------
    codes : (n_rows, n_columns) activations above zero
    active : (n_rows, n_features), each on somewhere and off somewhere
    """
    on = active.astype(np.float64)
    n_on = on.sum(axis=0)
    n_silent = (len(active) - np.diff(codes.indptr))[:, None]
    ranks = np.concatenate([rankdata(part) for part in np.split(codes.data, codes.indptr[1:-1])])
    rank_sum, hits = (
        sparse.csc_array((values, codes.indices, codes.indptr), shape=codes.shape).T @ on
        for values in (ranks, np.ones_like(ranks))
    )
    rank_sum = rank_sum + hits * n_silent + (n_on - hits) * (n_silent + 1) / 2
    return np.asarray((rank_sum - n_on * (n_on + 1) / 2) / (n_on * (len(active) - n_on)))


def _truth_of(known: Mapping[str, Session], session_id: str) -> FeatureTruth:
    if session_id not in known:
        raise DataError(f"session {session_id!r} of the data is not among those given: {', '.join(known) or 'none'}")
    truth = (known[session_id].truth or {}).get("features")
    if not isinstance(truth, FeatureTruth):
        raise DataError(f"session {session_id!r} knows no features; choose a simulator such as place-ensembles")
    return truth


def _grid(session: BinnedSession, bin_ns: int) -> Grid:
    first = np.flatnonzero(np.diff(session.start_ns, prepend=session.start_ns[:1] - 2 * bin_ns) != bin_ns)
    return Grid(
        bin_ns=bin_ns,
        stretch_start_ns=session.start_ns[first],
        stretch_n_bins=np.diff(np.append(first, session.n_bins)),
    )


def _enough(active: Mask) -> Mask:
    n_on = active.sum(axis=0)
    return np.asarray((n_on >= MIN_ON) & (len(active) - n_on >= MIN_OFF))


def _one_instance(codes: tuple[sparse.csc_array, ...], active: tuple[Mask, ...]) -> pd.DataFrame:
    """One row per feature; column and best feature by number, column -1 for none."""
    n_features = active[1].shape[1]
    columns, features = linear_sum_assignment(feature_auroc(codes[0], active[0]), maximize=True)
    column_of = np.full(n_features, -1)
    column_of[features] = columns
    auroc = feature_auroc(codes[1], active[1])
    best_feature = auroc.argmax(axis=1)
    largest = auroc >= np.maximum(auroc.max(axis=1, keepdims=True), FOUND_AUROC)
    matched = column_of >= 0
    own = np.where(matched, largest[column_of, np.arange(n_features)], False)
    return pd.DataFrame(
        {
            "column": column_of,
            "auroc": np.where(matched, auroc[column_of, np.arange(n_features)], np.nan),
            "mcc": list(_mccs(codes, active, column_of)),
            "best": np.where(matched, best_feature[column_of], -1),
            "found": own,
            "n_duplicates": largest.sum(axis=0) - own,
            "n_on": active[1].sum(axis=0),
        }
    )


def _mccs(
    codes: tuple[sparse.csc_array, ...], active: tuple[Mask, ...], column_of: NDArray[np.int64]
) -> Iterator[float]:
    for feature, column in enumerate(column_of.tolist()):
        if column < 0:
            yield float("nan")
            continue
        chosen, reported = (code[:, [column]].toarray()[:, 0] for code in codes)
        threshold = _best_threshold(chosen, active[0][:, feature])
        on = reported >= threshold
        hits = np.count_nonzero(on & active[1][:, feature])
        yield float(_matthews(hits, np.count_nonzero(on), int(active[1][:, feature].sum()), len(on)))


def _best_threshold(values: Floats, active: Mask) -> float:
    """Smallest activation that counts as on where the Matthews correlation with the feature is largest."""
    if not (values > 0).any():
        return float("inf")
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > 0]
    hits, n_above = np.cumsum(active[order]), np.arange(1, len(order) + 1)
    last_of_tie = np.append(np.diff(values[order]) != 0, True)
    mcc = np.where(last_of_tie, _matthews(hits, n_above, int(active.sum()), len(active)), -np.inf)
    return float(values[order[int(np.argmax(mcc))]])


def _matthews(hits: Any, n_latent: Any, n_feature: int, n_rows: int) -> Any:
    """Correlation of two binary variables from the rows where both, the one and the other are on; 0 if one is flat."""
    spread = np.sqrt(np.multiply(n_latent, np.subtract(n_rows, n_latent)) * float(n_feature * (n_rows - n_feature)))
    covariance = np.multiply(hits, float(n_rows)) - np.multiply(n_latent, float(n_feature))
    return np.divide(covariance, spread, out=np.zeros(np.shape(spread)), where=spread > 0)


def _named(table: pd.DataFrame, space: LatentSpace, features: pd.DataFrame) -> pd.DataFrame:
    """Numbers of columns and features as latents, signs and names."""
    latent, sign = rectified_columns(space)
    names = features["name"].to_numpy(dtype=object)
    missing = (table["column"] < 0).to_numpy()
    column = table["column"].clip(lower=0).to_numpy()
    return pd.DataFrame(
        {
            "instance": table["instance"].astype("int32"),
            "feature": table["feature"].astype("string"),
            "kind": table["kind"].astype("string"),
            "latent": pd.Series(latent[column], dtype="Int32").mask(missing),
            "sign": sign[column],
            "auroc": table["auroc"],
            "mcc": table["mcc"],
            "best_feature": pd.Series(names[table["best"].clip(lower=0)], dtype="string").mask(missing),
            "found": table["found"],
            "n_duplicates": table["n_duplicates"].astype("int64"),
            "n_on": table["n_on"].astype("int64"),
        }
    )


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    chance = table.assign(auroc=table["auroc"].fillna(0.5), mcc=table["mcc"].fillna(0.0))
    return (
        chance.groupby("instance")
        .agg(
            n_features=("feature", "size"),
            n_found=("found", "sum"),
            share_found=("found", "mean"),
            mean_auroc=("auroc", "mean"),
            mean_mcc=("mcc", "mean"),
            n_duplicates=("n_duplicates", "sum"),
        )
        .reset_index()
    )
