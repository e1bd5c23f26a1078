"""Contributing units, neighbours, families and absorption of 1,024 latents x 2 instances on 130,000 bins, 192 units."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pandas as pd
from reporting import announce, conclude
from scipy import sparse

from nldisco_core.absorption import absorption
from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.contributions import contributing_units
from nldisco_core.interfaces import Dictionary
from nldisco_core.latents import LatentSpace
from nldisco_core.neighbours import coactive_neighbours, dictionary_neighbours, families, family_counts
from nldisco_core.tuning import Conditions
from nldisco_core.unit_activity import co_activity

N_BINS, N_LATENTS, N_INSTANCES, N_ACTIVE, N_UNITS, TRIAL = 130_000, 1_024, 2, 6_000_000, 192, 60
MAX_SECONDS = 10.0


def _latents(rng: np.random.Generator) -> LatentSpace:
    codes = []
    for _ in range(N_INSTANCES):
        of_latent = rng.multinomial(N_ACTIVE // N_INSTANCES, rng.dirichlet(np.full(N_LATENTS, 4.0)))
        rows = [np.sort(rng.choice(N_BINS, n, replace=False)).astype(np.int32) for n in of_latent]
        starts = np.concatenate([[0], np.cumsum(of_latent)]).astype(np.int32)
        values = rng.gamma(2.0, size=int(starts[-1])).astype(np.float32) + np.float32(1e-3)
        codes.append(sparse.csc_array((values, np.concatenate(rows), starts), shape=(N_BINS, N_LATENTS)))
    return LatentSpace(
        codes=tuple(codes),
        session_ids=("s",),
        row_offsets=np.array([0, N_BINS]),
        level_sizes=(256, 512, N_LATENTS),
    )


def _recording(rng: np.random.Generator) -> Binned:
    session = BinnedSession(
        session_id="s",
        activity=rng.poisson(0.3, (N_BINS, N_UNITS)).astype(np.float32),
        units=pd.DataFrame({"id": [f"u{unit}" for unit in range(N_UNITS)], "region": "", "kind": ""}),
        start_ns=np.arange(N_BINS, dtype=np.int64) * 50_000_000,
        trial=(np.arange(N_BINS) // TRIAL).astype(np.int32),
        split=np.zeros(N_BINS, dtype=np.int8),
    )
    return Binned(sessions=(session,), bin_s=0.05, activity_kind="continuous")


def _pandas_means(space: LatentSpace, data: Binned, n_latents: int) -> float:
    """CPU seconds of mean z-scores the plain way, scaled up from a few latents to all."""
    frame = pd.DataFrame(data.activity.astype(np.float64))
    began = time.process_time()
    z = (frame - frame.mean()) / frame.std(ddof=0)
    for latent in range(n_latents):
        active = space.codes[0].indices[space.codes[0].indptr[latent] : space.codes[0].indptr[latent + 1]]
        of_trial = z.iloc[active].groupby(data.trial[active])
        of_trial.sum(), of_trial.size()
    return (time.process_time() - began) * N_LATENTS * N_INSTANCES / n_latents


def main() -> None:
    announce("units behind latents and relations between them, all bins")
    rng = np.random.default_rng(0)
    space, data = _latents(rng), _recording(rng)
    dictionary = Dictionary(
        values=rng.standard_normal((N_INSTANCES, N_LATENTS, N_UNITS)).astype(np.float32),
        unit_ids=(tuple(data.units["id"]),),
    )
    codes = np.repeat(rng.integers(0, 36, N_BINS // TRIAL + 1), TRIAL)[:N_BINS].astype(np.int32)
    labels, centres = tuple(f"maze {code}" for code in range(36)), np.arange(36.0)
    mazes = Conditions(variable="maze", kind="discrete", codes=codes, labels=labels, centres=centres)
    half = np.arange(N_BINS) % (2 * TRIAL) < TRIAL
    works: dict[str, Callable[[], object]] = {
        "contributing units": lambda: contributing_units(co_activity(space, data), data.units),
        "neighbours by weights": lambda: dictionary_neighbours(dictionary),
        "neighbours by activity": lambda: coactive_neighbours(space),
        "families": lambda: families(space),
        "families, 5 draws of the null": lambda: family_counts(space, n_draws=5, seed=0),
        "absorption of 36 conditions": lambda: absorption(space, mazes, rows=half, chosen_on=~half),
    }
    spent, taken_mb = {}, {}
    for name, work in works.items():
        began = time.process_time()
        work()
        spent[name] = time.process_time() - began
        tracemalloc.start()
        work()
        taken_mb[name] = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        print(f"{name}: {spent[name]:.2f} CPU-s; {taken_mb[name]:.0f} MB at most")
    plain = _pandas_means(space, data, 16)
    print(f"sums of z-scores by trial with pandas, scaled up from 16 latents: {plain:.0f} CPU-s")
    conclude(
        {
            "contributing units 10 times faster than pandas": plain > 10 * spent["contributing units"],
            f"each within {MAX_SECONDS:g} CPU-s": max(spent.values()) <= MAX_SECONDS,
            "memory within 1 GB above the data": max(taken_mb.values()) <= 1024,
        }
    )


if __name__ == "__main__":
    main()
