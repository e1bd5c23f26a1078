"""Which trials of MC_Maze are analysed, and how many each step of the cleaning drops."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording
from nldisco_nwb.maze_config import CleaningConfig
from nldisco_nwb.maze_trials import VERSIONS

__all__ = ["clean"]

_FLAGS = ("trial_type", "novel_maze", "discard_trial", "task_success", "is_valid", "correct_reach")


def clean(frame: pd.DataFrame, config: CleaningConfig) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Mask of the trials that are kept, and a sentence for each step that drops any.

    Each step counts what the ones before have left.

    Raises
    ------
    InvalidRecording
        No trial is left.
    """
    kept = np.ones(len(frame), dtype=bool)
    said = []
    for step, reason, sound in _steps(frame, config):
        dropped = np.count_nonzero(kept & ~sound)
        kept &= sound
        if dropped:
            said.append(f"cleaning step {step!r} dropped {dropped} trials ({reason})")
    if not kept.any():
        raise InvalidRecording(
            f"no trial is left of {len(frame)}: {'; '.join(said)}; leave a step out, as in dataset.cleaning.valid=false"
        )
    if said:
        said.append(f"cleaning kept {np.count_nonzero(kept)} of {len(frame)} trials")
    return kept, tuple(said)


def _steps(frame: pd.DataFrame, config: CleaningConfig) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    flag = {name: frame[name].to_numpy() for name in (*_FLAGS, "trial_version") if name in frame}
    if config.typed and "trial_type" in flag and "maze_id" not in frame:  # the benchmark's type is a number of a maze
        yield "typed", "trial_type is 0", flag["trial_type"] > 0
    if config.valid:
        fine = [flag["discard_trial"] == 0] if "discard_trial" in flag else []
        fine += [flag[name] == 1 for name in ("task_success", "is_valid") if name in flag]
        if fine:
            yield "valid", "discarded, without success, or marked as not valid", np.logical_and.reduce(fine)
    if config.familiar and "novel_maze" in flag:
        yield "familiar", "novel maze", flag["novel_maze"] == 0
    if config.regular and "trial_version" in flag:
        yield "regular", f"trial_version is {VERSIONS} or more", flag["trial_version"] < VERSIONS
    if config.min_after_onset_s is not None and "move_begins_s" in frame:
        after_s = (frame["stop_s"] - frame["move_begins_s"]).to_numpy(dtype=np.float64)
        reason = f"ends less than {config.min_after_onset_s:g} s after the movement begins, or has none"
        yield "min_after_onset_s", reason, after_s >= config.min_after_onset_s - 1e-9
    if config.correct and "correct_reach" in flag:
        yield "correct", "reach unlike the others of its condition", flag["correct_reach"] == 1
