"""``nldisco demo``: the whole way on the bundled recording, from spikes to the explorer."""

from __future__ import annotations

from pathlib import Path

import click

from nldisco_core.terminal import RUNS_DIR, show_run

__all__ = ["demo"]


@click.command("demo")
@RUNS_DIR
@click.option("--seed", type=click.IntRange(min=0), help="Added to every seed of the demo.")
@click.option("--no-serve", is_flag=True, help="Stop after the table.")
@click.option("--port", type=click.IntRange(1, 65535), default=5006, show_default=True, help="Port of the explorer.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@click.pass_context
def demo(ctx: click.Context, runs_dir: Path, seed: int | None, no_serve: bool, port: int, no_browser: bool) -> None:
    """Train on a real mouse's head-direction cells, judge the latents beside their controls, and explore them."""
    from nldisco_core.composition import compose
    from nldisco_core.pipeline import execute

    click.echo(
        "Mouse A2929-200711: 7 units of the anterodorsal nucleus and 8 of CA1, awake in an open field (wake epoch)."
    )
    run = execute(compose(preset="head-direction-demo", seed=seed), runs_dir=runs_dir)
    show_run(run)
    serve = None if ctx.parent is None else ctx.parent.command.get_command(ctx, "serve")  # type: ignore[attr-defined]
    if no_serve or serve is None:
        click.echo(f"\nExplore it with: nldisco serve {run.folder}")
        return
    words = [str(run.folder), "--port", str(port), *(["--no-browser"] if no_browser else [])]
    with serve.make_context("serve", words, parent=ctx.parent) as inner:
        serve.invoke(inner)
