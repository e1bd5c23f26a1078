"""The command line: ``nldisco``. Imports the rest inside each command, so that listing stays light."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from nldisco_core import plugins
from nldisco_core.apply_command import apply_command
from nldisco_core.dataset_commands import datasets
from nldisco_core.errors import ConfigError, NLDiscoError, PluginNotFound, unknown_name
from nldisco_core.preregistration_commands import open_command, plan_command
from nldisco_core.terminal import RUNS_DIR, echo_columns, show_run

if TYPE_CHECKING:
    from nldisco_core.conformance import CheckResult
    from nldisco_core.runs import Run

__all__ = ["cli", "main"]


class _PluginGroup(click.Group):
    """A group to which plugins add commands, once, when commands are first looked up."""

    _asked = False

    def _ask_plugins(self) -> None:
        if not self._asked:
            self._asked = True
            plugins.registry().add_commands(self)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of own and plugin commands."""
        self._ask_plugins()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by name; an unknown one names the nearest."""
        self._ask_plugins()
        command = super().get_command(ctx, cmd_name)
        if command is None and not cmd_name.startswith("-"):
            raise click.UsageError(unknown_name("command", cmd_name, self.commands), ctx)
        return command


def _add_plugin_files(_ctx: click.Context, _parameter: click.Parameter, files: tuple[Path, ...]) -> None:
    for file in files:
        plugins.registry().add_file(file)


@click.group(cls=_PluginGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="nldisco-core", prog_name="nldisco")
@click.option(
    "--plugin",
    type=click.Path(path_type=Path),
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_add_plugin_files,
    help="Also load this Python file as a plugin. May be repeated.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of stated problems and log in detail.")
@click.option("-v", "--verbose", is_flag=True, help="Log what is being done.")
def cli(debug: bool, verbose: bool) -> None:
    """Learn latents of neural recordings, relate them to behaviour with honest statistics, explore them in a browser.

    \b
    nldisco demo                                    the whole way on a real recording
    nldisco run --dataset head-direction --model pca --mapper selectivity
    nldisco serve RUN                               explore a run
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    targets = (getattr(listed.provider, "target", "nldisco_core") for listed in plugins.registry().providers())
    for package in {"nldisco_core", *(re.split("[.:]", target)[0] for target in targets)}:
        logging.getLogger(package).setLevel(level)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a stated problem, 2 wrong usage, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(args=words, prog_name="nldisco", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (NLDiscoError, MemoryError) as error:
        if "--debug" in words:
            raise
        reason = (
            str(error) if isinstance(error, NLDiscoError) else f"out of memory ({error}); use fewer bins or latents"
        )
        click.echo(f"Error: {' '.join(reason.split())}", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


@cli.command("plugins")
@click.argument("name", required=False)
@click.option("--check", is_flag=True, help="Import the code of every provider, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_plugins(name: str | None, check: bool, as_json: bool) -> None:
    """List plugins and what they offer, or one plugin by NAME; for the NAME of a provider, its settings."""
    registry = plugins.registry()
    rows: list[dict[str, str]] = []
    for record in registry.plugins:
        if name in (None, record.name):
            rows.extend(_provider_rows(record, check=check))
    if name is not None and not rows:
        _show_settings(name, as_json=as_json)
        return
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        echo_columns(rows, ("kind", "name", "plugin", "distribution", "version", "state", "summary"))
    if check and any(row["state"] != "ok" for row in rows):
        raise click.exceptions.Exit(1)


def _show_settings(name: str, *, as_json: bool) -> None:
    registry = plugins.registry()
    found = [listed for listed in registry.providers() if listed.name == name and listed.kind != "preset"]
    if not found:
        known = [*(record.name for record in registry.plugins), *(listed.name for listed in registry.providers())]
        raise PluginNotFound(unknown_name("plugin or provider", name, known))
    from nldisco_core.settings import settings_of

    for listed in found:
        config_class = listed.load_config()
        rows = [] if config_class is None else [dataclasses.asdict(setting) for setting in settings_of(config_class)]
        if as_json:
            click.echo(json.dumps(rows, indent=2))
            continue
        click.echo(f"{listed.kind} {name}: {listed.provider.summary}")
        for row in rows:
            click.echo(f"\n{row['key']}: {row['kind']} = {row['default']}")
            click.echo(textwrap.fill(row["meaning"], 100, initial_indent="    ", subsequent_indent="    "))


def _provider_rows(record: plugins.PluginRecord, *, check: bool) -> list[dict[str, str]]:
    about = {"plugin": record.name, "distribution": record.distribution, "version": record.version}
    offered = [listed for listed in plugins.registry().providers() if listed.plugin is record]
    if record.reason is not None or not offered:
        return [{"kind": "plugin", "name": record.name, **about, "state": record.state, "summary": ""}]
    return [
        {
            "kind": listed.kind,
            "name": listed.name,
            **about,
            "state": _state(listed) if check else "ok",
            "summary": listed.provider.summary,
        }
        for listed in offered
    ]


def _state(listed: plugins.Listed) -> str:
    try:
        if listed.kind == "preset":
            listed.provider.text()  # type: ignore[union-attr]  # this kind is always a Preset
        else:
            listed.load()
            listed.load_config()
    except NLDiscoError as error:
        return f"BROKEN {error}"
    return "ok"


def _settings_options(command: Any) -> Any:
    """What `run` and `map` share: where data come from and how settings are given."""
    for option in (
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="KEY=VALUE",
            help="A setting by dotted key, such as model.lr=1e-3 or bin.bin_s=0.05.",
        ),
        click.option("--path", type=click.Path(path_type=Path), help="File or folder, for datasets that take one."),
        click.option("--dataset", help="Dataset by name, see `nldisco datasets`."),
        click.option("--preset", help="Named settings, see `nldisco plugins`."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        RUNS_DIR,
    ):
        command = option(command)
    return command


@cli.command("run")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--model", help="Latent model by name, see `nldisco plugins`.")
@click.option("--mapper", "mappers", multiple=True, help="Mapper by name. May be repeated.")
@click.option(
    "--control",
    "controls",
    multiple=True,
    help="Latent model to run beside it, matched in size and sparsity. May be repeated.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Added to every seed of the configuration.")
@click.option("--resume", is_flag=True, help="Go on with the interrupted run of this configuration.")
@click.option("--sealed", is_flag=True, help="Keep all test bins out of the run until `nldisco open` adds them.")
@_settings_options
def run_command(
    config: Path | None,
    runs_dir: Path,
    resume: bool,
    sealed: bool,
    as_json: bool,
    assignments: tuple[str, ...],
    **named: Any,
) -> None:
    """Load, bin, fit, evaluate and map, and keep it all as a run.

    Settings come from --preset, then the TOML file CONFIG, then the flags; later ones win.
    """
    from nldisco_core.composition import compose
    from nldisco_core.pipeline import execute

    assignments = (*assignments, "sealed=true") if sealed else assignments
    composed = compose(file=config, assignments=assignments, **named)
    show_run(execute(composed, runs_dir=runs_dir, resume=resume), as_json=as_json)


@cli.command("map")
@click.argument("run_or_file")
@click.option("--mapper", "mappers", multiple=True, required=True, help="Mapper by name. May be repeated.")
@click.option(
    "--control",
    "controls",
    multiple=True,
    help="Latent model to run beside saved activations, matched in size and sparsity. May be repeated.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the mapper's nulls.")
@_settings_options
def map_command(
    run_or_file: str,
    mappers: tuple[str, ...],
    seed: int,
    runs_dir: Path,
    as_json: bool,
    assignments: tuple[str, ...],
    **named: Any,
) -> None:
    """Add mappings to a run without training, or make a run of saved activations.

    RUN_OR_FILE is a run (folder, name or unique start of a name), or activations with one row per bin of --dataset:
    .npy (bins x latents, or instances x bins x latents), .npz (a scipy sparse matrix), or a folder that `nldisco
    export --format activations` wrote. Settings of a mapper are given as --set mappers.NAME.KEY=VALUE.
    """
    from nldisco_core.activations import read_activations
    from nldisco_core.composition import compose
    from nldisco_core.config import parse_assignments
    from nldisco_core.exporting import ACTIVATIONS
    from nldisco_core.pipeline import map_activations, map_run
    from nldisco_core.runs import find_run

    listed = (Path(run_or_file) / ACTIVATIONS).is_file()
    if listed or Path(run_or_file).suffix in (".npy", ".npz"):
        composed = compose(model="saved-activations", mappers=mappers, seed=seed, assignments=assignments, **named)
        latents = read_activations(Path(run_or_file))
        show_run(map_activations(latents, composed, source=run_or_file, runs_dir=runs_dir), as_json=as_json)
        return
    run = find_run(run_or_file, runs_dir)
    settings = parse_assignments(assignments)
    if not isinstance(settings.get("mappers", {}), dict):
        raise ConfigError("mappers is a table; give --set mappers.NAME.KEY=VALUE")
    unused = [key for key in settings if key != "mappers"] + [
        key for key in settings.get("mappers", {}) if key not in mappers
    ]
    if unused or any(named.values()):
        raise ConfigError(
            "a run keeps its data, model and controls; only --set mappers.NAME.KEY=VALUE can be given for it"
        )
    for mapper in mappers:
        run = map_run(run, mapper, settings=settings.get("mappers", {}).get(mapper), seed=seed)
    show_run(run, as_json=as_json)


@cli.command("export")
@click.argument("run_name", metavar="RUN")
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="Folder to be written.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["tables", "activations"]),
    default="tables",
    show_default=True,
    help="All tables as CSV, or the model's activations with masks of training, validation and test bins.",
)
@RUNS_DIR
def export(run_name: str, folder: Path, kind: str, runs_dir: Path) -> None:
    """Write what a run holds into plain files."""
    from nldisco_core.exporting import export_tables, write_activations
    from nldisco_core.runs import find_run

    run = find_run(run_name, runs_dir)
    if folder.exists():
        raise ConfigError(f"{folder} exists; name a folder that does not")
    if kind == "tables":
        for path in export_tables(run, folder):
            click.echo(path)
        return
    write_activations(run.latents.main, run.counts, folder)
    click.echo(folder)


@cli.command("runs")
@RUNS_DIR
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_all_runs(runs_dir: Path, as_json: bool) -> None:
    """List the runs in a folder."""
    from nldisco_core.runs import list_runs

    rows = [
        {
            "name": folder.name,
            "status": str(about.get("status", "")),
            "dataset": str(about.get("config", {}).get("dataset", {}).get("name", "")),
            "model": str(about.get("config", {}).get("model", {}).get("name", "")),
            "mappers": ", ".join(about.get("mappers", {})),
        }
        for folder, about in list_runs(runs_dir)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        echo_columns(rows, ("name", "status", "dataset", "model", "mappers"))
    else:
        click.echo(f"No runs in {runs_dir}. Make one with `nldisco demo` or `nldisco run`.")


@cli.command("check")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(["dataset", "model", "mapper", "view"]), help="Needed where a name is used twice."
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting of the provider, such as path=file.nwb."
)
def check(name: str, kind: str | None, assignments: tuple[str, ...]) -> None:
    """Run the conformance checks on the provider NAME."""
    from nldisco_core.config import parse_assignments
    from nldisco_core.conformance import check_provider

    fitting = [
        listed
        for listed in plugins.registry().providers()
        if listed.name == name and kind in (None, listed.kind) and listed.kind != "preset"
    ]
    if not fitting:
        known = (listed.name for listed in plugins.registry().providers() if listed.kind != "preset")
        broken = [
            f"{record.name}: {record.state}" for record in plugins.registry().plugins if record.reason is not None
        ]
        raise PluginNotFound(". ".join([unknown_name("provider", name, known), *broken]))
    settings = parse_assignments(assignments)
    results: list[CheckResult] = []
    for listed in fitting:
        click.echo(f"{listed.kind} {listed.name} ({listed.plugin.distribution} {listed.plugin.version})")
        with TemporaryDirectory() as folder:
            run, bare_run = _runs_for_views(Path(folder)) if listed.kind == "view" else (None, None)
            found = check_provider(listed, settings=settings, run=run, bare_run=bare_run)
        results.extend(found)
        for result in found:
            click.echo(f"  {result.status:8} {result.name}{f': {result.reason}' if result.reason else ''}")
    failed = sum(result.status == "failed" for result in results)
    click.echo(f"{len(results) - failed} of {len(results)} checks without failure")
    if failed:
        raise click.exceptions.Exit(1)


def _runs_for_views(folder: Path) -> tuple[Run, Run]:
    """A toy run with what views may need, by the first model and all mappers installed, and one without mappings."""
    from nldisco_core.conformance.toy_dataset import toy_run

    model, *others = (listed.name for listed in plugins.registry().providers("model"))
    mappers = [listed.name for listed in plugins.registry().providers("mapper")]
    trials = ["bin.trials=trials", "dataset.duration_s=60.0"]
    full = toy_run(folder, model=model, mappers=mappers, controls=others[:1], assignments=trials)
    return full, toy_run(folder, model=model, assignments=trials)


cli.add_command(apply_command)
cli.add_command(datasets)
cli.add_command(plan_command)
cli.add_command(open_command)


if __name__ == "__main__":
    main()
