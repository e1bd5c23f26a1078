"""What the figures of a run show and what they do not, in plain words, each with its standing beside the controls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np

from nldisco_core.ablation import MIN_ACTIVE
from nldisco_core.beside_controls import AS_GOOD
from nldisco_core.statements import Standing, Statement, Topic
from nldisco_core.summary import SHARP, Findings, best_found, comparison

__all__ = ["statements", "verdict", "verdict_record"]

ABOVE: Standing = "above every control compared"
EQUALLED: Standing = "a control is as good or better"
UNCOMPARED: Standing = "not compared"
NOT_SHOWN: Standing = "not shown"

TOO_MANY_DEAD = 0.1
DECODED_ALIKE = 0.005  # scores that differ by no more than this are as good
MATCHED_ALIKE = 0.02  # median cosines that differ by no more than this agree as well

Said: TypeAlias = tuple[Standing, str]
Values: TypeAlias = Mapping[tuple[str, str, str | None], float]


def verdict(findings: Findings, names: Mapping[str, str]) -> list[str]:
    """The sentences of `statements`."""
    return [statement.text for statement in statements(findings, names)]


def verdict_record(findings: Findings, names: Mapping[str, str]) -> dict[str, Any]:
    """`statements` as a run keeps them: ``verdict``, the sentences, and ``findings``, their topics and standings."""
    found = statements(findings, names)
    return {"verdict": [each.text for each in found], "findings": [asdict(each) for each in found]}


def statements(findings: Findings, names: Mapping[str, str]) -> tuple[Statement, ...]:
    """What the figures of a run show and what they do not.

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
    best, several = (
        best_found(findings),
        findings.metrics["instance"][findings.metrics["model"] == "model"].nunique() > 1,
    )
    said: dict[Topic, list[Said]] = {
        "Reconstruction": [
            *_on_compression(value, spread, called, controls),
            *_on_left_out(value, called, controls),
            *_on_alive(value, called),
        ],
        "Decoding": [each for variable in variables for each in _on_decoding(value, called, controls, variable)],
        "Tuning": [
            *(each for v in variables for each in _on_tuning(value, called, controls, v, several=several)),
            *(each for v in variables for each in _on_best(value, best.get(v), called, controls, v)),
            *_on_zero_input(findings, called),
        ],
        "Seeds and copies": [*_on_seeds(value, called, controls), *_on_copies(value, called)],
        "Controls": []
        if controls
        else [(UNCOMPARED, "No controls were run: none of these figures can be judged by itself (add [controls]).")],
    }
    return tuple(
        Statement(topic=topic, standing=standing, text=text) for topic, held in said.items() for standing, text in held
    )


def _on_compression(
    value: Values, spread: Mapping[str, tuple[float, float]], called: Mapping[str, str], controls: list[str]
) -> list[Said]:
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
        return [(UNCOMPARED, f"{said}{', at which no control is as sparse' if controls else ''}.")]
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
    standing = ABOVE if len(beaten) == len(equals) else EQUALLED
    return [(standing, f"{said}; of its equals at that sparsity it is {', and '.join(parts)}.")]


def _on_left_out(value: Values, called: Mapping[str, str], controls: list[str]) -> list[Said]:
    for quantity, unit in (("co_smoothing_bits", "bits per spike"), ("co_smoothing_r2", "R²")):
        own = value.get(("model", quantity, None))
        if own is None:
            continue
        others = {name: value[name, quantity, None] for name in controls if (name, quantity, None) in value}
        listing = ", ".join(f"{called[n]} {v:.2f}" for n, v in sorted(others.items(), key=lambda item: -item[1]))
        said = f"Units left out of the input of {called['model']} are foretold from its latents with {own:.2f} {unit}"
        better = [called[name] for name, other in others.items() if other > own + DECODED_ALIKE]
        end = f"; {_join(better)} {'tells' if len(better) == 1 else 'tell'} more of them" if better else ""
        return [(_told(own, others.values()), f"{said}{f' ({listing})' if listing else ''}{end}.")]
    return []


def _told(own: float, others: Iterable[float]) -> Standing:
    """Standing of a score that is zero or less where nothing is told."""
    held = list(others)
    if own <= 0:
        return NOT_SHOWN
    if not held:
        return UNCOMPARED
    return EQUALLED if max(held) >= own - DECODED_ALIKE else ABOVE


def _on_alive(value: Values, called: Mapping[str, str]) -> list[Said]:
    dead = value.get(("model", "dead_share_strict", None))
    if dead is None:
        return []
    said = (
        f"{1 - dead:.0%} of the latents of {called['model']} are alive: at least {MIN_ACTIVE} active bins on the "
        "reported split, and a larger error without them."
    )
    few = dead <= TOO_MANY_DEAD
    return [(UNCOMPARED, said if few else f"{said} This recording is too small for so many latents.")]


def _on_decoding(value: Values, called: Mapping[str, str], controls: list[str], variable: str) -> list[Said]:
    for quantity, label in (("decoding_r2", "R²"), ("decoding_accuracy", "balanced accuracy")):
        own = value.get(("model", quantity, variable))
        others = {name: value[name, quantity, variable] for name in controls if (name, quantity, variable) in value}
        if own is None or not others:
            continue
        listing = ", ".join(f"{called[n]} {v:.2f}" for n, v in sorted(others.items(), key=lambda item: -item[1]))
        better = [called[name] for name, other in others.items() if other > own + DECODED_ALIKE]
        if own <= 0:
            end = "The latents do not tell it on held-out bins."
        elif better:
            end = f"The latents keep it but do not tell more than {_join(better)}."
        else:
            end = "No control tells more."
        said = f"{variable} read from all latents of {called['model']}: {label} {own:.2f} ({listing}). {end}"
        return [(_told(own, others.values()), said)]
    return []


def _on_tuning(
    value: Values, called: Mapping[str, str], controls: list[str], variable: str, *, several: bool
) -> list[Said]:
    sharp = {
        name: value[name, "n_sharp", variable] for name in ("model", *controls) if (name, "n_sharp", variable) in value
    }
    return [
        *_on_number(value, called, controls, variable, several=several),
        *_on_sharpness(sharp, called, variable),
        *_on_information(value, sharp, called, variable),
    ]


def _on_number(
    value: Values, called: Mapping[str, str], controls: list[str], variable: str, *, several: bool
) -> Iterator[Said]:
    """How many latents are tuned, and how many of those of each control."""
    tuned, supported = value.get(("model", "n_tuned", variable)), value.get(("model", "n_supported", variable))
    if tuned is None and supported:
        yield (
            NOT_SHOWN,
            f"No latent of {called['model']} could be tested for {variable}: there are no p values, the notes say why.",
        )
    if tuned is None or supported is None:
        return
    others = {name: value[name, "n_tuned", variable] for name in controls if (name, "n_tuned", variable) in value}
    counts = ", ".join(f"{called[name]} {_count(n)}" for name, n in others.items())
    explained = value.get(("model", "n_explained", variable), 0.0)
    said = (
        f"{_count(tuned)} of {_count(supported)} supported latents of {called['model']} are tuned to {variable} "
        f"at q < .05{', mean over instances' if several else ''}{f' ({counts})' if counts else ''}."
        + (f" {_count(explained)} more not reported: another variable explains them better." if explained else "")
    )
    as_many = [called[name] for name, n in others.items() if tuned and n >= tuned]
    if as_many:
        said += (
            f" {_join(as_many)} {'has' if len(as_many) == 1 else 'have'} at least as many, so their number is no "
            "evidence of a good model."
        )
    standing = NOT_SHOWN if not tuned else EQUALLED if as_many else ABOVE if others else UNCOMPARED
    yield standing, said


def _on_sharpness(sharp: Mapping[str, float], called: Mapping[str, str], variable: str) -> Iterator[Said]:
    """That sharp tuning is no evidence, where a control has as many latents that look sharp.

    Parameters
    ----------
    sharp : sharply tuned latents of the model and of each control
    """
    more = [name for name in sharp if name != "model" and sharp[name] >= sharp.get("model", np.inf)]
    if more:
        listing = ", ".join(f"{called[name]} {_count(count)}" for name, count in sharp.items())
        yield (
            EQUALLED,
            f"Sharply tuned to {variable} (resultant length > {SHARP:g}): {listing}. "
            f"{_join([called[name] for name in more])} {'makes' if len(more) == 1 else 'make'} at least as many, "
            "so sharp tuning alone is no evidence of a good model.",
        )


def _on_information(value: Values, models: Iterable[str], called: Mapping[str, str], variable: str) -> Iterator[Said]:
    """Of two best latents the one that holds more bits, where it is that of a control."""
    information = {
        n: value[n, "best_information", variable] for n in models if (n, "best_information", variable) in value
    }
    ahead = [n for n in information if n != "model" and information[n] >= information.get("model", np.inf)]
    if ahead:
        best = max(ahead, key=lambda name: information[name])
        yield (
            EQUALLED,
            f"The best single latent holds {information['model']:.2f} bits about {variable}; the best of "
            f"{called[best]} holds {information[best]:.2f}.",
        )


def _on_best(
    value: Values, own: float | None, called: Mapping[str, str], controls: list[str], variable: str
) -> list[Said]:
    """Whether the best latent of a control follows the variable as well as the best one that counts as found."""
    others = {name: value[name, "best_score", variable] for name in controls if (name, "best_score", variable) in value}
    if own is None or not others:
        return []
    equal = sorted((name for name in others if others[name] >= own - AS_GOOD), key=lambda name: -others[name])
    if equal:
        listing = _join([f"{called[name]} ({others[name]:.2f})" for name in equal])
        said = f"The best latent of {called['model']} for {variable} ({own:.2f}) is equalled by that of {listing}."
        return [(EQUALLED, said)]
    best = max(others, key=lambda name: others[name])
    said = (
        f"The best latent of {called['model']} for {variable} ({own:.2f}) is above that of every control "
        f"({called[best]} {others[best]:.2f})."
    )
    return [(ABOVE, said)]


def _on_zero_input(findings: Findings, called: Mapping[str, str]) -> Iterator[Said]:
    """How many mappings are as strong when the model gets labels and no spikes at all."""
    for table in findings.mappings.get("model", ()):
        if "zero_input_score" not in table:
            continue
        reported = table[(table["split"] == findings.split) & table["condition"].isna() & table["score"].notna()]
        for variable, group in reported.groupby("variable", sort=False):
            equal = group["zero_input_score"] >= group["score"] - AS_GOOD
            yield (
                EQUALLED if equal.any() else ABOVE,
                f"{called['model']} was given labels: without any activity {equal.sum()} of {len(group)} of its "
                f"mappings to {variable} are as strong.",
            )


def _on_seeds(value: Values, called: Mapping[str, str], controls: list[str]) -> list[Said]:
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
    equal = [name for name, v in nulls.items() if v >= own - MATCHED_ALIKE]
    if equal:
        verb = "agrees" if len(equal) == 1 else "agree"
        said += f" {_join(equal)} {verb} as well: agreement alone is no evidence of ensembles."
    return [(EQUALLED if equal else ABOVE if nulls else UNCOMPARED, said)]


def _on_copies(value: Values, called: Mapping[str, str]) -> list[Said]:
    share = value.get(("model", "copy_share", None))
    if share is None:
        return []
    said = f"{share:.0%} of the latents of {called['model']} copy a single unit (correlation of .8 or more)."
    return [(UNCOMPARED, said)]


def _count(number: float) -> str:
    """A mean of counts: as a whole number where it is one."""
    return f"{number:.1f}".removesuffix(".0")


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
