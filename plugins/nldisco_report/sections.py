"""The sections of the report but the latents, each from the tables and the record of a run."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

import pandas as pd

from nldisco_core.binned import SPLITS
from nldisco_core.ledger import openings, standing
from nldisco_core.runs import Run
from nldisco_core.statements import Statement, grouped, recorded
from nldisco_core.summary import Findings, comparison, printable
from nldisco_core.toml_text import toml_text
from nldisco_core.tuning import one_per_channel
from nldisco_report.evidence import BINS_OF, Evidence
from nldisco_report.markup import facts, number, paragraphs, section, table
from nldisco_report.methods import formulas, references
from nldisco_report.methods import methods as sentences

__all__ = [
    "answer",
    "colophon",
    "controls",
    "methods",
    "names_of",
    "planned",
    "recording",
    "reproduce",
    "subtitle",
    "verdict",
]

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
    where = BINS_OF[found.split]
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
        f"Instance {found.instance} of {found.n_instances}: {found.n_found} found by at least one test of a mapper "
        f"(supported, q < .05 on {where}, not better explained by another variable) of {found.n_supported} with enough "
        f"active bins of {found.n_latents} latents.{others}"
    )


def verdict(run: Run) -> str:
    """What the figures show and what they do not, and what to beware of."""
    own = [note for note in run.about.get("notes", []) if note.split(":")[0] not in run.controls]
    warned = [*run.about.get("warnings", []), *own]
    noted = f"<div class='aside'><h3>Notes and warnings</h3>{paragraphs(warned)}</div>" if warned else ""
    said = "".join(f"<h3>{topic}</h3>{_statements(held)}" for topic, held in grouped(recorded(run.about)))
    return section("verdict", "Verdict", f"<div class='two'><div>{said}</div>{noted}</div>" if said or noted else "")


def _statements(held: Iterable[Statement]) -> str:
    """Statements of one topic as a list, each behind its standing beside the controls."""
    items = "".join(
        f"<li>{f'<strong>{each.standing}</strong>: ' if each.standing else ''}{html.escape(each.text)}</li>"
        for each in held
    )
    return f"<ul>{items}</ul>"


def planned(run: Run) -> str:
    """What was fixed before the test bins were seen, and that all else is exploratory."""
    parts = [f"<p>{html.escape(standing(run))}</p>"]
    entries = openings(run)
    if entries:
        rows = [(e["opening"], e["time"], e["kind"], e["why"], (e["plan_sha256"] or "none")[:12]) for e in entries]
        parts.append(table(("opening", "when", "kind", "why", "plan"), rows, text=True))
    plans = {e["plan_sha256"]: e["plan"] for e in entries if e["plan"] is not None}
    parts += [_quoted(f"Plan {sha256}", toml_text(plan)) for sha256, plan in plans.items()]
    for opening, found in _hypotheses(run).groupby("opening", sort=False) if _HYPOTHESES in run.tables else ():
        kind = found["kind"].iloc[0]
        good = "as expected" if kind == "exploratory" else "confirmed"
        said = (
            f"opening {opening}, {kind}: {(found['verdict'] == good).sum()} of {len(found)} {good}; "
            f"q over the {found['p'].notna().sum()} that could be tested"
        )
        rows = found[list(_JUDGED)].to_numpy().tolist()
        parts.append(f"<h3>Hypotheses <small>{html.escape(said)}</small></h3>")
        parts.append(table(tuple(_JUDGED.values()), rows, keys=tuple(_JUDGED), text=True))
    return section("planned", "Planned and exploratory", *parts)


def _quoted(title: str, text: str, *, is_open: bool = False) -> str:
    shown = " open" if is_open else ""
    return f"<details{shown}><summary>{html.escape(title)}</summary><pre>{html.escape(text)}</pre></details>"


_JUDGED = {
    "hypothesis": "",
    "verdict": "verdict",
    "foretold": "expected",
    "found": "found",
    "latent": "latent",
    "p": "p",
    "q": "q",
    "score": "score",
    "beside": "best control",
    "agreeing": "instances",
    "reason": "why",
}


def _hypotheses(run: Run) -> pd.DataFrame:
    """The run's table of hypotheses as it is shown."""
    found = run.table(_HYPOTHESES)
    rows = found.to_dict("records")
    return found.assign(
        foretold=[f"{row['variable']}: {row['expect']}" for row in rows],
        beside=[_beside(row["best_control"], row["best_control_score"]) for row in rows],
        agreeing=[f"{row['n_agreeing']} of {row['n_instances']}" for row in rows],
    ).astype(object)


def _beside(control: object, score: object) -> str:
    return f"{control} {number(score)}" if isinstance(control, str) else "–"


def recording(run: Run) -> str:
    """What was recorded."""
    data, card = run.counts, run.about.get("card", {})
    n_bins = {name: int((data.split == code).sum()) for code, name in enumerate(SPLITS)}
    n_bins |= {"gaps between them": n} if (n := data.n_bins - sum(n_bins.values())) else {}
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
        ("bins by split", ", ".join(f"{name} {n:,}" for name, n in n_bins.items()), ""),
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
    parts = [f"<p class='aside'>On {BINS_OF[findings.split]}; mean over instances [lowest, highest].</p>"]
    for title, frame in tables.items():
        rows = [(name, *row) for name, row in zip(frame.index, frame.to_numpy(), strict=True)]
        shown = table(("", *map(str, frame.columns)), rows, strong=frame.index[0] == run.model.provider)
        name = title.replace("_", " ")
        parts.append(f"<h3>{html.escape(name[:1].upper() + name[1:])}</h3>{shown}")
    return section("controls", "Beside controls", *parts)


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
