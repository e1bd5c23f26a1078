"""Trials of MC_Maze under common names, from the columns of three layouts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording
from nldisco_nwb.columns import column, ragged, texts_of

__all__ = ["EVENTS", "VERSIONS", "MazeTrials", "read_trials"]

VERSIONS = 3
"""Of each maze: without barriers, with barriers, with barriers and three targets."""

EVENTS = ("target_on_s", "go_cue_s", "move_begins_s", "move_ends_s")

_NAMES = {
    "start_s": ("start_time", "start"),
    "stop_s": ("stop_time", "end"),
    "target_on_s": ("target_presentation_time", "target_on_time"),
    "go_cue_s": ("go_cue_time",),
    "move_begins_s": ("move_begins_time", "move_onset_time"),
    "move_ends_s": ("move_ends_time",),
    "maze_condition": ("maze_condition",),
    "maze_id": ("maze_id",),
    "trial_version": ("trial_version",),
    "num_targets": ("maze_num_targets", "num_targets"),
    "num_barriers": ("maze_num_barriers", "num_barriers"),
    "trial_type": ("trial_type",),
    "novel_maze": ("novel_maze",),
    "discard_trial": ("discard_trial",),
    "task_success": ("task_success", "success"),
    "is_valid": ("is_valid",),
    "correct_reach": ("correct_reach",),
    "split": ("split", "split_indicator"),
}

Rows = tuple[NDArray[Any], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class MazeTrials:
    """Trials in the order of the file.

    Attributes
    ----------
    frame : ``start_s``, ``stop_s``, events (see `EVENTS`), ``hit_position_x``, ``hit_position_y`` (mm) and the other
        columns that the file has, on the file's clock
    targets, barriers : per trial (n_targets, 2) and (n_barriers, 4) mm; None where the file does not say
    notes : what had to be made of the columns
    """

    frame: pd.DataFrame
    targets: Rows | None
    barriers: Rows | None
    notes: tuple[str, ...] = ()

    def rows(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> MazeTrials:
        """Only the trials of a mask, or those of an order."""
        chosen = np.arange(len(self.frame))[kept]
        return replace(
            self,
            frame=self.frame.iloc[chosen].reset_index(drop=True),
            targets=None if self.targets is None else tuple(self.targets[row] for row in chosen),
            barriers=None if self.barriers is None else tuple(self.barriers[row] for row in chosen),
        )


def read_trials(table: h5py.Group) -> MazeTrials:
    """The trial table of an NWB file or of a brainsets file.

    Raises
    ------
    InvalidRecording
        No trials, no times of their starts and stops, or columns of different lengths.
    """
    notes: list[str] = []
    frame = pd.DataFrame(_plain(table))
    missing = [name for name in ("start_s", "stop_s") if name not in frame]
    if missing or frame.empty:
        raise InvalidRecording(
            f"trials: {', '.join(missing) or 'no rows'} missing; expected a table with start and stop"
        )
    bounds = frame[["start_s", "stop_s"]].to_numpy(dtype=np.float64)
    sound = np.isfinite(bounds).all(axis=1) & (bounds[:, 1] > bounds[:, 0])
    targets, barriers = (
        _several(table, names, width, notes)
        for names, width in ((("target_positions", "target_pos"), 2), (("barrier_info", "barrier_pos"), 4))
    )
    for name, rows in (("targets", targets), ("barriers", barriers)):
        if rows is not None and len(rows) != len(frame):
            raise InvalidRecording(f"trials: {name} of {len(rows)} trials for {len(frame)}; expected as many")
    frame = _with_hit(frame, table, targets)
    if "maze_condition" not in frame and {"maze_id", "trial_version"} <= set(frame.columns):
        maze = np.unique(frame["maze_id"].to_numpy(), return_inverse=True)[1]
        frame["maze_condition"] = VERSIONS * maze + frame["trial_version"].to_numpy(dtype=np.int64) + 1
    trials = MazeTrials(frame=frame, targets=targets, barriers=barriers)
    if not sound.all():
        notes.append(
            f"trials: {np.count_nonzero(~sound)} of {len(frame)} without a finite start before a stop; dropped"
        )
        trials = trials.rows(sound)
        if trials.frame.empty:
            raise InvalidRecording("trials: none has a finite start before a finite stop; nothing to analyse")
    return replace(trials, notes=tuple(notes))


def _plain(table: h5py.Group) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {}
    length = None
    for name, sources in _NAMES.items():
        source = next((source for source in sources if source in table), None)
        if source is None:
            continue
        as_time = name.endswith("_s")
        values = texts_of(table, source) if name == "split" else column(table, source, kind="f" if as_time else "biuf")
        length = len(values) if length is None else length
        if len(values) != length:
            raise InvalidRecording(f"trials: {source} has {len(values)} rows, others have {length}; expected as many")
        columns[name] = values.astype(np.float64) if as_time else _whole(values)
    return columns


def _whole(values: NDArray[Any]) -> NDArray[Any]:
    """Truth values and whole numbers as integers that can be counted with."""
    if values.dtype.kind in "biu":
        return values.astype(np.int64)
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.rint(values)).all():
        return values.astype(np.int64)
    return values


def _several(table: h5py.Group, names: tuple[str, ...], width: int, notes: list[str]) -> Rows | None:
    name = next((name for name in names if name in table and f"{name}_index" in table), None)
    if name is None:
        return None
    if table[name].dtype.kind == "u":
        notes.append(f"trials: {name} is stored without sign ({table[name].dtype}) and read with it")
    return ragged(table, name, width, convert=_signed)


def _signed(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers stored without sign as what they were before: 246 in one byte is -10."""
    return values.view(f"i{values.dtype.itemsize}") if values.dtype.kind == "u" else values


def _with_hit(frame: pd.DataFrame, table: h5py.Group, targets: Rows | None) -> pd.DataFrame:
    """Add the position of the target that is to be hit, where the file tells it."""
    hit: NDArray[Any] | None = None
    if "hit_target_position" in table:
        hit = np.asarray(table["hit_target_position"][:], dtype=np.float64)
        if hit.shape != (len(frame), 2):
            raise InvalidRecording(f"trials: hit_target_position has shape {hit.shape}; expected ({len(frame)}, 2)")
    elif "active_target" in table and targets is not None:
        active = column(table, "active_target", kind="iuf").astype(np.int64)
        known = [0 <= index < len(rows) for index, rows in zip(active, targets, strict=True)]
        rows = [rows[index] if ok else (np.nan, np.nan) for index, rows, ok in zip(active, targets, known, strict=True)]
        hit = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return frame if hit is None else frame.assign(hit_position_x=hit[:, 0], hit_position_y=hit[:, 1])
