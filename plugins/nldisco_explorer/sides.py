"""The sides of a comparison: an instance of a model of a run, what links call it, and the bins that two runs share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nldisco_core.errors import DataError
from nldisco_explorer.readings import readings

if TYPE_CHECKING:
    from nldisco_core.latents import LatentSpace
    from nldisco_core.runs import Run
    from nldisco_explorer.readings import Readings

__all__ = ["Side", "name_of", "named_side", "shared_bins"]

LEAST_BINS = 100

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """One instance of one model of a run."""

    reads: Readings
    model: str
    instance: int

    @property
    def space(self) -> LatentSpace:
        """Its activations."""
        return self.reads.space(self.model)

    @property
    def is_signed(self) -> bool:
        """Whether its latents have no sign of their own."""
        return self.space.code_kind == "signed"


def name_of(side: Side) -> str:
    """What a link calls a side: ``RUN/MODEL/INSTANCE``."""
    return f"{side.reads.run.name}/{side.model}/{side.instance}"


def named_side(name: str | None, one: Side, runs: Mapping[str, Run]) -> Side | None:
    """The side of that name, None where it cannot stand beside `one`: it is not there, or is `one` itself.

    Parameters
    ----------
    name : ``RUN/MODEL/INSTANCE``. What older links say is understood: ``RUN`` for the first instance of its model,
        ``model:NAME`` and ``instance:NUMBER`` for another model of the same run and another instance of the same model
    runs : runs on offer
    """
    kind, _, rest = (name or "").partition(":")
    run, *parts = (name or "").split("/")
    if kind == "model":
        found = _side(one.reads, rest, one.instance, clipped=True)
    elif kind == "instance":
        found = _side(one.reads, one.model, rest)
    elif len(parts) in (0, 2) and (run in runs or run == one.reads.run.name):
        reads = one.reads if run == one.reads.run.name else readings(runs[run])
        found = _side(reads, *(parts or ("model", "0"))) if parts or reads is not one.reads else None
    else:
        return None
    return None if found is None or name_of(found) == name_of(one) else found


def _side(reads: Readings, model: str, instance: str | int, *, clipped: bool = False) -> Side | None:
    if model not in reads.models or not (str(instance).isascii() and str(instance).isdigit()):
        return None
    last = reads.space(model).n_instances - 1
    index = min(int(instance), last) if clipped else int(instance)
    return Side(reads, model, index) if index <= last else None


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
