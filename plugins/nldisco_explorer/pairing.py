"""Latents of one model matched with those of another, of one run or of two: on shared bins, else on shared units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.errors import DataError
from nldisco_core.latents import LatentSpace
from nldisco_core.relations import activation_match, match_latents

if TYPE_CHECKING:
    from nldisco_explorer.readings import Readings

__all__ = ["Pairing", "Side", "pairing", "shared_bins"]

N_DRAWS = 2
SEED = 0
LEAST_BINS = 100

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Side:
    """One instance of one model of a run."""

    reads: Readings
    model: str
    instance: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairing:
    """Latents of one side and their partners on the other.

    Attributes
    ----------
    table : one row per pair, most alike first: ``latent``, ``partner``, ``similarity``, ``null``. The null is the mean
        similarity of the pair of the same rank when the other side was made unrelated: shifted in time by at least a
        tenth of the bins, or its weights permuted over the units
    measure : ``r`` or ``|r|`` of activations, ``cosine`` or ``|cosine|`` of decoder weights
    rows, partner_rows : (n_shared,) bins of either side that are the same bin, empty where weights were compared
    most_by_chance : the largest similarity of any pair of the null
    note : what else a reader has to know
    """

    table: pd.DataFrame
    measure: str
    rows: Rows
    partner_rows: Rows
    most_by_chance: float
    note: str = ""

    def partner_of(self, latent: int | None) -> tuple[int, float, float] | None:
        """Partner, similarity and null of a latent; None where it has no partner."""
        found = self.table[self.table["latent"] == latent]
        return None if not len(found) else tuple(found[["partner", "similarity", "null"]].iloc[0])


def shared_bins(one: Readings, other: Readings) -> tuple[Rows, Rows]:
    """Bins that both runs have, by session and start.

    Raises
    ------
    DataError
        The bins cannot be compared; the message says why.
    """
    a, b = one.run.counts, other.run.counts
    if a.bin_ns != b.bin_ns:
        raise DataError(f"bins are {a.bin_s:g} s in one and {b.bin_s:g} s in the other")
    there = {session.session_id: i for i, session in enumerate(b.sessions)}
    mine, theirs = [], []
    for index, session in enumerate(a.sessions):
        if session.session_id in there:
            at = there[session.session_id]
            _, i, j = np.intersect1d(session.start_ns, b.sessions[at].start_ns, assume_unique=True, return_indices=True)
            mine.append(i + a.row_offsets[index])
            theirs.append(j + b.row_offsets[at])
    if not mine:
        raise DataError(f"they have no session in common ({_named(a.sessions)}; {_named(b.sessions)})")
    rows, partner_rows = np.concatenate(mine), np.concatenate(theirs)
    if len(rows) < LEAST_BINS:
        raise DataError(f"only {len(rows)} bins start at the same time in both; at least {LEAST_BINS} are needed")
    return rows, partner_rows


def _named(sessions: tuple[object, ...]) -> str:
    return ", ".join(str(getattr(session, "session_id", "")) for session in sessions[:3])


def pairing(one: Side, other: Side) -> Pairing:
    """Best one-to-one assignment between the latents of two sides.

    On the correlation of activations over the bins both runs have; where they have none, on the cosine of decoder
    weights if both models have some, to the same units.

    Raises
    ------
    DataError
        Neither can be compared; the message says why.
    """
    try:
        rows, partner_rows = shared_bins(one.reads, other.reads)
    except DataError as why:
        return _by_weights(one, other, why)
    spoken = one.reads.defined(one.model)[rows] & other.reads.defined(other.model)[partner_rows]
    rows, partner_rows = rows[spoken], partner_rows[spoken]
    if len(rows) < LEAST_BINS:
        raise DataError(f"both models speak of only {len(rows)} of the bins that the runs share")
    return _by_activations(one, other, rows, partner_rows)


def _by_activations(one: Side, other: Side, rows: Rows, partner_rows: Rows) -> Pairing:
    spaces = [side.reads.space(side.model) for side in (one, other)]
    signed = any(space.code_kind == "signed" for space in spaces)
    codes = [
        space.csr(side.instance)[at] for side, space, at in zip((one, other), spaces, (rows, partner_rows), strict=True)
    ]
    table = _matched(codes, spaces, absolute=signed)
    rng = np.random.default_rng(SEED)
    shifts = rng.integers(len(rows) // 10, len(rows) - len(rows) // 10, size=N_DRAWS)
    moved = [
        _matched([codes[0], codes[1][np.roll(np.arange(len(rows)), shift)]], spaces, absolute=signed)
        for shift in shifts
    ]
    return Pairing(
        table=_with_null(table, moved),
        measure="|r|" if signed else "r",
        rows=rows,
        partner_rows=partner_rows,
        most_by_chance=_largest(moved),
    )


def _matched(codes: list[sparse.csr_array], spaces: list[LatentSpace], *, absolute: bool) -> pd.DataFrame:
    """Pairs of latents that exist on both sides; the smaller side is filled up with silent ones to be matched."""
    n_latents = max(code.shape[1] for code in codes)
    together = LatentSpace(
        codes=tuple(_canonical(code, n_latents) for code in codes),
        session_ids=("shared",),
        row_offsets=np.array([0, codes[0].shape[0]]),
    )
    found = activation_match(together, absolute=absolute)
    table = pd.DataFrame(
        {"latent": np.arange(n_latents), "partner": found.partner[0, 1], "similarity": found.similarity[0, 1]}
    )
    here, there = (space.n_latents for space in spaces)
    table = table[(table["latent"] < here) & (table["partner"] < there)]
    alive = [np.bincount(code.indices, minlength=n_latents) > 0 for code in codes]
    return table[alive[0][table["latent"]] & alive[1][table["partner"]]]


def _canonical(code: sparse.csr_array, n_latents: int) -> sparse.csc_array:
    wide = sparse.csr_array((code.data, code.indices, code.indptr), shape=(code.shape[0], n_latents)).tocsc()
    wide.sum_duplicates()
    wide.eliminate_zeros()
    return wide


def _by_weights(one: Side, other: Side, why: DataError) -> Pairing:
    values, units = zip(*(_weights(side, why) for side in (one, other)), strict=True)
    shared = [unit for unit in units[0] if unit in set(units[1])]
    if len(shared) < 2:
        raise DataError(f"{why}; and their decoders point at no two units of the same id")
    a, b = (of_side[:, [ids.index(unit) for unit in shared]] for of_side, ids in zip(values, units, strict=True))
    if a.shape[1:] != b.shape[1:]:
        raise DataError(f"{why}; and their decoders have other lags")
    signed = any(side.reads.space(side.model).code_kind == "signed" for side in (one, other))
    rng = np.random.default_rng(SEED)
    table = _cosines(a, b, absolute=signed)
    moved = [_cosines(a, rng.permuted(b, axis=1), absolute=signed) for _ in range(N_DRAWS)]
    nothing = np.empty(0, dtype=np.int64)
    note = f"Matched on decoder weights to {len(shared)} shared units, since {why}."
    measure = "|cosine|" if signed else "cosine"
    return Pairing(
        table=_with_null(table, moved),
        measure=measure,
        rows=nothing,
        partner_rows=nothing,
        most_by_chance=_largest(moved),
        note=note,
    )


def _weights(side: Side, why: DataError) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    dictionary = side.reads.run.part(side.model).dictionary
    if dictionary is None:
        raise DataError(
            f"{why}; and {side.reads.run.name} ({side.model}) has no decoder weights to compare in their place"
        )
    return dictionary.values[side.instance], dictionary.unit_ids[0]


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32], *, absolute: bool) -> pd.DataFrame:
    found = match_latents(a, b, absolute=absolute)
    return pd.DataFrame({"latent": found.pairs[:, 0], "partner": found.pairs[:, 1], "similarity": found.similarity})


def _largest(moved: list[pd.DataFrame]) -> float:
    return max((float(each["similarity"].max()) for each in moved if len(each)), default=float("nan"))


def _with_null(table: pd.DataFrame, moved: list[pd.DataFrame]) -> pd.DataFrame:
    table = table.sort_values("similarity", ascending=False, kind="stable").reset_index(drop=True)
    ranked = [each["similarity"].sort_values(ascending=False).reset_index(drop=True) for each in moved]
    return table.assign(null=pd.concat(ranked, axis=1).mean(axis=1).reindex(table.index))
