"""The population of `maze-reach`: features of the task, the units they drive, and their spikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.recovery import FeatureTruth
from nldisco_datasets.maze_reach_task import STEP_S, reach

__all__ = ["Population", "draw_population", "feature_table", "feature_truth", "spike_trains", "steps_of"]

N_SECTORS = 8
PHASES = ("baseline", "delay", "reaction", "movement", "hold")
FAST_MM_S, FAST_WIDTH_MM_S = 550.0, 40.0
FULL_SPEED_MM_S = 800.0
MOVING_MM_S = 150.0
SECTOR_SHARPNESS = np.log(2) / (1 - np.cos(np.pi / N_SECTORS))  # half of the maximum midway between two sectors
UNITS_PER_FEATURE = 0.12  # share of the units
STRENGTH_HZ = (8.0, 20.0)
BASELINE_HZ = (1.0, 6.0)
GAIN_SD = 0.15
M1_LIKES = {"phase": 0.5, "direction": 0.8, "direction-fast": 0.8, "speed": 0.8, "target": 0.25, "maze": 0.25}
UNITS_AT_ONCE = 16

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """What each unit is driven by.

    Attributes
    ----------
    region : (n_units,) ``PMd`` for the first half, ``M1`` for the second
    baseline_hz : (n_units,) rate without any feature
    mixing_hz : (n_features, n_units) what each feature adds at its strongest
    gain : (n_trials,) common factor of all rates in each trial
    """

    region: tuple[str, ...]
    baseline_hz: Floats
    mixing_hz: Floats
    gain: Floats


def feature_table(n_mazes: int) -> pd.DataFrame:
    """Name, kind and parent of each feature.

    Five phases of the trial; the direction of the movement in eight sectors, and the same only while it is fast; the
    speed; the direction of the hit target in eight sectors, from target on to the end of the movement; every third maze
    over the same time.
    """
    degrees = [f"{360 * k // N_SECTORS:03d}" for k in range(N_SECTORS)]
    rows = [
        *((phase, "phase", "") for phase in PHASES),
        *((f"direction-{angle}", "direction", "movement") for angle in degrees),
        *((f"direction-{angle}-fast", "direction-fast", f"direction-{angle}") for angle in degrees),
        ("speed", "speed", "movement"),
        *((f"target-{angle}", "target", "") for angle in degrees),
        *((f"maze-{maze + 1:02d}", "maze", "") for maze in range(0, n_mazes, 3)),
    ]
    return pd.DataFrame(rows, columns=["name", "kind", "parent"])


def draw_population(features: pd.DataFrame, n_units: int, n_trials: int, rng: np.random.Generator) -> Population:
    """Units with overlapping features: each feature drives an eighth of them, movement rather in M1, plans in PMd."""
    region = np.where(np.arange(n_units) < n_units // 2, "PMd", "M1")
    driven = max(1, round(UNITS_PER_FEATURE * n_units))
    mixing = np.zeros((len(features), n_units))
    for row, kind in zip(mixing, features["kind"], strict=True):
        odds = np.where(region == "M1", M1_LIKES[kind], 1 - M1_LIKES[kind])
        row[rng.choice(n_units, driven, replace=False, p=odds / odds.sum())] = rng.uniform(*STRENGTH_HZ, driven)
    return Population(
        region=tuple(region.tolist()),
        baseline_hz=rng.uniform(*BASELINE_HZ, n_units),
        mixing_hz=mixing,
        gain=np.exp(rng.normal(0, GAIN_SD, n_trials) - GAIN_SD**2 / 2),
    )


def steps_of(trials: pd.DataFrame) -> tuple[NDArray[np.int64], Floats]:
    """(n_steps,) trial and start (s) of each step of `STEP_S` inside the trials."""
    start, stop = trials["start"].to_numpy(), trials["stop"].to_numpy()
    n_steps = np.rint((stop - start) / STEP_S).astype(np.int64)
    trial = np.repeat(np.arange(len(trials)), n_steps)
    within = np.arange(n_steps.sum()) - np.repeat(np.cumsum(n_steps) - n_steps, n_steps)
    return trial, np.rint(start[trial] / STEP_S + within) * STEP_S


def feature_truth(trials: pd.DataFrame, mixing_hz: Floats, n_mazes: int) -> FeatureTruth:
    """Every feature at the centre of every step inside the trials, and what it adds to each unit (Hz)."""
    trial, start_s = steps_of(trials)
    times_s = start_s + STEP_S / 2
    features = feature_table(n_mazes)
    return FeatureTruth(
        features=features,
        times_s=times_s,
        activity=_activity(trials, trial, times_s, len(features), n_mazes),
        mixing=mixing_hz,
    )


def spike_trains(
    trials: pd.DataFrame, truth: FeatureTruth, population: Population, rng: np.random.Generator
) -> list[Floats]:
    """Poisson spike times (s) of each unit inside the trials, of rate gain x (baseline + features x mixing).

    The rate is constant over a step: as many spikes as the expected total tells are spread evenly over the integral of
    the rate and put where it reaches their value.
    """
    trial, start_s = steps_of(trials)
    gain = population.gain[trial]
    trains = []
    for first in range(0, truth.mixing.shape[1], UNITS_AT_ONCE):
        units = slice(first, first + UNITS_AT_ONCE)
        added = truth.activity @ truth.mixing[:, units].astype(np.float32)
        for own, baseline in zip(added.T, population.baseline_hz[units], strict=True):
            trains.append(_spikes((own + baseline) * gain, start_s, rng))
    return trains


def _spikes(rate_hz: Floats, start_s: Floats, rng: np.random.Generator) -> Floats:
    reached = np.cumsum(rate_hz * STEP_S)
    drawn = np.sort(rng.random(rng.poisson(reached[-1]))) * reached[-1]
    step = np.searchsorted(reached, drawn, side="right")
    before = reached[step] - rate_hz[step] * STEP_S
    return np.asarray(start_s[step] + np.clip((drawn - before) / rate_hz[step], 0, STEP_S * (1 - 1e-9)))


def _activity(
    trials: pd.DataFrame, trial: NDArray[np.int64], times_s: Floats, n_features: int, n_mazes: int
) -> NDArray[np.float32]:
    """(n_samples, n_features) from 0 to 1, in the order of `feature_table`."""
    activity = np.empty((len(times_s), n_features), dtype=np.float32)
    column = {name: trials[name].to_numpy()[trial] for name in trials.columns if name not in ("fault", "version")}
    bounds = np.column_stack([column[name] for name in ("target_on", "go_cue", "move_begins", "move_ends")])
    phase = (times_s[:, None] >= bounds).sum(axis=1)
    activity[:, : len(PHASES)] = phase[:, None] == np.arange(len(PHASES))
    velocity = reach(trials, trial, times_s).velocity
    speed = np.linalg.norm(velocity, axis=1)
    sectors = _sectors(np.arctan2(velocity[:, 1], velocity[:, 0])) * np.minimum(speed / MOVING_MM_S, 1)[:, None]
    fast = 1 / (1 + np.exp(-(speed - FAST_MM_S) / FAST_WIDTH_MM_S))
    planned = (phase >= 1) & (phase <= 3)
    target = _sectors(np.arctan2(column["end_y"], column["end_x"])) * planned[:, None]
    maze = (column["maze"][:, None] == np.arange(0, n_mazes, 3)) & planned[:, None]
    speed_feature = np.minimum(speed / FULL_SPEED_MM_S, 1)[:, None]
    activity[:, len(PHASES) :] = np.hstack([sectors, sectors * fast[:, None], speed_feature, target, maze])
    return activity


def _sectors(angle: Floats) -> Floats:
    """(n_samples, n_sectors) ``exp(k (cos(angle - centre) - 1))``, half where two sectors meet."""
    centres = 2 * np.pi * np.arange(N_SECTORS) / N_SECTORS
    return np.asarray(np.exp(SECTOR_SHARPNESS * (np.cos(angle[:, None] - centres) - 1)))
