"""``nldisco apply``: the model of a run applied to another epoch or recording."""

from __future__ import annotations

from pathlib import Path

import click

from nldisco_core.terminal import RUNS_DIR, show_run

__all__ = ["apply_command"]


@click.command("apply")
@click.argument("run_name", metavar="RUN")
@click.option("--epoch", help="Label of the epoch to encode, such as sleep.")
@click.option("--dataset", help="Another dataset by name, of the same units.")
@click.option("--path", type=click.Path(path_type=Path), help="Another file or folder, for datasets that take one.")
@click.option("--mapper", "mappers", multiple=True, help="Mapper to run on what comes out. May be repeated.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of dataset, bin, split or mappers, such as bin.trials=trials.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@RUNS_DIR
def apply_command(
    run_name: str,
    epoch: str | None,
    dataset: str | None,
    path: Path | None,
    mappers: tuple[str, ...],
    assignments: tuple[str, ...],
    as_json: bool,
    runs_dir: Path,
) -> None:
    """Encode another epoch or recording with the model of RUN, without fitting, and keep it as a run.

    Units, bin width, smoothing and the statistics of normalising are those of RUN; so are its controls.
    """
    from nldisco_core.applying import apply_run
    from nldisco_core.config import parse_assignments
    from nldisco_core.errors import ConfigError
    from nldisco_core.runs import find_run

    settings = parse_assignments(assignments)
    if not any((epoch, dataset, path, settings)):
        raise ConfigError("name what the model is to be applied to: --epoch, --dataset, --path or --set")
    applied = apply_run(
        find_run(run_name, runs_dir),
        epoch=epoch,
        dataset=dataset,
        path=path,
        mappers=mappers,
        settings=settings,
        runs_dir=runs_dir,
    )
    show_run(applied, as_json=as_json)
