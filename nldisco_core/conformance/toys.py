"""Small sessions and binned data with a planted feature, for checks and tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from nldisco_core.binned import SPLITS, Binned, BinnedSession, Covariate
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.session import IntervalTable, Session, Signal, SpikeTrains

__all__ = ["toy_binned", "toy_latents", "toy_session"]


def toy_session(*, n_units: int = 6, duration_s: float = 60.0, seed: int = 0, session_id: str = "toy-1") -> Session:
    """Poisson spikes of units tuned to a slowly turning heading, with trials, epochs and signals.

    Unit i prefers the heading ``2 pi i / n_units``; ``place`` lies on a circle in that direction; trials last 2 s with
    a ``cue`` 0.5 s in and a discrete ``side``.
    """
    rng = np.random.default_rng(seed)
    step_s = 0.01
    times = np.arange(round(duration_s / step_s), dtype=np.float64) * step_s
    heading = np.cumsum(rng.standard_normal(len(times))) * np.sqrt(step_s) % (2 * np.pi)
    preferred = 2 * np.pi * np.arange(n_units) / n_units
    rate_hz = 1 + 20 * np.exp(3 * (np.cos(heading[:, None] - preferred) - 1))
    spikes = rng.random((len(times), n_units)) < rate_hz * step_s
    trains = [times[spikes[:, unit]] + rng.random(spikes[:, unit].sum()) * step_s for unit in range(n_units)]
    starts = np.arange(0, duration_s - 2, 2.5)
    trials = pd.DataFrame(
        {
            "start_s": starts,
            "stop_s": starts + 2.0,
            "cue_s": starts + 0.5,
            "side": pd.Series(np.where(rng.random(len(starts)) < 0.5, "left", "right"), dtype=object),
        }
    )
    half = duration_s / 2
    epochs = pd.DataFrame({"start_s": [0.0, half], "stop_s": [half, duration_s], "label": ["first", "second"]})
    return Session(
        session_id=session_id,
        span_s=(0.0, duration_s),
        subject="toy",
        units=pd.DataFrame(
            {
                "id": [f"u{unit}" for unit in range(n_units)],
                "region": ["a" if unit % 2 else "b" for unit in range(n_units)],
                "kind": "",
            }
        ),
        spike_times=SpikeTrains.from_units([np.sort(train) for train in trains]),
        intervals={"trials": IntervalTable(trials, events=("cue_s",)), "epochs": IntervalTable(epochs)},
        signals={
            "heading": Signal(
                name="heading", times_s=times, values=heading, kind="circular", period=2 * np.pi, physical_unit="rad"
            ),
            "speed": Signal(name="speed", times_s=times, values=np.abs(np.gradient(heading)), physical_unit="rad/s"),
            "place": Signal(
                name="place",
                times_s=times,
                values=10 * np.column_stack([np.cos(heading), np.sin(heading)]),
                kind="position",
                physical_unit="cm",
                channels=("x", "y"),
            ),
        },
        truth={"preferred_rad": preferred},
    )


def toy_binned(
    *, n_bins: int = 900, n_units: int = 6, n_sessions: int = 1, seed: int = 0, bin_s: float = 0.05, n_trials: int = 30
) -> Binned:
    """Poisson counts of units tuned to a heading, split into thirds of blocks, with a discrete and a linear variable.

    Unit i prefers heading ``2 pi i / n_units``. Covariates: ``heading`` (circular, rad), ``speed`` (linear, noise),
    ``place`` (position, cm), ``side`` (discrete, constant within a trial). The first bins of ``heading`` are NaN.
    """
    sessions = []
    for index in range(n_sessions):
        rng = np.random.default_rng([seed, index])
        heading = np.cumsum(rng.standard_normal(n_bins) * 0.35) % (2 * np.pi)
        preferred = 2 * np.pi * np.arange(n_units) / n_units
        rate = 0.05 + 2.0 * np.exp(4 * (np.cos(heading[:, None] - preferred) - 1))
        heading_seen = heading.copy()
        heading_seen[:5] = np.nan
        trial = np.minimum(np.arange(n_bins) * n_trials // n_bins, n_trials - 1).astype(np.int32)
        side_of_trial = rng.integers(0, 2, n_trials).astype(np.float64)
        edges = np.flatnonzero(np.diff(trial, prepend=-1))
        trials = pd.DataFrame({"start_s": edges * bin_s, "stop_s": np.append(edges[1:], n_bins) * bin_s})
        block = trial // 2
        covariates = (
            Covariate(name="heading", values=heading_seen, kind="circular", period=2 * np.pi, physical_unit="rad"),
            Covariate(name="speed", values=rng.standard_normal(n_bins), kind="linear", physical_unit="cm/s"),
            Covariate(
                name="place", values=rng.random((n_bins, 2)), kind="position", physical_unit="cm", channels=("x", "y")
            ),
            Covariate(
                name="side", values=side_of_trial[trial], kind="discrete", source="trial", categories=("left", "right")
            ),
        )
        sessions.append(
            BinnedSession(
                session_id=f"toy-{index + 1}",
                activity=rng.poisson(rate).astype(np.uint8),
                units=pd.DataFrame(
                    {
                        "id": [f"u{unit}" for unit in range(n_units)],
                        "region": ["a" if unit % 2 else "b" for unit in range(n_units)],
                        "kind": "",
                    }
                ),
                start_ns=(np.arange(n_bins) * round(bin_s * 1e9)).astype(np.int64),
                trial=trial,
                trials=IntervalTable(trials),
                split=(block % len(SPLITS)).astype(np.int8),
                covariates={covariate.name: covariate for covariate in covariates},
            )
        )
    return Binned(sessions=tuple(sessions), bin_s=bin_s, activity_kind="counts")


def toy_latents(data: Binned, *, n_instances: int = 1, n_dead: int = 1) -> Latents:
    """One latent per unit of `data`, active where the unit fires at least two spikes, and `n_dead` that never are."""
    activity = np.asarray(data.activity, dtype=np.float32)
    active = np.where(activity >= 2, activity, 0)
    padded = np.concatenate([active, np.zeros((len(active), n_dead), dtype=np.float32)], axis=1)
    return Latents.of(
        LatentSpace(
            codes=tuple(sparse.csc_array(padded) for _ in range(n_instances)),
            session_ids=tuple(session.session_id for session in data.sessions),
            row_offsets=data.row_offsets,
        )
    )
