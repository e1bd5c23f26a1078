"""From one file of MC_Maze to a session: one clock, clean trials, conditions numbered alike, everything aligned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.session import IntervalTable, Session
from nldisco_nwb.clock import Clock, find_clock, overlapping
from nldisco_nwb.maze_cleaning import clean
from nldisco_nwb.maze_config import CleaningConfig
from nldisco_nwb.maze_file import MazeFile
from nldisco_nwb.maze_signals import MazeSignals
from nldisco_nwb.maze_spikes import mended_observed, mended_spikes
from nldisco_nwb.maze_trials import EVENTS, VERSIONS, MazeTrials
from nldisco_nwb.trains import spike_bounds

__all__ = ["Prepared", "maze_session", "prepare"]

_UNITS = {
    "hit_position_x": "mm",
    "hit_position_y": "mm",
    "hit_position_angle": "deg",
    "delay_s": "s",
    "reaction_s": "s",
}
_FLAGS = ("trial_type", "novel_maze", "discard_trial", "task_success", "is_valid", "correct_reach")


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """Trials on one clock after cleaning.

    Attributes
    ----------
    trials : those that are kept, in the order of time
    clock : of the file
    all_s : (n_recorded, 2) s, start and stop of all trials in the order of the file, on the mended clock
    notes : what was mended and dropped
    """

    trials: MazeTrials
    clock: Clock
    all_s: NDArray[np.float64]
    notes: tuple[str, ...]


def prepare(trials: MazeTrials, cleaning: CleaningConfig) -> Prepared:
    """Mend the clock of the trials, drop overlapping ones, and clean."""
    clock = find_clock(_bounds(trials.frame))
    notes = []
    if clock.n_blocks > 1:
        notes.append(f"the clock starts anew {clock.n_blocks - 1} times; the parts are laid end to end, 1 s apart")
        times = [name for name in ("start_s", "stop_s", *EVENTS) if name in trials.frame]
        shifted = trials.frame[times].add(clock.shift_s[clock.block_of_trial], axis=0)
        trials = MazeTrials(
            frame=trials.frame.assign(**shifted), targets=trials.targets, barriers=trials.barriers, notes=trials.notes
        )
    all_s = _bounds(trials.frame)
    both = overlapping(all_s)
    if both.any():
        notes.append(f"{np.count_nonzero(both)} trials overlap in time; dropped")
        trials = trials.rows(~both)
    kept, said = clean(trials.frame, cleaning)
    return Prepared(trials=trials.rows(kept), clock=clock, all_s=all_s, notes=(*notes, *said))


def maze_session(
    session_id: str,
    file: MazeFile,
    prepared: Prepared,
    numbers: Mapping[int, int],
    *,
    subject: str,
    start: datetime | None,
    notes: tuple[str, ...] = (),
) -> Session:
    """The session; spikes and signals are read when asked for.

    Parameters
    ----------
    numbers : common number of each maze condition of the file
    subject : stands before the ids of the units, since other animals have units of the same numbers
    notes : further sentences for `Session.warnings`
    """
    trains, kept = mended_spikes(file, prepared.clock)
    observed = mended_observed(file, prepared.clock, prepared.all_s)
    known = np.concatenate([prepared.all_s.ravel(), spike_bounds(trains)])
    span_s = float(known.min()), float(known.max())
    frame, said = _columns(prepared.trials.frame, numbers)
    if not kept.all():
        said.append(f"{np.count_nonzero(~kept)} units whose spike times do not fit the parts of the clock; dropped")
    circular = {"hit_position_angle": 360.0} if "hit_position_angle" in frame else {}
    table = IntervalTable(
        frame,
        events=tuple(name for name in EVENTS if name in frame),
        periods=circular,
        physical_units={name: unit for name, unit in _UNITS.items() if name in frame},
    )
    units = file.units[kept].assign(id=[f"{subject}-{unit}" for unit in file.units["id"][kept]])
    return Session(
        session_id=session_id,
        span_s=span_s,
        subject=subject,
        start=start,
        units=units,
        spike_times=trains,
        observed_s=None if observed is None else tuple(rows for rows, own in zip(observed, kept, strict=True) if own),
        intervals={"trials": table},
        signals=MazeSignals(file.path, file.positions, prepared.clock, span_s),
        warnings=(*file.notes, *prepared.notes, *notes, *said),
    )


def _bounds(frame: pd.DataFrame) -> NDArray[np.float64]:
    return np.asarray(frame[["start_s", "stop_s"]], dtype=np.float64)


def _columns(frame: pd.DataFrame, numbers: Mapping[int, int]) -> tuple[pd.DataFrame, list[str]]:
    """Columns of the session's trial table: events inside their trials, conditions by their common numbers, angles."""
    said: list[str] = []
    added: dict[str, object] = {}
    for name in [event for event in EVENTS if event in frame]:
        outside = frame[name].notna() & ~frame[name].between(frame["start_s"], frame["stop_s"])
        if outside.any():
            said.append(f"trials: {outside.sum()} times of {name} lie outside their trial; set to NaN")
        added[name] = frame[name].mask(outside)
    if numbers:
        common = frame["maze_condition"].map(dict(numbers))
        if not common.equals(frame["maze_condition"]):
            said.append("maze conditions are numbered as in the first session that has them; see condition_in_file")
            added["condition_in_file"] = pd.Categorical(frame["maze_condition"])
        added["maze_condition"] = pd.Categorical(common)
        added["maze"] = pd.Categorical((common - 1) // VERSIONS + 1)
    if "hit_position_x" in frame:
        angle = np.degrees(np.arctan2(frame["hit_position_y"], frame["hit_position_x"]))
        added["hit_position_angle"] = angle % 360.0
    frame = frame.assign(**added)
    frame = frame.assign(**dict(_latencies(frame)))
    constant = [name for name in _FLAGS if name in frame and frame[name].nunique() < 2]
    return frame.drop(columns=constant), said


def _latencies(frame: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    for name, before, after in (
        ("delay_s", "target_on_s", "go_cue_s"),
        ("reaction_s", "go_cue_s", "move_begins_s"),
    ):
        if before in frame and after in frame:
            yield name, frame[after] - frame[before]
