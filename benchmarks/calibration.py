"""Soak: how often a mapping of behaviour that has nothing to do with the latent is called, by null; power beside it.

Every simulated session has one random mapping. Behaviour and latent are independent, and both autocorrelated. `--smoke`
takes a minute and shows that it runs; its bounds are wide.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from nldisco_selectivity.scores import max_mcc
from numpy.typing import NDArray
from reporting import announce, conclude
from scipy import stats

from nldisco_core.binned import NO_TRIAL, Binned, BinnedSession, Covariate
from nldisco_core.counting import count_active
from nldisco_core.nulls import Null, benjamini_hochberg, choose_null, null_distribution, p_values
from nldisco_core.tuning import conditions

N_BINS, N_TRIALS, TRIAL_BINS, N_DRAWS = 3_000, 120, 25, 199
ALPHA, MOST_RUNS_WITH_ANY = 0.05, 16
EFFECTS = (0.0, 0.5, 1.0, 2.0)

Series = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One variable, what drives it, and the drive of a latent that knows nothing of it."""

    covariate: Covariate
    behaviour: Series
    latent: Series
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


def _wandering(rng: np.random.Generator, n: int, tau: float) -> Series:
    """Gaussian series of unit variance whose correlation falls to 1/e in `tau` samples."""
    keep = np.exp(-1 / tau)
    steps = rng.standard_normal(n) * np.sqrt(1 - keep**2)
    steps[0] = rng.standard_normal()
    series = np.empty(n)
    series[0] = steps[0]
    for i in range(1, n):
        series[i] = keep * series[i - 1] + steps[i]
    return series


def _tau(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(2), np.log(25))))


def _z(values: Series) -> Series:
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1.0)


def signal(rng: np.random.Generator) -> Recording:
    """A continuous variable, no trials."""
    values = _wandering(rng, N_BINS, _tau(rng))
    covariate = Covariate(name="speed", values=values, kind="linear")
    return Recording(covariate=covariate, behaviour=values, latent=_wandering(rng, N_BINS, _tau(rng)))


def drifting(rng: np.random.Generator) -> Recording:
    """The same with a trend through the session in both."""
    trend = np.linspace(-1.2, 1.2, N_BINS) * rng.choice([-1, 1])
    values = _wandering(rng, N_BINS, _tau(rng)) + trend
    covariate = Covariate(name="speed", values=values, kind="linear")
    return Recording(covariate=covariate, behaviour=values, latent=_wandering(rng, N_BINS, _tau(rng)) + trend)


def _of_trials(rng: np.random.Generator, label: NDArray[np.int64], blocks: NDArray[np.int64] | None) -> Recording:
    """A condition of whole trials; the latent wanders within trials and over them."""
    trial = np.repeat(np.arange(N_TRIALS), TRIAL_BINS).astype(np.int32)
    covariate = Covariate(name="target", values=label[trial].astype(np.float64), kind="discrete", source="trial")
    latent = _wandering(rng, N_BINS, _tau(rng)) + _wandering(rng, N_BINS, 20.0 * TRIAL_BINS)
    behaviour = _z(label[trial].astype(np.float64))
    return Recording(
        covariate=covariate,
        behaviour=behaviour,
        latent=_z(latent),
        trial=trial,
        blocks=None if blocks is None else blocks[trial],
    )


def trials(rng: np.random.Generator) -> Recording:
    """Conditions dealt at random over the trials."""
    return _of_trials(rng, rng.integers(0, 4, N_TRIALS), None)


def known_blocks(rng: np.random.Generator) -> Recording:
    """Conditions dealt at random within six blocks, each with odds of its own; the blocks are named."""
    blocks = np.arange(N_TRIALS) // 20
    odds = np.where(np.arange(6) % 2 == 0, 0.2, 0.8)
    return _of_trials(rng, (rng.random(N_TRIALS) < odds[blocks]).astype(np.int64), blocks)


def long_blocks(rng: np.random.Generator) -> Recording:
    """Conditions that came in blocks of 5 to 40 trials, and nobody says so."""
    lengths = rng.integers(5, int(rng.integers(6, 41)), N_TRIALS)
    label = np.repeat(np.arange(N_TRIALS) % 2, lengths)[:N_TRIALS]
    return _of_trials(rng, label, None)


def short_blocks(rng: np.random.Generator) -> Recording:
    """Conditions that tend to repeat in the next trial."""
    return _of_trials(rng, np.cumsum(rng.random(N_TRIALS) < 0.3) % 2, None)


def events(rng: np.random.Generator) -> Recording:
    """A phase of each trial between two events; the latent is active at a random time of each trial."""
    trial = np.repeat(np.arange(N_TRIALS), TRIAL_BINS).astype(np.int32)
    place = np.tile(np.arange(TRIAL_BINS), N_TRIALS)
    start = int(rng.integers(3, 15)) + rng.integers(-2, 3, N_TRIALS)
    inside = (place >= start[trial]) & (place < start[trial] + 6)
    peak = rng.uniform(0, TRIAL_BINS, N_TRIALS)
    away = np.abs(place - peak[trial])
    latent = _z(np.exp(-np.square(np.minimum(away, TRIAL_BINS - away)) / 8) + 0.3 * rng.standard_normal(N_BINS))
    covariate = Covariate(name="phase", values=inside.astype(np.float64), kind="discrete", source="phase")
    return Recording(covariate=covariate, behaviour=_z(inside.astype(np.float64)), latent=latent, trial=trial)


FIRST_SEED = 20_000  # the nulls were settled on sessions below
SCENARIOS: dict[str, Callable[[np.random.Generator], Recording]] = {
    "continuous": signal,
    "continuous, both drift": drifting,
    "condition of trials": trials,
    "conditions in named blocks": known_blocks,
    "conditions that repeat": short_blocks,
    "conditions in unnamed blocks": long_blocks,
    "phase of trials": events,
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """p of one mapping, NaN where it was refused, p of the naive tests, and the null that was chosen."""

    p: float
    naive: dict[str, float]
    null: str


def _active(rng: np.random.Generator, drive: Series) -> NDArray[np.int32]:
    """Rows where a latent with this drive is active, about a tenth of all."""
    threshold = np.quantile(drive, rng.uniform(0.85, 0.95))
    return np.flatnonzero(drive > threshold).astype(np.int32)


def _p_of(recording: Recording, active: NDArray[np.int32], null: Null) -> float:
    if null.refusal is not None:
        return float("nan")
    cut = conditions(recording.covariate)
    starts, rows = np.array([0, len(active)]), np.ones(N_BINS, dtype=bool)
    by_chance = null_distribution(
        null,
        max_mcc,
        n_draws=N_DRAWS,
        codes=cut.codes,
        n_conditions=cut.n_conditions,
        tested=rows,
        active_starts=starts,
        active_rows=active,
    )
    n_on = np.bincount(cut.codes, minlength=cut.n_conditions)
    observed = max_mcc(count_active(starts, active, cut.codes, cut.n_conditions), n_on)
    return float(p_values(observed, by_chance)[0])


def _naive(recording: Recording, active: NDArray[np.int32], rng: np.random.Generator) -> dict[str, float]:
    """What bins taken for independent say, and a null of the wrong kind."""
    cut = conditions(recording.covariate)
    on = np.bincount(cut.codes[active], minlength=cut.n_conditions)
    table = np.stack([on, np.bincount(cut.codes, minlength=cut.n_conditions) - on])
    chi2 = float(stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue)
    shuffled = Null(name="bins", effective_shifts=1e6, sources=lambda n: (rng.permutation(N_BINS) for _ in range(n)))
    return {"chi-square on bins": chi2, "bins shuffled": _p_of(recording, active, shuffled)}


def simulate(scenario: str, seed: int, *, effect: float = 0.0, naive: bool = False) -> Outcome:
    """One session; with an effect the latent's drive gets that much of the behaviour."""
    rng = np.random.default_rng([seed, *scenario.encode()])
    recording = SCENARIOS[scenario](rng)
    active = _active(rng, recording.latent + effect * recording.behaviour)
    data, rows = recording.data, np.ones(N_BINS, dtype=bool)
    null = choose_null(recording.covariate, data, usable=rows, tested=rows, seed=seed, blocks=recording.blocks)
    return Outcome(
        p=_p_of(recording, active, null),
        naive=_naive(recording, active, rng) if naive else {},
        null=null.name,
    )


def calibrate(scenario: str, n_sessions: int, n_naive: int) -> dict[str, object]:
    """One line of the table: how often p <= .05, in how many sessions that were not refused."""
    seeds = range(FIRST_SEED, FIRST_SEED + n_sessions)
    outcomes = [simulate(scenario, seed, naive=index < n_naive) for index, seed in enumerate(seeds)]
    p = np.array([outcome.p for outcome in outcomes])
    tested = p[~np.isnan(p)]
    n_called = int((tested <= ALPHA).sum())
    naive = pd.DataFrame([outcome.naive for outcome in outcomes[:n_naive]])
    power = {}
    for effect in EFFECTS[1:]:
        found = np.array([simulate(scenario, seed, effect=effect).p for seed in range(max(n_sessions // 10, 10))])
        power[f"power {effect:g}"] = float((found <= ALPHA).mean())
    return {
        "scenario": scenario,
        "null": ", ".join(sorted({outcome.null for outcome in outcomes})),
        "refused": int(np.isnan(p).sum()),
        "tested": len(tested),
        "called": n_called,
        "bound": int(stats.binom.ppf(0.99, len(tested), ALPHA)) if len(tested) else 0,
        "P(p<=.05)": n_called / len(tested) if len(tested) else np.nan,
        "KS p": float(stats.kstest(tested, "uniform", alternative="greater").pvalue) if len(tested) else np.nan,
        **{f"{name}": float((column <= ALPHA).mean()) for name, column in naive.items()},
        **power,
    }


def false_discoveries(n_runs: int, n_latents: int) -> int:
    """Runs in which any of many latents, none of which knows the variable, has q < .05."""
    n_with_any = 0
    for seed in range(n_runs):
        rng = np.random.default_rng([seed, 1000])
        recording = signal(rng)
        parts = np.stack([_wandering(rng, N_BINS, _tau(rng)) for _ in range(20)])
        drives = rng.standard_normal((n_latents, 20)) @ parts
        active = [_active(rng, drive) for drive in drives]
        starts = np.concatenate([[0], np.cumsum([len(rows) for rows in active])]).astype(np.int64)
        cut, rows, every = conditions(recording.covariate), np.concatenate(active), np.ones(N_BINS, dtype=bool)
        null = choose_null(recording.covariate, recording.data, usable=every, tested=every, seed=seed)
        by_chance = null_distribution(
            null,
            max_mcc,
            n_draws=1000,
            codes=cut.codes,
            n_conditions=cut.n_conditions,
            tested=every,
            active_starts=starts,
            active_rows=rows,
        )
        n_on = np.bincount(cut.codes, minlength=cut.n_conditions)
        observed = max_mcc(count_active(starts, rows, cut.codes, cut.n_conditions), n_on)
        n_with_any += bool((benjamini_hochberg(p_values(observed, by_chance)) < ALPHA).any())
    return n_with_any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=2_000, help="simulated sessions of each kind")
    parser.add_argument("--runs", type=int, default=200, help="runs of many latents at once")
    parser.add_argument("--latents", type=int, default=1_000, help="latents of such a run")
    parser.add_argument("--smoke", action="store_true", help="a minute: 40 sessions, 3 runs of 100 latents")
    asked = parser.parse_args()
    n_sessions, n_runs, n_latents = (40, 3, 100) if asked.smoke else (asked.sessions, asked.runs, asked.latents)
    announce(f"calibration: {n_sessions:,} sessions of each of {len(SCENARIOS)} kinds, {N_BINS:,} bins each")
    kept: dict[str, bool] = {}
    lines = []
    for scenario in SCENARIOS:
        line = calibrate(scenario, n_sessions, min(n_sessions, 200))
        lines.append(line)
        print(
            "  ".join(f"{key} {value:.3g}" if isinstance(value, float) else str(value) for key, value in line.items())
        )
        kept[f"{scenario}: P(p <= .05) within the binomial bound"] = line["called"] <= line["bound"]  # type: ignore[operator]
    table = pd.DataFrame(lines)
    print(table.to_string(index=False, float_format="%.3f"))
    naive = table[["chi-square on bins", "bins shuffled"]]
    kept["naive tests on the same data call more than .15"] = bool((naive.max(axis=1) > 0.15).all())
    n_with_any = false_discoveries(n_runs, n_latents)
    most = round(MOST_RUNS_WITH_ANY * n_runs / 200) if n_runs >= 200 else int(stats.binom.ppf(0.99, n_runs, ALPHA))
    print(f"{n_latents:,} latents at once: {n_with_any} of {n_runs} runs with any q < .05; at most {most}")
    kept["false discoveries of many latents at once stay nominal"] = n_with_any <= most
    conclude(kept)


if __name__ == "__main__":
    main()
