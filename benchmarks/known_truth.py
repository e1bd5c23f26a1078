"""Planted features against the mapping of a model's latents: found or missed, the preferred value, and the confusion.

The true features are mapped as if they were latents, which gives the peak of each one's tuning curve over its variable.
A latent is matched to each feature on training bins; on test bins the feature counts as found by
its AUROC (see `nldisco_core.recovery`), and the mapper ``selectivity`` says at which value of that variable the latent
is most active.
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
from numpy.typing import NDArray
from recovery import Recording, active_per_bin, configured, fitted, recording
from reporting import announce, conclude
from scipy import sparse

from nldisco_core.composition import compose, plan
from nldisco_core.config import parse
from nldisco_core.discoveries import found as to_report
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult
from nldisco_core.pipeline import load_binned
from nldisco_core.recovery import BinnedTruth
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
        "place-cells-1d": {"variables": ["position"], "n_position": 5},
        "place-ensembles": {"variables": ["position", "heading"], "n_position": 8},
        "worm-stimuli": {"variables": ["stimulus"]},
        "maze-reach": {
            "variables": ["phase", "movement_angle", "hand_speed", "hit_position_angle", "maze"],
            "n_circular": 8,
        },
    }
)
VARIABLE: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("place", "region", "direction of a place"), "position"),
        **dict.fromkeys(("stimulus", "flow"), "stimulus"),
        **dict.fromkeys(("direction", "direction-fast"), "movement_angle"),
        "speed": "hand_speed",
        "target": "hit_position_angle",
        "maze": "maze",
        "phase": "phase",
    }
)
"""The variable that a kind of feature was planted in."""

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


def peaks(result: MapperResult, variable: str) -> NDArray[np.int64]:
    """(n_columns,) condition in which each column is most active on test bins, -1 for one that never is."""
    curve = np.nan_to_num(result.arrays[f"{variable}/curve_test"][0])
    return np.where(curve.any(axis=1), curve.argmax(axis=1), -1)


def planted(name: str, of: Recording) -> pd.DataFrame:
    """The variable each true feature follows most, and where it is strongest, by feature name."""
    session_ids = tuple(session.session_id for session in of.data.sessions)
    code = sparse.csc_array(np.nan_to_num(np.maximum(of.truth.activity, 0)).astype(np.float32))
    space = LatentSpace(codes=(code,), session_ids=session_ids, row_offsets=of.data.row_offsets)
    result = mapped(name, of, space, n_shifts=0)
    kinds = of.truth.features["kind"]
    if name == "place-ensembles":
        kinds = kinds.replace("direction", "direction of a place")
    variable = kinds.map(VARIABLE)
    peak = [int(peaks(result, of_feature)[column]) for column, of_feature in enumerate(variable)]
    kind = [of.data.covariate(of_feature).kind for of_feature in variable]
    return pd.DataFrame({"variable": variable, "kind": kind, "peak": peak}).set_index(of.truth.features["name"])


def apart(result: MapperResult, variable: str, kind: str, peak: int) -> NDArray[np.float64]:
    """(n_columns,) distance of the peak of each column from another condition, in conditions; infinite for none."""
    n_conditions = len(result.arrays[f"{variable}/labels"])
    own = peaks(result, variable)
    if kind == "position":
        centres = result.arrays[f"{variable}/centres"].reshape(n_conditions, -1)
        steps = [np.diff(np.unique(axis.round(9))).min() for axis in centres.T]
        away = np.linalg.norm((centres[own] - centres[peak]) / steps, axis=1)
    else:
        away = np.abs(own - peak).astype(np.float64)
        if kind == "circular":
            away = np.minimum(away, n_conditions - away)
        elif kind == "discrete":
            away = (away > 0).astype(np.float64)
    return np.where(own < 0, np.inf, away)


def compared(name: str, of: Recording, space: LatentSpace, truth: pd.DataFrame) -> pd.DataFrame:
    """One row per feature: its matched latent, whether it is found, where it is most active, and what is reported."""
    result = mapped(name, of, space, n_shifts=N_SHIFTS)
    rows = whole(result)
    matched = recovered(space, of.truth, matched_on=of.rows("train"), scored_on=of.rows("test")).table
    lines = []
    for match in matched.itertuples(index=False):
        variable, kind, peak = truth.loc[match.feature, ["variable", "kind", "peak"]]
        near = apart(result, variable, kind, int(peak)) <= SAME[kind]
        labels = result.arrays[f"{variable}/labels"]
        column = -1 if pd.isna(match.latent) else int(match.latent) + space.n_latents * (match.sign < 0)
        lines.append(
            {
                "feature": match.feature,
                "kind": match.kind,
                "latent": match.latent,
                "auroc": match.auroc,
                "found": bool(match.found),
                "goes with": match.best_feature,
                "variable": variable,
                "planted value": labels[peak],
                "prefers": labels[peaks(result, variable)[column]] if column >= 0 else "",
                "same value": bool(column >= 0 and near[column]),
                "reported": bool((to_report(rows[rows["variable"] == variable]).to_numpy() & near).any()),
            }
        )
    return pd.DataFrame(lines)


def summarised(table: pd.DataFrame) -> dict[str, Any]:
    found = table[table["found"]]
    return {
        "features": len(table),
        "found": int(table["found"].sum()),
        "same value": f"{found['same value'].sum()} of {len(found)}",
        "some latent reported there": int(table["reported"].sum()),
        "mean AUROC": round(float(table["auroc"].mean()), 3),
    }


def confusion(of: Recording, table: pd.DataFrame) -> pd.DataFrame:
    """Planted kinds (rows), and what became of them: found, too weak, or the kind that the latent follows instead."""
    kinds = dict(zip(of.truth.features["name"], of.truth.features["kind"], strict=True))
    instead = table["goes with"].map(kinds).map("follows a {}".format, na_action="ignore").fillna("no latent")
    fate = instead.mask(table["goes with"] == table["feature"], "its own, AUROC < .9").mask(table["found"], "found")
    return pd.crosstab(table["kind"].rename("planted"), fate.rename("fate"))


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
        print(confusion(of, ours).to_string())
        found = ours[ours["found"]]
        kept[f"{name}: of the features found at least nine in ten have the right preferred value"] = bool(
            len(found) and found["same value"].mean() >= 0.9
        )
        kept[f"{name}: more found than by the random encoder"] = bool(
            ours["found"].sum() > tables["random-encoder"]["found"].sum()
        )
    conclude(kept)


if __name__ == "__main__":
    main()
