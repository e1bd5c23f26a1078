"""A mapper: how latents follow linear signals, against a null that keeps the autocorrelation of behaviour."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from nldisco_core.binned import Binned
from nldisco_core.config import Config
from nldisco_core.latents import Latents
from nldisco_core.mapping import MapperResult, mapping_table
from nldisco_core.nulls import benjamini_hochberg, choose_null, p_values


class CorrelationConfig(Config):
    """How many times the null is drawn."""

    n_draws: int = Field(default=199, ge=19)


class Correlation:
    """Pearson correlation r of each latent with each linear variable; p is that of |r|."""

    def __init__(self, config: CorrelationConfig) -> None:
        self.config = config

    def map(self, latents: Latents, data: Binned, *, seed: int) -> MapperResult:
        """One row per instance, latent and linear variable; signed codes are split into their rectified halves."""
        space, parts, notes = latents.main, [], []
        signs = (0,) if space.code_kind == "nonnegative" else (1, -1)
        usable = np.ones(data.n_bins, dtype=bool) if space.defined is None else space.defined
        for name in data.covariate_names:
            variable = data.covariate(name)
            if variable.kind != "linear":
                continue
            rows = usable & variable.defined
            null = choose_null(variable, data, usable=usable, tested=rows, seed=seed)
            notes += [f"{name}: {null.refusal}"] if null.refusal else []
            sources = [] if null.refusal else list(null.sources(self.config.n_draws))
            for instance in range(space.n_instances):
                for sign in signs:
                    activity = space.dense(instance)[rows].astype(np.float64)
                    rectified = np.maximum(sign * activity, 0) if sign else activity
                    r = correlation(rectified, variable.values[rows, 0])
                    chance = [np.abs(correlation(rectified, variable.values[source][rows, 0])) for source in sources]
                    p = p_values(np.abs(r), np.array(chance)) if chance else np.full(len(r), np.nan)
                    parts.append(_rows(instance, sign, name, r, p))
        table = mapping_table(pd.concat(parts).to_dict("list") if parts else {"instance": []})
        table["q"] = table.groupby("instance")["p"].transform(lambda p: benjamini_hochberg(p.to_numpy()))
        return MapperResult(table=table, notes=tuple(notes))


def correlation(activity: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_latents,) Pearson r of (n_rows, n_latents) activity with (n_rows,) values; NaN where a latent never varies."""
    a, v = activity - activity.mean(axis=0), values - values.mean()
    scale = np.sqrt(np.square(a).sum(axis=0) * np.square(v).sum())
    r = np.full(activity.shape[1], np.nan)
    np.divide(v @ a, scale, out=r, where=scale > 0)
    return r


def _rows(instance: int, sign: int, name: str, r: NDArray[np.float64], p: NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "instance": instance,
            "latent": np.arange(len(r)),
            "sign": sign,
            "variable": name,
            "correlation": r,
            "statistic": "absolute correlation",
            "p": p,
        }
    )
