"""Soak: how often a mapping of behaviour that has nothing to do with the latent is called, by null; power beside it.

Every simulated session has one random mapping. Behaviour and latent are independent, and both autocorrelated (see
`unrelated.py`). Then a thousand latents at once against one variable. `--smoke` takes a minute and shows that it runs;
its bounds are wide.
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
from nldisco_spatial.config import SpatialConfig
from nldisco_spatial.measures import Direction, Measure, Position
from numpy.typing import NDArray
from reporting import announce, conclude
from scipy import sparse, stats
from unrelated import N_BINS, SCENARIOS, Recording, active_bins, families

from nldisco_core.counting import count_active
from nldisco_core.discoveries import N_CHOOSING, choosing_rows, stands_out
from nldisco_core.nulls import Null, benjamini_hochberg, choose_null, null_distribution, p_values
from nldisco_core.tuning import conditions

ALPHA, MOST_RUNS_WITH_ANY = 0.05, 16
EFFECTS = (0.5, 1.0, 2.0)
FIRST_SEED = 20_000  # the nulls were settled on sessions below
IN_FAMILIES = ("continuous", "continuous, both drift", "condition of trials", "phase of trials")
N_PLANTED, PLANTED_EFFECT, POWER_RUNS = (10, 50), 1.0, 20

EVERY = np.ones(N_BINS, dtype=bool)
Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """p of each latent, NaN where it was refused, p of the naive tests, and the null that was chosen."""

    p: Values
    naive: dict[str, Values]
    null: str


def _null(recording: Recording, tested: Mask, seed: int) -> Null:
    return choose_null(
        recording.covariate, recording.data, usable=EVERY, tested=tested, seed=seed, blocks=recording.blocks
    )


def _p_of_conditions(recording: Recording, active: Mask, null: Null, n_draws: int, tested: Mask) -> Values:
    """p of the largest MCC, as the mapper ``selectivity`` has it."""
    cut = conditions(recording.covariate)
    inside = active & tested
    starts = np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int64)
    rows = np.nonzero(inside)[1].astype(np.int32)
    by_chance = null_distribution(
        null,
        max_mcc,
        n_draws=n_draws,
        codes=cut.codes,
        n_conditions=cut.n_conditions,
        tested=tested,
        active_starts=starts,
        active_rows=rows,
    )
    n_on = np.bincount(cut.codes[tested], minlength=cut.n_conditions)
    return p_values(max_mcc(count_active(starts, rows, cut.codes, cut.n_conditions), n_on), by_chance)


def _p_of_map(recording: Recording, drives: Values, active: Mask, null: Null, n_draws: int) -> Values:
    """p of a score of rate or polar maps, as the mapper ``spatial`` has it."""
    by_row = sparse.csr_array(np.where(active, drives - drives.min(), 0).T)
    config, data, covariate = SpatialConfig(n_pixels=10, n_directions=30), recording.data, recording.covariate
    measure: Measure = (
        Position.of(covariate, by_row, data, EVERY, config)
        if covariate.kind == "position"
        else Direction.of(covariate, by_row, data, config)
    )
    scores = measure.scores(EVERY)
    observed = {recording.statistic: measure.statistics(scores, scores)[recording.statistic]}
    under = measure.by_chance(EVERY, observed)
    by_chance = np.stack([under(source)[recording.statistic] for source in null.sources(n_draws)])
    return p_values(observed[recording.statistic], by_chance)


def _p(recording: Recording, drives: Values, active: Mask, null: Null, n_draws: int) -> Values:
    if null.refusal is not None:
        return np.full(len(active), np.nan)
    if recording.statistic == "max mcc":
        return _p_of_conditions(recording, active, null, n_draws, EVERY)
    return _p_of_map(recording, drives, active, null, n_draws)


def _chi_square(recording: Recording, active: Mask) -> Values:
    """p of a chi-square test that takes bins for independent."""
    cut = conditions(recording.covariate)
    of_condition = (cut.codes[:, None] == np.arange(cut.n_conditions)).astype(np.float64)
    of_condition = of_condition[:, of_condition.any(axis=0)]
    on, n_on = active.astype(np.float64) @ of_condition, of_condition.sum(axis=0)
    share = active.mean(axis=1, keepdims=True)
    chi2 = (np.square(on - share * n_on) / (share * (1 - share) * n_on)).sum(axis=1)
    return np.asarray(stats.chi2.sf(chi2, len(n_on) - 1))


def _rayleigh(recording: Recording, active: Mask) -> Values:
    """p of the Rayleigh test on active bins (Zar, Biostatistical Analysis, 1999, eq. 27.4)."""
    angle = recording.covariate.values[:, 0]
    n = active.sum(axis=1)
    resultant = np.abs(active @ np.exp(1j * angle))
    return np.exp(np.sqrt(1 + 4 * n + 4 * (np.square(n) - np.square(resultant))) - (1 + 2 * n))


def _naive(recording: Recording, drives: Values, active: Mask, rng: np.random.Generator) -> dict[str, Values]:
    """What bins taken for independent say, and a null of the wrong kind."""
    shuffled = Null(name="bins", effective_shifts=1e6, sources=lambda n: (rng.permutation(N_BINS) for _ in range(n)))
    found = {
        "chi-square on bins": _chi_square(recording, active),
        "bins shuffled": _p(recording, drives, active, shuffled, 99),
    }
    if recording.covariate.kind == "circular":
        found["Rayleigh on bins"] = _rayleigh(recording, active)
    return found


def simulate(scenario: str, seed: int, *, effect: float = 0.0, naive: bool = False) -> Outcome:
    """One session with one latent; with an effect its drive gets that much of the behaviour."""
    rng = np.random.default_rng([seed, *scenario.encode()])
    recording = SCENARIOS[scenario](rng)
    drives = (recording.latent() + effect * recording.behaviour)[None]
    active = active_bins(rng, drives)
    null = _null(recording, EVERY, seed)
    return Outcome(
        p=_p(recording, drives, active, null, 199 if recording.statistic == "max mcc" else 99),
        naive=_naive(recording, drives, active, rng) if naive else {},
        null=null.name,
    )


def calibrate(scenario: str, n_sessions: int, n_naive: int) -> dict[str, object]:
    """One line of the table: how often p <= .05, in how many sessions that were not refused."""
    seeds = range(FIRST_SEED, FIRST_SEED + n_sessions)
    outcomes = [simulate(scenario, seed, naive=index < n_naive) for index, seed in enumerate(seeds)]
    p = np.concatenate([outcome.p for outcome in outcomes])
    tested = p[~np.isnan(p)]
    n_called = int((tested <= ALPHA).sum())
    naive = pd.DataFrame([{name: p[0] for name, p in outcome.naive.items()} for outcome in outcomes[:n_naive]])
    power = {}
    for effect in EFFECTS:
        found = np.array([simulate(scenario, seed, effect=effect).p[0] for seed in range(max(n_sessions // 10, 10))])
        power[f"power {effect:g}"] = float((found[~np.isnan(found)] <= ALPHA).mean()) if len(tested) else np.nan
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


def at_once(scenario: str, seed: int, n_latents: int, *, n_planted: int = 0) -> dict[str, Values]:
    """q of many latents of one session: over those chosen on train, over all, and by the chi-square test on bins.

    Two blocks of 10 s to choose on are followed by one to test on, with a gap of 1 s after each.
    """
    rng = np.random.default_rng([seed, 1000, *scenario.encode()])
    recording = SCENARIOS[scenario](rng)
    drives = families(rng, recording, n_latents)
    drives[:n_planted] += PLANTED_EFFECT * recording.behaviour
    active = active_bins(rng, drives)
    block, place = np.divmod(np.arange(N_BINS), 200)
    train, test = ((block % 3 < 2) & (place < 180), (block % 3 == 2) & (place < 180))
    rows = choosing_rows(recording.data, train, test)
    assert rows is not None
    p = [
        np.full(n_latents, np.nan)
        if (null := _null(recording, mask, seed)).refusal
        else _p_of_conditions(recording, active, null, n_draws, mask)
        for mask, n_draws in ((rows, N_CHOOSING), (test, 1000))
    ]
    chosen = stands_out(p[0], n_draws=N_CHOOSING)
    return {
        "chosen": benjamini_hochberg(np.where(chosen, p[1], np.nan)),
        "all": benjamini_hochberg(p[1]),
        "chi-square": benjamini_hochberg(_chi_square(recording, active)),
    }


def false_discoveries(scenario: str, n_runs: int, n_latents: int) -> dict[str, object]:
    """Runs in which any of many latents, none of which knows the variable, has q < .05, and the power beside it."""
    found = [at_once(scenario, seed, n_latents) for seed in range(FIRST_SEED, FIRST_SEED + n_runs)]
    tested = [q for q in found if not np.isnan(q["all"]).all()]
    line: dict[str, object] = {"scenario": scenario, "refused": n_runs - len(tested), "runs": len(tested)}
    line |= {f"any, {over}": sum(bool((q[over] < ALPHA).any()) for q in tested) for over in tested[0]}
    for n_planted in N_PLANTED:
        runs = [at_once(scenario, seed, n_latents, n_planted=n_planted) for seed in range(POWER_RUNS)]
        known = [q for q in runs if not np.isnan(q["all"]).all()]
        for over in ("chosen", "all"):
            called = [q[over] < ALPHA for q in known]
            line[f"power {n_planted}, {over}"] = float(np.mean([part[:n_planted].mean() for part in called]))
        false = [(q["chosen"] < ALPHA)[n_planted:].sum() / max((q["chosen"] < ALPHA).sum(), 1) for q in known]
        line[f"false {n_planted}"] = float(np.mean(false))
    return line


def _printed(lines: list[dict[str, object]], make: Callable[[], dict[str, object]]) -> dict[str, object]:
    lines.append(line := make())
    print(
        "  ".join(
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in line.items()
        ),
        flush=True,
    )
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=2_000, help="simulated sessions of each kind")
    parser.add_argument("--runs", type=int, default=200, help="runs of many latents at once")
    parser.add_argument("--latents", type=int, default=1_000, help="latents of such a run")
    parser.add_argument("--only", nargs="*", choices=SCENARIOS, help="kinds of session, all of them by default")
    parser.add_argument("--family", action="store_true", help="many latents at once, and nothing else")
    parser.add_argument("--single", action="store_true", help="one latent of each session, and nothing else")
    parser.add_argument("--smoke", action="store_true", help="a minute: 20 sessions, 3 runs of 100 latents")
    asked = parser.parse_args()
    n_sessions, n_runs, n_latents = (20, 3, 100) if asked.smoke else (asked.sessions, asked.runs, asked.latents)
    chosen = asked.only or list(SCENARIOS)
    announce(f"calibration: {n_sessions:,} sessions of each of {len(chosen)} kinds, {N_BINS:,} bins each")
    kept: dict[str, bool] = {}
    single: list[dict[str, object]] = []
    for scenario in () if asked.family else chosen:
        line = _printed(single, lambda scenario=scenario: calibrate(scenario, n_sessions, min(n_sessions, 120)))
        kept[f"{scenario}: P(p <= .05) within the binomial bound"] = line["called"] <= line["bound"]  # type: ignore[operator]
        naive = [line[name] for name in ("chi-square on bins", "bins shuffled", "Rayleigh on bins") if name in line]
        kept[f"{scenario}: naive tests on the same data call more than .15"] = max(naive) > 0.15  # type: ignore[type-var,operator]
    together: list[dict[str, object]] = []
    for scenario in () if asked.single else (name for name in IN_FAMILIES if name in chosen):
        line = _printed(together, lambda scenario=scenario: false_discoveries(scenario, n_runs, n_latents))
        most = round(MOST_RUNS_WITH_ANY * n_runs / 200) if n_runs >= 200 else int(stats.binom.ppf(0.99, n_runs, ALPHA))
        kept[f"{scenario}: {n_latents:,} latents at once, any called in at most {most} of {n_runs} runs"] = (
            line["any, chosen"] <= most  # type: ignore[operator]
        )
    for table in (single, together):
        print(pd.DataFrame(table).to_string(index=False, float_format="%.3f"))
    conclude(kept)


if __name__ == "__main__":
    main()
