"""The table of the head-direction benchmark for M1 and for a worm, and the tutorial's recipe on raw counts."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from reporting import announce, conclude
from side_by_side import Measured, configured, measured, never_seen, printed, spread, with_controls

from nldisco_core.binned import Binned
from nldisco_core.binning import bin_sessions
from nldisco_core.composition import compose, plan
from nldisco_core.pipeline import load_binned
from nldisco_core.preprocessing import preprocess
from nldisco_core.session import IntervalTable, Prebinned, Session, Traces
from nldisco_core.splits import assign_splits

DATA = Path("../shared/data")
SIZES, SPARSITIES = (8, 16, 32, 64), (2.0, 4.0, 8.0)
TRAINING = {"batch_size": 128, "epochs": 100, "lr": 5e-3}
CONTROLS: dict[str, dict[str, Any]] = {
    "units-omp": {},
    "nmf-omp": {},
    "learned-dictionary": {},
    "nmf": {},
    "pca": {},
    "raw-units": {},
    "random-encoder": {},
    "unit-shuffled-sae": {},
}
ALIVE = 0.95


def m1() -> tuple[Binned, Binned]:
    """Counts in bins of 100 ms of M1 during centre-out reaches, whole trials split, square root of smoothed counts."""
    with np.load(DATA / "m1_centre_out_reach.npz") as source:
        counts, trial, bin_s = np.rint(source["rates_hz"] * source["bin_s"]), source["trial"], float(source["bin_s"])
    start_s = (np.arange(len(trial)) + 10 * np.cumsum(np.diff(trial, prepend=trial[0]) != 0)) * bin_s
    bounds = [(start_s[trial == t][0], start_s[trial == t][-1] + bin_s) for t in np.unique(trial)]
    session = Session(
        session_id="m1",
        span_s=(0.0, float(start_s[-1] + bin_s)),
        units=_units(counts.shape[1], "M1"),
        prebinned=Prebinned(start_s=start_s, bin_s=bin_s, source=counts, kind="counts"),
        intervals={"trials": IntervalTable(pd.DataFrame(bounds, columns=["start_s", "stop_s"]))},
    )
    binned = bin_sessions([session], bin_s=bin_s, trials="trials")
    split = assign_splits(binned, by="trials", train=0.6, validation=0.2, test=0.2)
    return split, preprocess(split, smooth_s=0.1, normalise="sqrt")


def worm() -> tuple[Binned, Binned]:
    """Calcium of a worm's neurons in bins of 0.65 s, blocks of a minute, each neuron over its maximum."""
    with np.load(DATA / "worm_calcium_2022-08-02-01.npz") as source:
        times_s, values, names = source["t_s"], source["z"], source["neuron"]
    units = _units(values.shape[1], "head").assign(id=[f"{name}-{i}" for i, name in enumerate(names)])
    session = Session(
        session_id="worm",
        span_s=(float(times_s[0]), float(times_s[-1])),
        units=units,
        traces=Traces(times_s=times_s, source=values),
    )
    binned = bin_sessions([session], bin_s=0.65)
    split = assign_splits(binned, by="blocks", train=0.6, validation=0.2, test=0.2, block_s=60.0, gap_s=6.0)
    return split, preprocess(split, smooth_s=None, normalise="z-score")


def _units(n: int, region: str) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"u{unit}" for unit in range(n)], "region": region, "kind": ""})


def chosen(counts: Binned, data: Binned) -> tuple[dict[str, Any], pd.DataFrame]:
    """The size and sparsity with the best co-smoothing on validation bins, two seeds each, and all that were tried."""
    tried = []
    for size in SIZES:
        for k in SPARSITIES:
            config = configured("matryoshka-sae", {**TRAINING, "levels": {str(size): k}, "seeds": [100, 101]})
            values = measured("matryoshka-sae", config, counts, data).values("validation")
            column = "co_smoothing_bits" if "co_smoothing_bits" in values else "co_smoothing_r2"
            tried.append({"D": size, "k": k, column: values[column].mean(), "R²": values["r2"].mean()})
    table = pd.DataFrame(tried)
    best = table.loc[table.iloc[:, 2].idxmax()]
    return {"levels": {str(int(best["D"])): float(best["k"])}}, table


def recording(name: str, counts: Binned, data: Binned, n_seeds: int) -> dict[str, Measured]:
    print(f"\n{name}: {data.n_bins} bins of {data.bin_s:g} s, {data.n_units} units")
    best, tried = chosen(counts, data)
    print(tried.round(3).to_string(index=False))
    print(f"chosen on validation: {best}")
    config = configured("matryoshka-sae", {**TRAINING, **best, "seeds": list(range(n_seeds))})
    signed = (data.activity < 0).any()
    controls = {name: settings for name, settings in CONTROLS.items() if not (signed and name.startswith("nmf"))}
    found = with_controls("matryoshka-sae", config, controls, counts, data)
    strict = never_seen(found, counts, data, n_seeds=1)
    printed(found, {"never seen (mean over units)": {control: spread(values) for control, values in strict.items()}})
    return found


def tutorial(name: str, counts: Binned, output: str) -> None:
    """The tutorial's settings on counts as they are: how many latents are alive, or that there are too many.

    Its loss says nothing of predictions below zero, so that squared errors with the tutorial's linear output do not
    either; with output ``relu`` they do.
    """
    _, config = plan(compose(preset="nldisco-tutorial", dataset="head-direction")).model()
    found = measured("matryoshka-sae", config.model_copy(update={"output": output}), counts, counts)
    name = f"{name}, output {output}"
    alive = 1 - found.values()["dead_share_strict"].mean()
    latents = found.assessment.tables["latent_metrics"]
    support = (latents["n_active"] >= 50).mean()
    useful = (latents["importance"] > 0).mean()
    verdict = "enough data" if alive >= ALIVE else "this recording is too small for 1,024 latents"
    print(
        f"{name}, raw counts, levels 256/512/1024: {alive:.0%} alive in the strict sense on test bins (50 active bins "
        f"{support:.0%}, positive importance {useful:.0%}; ever active {1 - found.values()['dead_share'].mean():.0%}): "
        f"{verdict}"
    )
    print(pd.DataFrame({name: found.row()}).T.to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=["m1", "worm", "tutorial"])
    asked = parser.parse_args()
    announce("M1, worm, and the tutorial's recipe, on test bins")
    kept: dict[str, bool] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, read in (("m1", m1), ("worm", worm)):
            if asked.only not in (None, name):
                continue
            if not DATA.is_dir():
                print(f"\n{name}: skipped, {DATA} is not there")
                continue
            found = recording(name, *read(), asked.seeds)
            own, r2 = found["matryoshka-sae"].values()["r2"], {n: one.values()["r2"] for n, one in found.items()}
            for control in ("units-omp", "nmf-omp"):
                if control in r2:
                    place = "above" if own.min() > r2[control].max() else "not above"
                    print(f"{name}: R² {place} {control} for every seed (not promised)")
            for control in ("random-encoder", "unit-shuffled-sae"):  # what any trained model has to beat
                kept[f"{name}: R² above {control} for every seed"] = own.min() > r2[control].max()
        if asked.only in (None, "tutorial"):
            for output in ("identity", "relu"):
                tutorial("head direction", load_binned(plan(compose(preset="head-direction-demo")))[0], output)
                if DATA.is_dir():
                    tutorial("m1", m1()[0], output)
    conclude(kept)


if __name__ == "__main__":
    main()
