"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator

import click

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_views() -> Iterator[Provider]:
    """The first-party tiles, in the order in which they stand on their pages."""
    for name, target, summary in (
        ("latent-card", "card:LatentCard", "What is claimed of a latent, and the evidence beside it."),
        ("polar-tuning", "tuning:PolarTuning", "Mean activation by direction, with a ring of occupancy."),
        ("rate-map", "tuning:RateMap", "Mean activation over a position."),
        ("tuning-curve", "tuning:TuningCurve", "Mean activation against a linear variable, with occupancy."),
        (
            "contributing-units",
            "activity:ContributingUnits",
            "Weights of a latent to units by region, and their mean z.",
        ),
        ("activation-trace", "activity:ActivationTrace", "Activation and behaviour on one time axis."),
        ("condition-bars", "tuning:ConditionBars", "Mean activation for each label of a discrete variable."),
        ("activation-histogram", "activity:ActivationHistogram", "How strong the activations of a latent are."),
        ("verdict", "overview:Verdict", "What a run shows, and what it does not."),
        ("quality", "overview:Quality", "Reconstruction of held-out bins, model beside controls."),
        ("model-card", "overview:ModelCard", "Which model, how configured, by whom provided."),
        ("data-card", "overview:DataCard", "Session, units, bins, preprocessing and splits."),
        ("density-histogram", "overview:DensityHistogram", "How often latents are active; dead and dense ones."),
        ("training-curves", "overview:TrainingCurves", "What the model reported while it was fitted."),
        ("comparison", "overview:Comparison", "Decoding, tuning, copies and seeds, model beside controls."),
    ):
        yield Provider(name=name, target=f"nldisco_explorer.views.{target}", summary=summary)


@hookimpl
def nldisco_commands(cli: click.Group) -> None:
    """``nldisco serve``."""
    cli.add_command(serve)


@click.command()
@click.argument("run", nargs=-1, required=True)
@click.option(
    "--runs-dir",
    type=click.Path(file_okay=False),
    default="runs",
    show_default=True,
    help="Where runs are looked up by name.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=5006, show_default=True, help="0 takes any free port.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Address of this machine to listen on.")
@click.option("--no-browser", is_flag=True, help="Open no browser.")
def serve(run: tuple[str, ...], runs_dir: str, port: int, address: str, no_browser: bool) -> None:
    """Show runs in a browser.

    RUN is a folder, a run's name or a unique start of it.
    """
    from pathlib import Path

    from nldisco_core.runs import find_run

    found = [find_run(token, Path(runs_dir)) for token in run]
    from nldisco_explorer.server import serve as serve_runs

    serve_runs(
        found,
        port=port,
        address=address,
        open_browser=not no_browser,
        announce=lambda url: click.echo(f"explorer on {url} (Ctrl-C stops it)"),
    )
