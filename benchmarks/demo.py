"""The demo's promises on the bundled recording: what the autoencoder must reach, beside its controls."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
from pathlib import Path

import pandas as pd
from reporting import announce, conclude

from nldisco_core.composition import compose
from nldisco_core.pipeline import execute
from nldisco_core.summary import Findings, comparison, printable


def promises(table: pd.DataFrame) -> dict[str, bool]:
    """What the README says of the demo, by the comparison of a run."""
    found = table.set_index(["model", "quantity", table["variable"].fillna("")])

    def of(model: str, quantity: str, variable: str = "") -> pd.Series:
        return found.loc[(model, quantity, variable)]

    heading = "head_direction"
    return {
        "R² >= .90 in every instance": of("model", "r2")["low"] >= 0.90,
        "at L0 <= 2.1": of("model", "l0")["high"] <= 2.1,
        "R² above units-omp in every instance": of("model", "r2")["low"] > of("units-omp", "r2")["high"],
        "heading R² >= .75": of("model", "decoding_r2", heading)["low"] >= 0.75,
        "median heading error <= 13 degrees": of("model", "decoding_error_deg", heading)["high"] <= 13,
        "heading R² above the random encoder's, ranges apart": of("model", "decoding_r2", heading)["low"]
        > of("random-encoder", "decoding_r2", heading)["high"],
        "at least 6 tuned latents on average": of("model", "n_tuned", heading)["mean"] >= 6,
        "median seed match >= .8": of("model", "seed_match")["mean"] >= 0.8,
    }


def main() -> None:
    announce("nldisco demo, without the explorer")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run = execute(compose(preset="head-direction-demo"), runs_dir=Path(folder), quiet=True)
        seconds = time.perf_counter() - started
        table = comparison(Findings.of(run))
        for title, block in printable(table, {"model": run.model.provider}).items():
            print(f"\n{title}\n{block.to_string()}")
        print(f"\ntook {seconds:.0f} s; goal after installation: at most 120 s on two cores")
    conclude(promises(table))


if __name__ == "__main__":
    main()
