"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_mappers() -> Iterator[Provider]:
    """Selectivity of single latents."""
    yield Provider(
        name="selectivity",
        target="nldisco_selectivity.mapper:Selectivity",
        config="nldisco_selectivity.config:SelectivityConfig",
        summary="Coverage, specificity, AUROC and tuning of each latent, with a shift null.",
    )


@hookimpl
def nldisco_commands(cli: click.Group) -> None:
    """``nldisco selectivity-table``."""
    cli.add_command(selectivity_table)


@click.command("selectivity-table")
@click.argument("run")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--split", type=click.Choice(["train", "validation", "test", "all"]), default="test", show_default=True)
@click.option("--all-rows", is_flag=True, help="Also latents that did not pass min_activation_frac and top_n.")
@click.option("--read", is_flag=True, help="Add the table in FILE to the run, as mapping 'selectivity-table'.")
@click.option(
    "--runs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Where runs are looked up by name.",
)
def selectivity_table(run: str, file: Path, split: str, all_rows: bool, read: bool, runs_dir: Path) -> None:
    """Write the selectivity of RUN's latents to FILE (.csv or .parquet) in the columns of the public tutorial."""
    from nldisco_core.runs import find_run
    from nldisco_selectivity.tutorial_table import add_to_run, read_tutorial, to_tutorial, write_tutorial

    found = find_run(run, runs_dir)
    if read:
        add_to_run(found, read_tutorial(file), source=str(file))
        return
    table = to_tutorial(found.mapping("selectivity").table, split=split, only_top=not all_rows)
    write_tutorial(table, file)
    click.echo(f"{len(table)} rows in {file}")
