"""A variable that two mappers speak of, with several statistics, is told once for each."""

from __future__ import annotations

import pandas as pd

from nldisco_core.mapping import mapping_table
from nldisco_core.summary import Findings, comparison, printable
from nldisco_core.verdict import verdict


def table(statistic: str, q: list[float], *, resultant: float | None = None) -> pd.DataFrame:
    columns: dict[str, object] = {
        "instance": 0,
        "latent": range(len(q)),
        "variable": "place",
        "split": "test",
        "statistic": statistic,
        "p": q,
        "q": q,
        "supported": True,
    }
    return mapping_table(columns | ({} if resultant is None else {"resultant_length": resultant}))


def test_statistics_of_one_variable_are_counted_apart() -> None:
    spatial = pd.concat([table("spatial information", [0.01, 0.5]), table("grid score", [0.6, 0.7])])
    metrics = pd.DataFrame({"model": ["model"], "split": "test", "level": 0, "instance": 0})
    findings = Findings(metrics=metrics, mappings={"model": (table("max mcc", [0.01, 0.02], resultant=0.9), spatial)})
    told = comparison(findings).set_index(["variable", "quantity"])["mean"]
    assert told["place", "n_tuned"] == 2
    assert told["place", "n_supported"] == 2
    assert told["place (spatial information)", "n_tuned"] == 1
    assert told["place (grid score)", "n_tuned"] == 0
    assert told["place (grid score)", "n_supported"] == 2
    assert list(printable(comparison(findings), {})) == ["place", "place (spatial information)", "place (grid score)"]
    assert any("tuned to place (spatial information)" in sentence for sentence in verdict(findings, {}))
