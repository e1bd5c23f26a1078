"""Simulated ensembles of known features, nested and overlapping: what a latent model has to take apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from scipy.signal import lfilter

from nldisco_core.config import Config
from nldisco_core.errors import DatasetUnavailable, unknown_name
from nldisco_core.interfaces import DatasetCard
from nldisco_core.recovery import FeatureTruth
from nldisco_core.session import Session, Signal, SpikeTrains

__all__ = ["PlaceEnsembles", "PlaceEnsemblesConfig", "Trajectory", "features_of", "trajectory"]

STEP_S = 0.025
VELOCITY_TAU_S, VELOCITY_SD = 1.0, 0.2  # m/s along each axis
REGION_RADIUS, PLACE_RADIUS = 0.3, 0.13  # m, at half of the maximum
HEADING_HALF_WIDTH = 4 * np.pi / 9  # rad, at half of the maximum
BASELINE_HZ = (1.0, 4.0)
GAIN_TAU_S, GAIN_SD = 10.0, 0.3
SPEED_HZ = 4.0  # largest that the mean speed adds to a unit

Floats = NDArray[np.float64]


class PlaceEnsemblesConfig(Config):
    """Size and difficulty of a simulated population.

    Attributes
    ----------
    seed : of everything that is drawn: trajectory, features, weights, spikes
    units_per_feature : units that each feature drives; they overlap wherever
        ``n_features * units_per_feature > n_units``
    snr : what a feature at its strongest adds to a unit it drives, over the unit's baseline, both on average
    """

    seed: int = Field(default=0, ge=0)
    n_units: int = Field(default=100, ge=1)
    n_features: int = Field(default=32, ge=1)
    units_per_feature: int = Field(default=24, ge=1)
    snr: float = Field(default=4.0, ge=0, allow_inf_nan=False)
    duration_s: float = Field(default=2400.0, ge=10, allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """A walk in a box of 1 m by 1 m.

    Attributes
    ----------
    times_s : (n_samples,) s, centres of steps of `STEP_S`
    position : (n_samples, 2) m
    heading : (n_samples,) rad in [0, 2 pi), direction of movement
    speed : (n_samples,) m/s
    """

    times_s: Floats
    position: Floats
    heading: Floats
    speed: Floats


class PlaceEnsembles:
    """One session of spikes driven by broad regions, places inside them and places by direction."""

    def __init__(self, config: PlaceEnsemblesConfig) -> None:
        self._config = config

    def card(self) -> DatasetCard:
        """What is simulated, and settings that suit it."""
        return DatasetCard(
            title="Simulated place ensembles with known features",
            species="simulated",
            area="none",
            licence="BSD-3-Clause",
            citation="none: simulated here",
            source="nldisco_datasets.place_ensembles",
            sizes={"sessions": 1, "units": self._config.n_units, "features": self._config.n_features},
            description=(
                "Every feature drives several units, which overlap; a shared gain and speed disturb them. "
                "Truth per feature over time."
            ),
            defaults={
                "bin.bin_s": 0.1,
                "preprocess.smooth_s": 0.2,
                "preprocess.normalise": "global-max",
                "split.gap_s": 1.6,
            },
        )

    def session_ids(self) -> Sequence[str]:
        """The one session, named by its seed."""
        return (f"place-ensembles-{self._config.seed}",)

    def load(self, session_id: str) -> Session:
        """The simulated session; ``truth["features"]`` is a `FeatureTruth` with weights in Hz.

        The rate of unit i is ``gain(t) (baseline_i + sum_f weight_fi feature_f(t) + slope_i speed(t))`` (Hz), with
        weights of ``snr`` times the mean baseline, from half to one and a half of it, and a gain common to all units.
        """
        if session_id not in self.session_ids():
            raise DatasetUnavailable(f"place-ensembles: {unknown_name('session', session_id, self.session_ids())}")
        config = self._config
        walk_rng, feature_rng, unit_rng, spike_rng = map(
            np.random.default_rng, np.random.SeedSequence(config.seed).spawn(4)
        )
        walk = trajectory(config.duration_s, walk_rng)
        features, activity = features_of(walk, config.n_features, feature_rng)
        mixing = _mixing(config, unit_rng)
        baseline_hz = unit_rng.uniform(*BASELINE_HZ, config.n_units)
        slope_hz = SPEED_HZ * unit_rng.uniform(size=config.n_units) * (unit_rng.random(config.n_units) < 0.5)
        gain = np.exp(_drift(len(walk.times_s), GAIN_TAU_S, walk_rng) * GAIN_SD - GAIN_SD**2 / 2)
        speed = walk.speed / walk.speed.mean()
        trains = [
            _spikes(gain * (baseline_hz[unit] + activity @ mixing[:, unit] + slope_hz[unit] * speed), spike_rng)
            for unit in range(config.n_units)
        ]
        return Session(
            session_id=session_id,
            span_s=(0.0, len(walk.times_s) * STEP_S),
            subject="simulated",
            units=pd.DataFrame({"id": [f"u{unit:03d}" for unit in range(config.n_units)], "region": "", "kind": ""}),
            spike_times=SpikeTrains.from_units(trains),
            signals=_signals(walk),
            truth={
                "features": FeatureTruth(
                    features=features, times_s=walk.times_s, activity=activity.astype(np.float32), mixing=mixing
                ),
                "baseline_hz": baseline_hz,
                "speed_slope_hz": slope_hz,
                "gain": gain,
            },
        )


def trajectory(duration_s: float, rng: np.random.Generator) -> Trajectory:
    """A walk with Ornstein-Uhlenbeck velocity, reflected at the walls.

    The free walk is folded back into the box, which is the same as reflecting at each wall with a change of sign of the
    velocity.
    """
    n_samples = round(duration_s / STEP_S)
    velocity = VELOCITY_SD * np.column_stack([_drift(n_samples, VELOCITY_TAU_S, rng) for _ in range(2)])
    free = rng.uniform(size=2) + np.cumsum(velocity, axis=0) * STEP_S
    folded = np.mod(free, 2.0)
    outward = folded > 1
    heading = np.arctan2(*np.where(outward, -velocity, velocity).T[::-1])
    return Trajectory(
        times_s=(np.arange(n_samples, dtype=np.float64) + 0.5) * STEP_S,
        position=np.where(outward, 2.0 - folded, folded),
        heading=np.mod(heading, 2 * np.pi),
        speed=np.linalg.norm(velocity, axis=1),
    )


def features_of(walk: Trajectory, n_features: int, rng: np.random.Generator) -> tuple[pd.DataFrame, Floats]:
    """Table of features, and their activity (n_samples, n_features) from 0 to 1 along a walk.

    An eighth of them (at least one) are regions, ``exp(-ln2 (d/r)^4)`` of the distance d from their centre; of the
    others three fifths are places, each inside a region: its activity times ``exp(-ln2 (d/r)^2)``; the rest are places
    by direction: the activity of a place times ``exp(k (cos(heading - preferred) - 1))``.
    """
    n_regions = max(1, n_features // 8)
    n_places = int(np.ceil(0.6 * (n_features - n_regions)))
    n_directions = n_features - n_regions - n_places
    centres = _spread_out(n_regions, rng, np.array([[0.5, 0.5]]), 0.4)
    region = np.exp(-np.log(2) * (_distances(walk, centres) / REGION_RADIUS) ** 4)
    region_of = np.arange(n_places) % n_regions
    fields = np.empty((n_places, 2))
    for index in range(n_regions):
        inside = region_of == index
        fields[inside] = _spread_out(int(inside.sum()), rng, centres[[index]], 0.7 * REGION_RADIUS)
    place = region[:, region_of] * np.exp(-np.log(2) * (_distances(walk, fields) / PLACE_RADIUS) ** 2)
    preferred = rng.uniform(0, 2 * np.pi, n_directions)
    sharpness = np.log(2) / (1 - np.cos(HEADING_HALF_WIDTH))
    direction = place[:, :n_directions] * np.exp(sharpness * (np.cos(walk.heading[:, None] - preferred) - 1))
    regions, places = ([f"{kind}-{i}" for i in range(n)] for kind, n in (("region", n_regions), ("place", n_places)))
    table = pd.DataFrame(
        {
            "name": [*regions, *places, *(f"{name}-by-direction" for name in places[:n_directions])],
            "kind": ["region"] * n_regions + ["place"] * n_places + ["direction"] * n_directions,
            "parent": [""] * n_regions + [regions[index] for index in region_of] + places[:n_directions],
        }
    )
    return table, np.concatenate([region, place, direction], axis=1)


def _spread_out(n: int, rng: np.random.Generator, centre: Floats, radius: float) -> Floats:
    """(n, 2) points of a disc, each the farthest of twenty candidates from those before it (Mitchell 1991)."""
    points = np.empty((n, 2))
    for index in range(n):
        angle, reach = rng.uniform(0, 2 * np.pi, 20), radius * np.sqrt(rng.uniform(size=20))
        candidates = centre + np.column_stack([reach * np.cos(angle), reach * np.sin(angle)])
        gaps = np.linalg.norm(candidates[:, None] - points[None, :index], axis=2).min(axis=1, initial=np.inf)
        points[index] = candidates[int(gaps.argmax())]
    return points


def _distances(walk: Trajectory, centres: Floats) -> Floats:
    """(n_samples, n_centres) m."""
    return np.asarray(np.linalg.norm(walk.position[:, None] - centres, axis=2))


def _mixing(config: PlaceEnsemblesConfig, rng: np.random.Generator) -> Floats:
    """(n_features, n_units) Hz added by each feature at its strongest."""
    mixing = np.zeros((config.n_features, config.n_units))
    driven = min(config.units_per_feature, config.n_units)
    for row in mixing:
        row[rng.permutation(config.n_units)[:driven]] = rng.uniform(0.5, 1.5, driven)
    return np.asarray(mixing * config.snr * float(np.mean(BASELINE_HZ)))


def _drift(n_samples: int, tau_s: float, rng: np.random.Generator) -> Floats:
    """(n_samples,) Ornstein-Uhlenbeck process of mean 0, sd 1 and this time constant, from its own distribution."""
    kept = np.exp(-STEP_S / tau_s)
    noise = rng.standard_normal(n_samples) * np.sqrt(1 - kept**2)
    noise[0] /= np.sqrt(1 - kept**2)
    return np.asarray(lfilter([1.0], [1.0, -kept], noise))


def _spikes(rate_hz: Floats, rng: np.random.Generator) -> Floats:
    """Poisson spike times (s), uniform within each step."""
    steps = np.repeat(np.arange(len(rate_hz)), rng.poisson(rate_hz * STEP_S))
    return np.sort((steps + rng.random(len(steps))) * STEP_S)


def _signals(walk: Trajectory) -> dict[str, Signal]:
    position = Signal(
        name="position",
        times_s=walk.times_s,
        values=walk.position,
        kind="position",
        physical_unit="m",
        channels=("x", "y"),
    )
    heading = Signal(
        name="heading",
        times_s=walk.times_s,
        values=walk.heading,
        kind="circular",
        period=2 * np.pi,
        physical_unit="rad",
        description="direction of movement",
    )
    speed = Signal(name="speed", times_s=walk.times_s, values=walk.speed, physical_unit="m/s")
    return {signal.name: signal for signal in (position, heading, speed)}
