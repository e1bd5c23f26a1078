"""What this plugin offers."""

from __future__ import annotations

from pathlib import Path

import click

from nldisco_core.hookspecs import hookimpl
from nldisco_core.terminal import RUNS_DIR

FORMATS = ("svg", "pdf", "png")


@hookimpl
def nldisco_commands(cli: click.Group) -> None:
    """``nldisco report`` and ``nldisco figures``."""
    cli.add_command(report)
    cli.add_command(figures)


def _formats(_ctx: click.Context, _parameter: click.Parameter, text: str) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}; known: {', '.join(FORMATS)}")
    return chosen


@click.command()
@click.argument("run_name", metavar="RUN")
@click.option("--to", "file", type=click.Path(path_type=Path), help="HTML file to be written. [default: RUN.html]")
@click.option("--latents", type=click.IntRange(min=1), default=12, show_default=True, help="Latents shown, best first.")
@click.option("--instance", type=click.IntRange(min=0), default=0, show_default=True, help="Instance they are of.")
@click.option(
    "--formats",
    default="",
    callback=_formats,
    help="Also write each figure into a folder beside the page: svg, pdf and png, with commas between.",
)
@RUNS_DIR
def report(
    run_name: str, file: Path | None, latents: int, instance: int, formats: tuple[str, ...], runs_dir: Path
) -> None:
    """Write one self-contained HTML page on a run: what was found, beside what, and how.

    RUN is a folder, a run's name or a unique start of it.
    """
    from nldisco_core.runs import find_run
    from nldisco_report.report import write_report

    run = find_run(run_name, runs_dir)
    for path in write_report(
        run, file or Path(f"{run.name}.html"), n_latents=latents, instance=instance, formats=formats
    ):
        click.echo(path)


@click.command()
@click.argument("run_name", metavar="RUN")
@click.option("--latent", type=click.IntRange(min=0), required=True, help="Number of the latent.")
@click.option("--variable", required=True, help="Variable it is drawn against.")
@click.option(
    "--model", default="model", show_default=True, help="The run's own model, or one of its controls by name."
)
@click.option("--instance", type=click.IntRange(min=0), default=0, show_default=True, help="Instance it is of.")
@click.option("--sign", type=click.Choice(["0", "1", "-1"]), default="0", help="Half of a signed code, 1 or -1.")
@click.option("--split", help="Bins that are drawn, or all. [default: those that are reported]")
@click.option("--formats", default="svg,pdf,png", show_default=True, callback=_formats, help="Formats to be written.")
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
@RUNS_DIR
def figures(
    run_name: str,
    latent: int,
    variable: str,
    model: str,
    instance: int,
    sign: str,
    split: str | None,
    formats: tuple[str, ...],
    folder: Path,
    runs_dir: Path,
) -> None:
    """Draw the tuning of one latent for publication: SVG and PDF with text as text, and PNG at 300 dots per inch.

    RUN is a folder, a run's name or a unique start of it.
    """
    from nldisco_core.runs import find_run
    from nldisco_report.figures import save_figure, tuning_figure

    run = find_run(run_name, runs_dir)
    drawn = tuning_figure(
        run, latent=latent, variable=variable, model=model, instance=instance, sign=int(sign), split=split
    )
    half = {"1": "-positive", "-1": "-negative"}.get(sign, "")
    for path in save_figure(drawn, folder / f"{model}-{instance}-latent-{latent}{half}-{variable}", formats):
        click.echo(path)
