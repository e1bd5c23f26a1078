"""Which rule names the unit that a latent rests on: every unit silenced in turn, on simulated ensembles."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from reporting import announce, conclude
from side_by_side import configured, fitted

from nldisco_core.binned import SPLITS
from nldisco_core.composition import compose, plan
from nldisco_core.dominance import single_unit_dominance, strongest_units
from nldisco_core.interfaces import HasDictionary
from nldisco_core.pipeline import load_binned
from nldisco_core.relations import copy_or_composite
from nldisco_core.unit_activity import co_activity

SETTINGS = {"levels": {32: 3, 128: 6}, "epochs": 40, "seeds": [0]}


def main() -> None:
    announce("place-ensembles, matryoshka-sae of 128 latents: the unit whose silence leaves least of a latent")
    _, data = load_binned(plan(compose(dataset="place-ensembles", model="matryoshka-sae")))
    model = fitted("matryoshka-sae", configured("matryoshka-sae", SETTINGS), data)
    assert isinstance(model, HasDictionary)
    latents, dictionary = model.transform(data), model.dictionary()
    rows = data.split == SPLITS.index("test")
    n_latents = latents.main.n_latents

    def left(unit: int) -> np.ndarray:
        every = np.full((1, n_latents), unit)
        return single_unit_dominance(model, latents, data, units=every, rows=rows)["remaining"].to_numpy()

    remaining = np.array([left(unit) for unit in range(data.n_units)])
    known = ~np.isnan(remaining).all(axis=0)
    copies = copy_or_composite(latents.main, data, rows=rows)
    followed = pd.Index(data.units["id"]).get_indexer(pd.Index(copies["unit"].fillna("").astype(object)))
    rules = {
        "most attribution": strongest_units(model, latents, data, rows=rows)[0],
        "largest correlation": followed,
        "largest mean z-score": np.nan_to_num(co_activity(latents.main, data, rows=rows).mean_z[0], nan=-9).argmax(
            axis=1
        ),
        "largest decoder weight": np.abs(dictionary.values[0]).argmax(axis=1),
    }
    least = np.nanmin(remaining[:, known], axis=0)
    excess = {}
    for rule, unit in rules.items():
        kept = remaining[unit, np.arange(n_latents)][known]
        excess[rule] = float((kept - least).mean())
        found = f"{np.mean(kept == least):.2f} of latents named right; leaves {np.median(kept):.3f} (median)"
        print(f"{rule}: {found}, {excess[rule]:.3f} more than the most harmful unit on average")
    print(f"the most harmful unit leaves {np.median(least):.3f} (median of {known.sum()} latents)")
    print(f"copies of a unit: {int(copies['copy'].sum())} of {known.sum()} latents")
    conclude({"attribution names the unit best": excess["most attribution"] == min(excess.values())})


if __name__ == "__main__":
    main()
