"""Latents of one model matched with those of another, of one run or of two: on shared bins, else on shared units."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from nldisco_core.autocorrelation import effective_shifts
from nldisco_core.errors import DataError
from nldisco_core.nulls import p_values
from nldisco_explorer.likeness import Activations, Likeness, Weights, codes_at
from nldisco_explorer.sides import LEAST_BINS, Side, shared_bins

if TYPE_CHECKING:
    from nldisco_core.latents import LatentSpace
    from nldisco_explorer.readings import Readings

__all__ = ["N_DRAWS", "Matching", "Pairing", "matching", "pairing"]

N_DRAWS = 20
"""Matchings by chance: the fewest for which a pair beyond all of them has a p below .05, 1 / 21."""

SEED = 0
LEAST_SHIFTS = 20
"""Independent shifts in time below which no p is given."""

N_TRACES = 16
"""Matched latents from whose traces independent shifts are counted."""

MOST_ENTRIES = 32_000_000
"""Activations other than zero, of one side, from which bins are left out, evenly spaced ones being kept."""

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairing:
    """Latents of one side and their partners on the other.

    Attributes
    ----------
    table : one row per pair, most alike first: ``latent``, ``partner``, ``similarity``; ``null``, the mean similarity
        of the pair of the same rank when one side was made unrelated; ``p``, the share of matchings by chance, the one
        found counted among them, whose most alike pair was at least as alike. That is a p over all pairs together
        (single-step maximum; Westfall & Young, Resampling-Based Multiple Testing, 1993). NaN until all draws are made,
        and where the bins allow too few independent shifts
    measure : ``r`` or ``|r|`` of activations, ``cosine`` or ``|cosine|`` of decoder weights
    unrelated : how one side was made unrelated, in words
    rows, partner_rows : (n_shared,) bins of either side that are the same bin and of which both models speak, empty
        where weights were compared
    n_bins : bins that activations were compared over: those of the split
    every : each so manieth of the split's bins was used
    most_by_chance : (n_draws,) similarity of the most alike pair of each matching by chance made so far
    shifts : independent shifts that the bins allow, infinite where weights were compared
    note : what else a reader has to know
    """

    table: pd.DataFrame
    measure: str
    unrelated: str
    rows: Rows
    partner_rows: Rows
    n_bins: int = 0
    every: int = 1
    most_by_chance: Floats = field(default_factory=lambda: np.empty(0))
    shifts: float = math.inf
    note: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether all matchings by chance are made."""
        return len(self.most_by_chance) == N_DRAWS

    def partner_of(self, latent: int | None) -> tuple[int, float, float, float] | None:
        """Partner, similarity, null and p of a latent; None where it has no partner."""
        found = self.table[self.table["latent"] == latent]
        return None if not len(found) else tuple(found[["partner", "similarity", "null", "p"]].iloc[0])


_kept: WeakKeyDictionary[Readings, dict[tuple[object, ...], Matching]] = WeakKeyDictionary()


def matching(one: Side, other: Side, split: str) -> Matching:
    """The matching of two sides over the bins of a split (of the first), the same for all who look at it."""
    theirs = other.reads.run.folder, other.reads.cache.stamp, other.model, other.instance
    made = _kept.setdefault(one.reads, {})
    return made.setdefault((one.model, one.instance, split, *theirs), Matching(one, other, split))


def pairing(one: Side, other: Side, split: str = "all") -> Pairing:
    """The pairs of two sides with all matchings by chance.

    Raises
    ------
    DataError
        Neither bins nor units can be compared; the message says why.
    """
    *_, last = Matching(one, other, split).steps()
    return last


class Matching:
    """Best one-to-one assignment between the latents of two sides, and then the same by chance, draw after draw.

    On the correlation of activations over the bins of the split that both runs have; where they have none, on the
    cosine of decoder weights if both models have some, to the same units. Latents that do not vary there have no
    partner. Threads that go through its steps at once share the work.
    """

    def __init__(self, one: Side, other: Side, split: str) -> None:
        self._one, self._other, self._split = one, other, split
        self._lock, self._rng = Lock(), np.random.default_rng(SEED)
        self._likeness: Likeness | None = None
        self._drawn: list[Floats] = []
        self.found: Pairing | None = None

    def steps(self) -> Iterator[Pairing]:
        """What is found by now, then once more after every draw, as long as there are more to make.

        Raises
        ------
        DataError
            Neither bins nor units can be compared; the message says why.
        """
        with self._lock:
            found = self.found = self.found or self._paired()
        yield found
        while not found.is_whole:
            with self._lock:
                found = self.found = self._drawn_once_more(self.found)
            yield found

    def _paired(self) -> Pairing:
        try:
            rows, partner_rows = shared_bins(self._one.reads, self._other.reads)
        except DataError as why:
            return self._by_weights(why)
        spoken = self._one.reads.defined(self._one.model)[rows]
        spoken = spoken & self._other.reads.defined(self._other.model)[partner_rows]
        return self._by_activations(rows[spoken], partner_rows[spoken])

    def _by_activations(self, rows: Rows, partner_rows: Rows) -> Pairing:
        inside = np.flatnonzero(self._one.reads.split_mask(self._split)[rows])
        if len(inside) < LEAST_BINS:
            of = "" if self._split == "all" else f" of the {self._split} split"
            raise DataError(f"both models speak of only {len(inside)} bins{of} that the runs share")
        every = max(math.ceil(_share_active(side.space) * len(inside) / MOST_ENTRIES) for side in self._sides)
        used = inside[::every]
        codes = codes_at(self._one.space, self._one.instance, rows[used])
        theirs = codes_at(self._other.space, self._other.instance, partner_rows[used])
        session = self._one.reads.run.counts.session_of_bin[rows[used]]
        starts = np.concatenate([[0], np.flatnonzero(np.diff(session)) + 1, [len(used)]])
        trained_on = float(self._other.reads.split_mask("train")[partner_rows[used]].mean())
        known = trained_on > 0 and self._split in ("validation", "test")
        signed = self._one.is_signed or self._other.is_signed
        self._likeness = Activations((codes, theirs), starts, absolute=signed)
        table = _pairs(self._likeness)
        first = table["latent"].to_numpy()[:N_TRACES]
        traces = codes[:, first]
        traces = traces if isinstance(traces, np.ndarray) else traces.toarray()
        return Pairing(
            table=table,
            measure="|r|" if signed else "r",
            unrelated=self._likeness.unrelated,
            rows=rows,
            partner_rows=partner_rows,
            n_bins=len(used),
            every=every,
            shifts=effective_shifts(traces),
            note=f"{trained_on:.0%} of these bins were in the other run's training split." if known else "",
        )

    def _by_weights(self, why: DataError) -> Pairing:
        values, units = zip(*(_weights(side, why) for side in self._sides), strict=True)
        shared = [unit for unit in units[0] if unit in set(units[1])]
        if len(shared) < 2:
            raise DataError(f"{why}; and their decoders point at no two units of the same id")
        a, b = (of_side[:, [ids.index(unit) for unit in shared]] for of_side, ids in zip(values, units, strict=True))
        if a.shape[1:] != b.shape[1:]:
            raise DataError(f"{why}; and their decoders have other lags")
        signed = self._one.is_signed or self._other.is_signed
        self._likeness = Weights((a, b), absolute=signed)
        nothing = np.empty(0, dtype=np.int64)
        return Pairing(
            table=_pairs(self._likeness),
            measure="|cosine|" if signed else "cosine",
            unrelated=self._likeness.unrelated,
            rows=nothing,
            partner_rows=nothing,
            note=f"Matched on decoder weights to {len(shared)} shared units, since {why}.",
        )

    @property
    def _sides(self) -> tuple[Side, Side]:
        return self._one, self._other

    def _drawn_once_more(self, found: Pairing | None) -> Pairing:
        assert found is not None
        if found.is_whole or self._likeness is None:
            return found
        _, similarity = _assigned(self._likeness.by_chance(self._rng))
        self._drawn.append(np.sort(similarity)[::-1])
        drawn = np.stack(self._drawn)
        most = drawn[:, 0] if drawn.size else np.zeros(len(drawn))
        table = found.table.assign(null=drawn.mean(axis=0))
        if len(drawn) == N_DRAWS:
            self._likeness = None  # it holds the activations of both sides
            if found.shifts >= LEAST_SHIFTS:
                by_chance = np.broadcast_to(most[:, None], drawn.shape)
                table["p"] = p_values(table["similarity"].to_numpy(), by_chance)
        return replace(found, table=table, most_by_chance=most)


def _share_active(space: LatentSpace) -> float:
    """Activations other than zero of a bin, of the fullest instance."""
    if not space.is_sparse:
        return float(space.n_latents)
    return max(code.nnz for code in space.codes) / max(space.n_rows, 1)


def _weights(side: Side, why: DataError) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    dictionary = side.reads.run.part(side.model).dictionary
    if dictionary is None:
        raise DataError(
            f"{why}; and {side.reads.run.name} ({side.model}) has no decoder weights to compare in their place"
        )
    return dictionary.values[side.instance], dictionary.unit_ids[0]


def _pairs(likeness: Likeness) -> pd.DataFrame:
    """Rows of `Pairing.table` before anything was drawn."""
    (latent, partner), similarity = _assigned(likeness.similarity())
    table = {"latent": likeness.alive[0][latent], "partner": likeness.alive[1][partner], "similarity": similarity}
    found = pd.DataFrame(table).sort_values("similarity", ascending=False, kind="stable", ignore_index=True)
    return found.assign(null=np.nan, p=np.nan)


def _assigned(similarity: Floats) -> tuple[tuple[Rows, Rows], Floats]:
    """Hungarian assignment (Kuhn 1955), and how alike its pairs are."""
    pairs = linear_sum_assignment(similarity, maximize=True)
    return pairs, similarity[pairs]
