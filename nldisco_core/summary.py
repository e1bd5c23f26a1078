"""A run's figures side by side for the model and its controls, and what they show in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from nldisco_core.ablation import MIN_ACTIVE
from nldisco_core.discoveries import Q_LEVEL, found
from nldisco_core.ledger import standing
from nldisco_core.runs import Run

__all__ = ["SHARP", "Findings", "as_json", "comparison", "printable", "top_mappings", "verdict"]

SHARP = 0.7  # resultant length above which tuning looks sharp
AS_GOOD = 0.01  # a control's score this far below still counts as equal
TOO_MANY_DEAD = 0.05


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
    def of(cls, run: Run) -> Findings:
        """The tables of a finished run."""
        parts = (run.model, *run.controls.values())
        return cls(
            metrics=run.metrics,
            mappings={part.name: tuple(part.mapping(name).table for name in part.mappings) for part in parts},
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
    told: set[str] = set()
    for table in findings.mappings.get(model, ()):
        _add_decoding(add, table[table["latent"].isna() & (table["split"] == split)])
        _add_tuning(add, table[table["latent"].notna() & table["condition"].isna() & (table["split"] == split)], told)
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


def _add_tuning(add: Any, table: pd.DataFrame, told: set[str]) -> None:
    """Counts of each variable; a further statistic of one that was told already goes by its own name."""
    if "supported" not in table:
        return
    for (name, statistic), group in table.groupby(["variable", "statistic"], sort=False, dropna=False):
        first = name not in told
        told.add(str(name))
        variable = name if first else f"{name} ({statistic})"
        supported = group["supported"].astype("boolean").fillna(False).astype(bool)
        by_instance = group["instance"]
        add("n_supported", supported.groupby(by_instance).sum(), str(variable))
        if group["p"].notna().any():
            tuned = found(group)
            add("n_tuned", tuned.groupby(by_instance).sum(), str(variable))
            if "better_explained_by" in group:
                explained = supported & (group["q"] < Q_LEVEL) & ~tuned
                add("n_explained", explained.groupby(by_instance).sum(), str(variable))
        if first and "resultant_length" in group and group["resultant_length"].notna().any():
            sharp = supported & (group["resultant_length"] > SHARP)
            add("n_sharp", sharp.groupby(by_instance).sum(), str(variable))
        if "score" in group:
            add("best_score", group["score"].where(supported).groupby(by_instance).max(), str(variable))
        if "mutual_information" in group:
            add(
                "best_information",
                group["mutual_information"].where(supported).groupby(by_instance).max(),
                str(variable),
            )


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


def verdict(findings: Findings, names: Mapping[str, str]) -> list[str]:
    """What the figures of a run show and what they do not, in plain words.

    Parameters
    ----------
    names : what to call each model, such as ``{"model": "matryoshka-sae"}``
    """
    table = comparison(findings)
    value = {
        (row.model, row.quantity, row.variable if isinstance(row.variable, str) else None): row.mean
        for row in table.itertuples(index=False)
    }
    scored = table[table["quantity"] == "r2"]
    spread = {row.model: (row.low, row.high) for row in scored.itertuples(index=False)}
    called = {model: names.get(model, model) for model in findings.models}
    controls = [model for model in findings.models if model != "model"]
    variables = [v for v in dict.fromkeys(table["variable"]) if isinstance(v, str)]
    sentences = [
        *_on_compression(value, spread, called, controls),
        *_on_left_out(value, called, controls),
        *_on_alive(value, called),
        *(sentence for variable in variables for sentence in _on_decoding(value, called, controls, variable)),
        *(sentence for variable in variables for sentence in _on_tuning(value, called, controls, variable)),
        *(sentence for variable in variables for sentence in _on_best(value, called, controls, variable)),
        *_on_zero_input(findings, called),
        *_on_seeds(value, called, controls),
        *_on_copies(value, called),
    ]
    if not controls:
        sentences.append("No controls were run: none of these figures can be judged by itself (add [controls]).")
    return sentences


Values = Mapping[tuple[str, str, str | None], float]


def _on_compression(
    value: Values, spread: Mapping[str, tuple[float, float]], called: Mapping[str, str], controls: list[str]
) -> list[str]:
    own, l0 = value.get(("model", "r2", None)), value.get(("model", "l0", None))
    if own is None or l0 is None:
        return []
    said = f"{called['model']} reconstructs held-out activity with R² {own:.3f} at {l0:.1f} active latents a bin"
    equals = [
        name
        for name in controls
        if (name, "r2", None) in value and abs(value.get((name, "l0", None), np.inf) - l0) <= 0.25 * l0
    ]
    if not equals:
        return [f"{said}."]
    scored = {name: f"{called[name]} {value[name, 'r2', None]:.3f}" for name in equals}
    beaten = [name for name in equals if spread["model"][0] > spread[name][1]]
    parts = [
        f"{word} {_join([scored[name] for name in names])}"
        for word, names in (
            ("in every instance above", beaten),
            ("not above", [name for name in equals if name not in beaten]),
        )
        if names
    ]
    return [f"{said}; of its equals at that sparsity it is {', and '.join(parts)}."]


def _on_left_out(value: Values, called: Mapping[str, str], controls: list[str]) -> list[str]:
    for quantity, unit in (("co_smoothing_bits", "bits per spike"), ("co_smoothing_r2", "R²")):
        own = value.get(("model", quantity, None))
        if own is None:
            continue
        others = {name: value[name, quantity, None] for name in controls if (name, quantity, None) in value}
        listing = ", ".join(f"{called[n]} {v:.2f}" for n, v in sorted(others.items(), key=lambda item: -item[1]))
        said = f"Units left out of the input of {called['model']} are foretold from its latents with {own:.2f} {unit}"
        better = [called[name] for name, other in others.items() if other > own + 0.005]
        end = f"; {_join(better)} {'tells' if len(better) == 1 else 'tell'} more of them" if better else ""
        return [f"{said}{f' ({listing})' if listing else ''}{end}."]
    return []


def _on_alive(value: Values, called: Mapping[str, str]) -> list[str]:
    dead = value.get(("model", "dead_share_strict", None))
    if dead is None:
        return []
    said = (
        f"{1 - dead:.0%} of the latents of {called['model']} are alive: at least {MIN_ACTIVE} active bins on the "
        "reported split, and a larger error without them."
    )
    return [said if dead <= TOO_MANY_DEAD else f"{said} This recording is too small for so many latents."]


def _on_decoding(value: Values, called: Mapping[str, str], controls: list[str], variable: str) -> list[str]:
    for quantity, label in (("decoding_r2", "R²"), ("decoding_accuracy", "balanced accuracy")):
        own = value.get(("model", quantity, variable))
        others = {name: value[name, quantity, variable] for name in controls if (name, quantity, variable) in value}
        if own is None or not others:
            continue
        listing = ", ".join(f"{called[n]} {v:.2f}" for n, v in sorted(others.items(), key=lambda item: -item[1]))
        better = [called[name] for name, other in others.items() if other > own + 0.005]
        if own <= 0:
            end = "The latents do not tell it on held-out bins."
        elif better:
            end = f"The latents keep it but do not tell more than {_join(better)}."
        else:
            end = "No control tells more."
        return [f"{variable} read from all latents of {called['model']}: {label} {own:.2f} ({listing}). {end}"]
    return []


def _on_tuning(value: Values, called: Mapping[str, str], controls: list[str], variable: str) -> list[str]:
    sentences = []
    tuned, supported = value.get(("model", "n_tuned", variable)), value.get(("model", "n_supported", variable))
    if tuned is not None and supported is not None:
        others = [name for name in controls if (name, "n_tuned", variable) in value]
        counts = ", ".join(f"{called[name]} {value[name, 'n_tuned', variable]:.1f}" for name in others)
        listing = f" ({counts})" if others else ""
        explained = value.get(("model", "n_explained", variable), 0.0)
        sentences.append(
            f"{tuned:.1f} of {supported:.1f} supported latents of {called['model']} are tuned to {variable} "
            f"at q < .05, mean over instances{listing}."
            + (f" {explained:.1f} more are not reported: another variable explains them better." if explained else "")
        )
    sharp = {
        name: value[name, "n_sharp", variable] for name in ("model", *controls) if (name, "n_sharp", variable) in value
    }
    more = [name for name in sharp if name != "model" and sharp[name] >= sharp.get("model", np.inf)]
    if more:
        listing = ", ".join(f"{called[name]} {count:.1f}" for name, count in sharp.items())
        sentences.append(
            f"Sharply tuned to {variable} (resultant length > {SHARP:g}): {listing}. "
            f"{_join([called[name] for name in more])} {'makes' if len(more) == 1 else 'make'} at least as many, "
            "so sharp tuning alone is no evidence of a good model."
        )
    information = {
        n: value[n, "best_information", variable] for n in sharp if (n, "best_information", variable) in value
    }
    ahead = [n for n in information if n != "model" and information[n] >= information.get("model", np.inf)]
    if ahead:
        best = max(ahead, key=lambda name: information[name])
        sentences.append(
            f"The best single latent holds {information['model']:.2f} bits about {variable}; the best of "
            f"{called[best]} holds {information[best]:.2f}."
        )
    return sentences


def _on_best(value: Values, called: Mapping[str, str], controls: list[str], variable: str) -> list[str]:
    """Whether the best latent of a control follows the variable as well as the best of the model."""
    own = value.get(("model", "best_score", variable))
    others = {name: value[name, "best_score", variable] for name in controls if (name, "best_score", variable) in value}
    if own is None or not others:
        return []
    equal = sorted((name for name in others if others[name] >= own - AS_GOOD), key=lambda name: -others[name])
    if equal:
        listing = _join([f"{called[name]} ({others[name]:.2f})" for name in equal])
        return [f"The best latent of {called['model']} for {variable} ({own:.2f}) is equalled by that of {listing}."]
    best = max(others, key=lambda name: others[name])
    return [
        f"The best latent of {called['model']} for {variable} ({own:.2f}) is above that of every control "
        f"({called[best]} {others[best]:.2f})."
    ]


def _on_zero_input(findings: Findings, called: Mapping[str, str]) -> list[str]:
    """How many mappings are as strong when the model gets labels and no spikes at all."""
    sentences = []
    for table in findings.mappings.get("model", ()):
        if "zero_input_score" not in table:
            continue
        reported = table[(table["split"] == findings.split) & table["condition"].isna() & table["score"].notna()]
        for variable, group in reported.groupby("variable", sort=False):
            equal = group["zero_input_score"] >= group["score"] - AS_GOOD
            sentences.append(
                f"{called['model']} was given labels: without any activity {equal.sum()} of {len(group)} of its "
                f"mappings to {variable} are as strong."
            )
    return sentences


def _on_seeds(value: Values, called: Mapping[str, str], controls: list[str]) -> list[str]:
    own = value.get(("model", "seed_match", None))
    if own is None:
        return []
    nulls = {
        key[1].removeprefix("seed_match_null_"): v
        for key, v in value.items()
        if key[0] == "model" and "null_" in key[1]
    }
    nulls |= {called[name]: value[name, "seed_match", None] for name in controls if (name, "seed_match", None) in value}
    listing = ", ".join(f"{name} {v:.2f}" for name, v in nulls.items())
    said = (
        f"Latents of two seeds of {called['model']} match at a median cosine of {own:.2f} (for comparison: {listing})."
    )
    equal = [name for name, v in nulls.items() if v >= own - 0.02]
    if equal:
        verb = "agrees" if len(equal) == 1 else "agree"
        said += f" {_join(equal)} {verb} as well: agreement alone is no evidence of ensembles."
    return [said]


def _on_copies(value: Values, called: Mapping[str, str]) -> list[str]:
    share = value.get(("model", "copy_share", None))
    if share is None:
        return []
    return [f"{share:.0%} of the latents of {called['model']} copy a single unit (correlation of .8 or more)."]


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


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
