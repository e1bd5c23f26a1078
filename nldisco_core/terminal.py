"""What commands share: the option for the folder of runs, and how runs and lists are printed."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nldisco_core.runs import Run

__all__ = ["RUNS_DIR", "echo_columns", "show_run"]

RUNS_DIR = click.option(
    "--runs-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder that holds the runs.",
)


def show_run(run: Run, *, as_json: bool = False) -> None:
    """Print where a run is kept, its figures beside those of its controls, and what they show."""
    from nldisco_core import summary
    from nldisco_core.ledger import standing

    if as_json:
        click.echo(json.dumps(summary.as_json(run), indent=2, allow_nan=False))
        return
    click.echo(f"run    {run.folder}")
    findings = summary.Findings.of(run)
    tables = summary.printable(summary.comparison(findings), {"model": run.model.provider})
    if tables:
        click.echo(f"On {findings.split} bins, mean [range] over instances.")
    for title, table in tables.items():
        click.echo(f"\n{title}\n{table.to_string()}")
    click.echo()
    for sentence in run.about.get("verdict", []):
        click.echo(textwrap.fill(f"- {sentence}", width=110, subsequent_indent="  ", break_on_hyphens=False))
    click.echo(textwrap.fill(f"- {standing(run)}", width=110, subsequent_indent="  ", break_on_hyphens=False))
    for note in (note for note in run.about.get("notes", []) if note.split(":")[0] not in run.controls):
        click.echo(textwrap.fill(f"note: {note}", width=110, subsequent_indent="  ", break_on_hyphens=False))


def echo_columns(rows: Sequence[dict[str, str]], columns: tuple[str, ...]) -> None:
    """Print rows as a table with a head."""
    widths = {column: max([len(column), *(len(row[column]) for row in rows)]) for column in columns}
    click.echo("  ".join(column.upper().ljust(widths[column]) for column in columns).rstrip())
    for row in rows:
        click.echo("  ".join(row[column].ljust(widths[column]) for column in columns).rstrip())
