"""What test bins say of planned hypotheses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nldisco_core.beside_controls import AS_GOOD
from nldisco_core.nulls import benjamini_hochberg
from nldisco_core.preregistration import Hypothesis, Preregistration
from nldisco_core.runs import ModelPart, Run

__all__ = ["judge"]


def judge(plan: Preregistration, run: Run) -> pd.DataFrame:
    """One row per hypothesis, from the mappings of a run that were made as planned.

    A hypothesis is about one latent that was settled on before the test, so that its own p counts, whether or not the
    mapper chose that latent for its q. ``confirmed`` takes q <= alpha, a score as expected, no other variable that
    explains the mapping better, and, for a model that is given labels, a score that silence does not reach.

    Returns
    -------
    DataFrame
        hypothesis, mapper, variable, statistic, expect, instance, latent and sign (latent null where the test is of all
        together); ``found`` (what was foretold, as text) and ``as_expected``; ``score`` (the mapper's), null,
        null_mean, p and ``q`` (Benjamini-Hochberg over the hypotheses that have a p: not over latents), alpha;
        ``better_explained_by`` (see `nldisco_core.comparison`); ``best_control``, ``best_control_score`` and
        ``zero_input_score``, see `nldisco_core.beside_controls`; ``n_agreeing`` of ``n_instances`` in which p <= alpha
        and nothing else speaks against it; ``verdict``, and ``reason`` where it is not ``confirmed``: ``not
        confirmed``, ``not testable`` or ``not as planned``
    """
    rows = [_judged(hypothesis, plan, run) for hypothesis in plan.hypotheses]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    table["q"] = benjamini_hochberg(table["p"].to_numpy(np.float64))
    table["verdict"], table["reason"] = zip(*(_verdict(row) for row in table.to_dict("records")), strict=True)
    return table.drop(columns=["failure", "objections"]).astype(_KINDS)


_COLUMNS = [
    *("hypothesis", "mapper", "variable", "statistic", "expect", "instance", "latent", "sign", "found", "as_expected"),
    *("score", "null", "null_mean", "p", "alpha", "better_explained_by", "best_control", "best_control_score"),
    *("zero_input_score", "n_agreeing", "n_instances", "failure", "objections"),
]

_KINDS = {
    **dict.fromkeys(
        ("statistic", "found", "null", "better_explained_by", "best_control", "verdict", "reason"), "string"
    ),
    **dict.fromkeys(("score", "null_mean", "p", "q", "best_control_score", "zero_input_score"), "float64"),
    **{"latent": "Int32", "sign": "int8", "instance": "int32", "as_expected": "bool"},
}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tested:
    """The row that decides on a hypothesis in one instance, and the column of its statistic; or why there is none."""

    row: pd.Series[Any] | None = None
    failure: tuple[str, str] | None = None

    def p(self) -> float:
        return np.nan if self.row is None else float(self.row["p"])


def _judged(hypothesis: Hypothesis, plan: Preregistration, run: Run) -> dict[str, Any]:
    table = _rows_of(run.model, hypothesis)
    splits = plan.mappers[hypothesis.mapper].get("splits", ["test"])
    instances = sorted(table["instance"].unique())
    found = {instance: _tested(hypothesis, table[table["instance"] == instance], splits) for instance in instances}
    missing = f"instance {hypothesis.instance}" if instances else hypothesis.variable
    chosen = found.get(
        hypothesis.instance, _Tested(failure=("not testable", f"{hypothesis.mapper} has no scores of {missing}"))
    )
    agreeing = [
        one
        for one in found.values()
        if one.row is not None
        and one.failure is None
        and one.p() <= plan.alpha
        and not _objections(one.row, hypothesis)
    ]
    about: dict[str, Any] = {
        "hypothesis": hypothesis.name,
        "mapper": hypothesis.mapper,
        "variable": hypothesis.variable,
        "expect": hypothesis.expect,
        "instance": hypothesis.instance,
        "sign": hypothesis.sign,
        "alpha": plan.alpha,
        "as_expected": _as_expected(hypothesis, chosen),
        "n_agreeing": len(agreeing),
        "n_instances": len(instances),
        "failure": chosen.failure,
        "objections": [],
        "p": np.nan,
    }
    if chosen.row is None:
        return about
    row = chosen.row
    return about | {
        "statistic": row["statistic"],
        "latent": row["latent"],
        "sign": row["sign"],
        "found": _text(row.get(hypothesis.expectation.column)),
        "score": row.get("score"),
        "null": row.get("null"),
        "null_mean": row["null_mean"],
        "p": np.nan if chosen.failure else chosen.p(),
        "best_control": row.get("best_control"),
        "best_control_score": row.get("best_control_score"),
        "better_explained_by": row.get("better_explained_by"),
        "zero_input_score": row.get("zero_input_score"),
        "objections": _objections(row, hypothesis),
    }


def _rows_of(part: ModelPart, hypothesis: Hypothesis) -> pd.DataFrame:
    """Scores of the whole variable by the statistic of a hypothesis."""
    table = part.mapping(hypothesis.mapper).table
    table = table[(table["variable"] == hypothesis.variable) & table["condition"].isna() & table["statistic"].notna()]
    statistic = hypothesis.statistic or next(iter(table["statistic"]), None)
    return table[table["statistic"] == statistic]


def _tested(hypothesis: Hypothesis, table: pd.DataFrame, splits: list[str]) -> _Tested:
    """The row on the last split; where no latent is named, that of the latent that the first split speaks for."""
    column, last = hypothesis.expectation.column, table[table["split"] == splits[-1]]
    if not len(last):
        return _Tested(failure=("not testable", f"{hypothesis.mapper} has no {splits[-1]} scores of the variable"))
    if column not in last:
        return _Tested(failure=("not testable", f"there is no score {column}"))
    if last["latent"].isna().all():
        return _with_failure(last.iloc[0], hypothesis)
    latent, sign = hypothesis.latent, int(hypothesis.sign)
    if latent is None and len(splits) == 1:
        return _Tested(failure=("not testable", f"there are {splits[0]} scores only to choose a latent on; name it"))
    if latent is None:
        first = table[(table["split"] == splits[0]) & _supported(table)]
        expected = first[first[column].map(hypothesis.expectation.met).astype(bool)]
        if not len(expected):
            return _Tested(failure=("not confirmed", f"no supported latent is as expected on {splits[0]} bins"))
        if "score" not in expected or expected["score"].isna().all():
            return _Tested(failure=("not testable", f"{hypothesis.mapper} has no score to choose a latent by; name it"))
        best = expected.loc[expected["score"].idxmax()]
        latent, sign = int(best["latent"]), int(best["sign"])
    row = last[(last["latent"] == latent) & (last["sign"] == sign)]
    return _with_failure(row.iloc[0], hypothesis) if len(row) else _Tested(failure=("not testable", "no such latent"))


def _with_failure(row: pd.Series[Any], hypothesis: Hypothesis) -> _Tested:
    if row.get("supported") is not None and not row["supported"]:
        return _Tested(row=row, failure=("not testable", "under 50 active bins or 10 visits on these bins"))
    if pd.isna(row["p"]):
        return _Tested(row=row, failure=("not testable", "the null offers no p value for it"))
    null = row.get("null")
    if hypothesis.null is not None and isinstance(null, str) and null != hypothesis.null:
        return _Tested(row=row, failure=("not as planned", f"{hypothesis.null} was planned, {null} was used"))
    return _Tested(row=row)


def _as_expected(hypothesis: Hypothesis, tested: _Tested) -> bool:
    row = tested.row
    return row is not None and hypothesis.expectation.met(row[hypothesis.expectation.column])


def _objections(row: pd.Series[Any], hypothesis: Hypothesis) -> list[str]:
    """What speaks against a hypothesis besides its p."""
    found, other, zero = (
        row.get(c) for c in (hypothesis.expectation.column, "better_explained_by", "zero_input_score")
    )
    said = []
    if not hypothesis.expectation.met(found):
        said.append(f"expected {hypothesis.expect}, found {_text(found)}")
    if isinstance(other, str):
        said.append(f"{other} explains it better")
    if zero is not None and zero >= row["score"] - AS_GOOD:
        said.append(f"as strong without any activity ({row['statistic']} {zero:.3g})")
    return said


def _text(found: Any) -> str | None:
    return found if isinstance(found, str) else None if found is None or pd.isna(found) else f"{found:.4g}"


def _verdict(row: dict[str, Any]) -> tuple[str, str]:
    if row["failure"] is not None:
        verdict, reason = row["failure"]
        return verdict, reason
    chance = [f"q is {row['q']:.3g}, above {row['alpha']:g}"] if row["q"] > row["alpha"] else []
    misses = [*chance, *row["objections"]]
    return ("not confirmed", "; ".join(misses)) if misses else ("confirmed", "")


def _supported(table: pd.DataFrame) -> pd.Series[bool]:
    if "supported" not in table:
        return pd.Series(True, index=table.index)
    return table["supported"].astype("boolean").fillna(False).astype(bool)
