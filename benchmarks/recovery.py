"""Known features recovered by the autoencoder and by everything it is judged beside, where we lose included."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from nldisco_datasets.place_cells_1d import gates
from reporting import announce, conclude
from scipy import stats

from nldisco_core.binned import SPLITS, Binned
from nldisco_core.binning import bin_sessions
from nldisco_core.config import ModelConfig, parse
from nldisco_core.interfaces import LatentModel
from nldisco_core.latents import LatentSpace
from nldisco_core.monitoring import FitMonitor
from nldisco_core.plugins import make, registry
from nldisco_core.preprocessing import preprocess
from nldisco_core.recovery import BinnedTruth, align_truth, recovery
from nldisco_core.splits import assign_splits

# Chosen on the validation bins of two recordings (seeds 100 and 101) that are not among those reported.
SAE = {"output": "relu", "epochs": 40, "lr": 5e-3}
L0 = 6.0
CONTROLS = (
    "raw-units",
    "units-omp",
    "nmf",
    "pca",
    "ica",
    "learned-dictionary",
    "random-encoder",
    "unit-shuffled-sae",
)
QUICK = ("matryoshka-sae", "raw-units", "ica")
COLUMNS = ["share_found", "mean_auroc", "mean_mcc", "n_duplicates", "l0", "region", "place", "direction"]


class Recording(NamedTuple):
    """A simulated recording on bins, and its features on the same bins."""

    data: Binned
    truth: BinnedTruth
    n_features: int


def recording(settings: dict[str, Any]) -> Recording:
    dataset = make("dataset", "place-ensembles", settings)
    sessions = [dataset.load(name) for name in dataset.session_ids()]
    counts = assign_splits(bin_sessions(sessions, bin_s=0.1), train=0.6, validation=0.1, test=0.3)
    truth = align_truth(sessions, counts)
    return Recording(preprocess(counts, smooth_s=0.2, normalise="unit-max"), truth, len(truth.features))


def fitted(name: str, config: ModelConfig, data: Binned) -> tuple[LatentModel, LatentSpace]:
    model = registry().listed("model", name).load()(config)
    model.fit(data.train(), validation=data.part("validation"), monitor=FitMonitor(name, quiet=True))
    return model, model.transform(data).main


def configured(name: str, settings: dict[str, Any]) -> ModelConfig:
    return parse(registry().listed("model", name).load_config(), settings)


def scores(recorded: Recording, names: tuple[str, ...], seed: int) -> pd.DataFrame:
    """One row per model; every control with as many latents and as many active ones as the autoencoder."""
    data, n_latents = recorded.data, 2 * recorded.n_features
    reference = configured("matryoshka-sae", {**SAE, "levels": {str(n_latents): L0}, "seeds": [seed]})
    in_split = {name: data.split == code for code, name in enumerate(SPLITS)}
    rows, l0 = [], L0
    for name in names:
        config = reference
        if name != "matryoshka-sae":
            config = configured(name, {}).matched(reference=reference, n_latents=n_latents, l0=l0, n_units=data.n_units)
        _, space = fitted(name, config, data)
        if name == "matryoshka-sae":
            l0 = active_per_bin(space, in_split["validation"])
        found = recovery(space, recorded.truth, matched_on=in_split["train"], scored_on=in_split["test"])
        by_kind = found.table.groupby("kind")["found"].mean()
        summary = found.summary.drop(columns="instance").mean()
        rows.append({"model": name, **summary, **by_kind, "l0": active_per_bin(space, in_split["test"])})
    return pd.DataFrame(rows)


def active_per_bin(space: LatentSpace, rows: np.ndarray) -> float:
    return float(space.rows(rows).csc().nnz / rows.sum())


def interval(values: pd.Series) -> tuple[float, float]:
    """95 % interval of the mean over recordings, from Student's t."""
    reach = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else np.nan
    return values.mean() - reach, values.mean() + reach


def at_default(n_seeds: int) -> dict[str, bool]:
    found = pd.concat(
        [scores(recording({"seed": seed}), ("matryoshka-sae", *CONTROLS), seed) for seed in range(n_seeds)]
    )
    table = found.groupby("model", sort=False)[COLUMNS].mean()
    bounds = {name: interval(part["share_found"]) for name, part in found.groupby("model")}
    table.insert(1, "interval", [f"{bounds[name][0]:.2f} to {bounds[name][1]:.2f}" for name in table.index])
    print(f"\nplace-ensembles at its default settings, {n_seeds} recordings, test bins")
    print(table.round(2).to_string())
    sae_low = bounds["matryoshka-sae"][0]
    return {f"more features found than {name}, intervals apart": sae_low > bounds[name][1] for name in CONTROLS}


def curves() -> None:
    settings = [{"snr": snr} for snr in (1.0, 2.0, 4.0, 8.0)]
    settings += [{"n_units": n} for n in (50, 200)] + [{"n_features": n} for n in (16, 64, 128)]
    rows = []
    for changed in settings:
        recorded = recording({"seed": 0, **changed})
        share = scores(recorded, QUICK, 0).set_index("model")["share_found"]
        label = ", ".join(f"{key} {value:g}" for key, value in changed.items())
        rows.append({"changed": label, "D/N": 2 * recorded.n_features / recorded.data.n_units, **share})
    print("\nshare of features found, one recording each (D is twice the number of features)")
    print(pd.DataFrame(rows).round(2).to_string(index=False))


def place_cells() -> dict[str, bool]:
    dataset = make("dataset", "place-cells-1d", {})
    counts = assign_splits(bin_sessions([dataset.load(name) for name in dataset.session_ids()], bin_s=0.1))
    data = preprocess(counts, smooth_s=0.1, normalise="global-max")
    settings = {"levels": {"128": 4}, "epochs": 20, "seeds": list(range(10))}
    model, space = fitted("matryoshka-sae", configured("matryoshka-sae", settings), data)
    table = gates(space, data, model.dictionary())  # type: ignore[attr-defined]
    all_four = table.groupby("instance")["found"].all()
    print(f"\nplace-cells-1d: all four cells in {all_four.sum()} of {len(all_four)} seeds (published: 3 of 10)")
    if not all_four.all():
        print(table[~table["found"]][["instance", "cell", "latent", "failed"]].to_string(index=False))
    return {"place-cells-1d: all four cells in at least 9 of 10 seeds": all_four.sum() >= 9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="recordings at the default settings; ten to be reported")
    n_seeds = parser.parse_args().seeds
    announce("features recovered from recordings with known truth")
    promises = at_default(n_seeds)
    curves()
    conclude(promises | place_cells())


if __name__ == "__main__":
    main()
