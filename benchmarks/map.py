"""The selectivity table, AUROC and 1,000 circular shifts of 2,048 latents on 130,000 bins, against a pandas groupby."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from nldisco_selectivity.scores import Active, max_mcc, score, shares
from numpy.typing import NDArray
from reporting import announce, conclude, cpu_seconds, peak_memory_mb
from scipy import sparse

from nldisco_core.binned import NO_TRIAL, Binned, BinnedSession, Covariate
from nldisco_core.counting import count_active
from nldisco_core.nulls import circular_shift, null_distribution
from nldisco_core.tuning import Conditions

N_BINS, N_LATENTS, N_INSTANCES, N_ACTIVE, N_SHIFTS = 130_000, 1_024, 2, 6_000_000, 1_000
CONDITIONS_OF = {"heading": 12, "place": 25, "speed": 10, "maze": 36, "phase": 9, "turn": 8}


@dataclass(frozen=True)
class _Recording:
    """Sparse activations of all instances, and variables cut into conditions that change every second or so."""

    activations: sparse.csc_array
    variables: dict[str, Conditions]

    @property
    def rows(self) -> NDArray[np.bool_]:
        return np.ones(N_BINS, dtype=bool)


def _recording() -> _Recording:
    rng = np.random.default_rng(0)
    columns = N_LATENTS * N_INSTANCES
    of_column = rng.multinomial(N_ACTIVE, rng.dirichlet(np.full(columns, 4.0)))
    rows = [np.sort(rng.choice(N_BINS, n, replace=False)).astype(np.int32) for n in np.minimum(of_column, N_BINS)]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in rows])]).astype(np.int32)
    values = rng.gamma(2.0, size=int(starts[-1])).astype(np.float32)
    variables = {}
    for name, n_conditions in CONDITIONS_OF.items():
        lengths = rng.geometric(1 / 20, N_BINS // 10)
        codes = np.resize(np.repeat(rng.integers(0, n_conditions, len(lengths)), lengths), N_BINS).astype(np.int32)
        variables[name] = Conditions(
            variable=name,
            kind="discrete",
            codes=codes,
            labels=tuple(f"{name} {code}" for code in range(n_conditions)),
            centres=np.arange(n_conditions, dtype=np.float64),
        )
    activations = sparse.csc_array((values, np.concatenate(rows), starts), shape=(N_BINS, columns))
    return _Recording(activations, variables)


def _selectivity(recording: _Recording) -> list[NDArray[np.float64]]:
    """Selectivity of every column for every condition."""
    activations, found = recording.activations, []
    starts = activations.indptr.astype(np.int64)
    for conditions in recording.variables.values():
        hits = count_active(starts, activations.indices, conditions.codes, conditions.n_conditions)
        n_on = np.bincount(conditions.codes, minlength=conditions.n_conditions)
        found.append(shares(hits, n_on)["selectivity"])
    return found


def _all_scores(recording: _Recording) -> list[NDArray[np.float64]]:
    """AUROC of every column for every condition, with all other scores of the mapper."""
    active, rows = Active.of(recording.activations, recording.rows), recording.rows
    half, segments = np.arange(N_BINS) < N_BINS // 2, np.zeros(N_BINS, dtype=np.int32)
    return [
        score(active, conditions, rows, first_half=half, segments=segments, by_trial=False).by_condition["auroc"]
        for conditions in recording.variables.values()
    ]


def _shifts(recording: _Recording, n_draws: int) -> NDArray[np.float64]:
    """Largest MCC of every column under circular shifts of the 12-bin variable."""
    conditions = recording.variables["heading"]
    covariate = Covariate(name="heading", values=conditions.codes.astype(np.float64), kind="discrete")
    session = BinnedSession(
        session_id="s",
        activity=np.zeros((N_BINS, 1), dtype=np.uint8),
        units=pd.DataFrame({"id": ["u0"], "region": "", "kind": ""}),
        start_ns=np.arange(N_BINS) * 50_000_000,
        trial=np.full(N_BINS, NO_TRIAL, dtype=np.int32),
        split=np.zeros(N_BINS, dtype=np.int8),
    )
    data = Binned(sessions=(session,), bin_s=0.05, activity_kind="counts")
    return null_distribution(
        circular_shift(covariate, data, usable=recording.rows, tested=recording.rows, seed=0),
        max_mcc,
        n_draws=n_draws,
        codes=conditions.codes,
        n_conditions=conditions.n_conditions,
        tested=recording.rows,
        active_starts=recording.activations.indptr.astype(np.int64),
        active_rows=recording.activations.indices,
    )


def _long_table(recording: _Recording) -> pd.DataFrame:
    """The activations as the earlier tutorial keeps them: one row per example, instance and latent."""
    entries = recording.activations.tocoo()
    instance, latent = np.divmod(entries.coords[1], N_LATENTS)
    return pd.DataFrame({"example_idx": entries.coords[0], "instance_idx": instance, "unit_idx": latent})


def _of_condition(table: pd.DataFrame, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n_columns,) selectivity for one condition by two groupbys, inside and outside."""
    during = table["example_idx"].isin(np.flatnonzero(inside))
    shares_ = []
    for chosen, n_bins in ((during, inside.sum()), (~during, (~inside).sum())):
        counts = table[chosen].groupby(["instance_idx", "unit_idx"]).size()
        every = pd.MultiIndex.from_product([range(N_INSTANCES), range(N_LATENTS)])
        shares_.append(counts.reindex(every, fill_value=0).to_numpy() / n_bins)
    return np.asarray(shares_[0] / (shares_[0] + shares_[1]))


def _grouped_by_value(recording: _Recording, table: pd.DataFrame) -> None:
    """One groupby per variable, by its value too: what a careful user of pandas would write."""
    for conditions in recording.variables.values():
        value = conditions.codes[table["example_idx"].to_numpy()]
        table.assign(value=value).groupby(["value", "instance_idx", "unit_idx"]).size()


def _seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    before = time.process_time()
    found = work()
    return found, time.process_time() - before


def main() -> None:
    announce(
        f"map {N_LATENTS:,} latents x {N_INSTANCES} with {N_ACTIVE / 1e6:g} M active bins of {N_BINS:,} "
        f"to {len(CONDITIONS_OF)} variables of {sum(CONDITIONS_OF.values())} conditions"
    )
    recording = _recording()
    ours = cpu_seconds(lambda: _selectivity(recording), repeats=3)
    selectivity = _selectivity(recording)
    before = peak_memory_mb()
    _shifts(recording, 1)  # compiles
    _all_scores(recording)
    _, all_scores = _seconds(lambda: _all_scores(recording))
    _, shifts = _seconds(lambda: _shifts(recording, N_SHIFTS))
    grown = peak_memory_mb() - before
    table = _long_table(recording)
    spent, differing = [], 0.0
    for (name, conditions), mine in zip(recording.variables.items(), selectivity, strict=True):
        found, seconds = _seconds(lambda conditions=conditions: _of_condition(table, conditions.codes == 0))
        spent.append(seconds * CONDITIONS_OF[name])
        differing = max(differing, float(np.nanmax(np.abs(found - mine[:, 0]))))
    pandas = sum(spent)
    _, careful = _seconds(lambda: _grouped_by_value(recording, table))
    print(f"selectivity table       {ours:8.2f} CPU s   goal <= 1 s on two cores")
    print(f"pandas, per condition   {pandas:8.1f} CPU s   one condition of each variable, times its conditions")
    print(f"pandas, per variable    {careful:8.1f} CPU s   {careful / ours:.0f} times ours")
    print(f"ratio                   {pandas / ours:8.0f}         promised >= 100; largest difference {differing:.1e}")
    print(f"AUROC and all scores    {all_scores:8.2f} CPU s   goal <= 10 s")
    print(f"{N_SHIFTS:,} circular shifts   {shifts:8.2f} CPU s   12 conditions; goal <= 30 s")
    print(f"memory above the data   {grown:8.0f} MB      promised <= 1000")
    conclude(
        {
            "the selectivity table at least 100 times faster than pandas": pandas >= 100 * ours,
            "the same selectivity as pandas": differing < 1e-12,
            "at most 1 GB above the data": grown <= 1000,
        }
    )


if __name__ == "__main__":
    main()
