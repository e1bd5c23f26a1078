"""A run's figures side by side for the model and its controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd

from nldisco_core.discoveries import Q_LEVEL, found
from nldisco_core.ledger import standing
from nldisco_core.runs import Run

if TYPE_CHECKING:
    from nldisco_core.mapping import MapperResult

__all__ = ["SHARP", "Findings", "as_json", "best_found", "comparison", "printable", "top_mappings"]

SHARP = 0.7  # resultant length above which tuning looks sharp


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """The tables of one run that speak of its models.

    Attributes
    ----------
    metrics : evaluation, with a column ``model``
    mappings : per model the tables of its mappers
    seed_match, copies : see `nldisco_core.relations`; empty where they do not apply
    """

    metrics: pd.DataFrame
    mappings: Mapping[str, tuple[pd.DataFrame, ...]] = field(default_factory=lambda: MappingProxyType({}))
    seed_match: pd.DataFrame = field(default_factory=pd.DataFrame)
    copies: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def of(cls, run: Run, *, mapping: Callable[[str, str], MapperResult] | None = None) -> Findings:
        """The tables of a finished run.

        Parameters
        ----------
        mapping : gives what a mapper found, from the names of a model and of the mapper; None reads it from disk
        """
        read = mapping or (lambda model, mapper: run.part(model).mapping(mapper))
        parts = (run.model, *run.controls.values())
        return cls(
            metrics=run.metrics,
            mappings={part.name: tuple(read(part.name, name).table for name in part.mappings) for part in parts},
            seed_match=run.table("seed_match") if "seed_match" in run.tables else pd.DataFrame(),
            copies=run.table("copies") if "copies" in run.tables else pd.DataFrame(),
        )

    @property
    def models(self) -> tuple[str, ...]:
        """``model`` first, then the controls."""
        return tuple(dict.fromkeys(self.metrics["model"]))

    @property
    def split(self) -> str:
        """The split that figures are read on: ``validation`` where it was evaluated and test bins were not."""
        evaluated = set(self.metrics["split"])
        return "validation" if "validation" in evaluated and "test" not in evaluated else "test"


def comparison(findings: Findings, *, split: str | None = None) -> pd.DataFrame:
    """One row per model and quantity, over instances.

    Parameters
    ----------
    split : whose bins; None for `Findings.split`

    Returns
    -------
    DataFrame
        Columns model, quantity, variable (null where it does not apply), mean, low, high, n_instances. Quantities:
        ``r2``, ``l0``, ``bits_per_spike`` of the reconstruction; ``co_smoothing_bits`` or ``co_smoothing_r2`` of units
        left out; ``dead_share_strict``; ``decoding_r2``, ``decoding_error_deg`` and
        ``decoding_accuracy`` from all latents; ``n_supported``, ``n_tuned`` (see
        `nldisco_core.discoveries.found`), ``n_explained`` (supported and q < .05, but better explained by another
        variable), ``n_sharp`` (supported, resultant length > .7), ``best_score`` and ``best_information`` (bits) of a
        supported latent; ``copy_share``; ``seed_match`` and its nulls.
    """
    rows = [row for model in findings.models for row in _rows_of(findings, model, split or findings.split)]
    return pd.DataFrame(rows, columns=["model", "quantity", "variable", "mean", "low", "high", "n_instances"])


def _rows_of(findings: Findings, model: str, split: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []

    def add(quantity: str, values: Any, variable: str | None = None) -> None:
        numbers = pd.Series(values, dtype="float64").dropna()
        if len(numbers):
            rows.append((model, quantity, variable, numbers.mean(), numbers.min(), numbers.max(), len(numbers)))

    metrics = findings.metrics
    chosen = metrics[(metrics["model"] == model) & (metrics["split"] == split)]
    chosen = chosen[chosen["level"] == chosen["level"].max()]
    for quantity, column in _RECONSTRUCTION.items():
        if column in chosen:
            add(quantity, chosen.groupby("instance")[column].mean())
    for table in findings.mappings.get(model, ()):
        _add_decoding(add, table[table["latent"].isna() & (table["split"] == split)])
    for variable, group, first in _tests(findings, model, split):
        _add_tuning(add, variable, group, first=first)
    if len(findings.copies):
        alive = findings.copies[(findings.copies["model"] == model) & findings.copies["correlation"].notna()]
        add("copy_share", alive["copy"].astype("float64").groupby(alive["instance"]).mean())
    if len(findings.seed_match):
        found = findings.seed_match[findings.seed_match["model"] == model]
        for _, match in found.iterrows():
            rows.append((model, "seed_match", None, match["median"], match["lowest_pair"], match["highest_pair"], 1))
            rows.extend(
                (model, f"seed_match_{name}", None, match[name], match[name], match[name], 1)
                for name in found.columns
                if name.startswith("null_")
            )
    return rows


def _add_decoding(add: Any, table: pd.DataFrame) -> None:
    for variable, group in table.groupby("variable"):
        nearest = group[group["method"] == "knn"] if "method" in group else group
        for quantity, column in (
            ("decoding_r2", "r2"),
            ("decoding_error_deg", "median_error_deg"),
            ("decoding_accuracy", "balanced_accuracy"),
        ):
            if column in nearest:
                add(quantity, nearest.groupby("instance")[column].mean(), str(variable))


def _tests(findings: Findings, model: str, split: str) -> Iterator[tuple[str, pd.DataFrame, bool]]:
    """Variable, rows of single latents, and whether they are the first of the variable, for each test of each mapper.

    A further statistic of a variable that was told already goes by its own name.
    """
    told: set[str] = set()
    for table in findings.mappings.get(model, ()):
        if "supported" not in table:
            continue
        rows = table[table["latent"].notna() & table["condition"].isna() & (table["split"] == split)]
        for (name, statistic), group in rows.groupby(["variable", "statistic"], sort=False, dropna=False):
            yield (f"{name} ({statistic})" if name in told else str(name)), group, name not in told
            told.add(str(name))


def _supported(group: pd.DataFrame) -> pd.Series[bool]:
    return group["supported"].astype("boolean").fillna(False).astype(bool)


def _add_tuning(add: Any, variable: str, group: pd.DataFrame, *, first: bool) -> None:
    """Counts and best scores of the latents of one test."""
    supported, by_instance = _supported(group), group["instance"]
    add("n_supported", supported.groupby(by_instance).sum(), variable)
    if group["p"].notna().any():
        tuned = found(group)
        add("n_tuned", tuned.groupby(by_instance).sum(), variable)
        if "better_explained_by" in group:
            explained = supported & (group["q"] < Q_LEVEL) & ~tuned
            add("n_explained", explained.groupby(by_instance).sum(), variable)
    if first and "resultant_length" in group and group["resultant_length"].notna().any():
        sharp = supported & (group["resultant_length"] > SHARP)
        add("n_sharp", sharp.groupby(by_instance).sum(), variable)
    for quantity, column in (("best_score", "score"), ("best_information", "mutual_information")):
        if column in group:
            add(quantity, group[column].where(supported).groupby(by_instance).max(), variable)


def best_found(findings: Findings) -> dict[str, float]:
    """By variable the largest ``score`` of a latent of the model that counts as found, mean over instances.

    Variables go by the names of `comparison`; those that no latent was found for are left out.
    """
    best = {
        variable: group["score"].where(found(group)).groupby(group["instance"]).max().mean()
        for variable, group, _ in _tests(findings, "model", findings.split)
        if "score" in group
    }
    return {variable: float(score) for variable, score in best.items() if score == score}


def printable(table: pd.DataFrame, names: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """A comparison as titled tables of text: a row per model, ``mean [low, high]`` where instances differ.

    Parameters
    ----------
    table : see `comparison`
    names : what to call each model, such as ``{"model": "matryoshka-sae"}``
    """
    shown = table.assign(
        block=[_block(row.quantity, row.variable) for row in table.itertuples(index=False)],
        label=[_LABELS.get(quantity, quantity.replace("_", " ")) for quantity in table["quantity"]],
        model=[names.get(model, model) for model in table["model"]],
        text=[_number(row.quantity, row.mean, row.low, row.high) for row in table.itertuples(index=False)],
    )
    return {
        str(block): group.pivot(index="model", columns="label", values="text")
        .reindex(index=list(dict.fromkeys(group["model"])), columns=list(dict.fromkeys(group["label"])))
        .fillna("")
        .rename_axis(index=None, columns=None)
        for block, group in shown.groupby("block", sort=False)
    }


_RECONSTRUCTION = MappingProxyType(
    {
        "r2": "r2",
        "l0": "l0_mean",
        "bits_per_spike": "bits_per_spike",
        "co_smoothing_bits": "co_smoothing_bits",
        "co_smoothing_r2": "co_smoothing_r2",
        "dead_share_strict": "dead_share_strict",
    }
)
_LABELS = MappingProxyType(
    {
        "r2": "R²",
        "l0": "L0",
        "bits_per_spike": "bits/spike",
        "co_smoothing_bits": "bits/spike left out",
        "co_smoothing_r2": "R² left out",
        "dead_share_strict": "not alive",
        "decoding_r2": "decoding R²",
        "decoding_error_deg": "median error °",
        "decoding_accuracy": "balanced accuracy",
        "n_supported": "supported",
        "n_tuned": "q < .05",
        "n_explained": "explained by others",
        "best_score": "best score",
        "n_sharp": f"resultant > {SHARP:g}",
        "best_information": "best bits",
        "copy_share": "copies",
    }
)


def _block(quantity: str, variable: object) -> str:
    """Title of the table a quantity stands in."""
    if isinstance(variable, str):
        return variable
    return "reconstruction" if quantity in _RECONSTRUCTION else "copies and seeds"


def _number(quantity: str, mean: float, low: float, high: float) -> str:
    digits = 1 if quantity.startswith("n_") or quantity.endswith("_deg") else 2
    text = f"{mean:.{digits}f}"
    return text if f"{low:.{digits}f}" == f"{high:.{digits}f}" else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def top_mappings(findings: Findings, *, n: int = 10) -> pd.DataFrame:
    """The model's best supported latents of each variable on test bins, by q and then by Youden's J.

    Mappings that another variable explains better are left out; ``found`` says which are to be reported.
    """
    frames = []
    for table in findings.mappings.get("model", ()):
        whole = table[
            table["latent"].notna()
            & table["condition"].isna()
            & (table["split"] == findings.split)
            & table["q"].notna()
        ]
        if "better_explained_by" in whole:
            whole = whole[whole["better_explained_by"].isna()]
        whole = whole.assign(found=found(whole))
        order = ["q", "youden"] if "youden" in whole else ["q"]
        ranked = whole.sort_values(order, ascending=[True, False][: len(order)])
        frames.append(ranked.groupby("variable").head(n))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def as_json(run: Run) -> dict[str, Any]:
    """One object for scripts: run folder, metrics per split, controls, top mappings."""
    findings = Findings.of(run)
    metrics = findings.metrics
    return {
        "run": str(run.folder),
        "name": run.name,
        "model": run.model.provider,
        "metrics": {split: _records(group[group["model"] == "model"]) for split, group in metrics.groupby("split")},
        "controls": {name: _records(metrics[metrics["model"] == name]) for name in run.controls},
        "comparison": _records(comparison(findings)),
        "top_mappings": _records(top_mappings(findings)),
        "verdict": run.about.get("verdict", []),
        "test_split": standing(run),
    }


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [
        {str(key): getattr(v, "item", lambda v=v: v)() for key, v in row.items()} for row in plain.to_dict("records")
    ]
