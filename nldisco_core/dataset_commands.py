"""``nldisco datasets``: what there is, what a recording holds, and files fetched from an archive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nldisco_core import plugins
from nldisco_core.errors import ConfigError
from nldisco_core.terminal import echo_columns

__all__ = ["datasets"]

_LARGEST_COUNT = 1000  # from here on, a number given for sessions is an id such as 20090912
_DATASET_OF_PATHS = "files"  # looked up by name like any other: no plugin is imported for it


@click.group("datasets", invoke_without_command=True)
@click.pass_context
def datasets(ctx: click.Context) -> None:
    """List the datasets there are, or show one."""
    if ctx.invoked_subcommand is None:
        rows = [
            {"name": listed.name, "summary": listed.provider.summary, "plugin": listed.plugin.name}
            for listed in plugins.registry().providers("dataset")
        ]
        echo_columns(rows, ("name", "summary", "plugin"))


@datasets.command("show")
@click.argument("name_or_path")
@click.option("--path", type=click.Path(path_type=Path), help="File or folder, for datasets that take one.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the dataset by dotted key, such as dataset.layout=recording.toml.",
)
def show_dataset(name_or_path: str, path: Path | None, assignments: tuple[str, ...]) -> None:
    """Print the card of a dataset by name, or of the recordings at a path, and what each session holds."""
    from nldisco_core.recording_card import card_lines, recording_card

    dataset = _shown(name_or_path, path, assignments)
    card = dataset.card()
    for field in ("title", "species", "area", "licence", "citation", "source", "left_out", "description"):
        if getattr(card, field):
            click.echo(f"{field.replace('_', ' '):12} {getattr(card, field)}")
    for session_id in dataset.session_ids():
        click.echo()
        for line in card_lines(recording_card(dataset.load(session_id))):
            click.echo(line)


@datasets.command("get")
@click.argument("name")
@click.option("--subject", help="Only sessions of this animal.")
@click.option("--sessions", help="The first so many, or ids with commas between. [default: those usually wanted]")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting, such as dataset.dandiset=000140."
)
def get_dataset(name: str, subject: str | None, sessions: str | None, assignments: tuple[str, ...]) -> None:
    """Fetch the files of dataset NAME from its archive into the cache, going on where an earlier fetch stopped."""
    from nldisco_core.interfaces import Downloads
    from nldisco_core.monitoring import byte_bar

    of_subject = () if subject is None else (f"dataset.subject={json.dumps(subject.lower())}",)
    dataset = _shown(name, None, (*assignments, *of_subject))
    if not isinstance(dataset, Downloads):
        raise ConfigError(f"dataset {name!r} has nothing to fetch: it is bundled, simulated or read from a path")
    wanted: Sequence[str] | int | None = sessions and [part.strip() for part in sessions.split(",")]
    if sessions is not None and sessions.isdecimal() and int(sessions) < _LARGEST_COUNT:
        wanted = int(sessions)
    with byte_bar(name) as tell:
        paths = dataset.fetch(wanted, tell)
    for path in paths:
        click.echo(path)


def _shown(name_or_path: str, path: Path | None, assignments: tuple[str, ...]) -> Any:
    """The dataset of that name; where there is none and a file or folder of that name, the recordings in it."""
    from nldisco_core.config import parse_assignments

    settings = parse_assignments(assignments)
    unused = [key for key in settings if key != "dataset"]
    if unused or not isinstance(settings.get("dataset", {}), dict):
        raise ConfigError(f"{', '.join(unused) or 'dataset'}: only --set dataset.KEY=VALUE can be given here")
    known = [listed.name for listed in plugins.registry().providers("dataset")]
    name, found = name_or_path, Path(name_or_path)
    if name not in known and found.exists():
        name, path = _DATASET_OF_PATHS, found
    given = {} if path is None else {"path": str(path)}
    return plugins.make("dataset", name, {**given, **settings.get("dataset", {})})
