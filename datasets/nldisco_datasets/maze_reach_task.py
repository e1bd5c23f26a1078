"""The task of `maze-reach`: mazes in three versions, trials with their events, and the reach of each trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["FAULTS", "STEP_S", "VERSIONS", "Mazes", "Reach", "draw_mazes", "draw_trials", "reach"]

STEP_S = 0.01
"""Every duration of a trial is a whole number of these (s)."""

VERSIONS = 3
"""Of each maze: one target without barriers, one target with barriers, three targets with barriers."""

FAULTS = ("untyped", "failed", "discarded", "novel", "degenerate", "short", "odd")
"""What a trial that the tutorial's cleaning drops can suffer from."""

FAULTY = 0.075  # share of trials
GAP_S = (0.3, 0.8)  # between trials, not recorded

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Mazes:
    """The conditions, three versions of each maze, numbered from 1 maze by maze.

    Attributes
    ----------
    hit : (n_mazes, 2) int, mm, the target that is reached, the same in all versions
    bow : (n_conditions,) mm, how far the reach bends aside, positive to the left
    targets, barriers : per condition (n_targets, 2) int, mm, and (n_barriers, 4) int: centre, half width and half
        height, mm
    """

    hit: NDArray[np.int64]
    bow: Floats
    targets: tuple[NDArray[np.int64], ...]
    barriers: tuple[NDArray[np.int64], ...]

    @property
    def n_conditions(self) -> int:
        """Three for each maze."""
        return len(self.bow)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reach:
    """Cursor at some moments of some trials.

    Attributes
    ----------
    position : (n_samples, 2) mm, (0, 0) the centre of the screen
    velocity : (n_samples, 2) mm/s
    """

    position: Floats
    velocity: Floats


def draw_mazes(n_mazes: int, rng: np.random.Generator) -> Mazes:
    """Mazes whose hit targets lie all around the centre, 70 to 120 mm away."""
    angle = 2 * np.pi * (np.arange(n_mazes) + rng.uniform(-0.3, 0.3, n_mazes)) / n_mazes
    distance = rng.uniform(70, 120, n_mazes)
    hit = np.rint(distance[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])).astype(np.int64)
    bend = rng.choice([-1.0, 1.0], n_mazes) * rng.uniform(25, 55, n_mazes)
    bow, targets, barriers = [], [], []
    for maze in range(n_mazes):
        n_barriers = int(rng.integers(2, 10))
        placed = _barriers(hit[maze], n_barriers, rng)
        others = [np.rint(hit[maze] @ _turn(2 * np.pi * k / 3 + rng.uniform(-0.3, 0.3))).astype(int) for k in (1, 2)]
        order = rng.permutation(3)
        targets += [hit[[maze]], hit[[maze]], np.array([hit[maze], *others])[order]]
        barriers += [placed[:0], placed, placed]
        bow += [0.1 * bend[maze], bend[maze], 0.9 * bend[maze]]
    return Mazes(hit=hit, bow=np.array(bow), targets=tuple(targets), barriers=tuple(barriers))


def draw_trials(mazes: Mazes, n_trials: int, rng: np.random.Generator) -> pd.DataFrame:
    """One row per trial: its condition, its times and how it is reached.

    Columns: ``condition`` (from 1), ``maze`` (from 0), ``version``, ``fault`` ("" for a sound trial); ``start``,
    ``target_on``, ``go_cue``, ``move_begins``, ``move_ends``, ``stop`` (s); ``end_x``, ``end_y`` (mm), ``bow`` (mm).
    Every condition comes equally often, in random order.
    """
    condition = rng.permutation(np.arange(n_trials) % mazes.n_conditions)
    fault = np.where(rng.random(n_trials) < FAULTY, rng.choice(FAULTS, n_trials), "").astype(object)
    drawn = {
        "before": rng.uniform(0.4, 0.8, n_trials),
        "delay": rng.uniform(0.5, 1.1, n_trials),
        "reaction": 0.24 + rng.gamma(4.0, 0.015, n_trials),
        "movement": np.clip(np.exp(rng.normal(np.log(0.45), 0.25, n_trials)), 0.25, 0.9),
        "after": np.where(fault == "short", rng.uniform(0.02, 0.08, n_trials), rng.uniform(1.3, 1.86, n_trials)),
        "gap": rng.uniform(*GAP_S, n_trials),
    }
    drawn["movement"] = np.where(fault == "short", np.minimum(drawn["movement"], 0.6), drawn["movement"])
    steps = {name: np.rint(length / STEP_S).astype(np.int64) for name, length in drawn.items()}
    length = np.sum([steps[name] for name in drawn if name != "gap"], axis=0)
    start = np.concatenate([[0], np.cumsum(length + steps["gap"])[:-1]])
    parts = ("before", "delay", "reaction", "movement", "after")
    bounds = start[:, None] + np.cumsum(np.column_stack([steps[name] for name in parts]), axis=1)
    names = ("target_on", "go_cue", "move_begins", "move_ends", "stop")
    end = mazes.hit[condition // VERSIONS] + rng.normal(0, 3.0, (n_trials, 2))
    missed = (fault == "odd") | (fault == "failed")
    end = np.where(missed[:, None], end * rng.uniform(0.3, 0.6, (n_trials, 1)), end)
    return pd.DataFrame(
        {
            "condition": condition + 1,
            "maze": condition // VERSIONS,
            "version": condition % VERSIONS,
            "fault": fault,
            "start": start * STEP_S,
            **{name: bounds[:, index] * STEP_S for index, name in enumerate(names)},
            "end_x": end[:, 0],
            "end_y": end[:, 1],
            "bow": mazes.bow[condition] * rng.normal(1.0, 0.1, n_trials),
        }
    )


def reach(trials: pd.DataFrame, trial: NDArray[np.int64], times_s: Floats) -> Reach:
    """Cursor at `times_s` (s) of the rows `trial`: still at the centre, then a bent minimum-jerk reach, then still.

    Along the line to the end point the share ``s = 10 u³ - 15 u⁴ + 6 u⁵`` of the way is done at the share u of the
    movement (Flash & Hogan 1985); aside from it the cursor is ``bow sin(pi s)`` away.
    """
    column = {name: trials[name].to_numpy(dtype=np.float64)[trial] for name in ("move_begins", "move_ends", "bow")}
    end = trials[["end_x", "end_y"]].to_numpy(dtype=np.float64)[trial]
    duration = column["move_ends"] - column["move_begins"]
    u = np.clip((times_s - column["move_begins"]) / duration, 0.0, 1.0)
    s = u**3 * (10 - 15 * u + 6 * u**2)
    rate = 30 * u**2 * (1 - u) ** 2 / duration
    left = np.column_stack([-end[:, 1], end[:, 0]]) / np.linalg.norm(end, axis=1, keepdims=True)
    aside, aside_rate = column["bow"] * np.sin(np.pi * s), column["bow"] * np.pi * np.cos(np.pi * s)
    return Reach(
        position=s[:, None] * end + aside[:, None] * left,
        velocity=rate[:, None] * (end + aside_rate[:, None] * left),
    )


def _barriers(hit: NDArray[np.int64], n_barriers: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n_barriers, 4) the first half way to the target, the others anywhere."""
    centres = rng.integers(-100, 101, (n_barriers, 2))
    centres[0] = hit // 2
    return np.column_stack([centres, rng.integers(4, 30, (n_barriers, 2))])


def _turn(angle: float) -> NDArray[Any]:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
