"""The tile that heads the Latent page: what is claimed of the latent, and the evidence beside it."""

from __future__ import annotations

import html
from typing import Any, ClassVar

import panel as pn

from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.evidence import Evidence, evidence, latent_name, unit_called
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.style import CARD_CSS
from nldisco_explorer.wording import number, share

__all__ = ["LatentCard"]

SHOWN = {"preferred": "Prefers", "resultant_length": "Resultant length"}
OF_VALUE = {"coverage": "coverage", "specificity": "specificity", "auroc": "AUROC"}
ACTIVE = "activation_"
HELD_OUT = {"mutual_information": "information", "max_mcc": "largest MCC", "mcc": "MCC", "auroc": "AUROC"}
"""What a mapper may say of test bins, the first that it does say is shown."""


class LatentCard:
    """View: name, support, q, preferred value, copy or composite, best control and warnings."""

    title: ClassVar[str] = "Latent"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True
    own_heading: ClassVar[bool] = True

    def build(self, run: Run) -> _CardTile:
        """A new tile."""
        return _CardTile(readings(run))


class _CardTile:
    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        self.panel = pn.pane.HTML("", stylesheets=[CARD_CSS], sizing_mode="stretch_width", margin=0)

    def show(self, selection: Selection) -> None:
        """Write the card of the selected latent."""
        reads = self._reads
        known = evidence(reads, selection)
        provider = reads.run.part(selection.model).provider
        control = "" if selection.model == "model" else " (control)"
        parts = [provider + control, f"instance {selection.instance}"]
        if known.n_levels > 1:
            parts.append(f"level {known.level} of {known.n_levels}")
        warnings = "".join(f'<span class="warning">{html.escape(text)}</span>' for text in known.warnings)
        facts = "".join(
            f"<div><dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd></div>"
            for term, text in _facts(known, selection)
        )
        self.panel.object = (
            f'<section aria-label="{html.escape(latent_name(selection))}"><h2>{html.escape(latent_name(selection))} '
            f"{_called(reads, selection)}"
            f"<small>{html.escape(' · '.join(parts))}</small>{warnings}</h2><dl>{facts}</dl></section>"
        )


def _called(reads: Readings, selection: Selection) -> str:
    """The name and the stars that people gave the latent."""
    key = (selection.model, selection.instance, -1 if selection.latent is None else selection.latent, selection.sign)
    note = reads.notes.current().get(key)
    said = " ".join(part for part in (note.name, "★" * note.stars) if part) if note else ""
    return f'<span class="called">{html.escape(said)}</span> ' if said else ""


def _facts(known: Evidence, selection: Selection) -> list[tuple[str, str]]:
    scores = known.scores
    whole = "" if selection.condition is None else ", all values"
    facts = [("Active", f"{share(known.density)} of bins ({known.n_active})")]
    if "n_visits" in scores:
        facts.append((f"Visits{whole}", f"{scores['n_visits']:.0f}"))
    facts.append(_tested(known.held_out, selection, whole))
    facts += [(term + whole, _value(column, scores[column])) for column, term in SHOWN.items() if column in scores]
    if selection.condition is not None:
        facts.append((f"{selection.condition} alone", _alone(known.of_value)))
    if (score := next((name for name in HELD_OUT if name in known.held_out), None)) is not None:
        facts.append((f"On held-out bins{whole}", f"{HELD_OUT[score]} {_value(score, known.held_out[score])}"))
    if known.copy:
        facts.append(_copied(known.copy))
    if known.seeds:
        facts.append(_found_again(known.seeds, known.seeds_by_chance))
    if known.best_control is not None:
        name, score, value = known.best_control
        own = f" (here {number(float(scores[score]))})" if score in scores else ""
        called = str(scores.get("statistic", score)) if score == "score" else score.replace("_", " ")
        facts.append((f"Best of any control{whole}", f"{name}: {called} {number(value)}{own}"))
    facts.append(("Labels given to the model", "none" if known.label_use == "none" else f"at {known.label_use}"))
    return facts


def _tested(scores: dict[str, Any], selection: Selection, whole: str) -> tuple[str, str]:
    variable = (selection.variable or "").replace("_", " ")
    term = f"Tuned to {variable}{whole}" if variable else "Tested"
    if "q" not in scores:
        return term, _why_untested(scores)
    null, statistic = scores.get("null", "its null"), scores.get("statistic", "no name")
    return term, f"q {number(float(scores['q']), 2)} against {null} ({statistic}, {scores['split']})"


def _why_untested(scores: dict[str, Any]) -> str:
    if scores.get("supported") is False:
        return "not tested: too little support"
    return "not tested: it does not stand out on train bins" if scores.get("chosen") is False else "not tested"


def _alone(scores: dict[str, Any]) -> str:
    """What a mapper says of one value of its variable."""
    if not scores:
        return "not scored"
    said = [f"{term} {_value(column, scores[column])}" for column, term in OF_VALUE.items() if column in scores]
    tested = f"q {number(float(scores['q']), 2)}" if "q" in scores else "not tested by value"
    return f"{', '.join([*said, tested])} ({scores['split']})"


def _found_again(seeds: dict[str, Any], by_chance: dict[str, float]) -> tuple[str, str]:
    """How alike the partners in other instances are, beside what the median latent reaches by chance."""
    said = []
    for kind, measure, prefix in (
        ("decoder", "decoder cosine", "null_"),
        ("activation", "activation r", f"{ACTIVE}null_"),
    ):
        if (value := seeds.get(f"{kind}_similarity")) is not None:
            nulls = {name.removeprefix(prefix): each for name, each in by_chance.items() if name.startswith(prefix)}
            listed = ", ".join(f"{name} {number(each, 2)}" for name, each in nulls.items())
            said.append(
                f"{measure} {number(float(value), 2)} ({f'median by chance: {listed}' if nulls else 'no null kept'})"
            )
    agreed = any(seeds.get(f"{kind}_consensus") is True for kind in ("decoder", "activation"))
    return "In other instances", ", ".join(said) + ("; consensus" if agreed else "")


def _copied(copy: dict[str, Any]) -> tuple[str, str]:
    correlation = number(float(copy.get("correlation", float("nan"))), 2)
    kind = "copy of" if copy.get("copy") else "composite; nearest unit"
    return "Units behind it", f"{kind} {unit_called(copy.get('unit', 'a unit'))} (r {correlation})"


def _value(column: str, value: Any) -> str:
    text = f"{value:.2f}" if isinstance(value, int | float) else str(value)
    return f"{text} bits" if column == "mutual_information" else text
