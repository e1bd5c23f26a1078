"""The report of a run: one HTML page that needs nothing outside of itself."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

from matplotlib.figure import Figure

from nldisco_core.errors import RunError
from nldisco_core.runs import Run
from nldisco_report import sections
from nldisco_report.cards import latents
from nldisco_report.evidence import Evidence, evidence
from nldisco_report.figures import draw, save_figure, tuning
from nldisco_report.inline_svg import inline_svg

__all__ = ["report_html", "write_report"]

_CONTENTS = (
    ("verdict", "Verdict"),
    ("planned", "Planned and exploratory"),
    ("recording", "Recording"),
    ("controls", "Beside controls"),
    ("latents", "Latents"),
    ("methods", "Methods"),
    ("reproduce", "How to reproduce"),
)


def report_html(run: Run, *, n_latents: int = 12, instance: int = 0) -> str:
    """The page as text; the same run gives the same text.

    Parameters
    ----------
    n_latents : at most so many latents are shown, best first, see `nldisco_report.evidence.evidence`
    instance : the instance they are of

    Raises
    ------
    RunError
        No such instance.
    """
    return _page(run, _evidence(run, n_latents, instance))


def write_report(
    run: Run, file: Path, *, n_latents: int = 12, instance: int = 0, formats: Iterable[str] = ()
) -> list[Path]:
    """Write the page, and with `formats` each of its figures into a folder beside it; the paths that were written.

    Raises
    ------
    RunError
        No such instance, or the file cannot be written.
    """
    found, formats = _evidence(run, n_latents, instance), tuple(formats)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_page(run, found), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}; choose another with --to") from error
    written = [file]
    if formats:
        folder = file.with_name(f"{file.stem}-figures")
        for name, figure in _figures(run, found):
            written += save_figure(figure, folder / name, formats)
    return written


def _evidence(run: Run, n_latents: int, instance: int) -> Evidence:
    n_instances = run.latents.main.n_instances
    if instance >= n_instances:
        raise RunError(f"{run.name} has {n_instances} instances, counted from 0; there is no instance {instance}")
    return evidence(run, n_latents=n_latents, instance=instance)


def _figures(run: Run, found: Evidence) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each latent that is shown; none for variables that a mapper made of others."""
    drawable = {name for own in run.counts.covariate_names for name in sections.names_of(run, own)}
    for one in found.shown:
        variable = str(one.row["variable"])
        if variable in drawable:
            shown = tuning(
                run,
                latent=one.latent,
                variable=variable,
                instance=found.instance,
                sign=one.sign,
                split=found.split,
            )
            half = {1: "-positive", -1: "-negative"}.get(one.sign, "")
            yield f"latent-{one.latent}{half}-{variable}", draw(shown)


def _page(run: Run, found: Evidence) -> str:
    title = run.about.get("card", {}).get("title") or run.name
    drawn = {
        name: inline_svg(figure, name=f"f{place}", label=f"Tuning, {name.replace('-', ' ')}")
        for place, (name, figure) in enumerate(_figures(run, found))
    }
    parts = [
        sections.verdict(run),
        sections.planned(run),
        sections.recording(run),
        sections.controls(run),
        latents(found, drawn),
        sections.methods(run),
        sections.reproduce(run),
    ]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in _CONTENTS if f'id="{name}"' in "".join(parts))
    style = files("nldisco_report").joinpath("page.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{html.escape(title)}: {html.escape(run.model.provider)}</title>",
            f"<style>{style}</style></head>",
            "<body>",
            f"<header><h1>{html.escape(title)}</h1><p>{html.escape(sections.subtitle(run))}</p><nav>{links}</nav></header>",
            sections.answer(run, found),
            *parts,
            f"<footer>{html.escape(sections.colophon(run))}</footer>",
            "</body></html>\n",
        ]
    )
