"""One numbering of the maze conditions for all sessions: the same maze has the same number everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from nldisco_nwb.maze_trials import VERSIONS, MazeTrials

__all__ = ["Numbering", "number_conditions"]

Signature = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Numbering:
    """Numbers that mean the same in every session.

    Attributes
    ----------
    number : per session the common number of each number in its file
    notes : per session what did not come out as it should
    """

    number: Mapping[str, Mapping[int, int]]
    notes: Mapping[str, tuple[str, ...]]


def number_conditions(sessions: Mapping[str, MazeTrials]) -> Numbering:
    """Number the conditions of cleaned sessions alike.

    The conditions 3 g + 1 to 3 g + 3 of a file are the versions of one maze. Mazes of two sessions are the same where
    barriers, targets and hit position of all their versions agree. The first session keeps its numbers; further mazes
    take those that follow.

    Parameters
    ----------
    sessions : cleaned trials by session, in the order in which they are numbered
    """
    maze_number: dict[tuple[Signature, int], int] = {}
    number: dict[str, Mapping[int, int]] = {}
    notes: dict[str, tuple[str, ...]] = {}
    taken: set[int] = set()
    for session, trials in sessions.items():
        if "maze_condition" not in trials.frame:
            number[session], notes[session] = {}, ()
            continue
        signatures, notes[session] = _signatures(trials)
        own: dict[int, int] = {}
        seen: list[Signature] = []
        for group in sorted({(condition - 1) // VERSIONS for condition in signatures}):
            versions = range(VERSIONS * group + 1, VERSIONS * group + VERSIONS + 1)
            signature = tuple(signatures.get(condition) for condition in versions)
            key = (signature, seen.count(signature))  # two mazes of one session that look alike stay two
            seen.append(signature)
            if key not in maze_number:
                free = group if group not in taken else max(taken) + 1
                maze_number[key] = free
                taken.add(free)
            own.update({c: VERSIONS * maze_number[key] + c - VERSIONS * group for c in versions if c in signatures})
        number[session] = MappingProxyType(own)
    return Numbering(number=number, notes=notes)


def _signatures(trials: MazeTrials) -> tuple[dict[int, Signature], tuple[str, ...]]:
    """Signature of each condition: that of most of its trials."""
    conditions = trials.frame["maze_condition"].to_numpy(dtype=np.int64)
    of_trial = _of_trials(trials)
    signatures: dict[int, Signature] = {}
    odd = 0
    for condition in np.unique(conditions).tolist():
        found = [of_trial[row] for row in np.flatnonzero(conditions == condition)]
        common = max(dict.fromkeys(found), key=found.count)
        odd += len(found) - found.count(common)
        signatures[condition] = common
    notes = []
    if odd:
        notes.append(f"{odd} trials have other barriers or targets than most trials of their condition")
    missing = sorted(set(range(1, max(signatures) + 1)) - set(signatures)) if signatures else []
    if missing:
        listed = ", ".join(map(str, missing[:8])) + (", …" if len(missing) > 8 else "")
        notes.append(f"conditions {listed} have no trial left; expected 1 to {max(signatures)} without holes")
    return signatures, tuple(notes)


def _of_trials(trials: MazeTrials) -> list[Signature]:
    """Targets, barriers and hit position of each trial, in an order that does not depend on how the file lists them."""
    nothing = [np.empty((0, 2))] * len(trials.frame)
    known = "hit_position_x" in trials.frame
    hit = trials.frame[["hit_position_x", "hit_position_y"]].to_numpy() if known else np.empty((len(nothing), 0))
    signature_of: dict[tuple[bytes, bytes, bytes], Signature] = {}
    signatures = []
    for targets, barriers, place in zip(trials.targets or nothing, trials.barriers or nothing, hit, strict=True):
        key = targets.tobytes(), barriers.tobytes(), place.tobytes()
        if key not in signature_of:
            rows = (tuple(sorted(map(tuple, each.tolist()))) for each in (targets, barriers))
            signature_of[key] = (*rows, tuple(place.tolist()))
        signatures.append(signature_of[key])
    return signatures
