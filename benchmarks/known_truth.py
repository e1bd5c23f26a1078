"""Planted features against the mapping of a model's latents: found or missed, the preferred value, and the confusion.

The true features are mapped as if they were latents: that gives the variable each follows most and its preferred value
there. A latent is matched to each feature on training bins; on test bins the feature counts as found by its AUROC (see
`nldisco_core.recovery`), and the mapper ``selectivity`` says which value of that variable the latent prefers.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from nldisco_datasets.place_cells_1d import CELLS, field
from nldisco_selectivity.config import SelectivityConfig
from nldisco_selectivity.mapper import Selectivity
from recovery import Recording, active_per_bin, configured, fitted, recording
from reporting import announce, conclude
from scipy import sparse

from nldisco_core.composition import compose, plan
from nldisco_core.config import parse
from nldisco_core.discoveries import found as to_report
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult
from nldisco_core.pipeline import load_binned
from nldisco_core.recovery import ACTIVE, BinnedTruth
from nldisco_core.recovery import recovery as recovered

CONTROLS = ("raw-units", "pca", "random-encoder")
N_SHIFTS = 499
OURS: Mapping[str, tuple[str, dict[str, Any]]] = MappingProxyType(
    {
        "place-cells-1d": ("matryoshka-sae", {}),
        "place-ensembles": ("", {}),  # that of the preset
        "worm-stimuli": ("matryoshka-sae", {"levels": {"8": 1, "32": 4}}),
        "maze-reach": ("matryoshka-sae", {"levels": {"32": 4, "128": 12}, "epochs": 15, "lr": 2e-3}),
    }
)
MAPPED: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "place-cells-1d": {"variables": ["position"], "n_position": 6},
        "place-ensembles": {"variables": ["position", "heading"], "n_position": 8},
        "worm-stimuli": {"variables": ["stimulus"]},
        "maze-reach": {
            "variables": ["phase", "movement_angle", "hand_speed", "hit_position_angle", "maze"],
            "n_circular": 8,
        },
    }
)
SAME = {"circular": 1.0, "position": 1.5, "linear": 1.0, "discrete": 0.0}
"""Conditions apart that still count as the same value; cells of a grid lie 1.4 apart corner to corner."""


def place_cells() -> Recording:
    """The place cells with their fields as features."""
    made = plan(compose(dataset="place-cells-1d", model="matryoshka-sae"))
    counts, data = load_binned(made)
    features = pd.DataFrame({"name": CELLS.index, "kind": "place", "parent": ""})
    truth = BinnedTruth(features=features, activity=field(data.covariate("position").values[:, 0]).T)
    listed, config = made.model()
    return Recording(counts, data, truth, listed.name, config, made.config.preprocess.smooth_s)


def recorded(name: str) -> Recording:
    if name == "place-cells-1d":
        return place_cells()
    if name == "maze-reach":
        preprocess = {"preprocess.smooth_s": 0.05, "preprocess.normalise": "global-max"}
        assignments = [f"{key}={value!r}".replace("'", '"') for key, value in preprocess.items()]
        return recording(name, {"n_trials": 600}, model="matryoshka-sae", assignments=assignments)
    return recording(name, {}, preset={"place-ensembles": "ensembles", "worm-stimuli": "worm"}[name])


def spaces(name: str, of: Recording, seed: int) -> dict[str, LatentSpace]:
    """Latents of our model and of its controls of the same size."""
    model, settings = OURS[name]
    ours = configured(model, {**settings, "seeds": [seed]}) if model else of.model.model_copy(update={"seeds": (seed,)})
    made = {"ours": fitted(model or of.model_name, ours, of.data.train(), of.data)[1]}
    l0 = active_per_bin(made["ours"], of.rows("train"))
    for control in CONTROLS:
        matched = configured(control, {}).matched(
            reference=ours, n_latents=made["ours"].n_latents, l0=l0, n_units=of.data.n_units
        )
        made[control] = fitted(control, matched, of.data.train(), of.data)[1]
    return made


def mapped(name: str, of: Recording, space: LatentSpace, *, n_shifts: int) -> MapperResult:
    settings = {**MAPPED[name], "n_shifts": n_shifts, "confounds": n_shifts > 0}
    return Selectivity(parse(SelectivityConfig, settings)).map(Latents.of(space), of.data, seed=0)


def whole(result: MapperResult) -> pd.DataFrame:
    """The rows of whole variables on test bins."""
    table = result.table
    return table[table["condition"].isna() & (table["split"] == "test")]


def planted(name: str, of: Recording) -> pd.DataFrame:
    """The variable each true feature follows most, and its preferred value there, by feature name."""
    active = np.where(of.truth.activity >= ACTIVE, of.truth.activity, 0)
    session_ids = tuple(session.session_id for session in of.data.sessions)
    code = sparse.csc_array(np.nan_to_num(active).astype(np.float32))
    space = LatentSpace(codes=(code,), session_ids=session_ids, row_offsets=of.data.row_offsets)
    rows = whole(mapped(name, of, space, n_shifts=0)).dropna(subset=["max_mcc"])
    best = rows.loc[rows.groupby("latent")["max_mcc"].idxmax()]
    names = of.truth.features["name"].to_numpy(dtype=object)[best["latent"].to_numpy(dtype=int)]
    return best.assign(feature=names).set_index("feature")[["variable", "kind", "preferred", "max_mcc"]]


def apart(result: MapperResult, variable: str, kind: str, one: str, other: str) -> float:
    """Distance of two values of a variable in conditions."""
    labels = result.arrays[f"{variable}/labels"].tolist()
    a, b = labels.index(one), labels.index(other)
    if kind == "position":
        centres = result.arrays[f"{variable}/centres"].reshape(len(labels), -1)
        steps = [np.diff(np.unique(axis)).min() for axis in centres.T]
        return float(np.linalg.norm((centres[a] - centres[b]) / steps))
    steps = abs(a - b)
    if kind == "circular":
        return float(min(steps, len(labels) - steps))
    return float(steps if kind == "linear" else a != b)


def compared(name: str, of: Recording, space: LatentSpace, truth: pd.DataFrame) -> pd.DataFrame:
    """One row per feature: its matched latent, whether it is found, which value it prefers, and what is reported."""
    result = mapped(name, of, space, n_shifts=N_SHIFTS)
    rows = whole(result)
    matched = recovered(space, of.truth, matched_on=of.rows("train"), scored_on=of.rows("test")).table
    lines = []
    for match in matched.itertuples(index=False):
        known = truth.loc[match.feature] if match.feature in truth.index else None
        line = {"feature": match.feature, "kind": match.kind, "auroc": match.auroc, "found": bool(match.found)}
        line["goes with"] = match.best_feature if match.auroc >= 0.5 else None
        if known is not None:
            of_variable = rows[rows["variable"] == known["variable"]]
            near = np.array(
                [
                    pd.notna(value)
                    and apart(result, known["variable"], known["kind"], known["preferred"], value)
                    <= SAME[known["kind"]]
                    for value in of_variable["preferred"]
                ],
                dtype=bool,
            )
            own = (of_variable["latent"] == match.latent) & (of_variable["sign"] == match.sign)
            line |= {
                "variable": known["variable"],
                "value": known["preferred"],
                "latent": match.latent,
                "prefers": of_variable.loc[own, "preferred"].squeeze() if own.any() else None,
                "same value": bool(near[own.to_numpy()].any()),
                "reported": bool((to_report(of_variable).to_numpy() & near).any()),
            }
        lines.append(line)
    return pd.DataFrame(lines)


def summarised(table: pd.DataFrame) -> dict[str, Any]:
    known = table.dropna(subset=["variable"])
    found = known[known["found"]]
    return {
        "features": len(table),
        "found": int(table["found"].sum()),
        "same value": f"{found['same value'].sum()} of {len(found)}",
        "some latent reported there": int(known["reported"].sum()),
        "mean AUROC": round(float(table["auroc"].mean()), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=OURS, default=list(OURS), help="simulators, all by default")
    parser.add_argument("--seed", type=int, default=0, help="of our model and its controls")
    asked = parser.parse_args()
    announce("planted features, found and missed")
    kept = {}
    for name in asked.only:
        of = recorded(name)
        truth = planted(name, of)
        tables = {model: compared(name, of, space, truth) for model, space in spaces(name, of, asked.seed).items()}
        print(f"\n{name}: {of.data.n_bins:,} bins, {of.data.n_units} units, test bins")
        print(pd.DataFrame({model: summarised(table) for model, table in tables.items()}).T.to_string())
        ours = tables["ours"]
        print(ours.drop(columns=["reported"]).round(2).to_string(index=False))
        missed = ours[~ours["found"]]
        if len(missed):
            kinds = dict(zip(of.truth.features["name"], of.truth.features["kind"], strict=True))
            goes = (
                missed["goes with"]
                .map(kinds)
                .fillna("nothing")
                .where(missed["goes with"] != missed["feature"], "itself, AUROC < .9")
            )
            print("missed, by kind (rows), and the kind of the feature that its latent follows most (columns)")
            print(pd.crosstab(missed["kind"], goes.rename("goes with")).to_string())
        found = ours[ours["found"] & ours["variable"].notna()]
        kept[f"{name}: found features with the right preferred value, at least nine in ten"] = bool(
            len(found) and found["same value"].mean() >= 0.9
        )
        kept[f"{name}: more found than by the random encoder"] = bool(
            ours["found"].sum() > tables["random-encoder"]["found"].sum()
        )
    conclude(kept)


if __name__ == "__main__":
    main()
