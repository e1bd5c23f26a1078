"""The best latents of a run as cards: figure, statistics, controls, copy or composite, and the units behind them."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping

from nldisco_report.evidence import BINS_OF, Evidence, Shown
from nldisco_report.markup import facts, number, section

__all__ = ["latents"]


def latents(found: Evidence, drawn: Mapping[str, str]) -> str:
    """The best latents, each with its figure and all that is known of it."""
    if not found.shown:
        return ""
    intro = (
        f"{len(found.shown)} of {found.n_found} found latents of instance {found.instance} are shown, those that no "
        "control equals first, then by q and held-out score. Figures and scores are of "
        f"{BINS_OF[found.split]}; bands and whiskers are 95 % intervals over blocks of time."
    )
    cards = "".join(_card(one, found, drawn) for one in found.shown)
    return section("latents", "Latents", f"<p>{html.escape(intro)}</p><div class='latents'>{cards}</div>")


def _card(one: Shown, found: Evidence, drawn: Mapping[str, str]) -> str:
    half, words = {1: ("-positive", " (+)"), -1: ("-negative", " (−)")}.get(one.sign, ("", ""))
    variable = str(one.row["variable"])
    figure = drawn.get(f"latent-{one.latent}{half}-{variable}", "")
    told = html.escape(f"{variable.replace('_', ' ')}, {one.row['mapper']}")
    head = f"<h3>Latent {one.latent}{words} <small>{told}</small></h3>"
    tags = "".join(f"<span class='tag {kind}'>{html.escape(text)}</span>" for kind, text in _tags(one))
    also = f"<p>Also tells {html.escape(', '.join(one.others))}.</p>" if one.others else ""
    body = f"{head}{tags}{figure}{facts(_known_of(one))}{also}{_units_of(one)}"
    return f'<article class="latent" data-latent="{one.latent}" data-instance="{found.instance}">{body}</article>'


def _tags(one: Shown) -> Iterator[tuple[str, str]]:
    if "best_control_score" in one.row:
        control = one.row["best_control"]
        yield ("", f"equalled by {control}") if one.row["equalled"] else ("good", "above every control")
    if one.copy.get("copy"):
        yield "", f"copy of unit {one.copy['unit']}"
    elif "copy" in one.copy:
        yield "good", "composite"
    if one.row.get("label_use", "none") != "none":
        yield "", f"labels given at {one.row['label_use']}"


def _known_of(one: Shown) -> list[tuple[str, object, str]]:
    row, statistic = one.row, str(one.row.get("statistic", "score"))
    known = [
        (statistic, row.get("score"), "score"),
        ("by chance, mean", row.get("null_mean"), "null_mean"),
        ("p", row.get("p"), "p"),
        ("q", row.get("q"), "q"),
        ("null", row.get("null"), "null"),
        ("effective shifts", _rounded(row.get("effective_shifts")), "effective_shifts"),
        (f"best of controls ({row.get('best_control')})", row.get("best_control_score"), "best_control_score"),
        ("without activity", row.get("zero_input_score"), "zero_input_score"),
        ("preferred", row.get("preferred"), "preferred"),
        ("information (bits)", row.get("mutual_information"), "mutual_information"),
        ("resultant length", row.get("resultant_length"), "resultant_length"),
        ("spatial information", row.get("spatial_information"), "spatial_information"),
        ("active bins", row.get("n_active"), "n_active"),
        ("visits", row.get("n_visits"), "n_visits"),
        ("stability of halves", row.get("stability"), "stability"),
        (
            "seed match, median",
            one.match.get("decoder_similarity", one.match.get("activation_similarity")),
            "seed_match",
        ),
        ("nearest unit", _unit_of(one), ""),
        ("effective units", one.copy.get("n_effective_units"), "n_effective_units"),
    ]
    return [fact for place, fact in enumerate(known) if place == 0 or fact[0] != statistic]


def _rounded(value: object) -> object:
    return round(value) if isinstance(value, float) else value


def _unit_of(one: Shown) -> str | None:
    if "unit" not in one.copy:
        return None
    return f"{one.copy['unit']} (r {number(one.copy['correlation'])})"


def _units_of(one: Shown) -> str:
    """Units that are most active with a latent, with the standard error over blocks."""
    told = [
        f"{unit['unit']}{' (' + str(unit['region']) + ')' if unit.get('region') else ''} "
        f"{unit['mean_z']:.2f} ± {unit.get('sem_blocks', float('nan')):.2f}"
        for unit in one.units
    ]
    return f"<p>Most active with it (mean z ± SEM over blocks): {html.escape('; '.join(told))}.</p>" if told else ""
