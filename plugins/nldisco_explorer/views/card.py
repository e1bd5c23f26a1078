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
    facts = [("Active", f"{share(known.density)} of bins ({known.n_active})")]
    if "n_visits" in scores:
        facts.append(("Visits", f"{scores['n_visits']:.0f}"))
    facts.append(_tested(known.held_out, selection))
    facts += [(term, _value(column, scores[column])) for column, term in SHOWN.items() if column in scores]
    if (score := next((name for name in HELD_OUT if name in known.held_out), None)) is not None:
        facts.append(("On held-out bins", f"{HELD_OUT[score]} {_value(score, known.held_out[score])}"))
    if known.copy:
        facts.append(_copied(known.copy))
    if known.seeds:
        facts.append(_found_again(known.seeds))
    if known.best_control is not None:
        name, score, value = known.best_control
        own = f" (here {number(float(scores[score]))})" if score in scores else ""
        called = str(scores.get("statistic", score)) if score == "score" else score.replace("_", " ")
        facts.append(("Best of any control", f"{name}: {called} {number(value)}{own}"))
    facts.append(("Labels given to the model", "none" if known.label_use == "none" else f"at {known.label_use}"))
    return facts


def _tested(scores: dict[str, Any], selection: Selection) -> tuple[str, str]:
    variable = (selection.variable or "").replace("_", " ")
    term = f"Tuned to {variable}" if variable else "Tested"
    if "q" not in scores:
        return term, _why_untested(scores)
    null, statistic = scores.get("null", "its null"), scores.get("statistic", "no name")
    return term, f"q {number(float(scores['q']), 2)} against {null} ({statistic}, {scores['split']})"


def _why_untested(scores: dict[str, Any]) -> str:
    if scores.get("supported") is False:
        return "not tested: too little support"
    return "not tested: it does not stand out on train bins" if scores.get("chosen") is False else "not tested"


def _found_again(seeds: dict[str, Any]) -> tuple[str, str]:
    decoder, activation = (seeds.get(f"{kind}_similarity") for kind in ("decoder", "activation"))
    said = [f"decoder cosine {number(float(decoder), 2)}"] if decoder is not None else []
    said += [f"activation r {number(float(activation), 2)}"] if activation is not None else []
    agreed = any(seeds.get(f"{kind}_consensus") is True for kind in ("decoder", "activation"))
    return "In other instances", ", ".join(said) + ("; consensus" if agreed else "")


def _copied(copy: dict[str, Any]) -> tuple[str, str]:
    correlation = number(float(copy.get("correlation", float("nan"))), 2)
    kind = "copy of" if copy.get("copy") else "composite; nearest unit"
    return "Units behind it", f"{kind} {unit_called(copy.get('unit', 'a unit'))} (r {correlation})"


def _value(column: str, value: Any) -> str:
    text = f"{value:.2f}" if isinstance(value, int | float) else str(value)
    return f"{text} bits" if column == "mutual_information" else text
