"""Simulated sessions in which behaviour has nothing to do with the latents, and both are autocorrelated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import signal as filters

from nldisco_core.autocorrelation import detrended
from nldisco_core.binned import NO_TRIAL, Binned, BinnedSession, Covariate

__all__ = ["N_BINS", "SCENARIOS", "Recording", "active_bins", "families"]

N_BINS, N_TRIALS, TRIAL_BINS = 3_000, 120, 25

Series = NDArray[np.float64]
Random = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One variable, what drives it, and how latents that know nothing of it are driven.

    Attributes
    ----------
    behaviour : (n_bins,) what a latent that knows the variable would follow
    latent : gives the drive (n_bins,) of one more latent each time it is called
    statistic : what is tested, ``max mcc`` of the conditions, or a score of the spatial mapper
    """

    covariate: Covariate
    behaviour: Series
    latent: Callable[[], Series]
    statistic: str = "max mcc"
    trial: NDArray[np.int32] | None = None
    blocks: NDArray[np.int64] | None = None

    @property
    def data(self) -> Binned:
        """Bins of one session without activity."""
        trial = np.full(N_BINS, NO_TRIAL, dtype=np.int32) if self.trial is None else self.trial
        session = BinnedSession(
            session_id="simulated",
            activity=np.zeros((N_BINS, 1), dtype=np.uint8),
            units=pd.DataFrame({"id": ["u0"], "region": "", "kind": ""}),
            start_ns=np.arange(N_BINS) * 50_000_000,
            trial=trial,
            split=np.zeros(N_BINS, dtype=np.int8),
        )
        return Binned(sessions=(session,), bin_s=0.05, activity_kind="counts")


def active_bins(rng: Random, drives: Series) -> NDArray[np.bool_]:
    """(n_latents, n_bins) where latents with these drives are active, about a tenth of all."""
    share = rng.uniform(0.85, 0.95, len(drives))
    rank = (share * (N_BINS - 1)).astype(np.int64)
    threshold = np.take_along_axis(np.sort(drives, axis=1), rank[:, None], axis=1)
    return np.asarray(drives > threshold)


def families(rng: Random, recording: Recording, n_latents: int, *, n_parts: int = 20) -> Series:
    """(n_latents, n_bins) drives that share parts, as latents of one population do."""
    parts = np.stack([recording.latent() for _ in range(n_parts)])
    mixed = rng.standard_normal((n_latents, n_parts)) @ parts
    return np.asarray(mixed / mixed.std(axis=1, keepdims=True))


def _wandering(rng: Random, n: int, tau: float) -> Series:
    """Gaussian series of unit variance whose correlation falls to 1/e in `tau` samples."""
    keep = np.exp(-1 / tau)
    steps = rng.standard_normal(n) * np.sqrt(1 - keep**2)
    steps[0] /= np.sqrt(1 - keep**2)
    return np.asarray(filters.lfilter([1.0], [1.0, -keep], steps))


def _tau(rng: Random) -> float:
    return float(np.exp(rng.uniform(np.log(2), np.log(25))))


def _wanders(rng: Random) -> Series:
    return _wandering(rng, N_BINS, _tau(rng))


def _z(values: Series) -> Series:
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1.0)


def _signal(values: Series, latent: Callable[[], Series]) -> Recording:
    covariate = Covariate(name="speed", values=values, kind="linear")
    return Recording(covariate=covariate, behaviour=_z(values), latent=latent)


def continuous(rng: Random) -> Recording:
    """A continuous variable, no trials."""
    return _signal(_wanders(rng), lambda: _wanders(rng))


def drifting(rng: Random) -> Recording:
    """The same with a straight trend through the session in both."""
    trend = np.linspace(-1.2, 1.2, N_BINS) * rng.choice([-1, 1])
    return _signal(_wanders(rng) + trend, lambda: _wanders(rng) + trend)


def drifting_slowly(rng: Random) -> Recording:
    """Slow waves in both, half a wave to two waves through the session, each of its own length and phase."""

    def wave() -> Series:
        time = np.linspace(0, 2 * np.pi, N_BINS)
        return np.asarray(np.sin(rng.uniform(0.5, 2) * time + rng.uniform(0, 2 * np.pi)))

    return _signal(_wanders(rng) + wave(), lambda: _wanders(rng) + wave())


def _without_drift(made: Callable[[Random], Recording]) -> Callable[[Random], Recording]:
    """The same sessions after drift was taken from the variable (option ``detrend``)."""

    def make(rng: Random) -> Recording:
        found = made(rng)
        return _signal(detrended(found.covariate, found.data).values[:, 0], found.latent)

    return make


def _of_trials(rng: Random, label: NDArray[np.int64], blocks: NDArray[np.int64] | None) -> Recording:
    """A condition of whole trials; latents wander within trials and over them."""
    trial = np.repeat(np.arange(N_TRIALS), TRIAL_BINS).astype(np.int32)
    covariate = Covariate(name="target", values=label[trial].astype(np.float64), kind="discrete", source="trial")
    return Recording(
        covariate=covariate,
        behaviour=_z(label[trial].astype(np.float64)),
        latent=lambda: _z(_wanders(rng) + _wandering(rng, N_BINS, 20.0 * TRIAL_BINS)),
        trial=trial,
        blocks=None if blocks is None else blocks[trial],
    )


def trials(rng: Random) -> Recording:
    """Conditions dealt at random over the trials."""
    return _of_trials(rng, rng.integers(0, 4, N_TRIALS), None)


def known_blocks(rng: Random) -> Recording:
    """Conditions dealt at random within six blocks, each with odds of its own; the blocks are named."""
    blocks = np.arange(N_TRIALS) // 20
    odds = np.where(np.arange(6) % 2 == 0, 0.2, 0.8)
    return _of_trials(rng, (rng.random(N_TRIALS) < odds[blocks]).astype(np.int64), blocks)


def long_blocks(rng: Random) -> Recording:
    """Conditions that came in blocks of 5 to 40 trials, and nobody says so."""
    lengths = rng.integers(5, int(rng.integers(6, 41)), N_TRIALS)
    return _of_trials(rng, np.repeat(np.arange(N_TRIALS) % 2, lengths)[:N_TRIALS], None)


def short_blocks(rng: Random) -> Recording:
    """Conditions that tend to repeat in the next trial."""
    return _of_trials(rng, np.cumsum(rng.random(N_TRIALS) < 0.3) % 2, None)


def events(rng: Random) -> Recording:
    """A phase of each trial between two events; latents are active at a random time of each trial."""
    trial = np.repeat(np.arange(N_TRIALS), TRIAL_BINS).astype(np.int32)
    place = np.tile(np.arange(TRIAL_BINS), N_TRIALS)
    start = int(rng.integers(3, 15)) + rng.integers(-2, 3, N_TRIALS)
    inside = ((place >= start[trial]) & (place < start[trial] + 6)).astype(np.float64)

    def latent() -> Series:
        away = np.abs(place - rng.uniform(0, TRIAL_BINS, N_TRIALS)[trial])
        bump = np.exp(-np.square(np.minimum(away, TRIAL_BINS - away)) / 8)
        return _z(bump + 0.3 * rng.standard_normal(N_BINS))

    covariate = Covariate(name="phase", values=inside, kind="discrete", source="phase")
    return Recording(covariate=covariate, behaviour=_z(inside), latent=latent, trial=trial)


def place(rng: Random) -> Recording:
    """A walk through a box that turns back at its walls; tested by the spatial information of rate maps."""
    speed = np.exp(rng.uniform(np.log(0.01), np.log(0.04)))
    steps = np.stack([_wandering(rng, N_BINS, 10.0) for _ in range(2)], axis=1) * speed
    folded = np.abs((np.cumsum(steps, axis=0) + rng.random(2)) % 2 - 1)
    field = np.exp(-np.square(folded - rng.random(2)).sum(axis=1) / 2 / 0.15**2)
    covariate = Covariate(name="place", values=folded, kind="position", channels=("x", "y"))
    return Recording(
        covariate=covariate, behaviour=_z(field), latent=lambda: _wanders(rng), statistic="spatial information"
    )


def heading(rng: Random) -> Recording:
    """A head that turns back and forth; tested by the resultant length of polar maps."""
    turning = _wandering(rng, N_BINS, 10.0) * np.exp(rng.uniform(np.log(0.05), np.log(0.2)))
    angle = np.cumsum(turning) % (2 * np.pi)
    covariate = Covariate(name="heading", values=angle, kind="circular", period=2 * np.pi, physical_unit="rad")
    return Recording(
        covariate=covariate,
        behaviour=_z(np.exp(3 * np.cos(angle - rng.uniform(0, 2 * np.pi)))),
        latent=lambda: _wanders(rng),
        statistic="resultant length",
    )


SCENARIOS: dict[str, Callable[[Random], Recording]] = {
    "continuous": continuous,
    "continuous, both drift": drifting,
    "continuous, both drift, detrended": _without_drift(drifting),
    "continuous, slow waves in both": drifting_slowly,
    "continuous, slow waves in both, detrended": _without_drift(drifting_slowly),
    "condition of trials": trials,
    "conditions in named blocks": known_blocks,
    "conditions that repeat": short_blocks,
    "conditions in unnamed blocks": long_blocks,
    "phase of trials": events,
    "position, spatial information": place,
    "direction, resultant length": heading,
}
