"""The sections of the report, each from the tables and the record of a run."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping

import pandas as pd

from nldisco_core.binned import SPLITS
from nldisco_core.ledger import openings, standing
from nldisco_core.runs import Run
from nldisco_core.summary import Findings, comparison, printable
from nldisco_core.toml_text import toml_text
from nldisco_core.tuning import one_per_channel
from nldisco_report.evidence import Evidence, Shown
from nldisco_report.markup import facts, number, paragraphs, section, table
from nldisco_report.methods import formulas, references
from nldisco_report.methods import methods as sentences

__all__ = [
    "answer",
    "colophon",
    "controls",
    "latents",
    "methods",
    "names_of",
    "planned",
    "recording",
    "reproduce",
    "subtitle",
    "verdict",
]

_OF_SPLIT = {"test": "test bins", "validation": "validation bins", "train": "training bins"}
_HYPOTHESES = "hypotheses"


def names_of(run: Run, variable: str) -> list[str]:
    """What mappers call a variable: its name, or one name per channel."""
    return [part.name for part in one_per_channel(run.counts.covariate(variable))]


def subtitle(run: Run) -> str:
    """Model, run and when it was made."""
    made = str(run.about.get("created", ""))[:10]
    return " · ".join(part for part in (run.model.provider, f"run {run.name}", f"made {made}" if made else "") if part)


def colophon(run: Run) -> str:
    """Who wrote the page."""
    version = (run.about.get("environment") or {}).get("packages", {}).get("nldisco-core", "")
    return f"Written by nldisco report from {run.name} (nldisco-core {version}).".replace(" )", ")")


def answer(run: Run, found: Evidence) -> str:
    """What was found, or that nothing was, in two sentences at the top."""
    where = _OF_SPLIT[found.split]
    if not run.mappings:
        kind, said = "unknown", "Nothing was mapped: this run says nothing about behaviour yet."
        then = "Add a mapping with nldisco map RUN --mapper selectivity."
    elif not found.n_found:
        kind, said = "nothing", "Nothing in this run survives: no latent is tuned to any variable beyond chance."
        then = _counted(found, where)
    else:
        alone = sum(not one.row["equalled"] for one in found.shown)
        compared = sum("best_control_score" in one.row for one in found.shown)
        kind, said = (
            "found",
            f"{found.n_found} of {found.n_supported} supported latents tell a variable of behaviour beyond chance.",
        )
        then = _counted(found, where)
        if compared:
            then += f" Of the {len(found.shown)} shown, {alone} tell more than the best latent of every control."
    return f'<div class="answer {kind}"><p>{html.escape(said)}</p><p>{html.escape(then)}</p></div>'


def _counted(found: Evidence, where: str) -> str:
    elsewhere = ", ".join(map(str, found.n_found_elsewhere))
    others = f" Other instances: {elsewhere} found." if elsewhere else ""
    return (
        f"Instance {found.instance} of {found.n_instances}: {found.n_found} found (supported, q < .05 on {where}, not "
        f"better explained by another variable) of {found.n_supported} with enough active bins of {found.n_latents} "
        f"latents.{others}"
    )


def verdict(run: Run) -> str:
    """What the figures show and what they do not, and what to beware of."""
    own = [note for note in run.about.get("notes", []) if note.split(":")[0] not in run.controls]
    warned = [*run.about.get("warnings", []), *own]
    noted = f"<div class='aside'><h3>Notes and warnings</h3>{paragraphs(warned)}</div>" if warned else ""
    said = paragraphs(run.about.get("verdict", []))
    return section("verdict", "Verdict", f"<div class='two'><div>{said}</div>{noted}</div>" if said or noted else "")


def planned(run: Run) -> str:
    """What was fixed before the test bins were seen, and that all else is exploratory."""
    parts = [f"<p>{html.escape(standing(run))}</p>"]
    entries = openings(run)
    if entries:
        rows = [(e["opening"], e["time"], e["kind"], e["why"], (e["plan_sha256"] or "none")[:12]) for e in entries]
        parts.append(table(("opening", "when", "kind", "why", "plan"), rows, text=True))
    plans = {e["plan_sha256"]: e["plan"] for e in entries if e["plan"] is not None}
    parts += [_quoted(f"Plan {sha256}", toml_text(plan)) for sha256, plan in plans.items()]
    if _HYPOTHESES in run.tables:
        found = run.table(_HYPOTHESES)
        agreeing = [f"{row.n_agreeing} of {row.n_instances}" for row in found.itertuples()]
        judged = found.assign(n_agreeing=agreeing)[list(_JUDGED)].astype(object)
        parts.append(f"<h3>Hypotheses <small>{_confirmed(found)}</small></h3>")
        parts.append(table(tuple(_JUDGED.values()), judged.to_numpy().tolist(), keys=tuple(_JUDGED), text=True))
    return section("planned", "Planned and exploratory", *parts)


def _quoted(title: str, text: str, *, is_open: bool = False) -> str:
    shown = " open" if is_open else ""
    return f"<details{shown}><summary>{html.escape(title)}</summary><pre>{html.escape(text)}</pre></details>"


_JUDGED = {
    "hypothesis": "",
    "kind": "kind",
    "variable": "variable",
    "expect": "expected",
    "found": "found",
    "latent": "latent",
    "p": "p",
    "q": "q",
    "observed": "statistic",
    "best_control": "best control",
    "best_control_observed": "its statistic",
    "n_agreeing": "instances",
    "verdict": "verdict",
    "reason": "why",
}


def _confirmed(found: pd.DataFrame) -> str:
    first = found[found["kind"] == "confirmatory"]
    return f"{(first['verdict'] == 'confirmed').sum()} of {len(first)} confirmatory ones confirmed"


def recording(run: Run) -> str:
    """What was recorded."""
    data, card = run.counts, run.about.get("card", {})
    n_bins = [f"{name} {int((data.split == code).sum()):,}" for code, name in enumerate(SPLITS)]
    named = [(key, card.get(key) or None, "") for key in ("species", "area", "licence", "citation", "source")]
    located = data.shares_units and "region" in data.units
    regions = data.units["region"].fillna("").value_counts().to_dict() if located else {}
    told = ", ".join(f"{region or 'no region'} {n}" for region, n in regions.items()) if len(regions) > 1 else ""
    held = [
        ("sessions", len(data.sessions), "n_sessions"),
        ("units", data.n_units if data.shares_units else None, "n_units"),
        ("units by region", told or None, ""),
        ("bins", data.n_bins, "n_bins"),
        ("bin width (s)", data.bin_s, "bin_s"),
        ("duration (min)", round(data.n_bins * data.bin_s / 60, 2), ""),
        ("bins by split", ", ".join(n_bins), ""),
        ("variables", ", ".join(data.covariate_names) or None, ""),
    ]
    sha = str(run.about.get("fingerprint", ""))
    prints = f"<p class='aside'>Fingerprint of the data <code>{html.escape(sha)}</code></p>" if sha else ""
    return section("recording", "Recording", f"<div class='card'>{facts(held)}</div>", facts(named, rows=True), prints)


def controls(run: Run) -> str:
    """Reconstruction, decoding and tuning of the model, with its controls below."""
    findings = Findings.of(run)
    tables = printable(comparison(findings), {"model": run.model.provider})
    if not tables:
        return ""
    parts = [f"<p class='aside'>On {_OF_SPLIT[findings.split]}; mean over instances [lowest, highest].</p>"]
    for title, frame in tables.items():
        rows = [(name, *row) for name, row in zip(frame.index, frame.to_numpy(), strict=True)]
        shown = table(("", *map(str, frame.columns)), rows, strong=frame.index[0] == run.model.provider)
        name = title.replace("_", " ")
        parts.append(f"<h3>{html.escape(name[:1].upper() + name[1:])}</h3>{shown}")
    return section("controls", "Beside controls", *parts)


def latents(run: Run, found: Evidence, drawn: Mapping[str, str]) -> str:
    """The best latents, each with its figure and all that is known of it."""
    if not found.shown:
        return ""
    intro = (
        f"{len(found.shown)} of {found.n_found} found latents of instance {found.instance} are shown, those that no "
        "control equals first, then by q and held-out score. Figures and scores are of "
        f"{_OF_SPLIT[found.split]}; bands and whiskers are 95 % intervals over blocks of time."
    )
    cards = "".join(_card(run, one, found, drawn) for one in found.shown)
    return section("latents", "Latents", f"<p>{html.escape(intro)}</p><div class='latents'>{cards}</div>")


def _card(run: Run, one: Shown, found: Evidence, drawn: Mapping[str, str]) -> str:
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
    return [
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


def methods(run: Run) -> str:
    """A paragraph for a paper, formulas and references."""
    words = "".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in sentences(run))
    cited = "".join(
        f'<li>{html.escape(text)} <a href="https://doi.org/{doi}">doi:{doi}</a></li>' for text, doi in references(run)
    )
    return section(
        "methods",
        "Methods",
        words,
        f"<h3>Formulas</h3>{facts(((name, text, '') for name, text in formulas(run)), rows=True)}",
        f"<h3>References</h3><ul>{cited}</ul>",
    )


def _on_opening(run: Run) -> Iterator[str]:
    entries = openings(run)
    if run.about.get("config", {}).get("sealed") and entries:
        how = "--without-plan" if entries[0]["plan"] is None else "--plan plan.toml, the plan quoted above,"
        yield f"The run is sealed until nldisco open RUN {how} adds its test bins."


def reproduce(run: Run) -> str:
    """The configuration, and the command that does it again."""
    config = {key: value for key, value in run.about.get("config", {}).items() if value not in ({}, None)}
    if "dataset" not in config or "model" not in config:
        return ""
    commit = (run.about.get("environment") or {}).get("git_commit")
    of_commit = f"<p class='aside'>Source revision <code>{html.escape(commit)}</code></p>" if commit else ""
    return section(
        "reproduce",
        "How to reproduce",
        "<p>Save this as <code>run.toml</code> and run <code>nldisco run run.toml</code>. The same versions and number "
        "of threads give the same figures.</p>",
        _quoted("run.toml", toml_text(config), is_open=True),
        "".join(f"<p>{html.escape(sentence)}</p>" for sentence in _on_opening(run)),
        of_commit,
    )
