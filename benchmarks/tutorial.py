"""The public tutorial on a full-size simulated MC_Maze session: planted features found, beside the controls."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from reporting import announce, conclude

import nldisco_core
from nldisco_core.activations import read_activations
from nldisco_core.binned import SPLITS
from nldisco_core.exporting import write_activations
from nldisco_core.recovery import align_truth, recovery
from nldisco_core.runs import Run, find_run

MAPPING = {"variables": ["event", "hand_speed"], "n_quantiles": 12, "confounds": False}
CONTROLS = ("raw-units", "units-omp", "random-encoder")


def run_in(folder: Path) -> Run:
    """Load, clean, bin, split, smooth, normalise, train, drop poor units and train again, evaluate and map."""
    return nldisco_core.run(
        "maze-reach",
        preset="nldisco-tutorial",
        controls=CONTROLS,
        settings={"threads": 2, "mappers": {"selectivity": MAPPING}},
        runs_dir=folder,
    )


def found_features(run: Run) -> pd.DataFrame:
    """Share of the planted features found on test bins, by kind, for the model and its controls."""
    dataset = nldisco_core.make("dataset", "maze-reach", {})
    truth = align_truth([dataset.load(name) for name in dataset.session_ids()], run.counts)
    rows = []
    splits = {name: run.counts.split == code for code, name in enumerate(SPLITS)}
    for part in (run.model, *run.controls.values()):
        found = recovery(part.latents.main, truth, matched_on=splits["train"], scored_on=splits["test"])
        shares = found.table.groupby("kind")["found"].mean()
        summary = found.summary.drop(columns="instance").mean()
        rows.append({"model": part.provider, **summary[["n_features", "n_found", "mean_auroc"]], **shares})
    return pd.DataFrame(rows).set_index("model")


def activations_without_the_model(run: Run, folder: Path) -> bool:
    """Whether saved activations and masks come back as they were."""
    write_activations(run.latents.main, run.counts, folder)
    back, own = read_activations(folder).main, run.latents.main
    return all(
        back.csc(i).nnz == own.csc(i).nnz and np.array_equal(back.csc(i).data, own.csc(i).data)
        for i in range(own.n_instances)
    )


def main() -> None:
    announce("the tutorial on maze-reach, 192 units, about 148,000 bins of 50 ms", threads=2)
    with tempfile.TemporaryDirectory() as scratch:
        cpu, wall = time.process_time(), time.perf_counter()
        run = find_run(sys.argv[1]) if len(sys.argv) > 1 else run_in(Path(scratch))
        print(f"{time.process_time() - cpu:.0f} CPU s, {time.perf_counter() - wall:.0f} s from files to mappings")
        for note in (*run.about["notes"], *run.about["verdict"]):
            print(f"- {note}")
        test = run.metrics[run.metrics["split"] == "test"]
        test = test[test["level"] == test.groupby("model")["level"].transform("max")]
        print(test.groupby("model")[["r2", "l0_mean", "bits_per_spike"]].mean().round(3).to_string())
        table = found_features(run)
        print(table.round(3).to_string())
        whole = activations_without_the_model(run, Path(scratch) / "activations")
    own, others = table.iloc[0]["n_found"], table.iloc[1:]["n_found"]
    conclude(
        {
            "more planted features found than any control": bool((own > others).all()),
            "activations come back without the model": whole,
        }
    )


if __name__ == "__main__":
    main()
