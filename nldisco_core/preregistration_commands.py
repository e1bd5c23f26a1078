"""``nldisco plan`` and ``nldisco open``: what is to be tested, written down before test bins are seen, and the test."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nldisco_core import plugins
from nldisco_core.errors import ConfigError
from nldisco_core.terminal import RUNS_DIR

if TYPE_CHECKING:
    from nldisco_core.preregistration import Preregistration

__all__ = ["open_command", "plan_command"]


@click.command("plan")
@click.argument("source")
@click.option(
    "--variable", "variables", multiple=True, help="A variable that latents are expected to tell. Repeatable."
)
@click.option(
    "--expect",
    "expectations",
    multiple=True,
    help="What is expected of it, one for each --variable: 'resultant_length > 0.3', 'preferred_direction in 0..1.57', "
    "'preferred = left', or a score of another mapper than selectivity, 'decoding: r2 > 0.5'.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="False discovery rate over all hypotheses at which one is confirmed.",
)
@click.option("--to", "file", type=click.Path(path_type=Path), help="TOML file to be written.")
@click.option("--path", type=click.Path(path_type=Path), help="File or folder, for datasets that take one.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting, such as mappers.selectivity.n_shifts=999.",
)
@RUNS_DIR
def plan_command(
    source: str,
    variables: tuple[str, ...],
    expectations: tuple[str, ...],
    alpha: float,
    file: Path | None,
    path: Path | None,
    assignments: tuple[str, ...],
    runs_dir: Path,
) -> None:
    """Write hypotheses, nulls, splits and mappers to a file and hash it, before test bins are seen.

    SOURCE is a run, a dataset or preset by name, or a TOML file: the configuration of a run, or a plan that was edited,
    which is checked and hashed again.
    """
    from nldisco_core.preregistration import read_plan, write_plan

    if _is_plan(source):
        if variables or expectations or file or assignments:
            raise ConfigError(f"{source} is a plan already; edit the file")
        _show(read_plan(Path(source)))
        return
    if not variables or len(variables) != len(expectations):
        raise ConfigError(
            f"{len(variables)} --variable and {len(expectations)} --expect; give at least one variable, and one "
            "expectation for each"
        )
    if file is None:
        raise ConfigError("name the file that the plan is written to, --to plan.toml")
    plan = _made(source, list(zip(variables, expectations, strict=True)), alpha, path, assignments, runs_dir)
    write_plan(plan, file)
    click.echo(f"plan   {file}")
    _show(plan)


def _is_plan(source: str) -> bool:
    from nldisco_core.config import read_toml

    return Path(source).is_file() and Path(source).suffix == ".toml" and "hypotheses" in read_toml(Path(source))


def _made(
    source: str,
    hypotheses: list[tuple[str, str]],
    alpha: float,
    path: Path | None,
    assignments: tuple[str, ...],
    runs_dir: Path,
) -> Preregistration:
    from nldisco_core.composition import compose, plan
    from nldisco_core.config import RunConfig, merge, parse, parse_assignments
    from nldisco_core.pipeline import load_counts
    from nldisco_core.preregistration import planned, require_known_scores, run_identity
    from nldisco_core.runs import find_run
    from nldisco_core.sealing import identity

    offered = {
        listed.name: listed.kind for listed in plugins.registry().providers() if listed.kind in ("dataset", "preset")
    }
    of_file = Path(source).suffix == ".toml"
    if of_file or source in offered:
        config = compose(
            dataset=source if offered.get(source) == "dataset" else None,
            preset=source if offered.get(source) == "preset" else None,
            file=Path(source) if of_file else None,
            path=path,
            model="saved-activations" if offered.get(source) == "dataset" else None,
            assignments=assignments,
        )
        counts = load_counts(plan(config))
        return planned(config, identity(counts), counts, hypotheses=hypotheses, alpha=alpha)
    if path is not None:
        raise ConfigError(f"--path is for datasets that take one; {source} is none, and a run keeps its data")
    run = find_run(source, runs_dir)
    config = parse(RunConfig, merge(run.about["config"], parse_assignments(assignments)))
    made = planned(config, run_identity(run), run.counts, hypotheses=hypotheses, alpha=alpha)
    require_known_scores(made, run)
    return made


def _show(plan: Preregistration) -> None:
    click.echo(f"sha256 {plan.sha256}")
    for hypothesis in plan.hypotheses:
        null = f", against {hypothesis.null}s" if hypothesis.null else ""
        click.echo(f"{hypothesis.name}  {hypothesis.variable}: {hypothesis.expect} ({hypothesis.mapper}{null})")


@click.command("open")
@click.argument("run_name", metavar="RUN")
@click.option("--plan", "file", type=click.Path(path_type=Path), help="What was planned, from `nldisco plan`.")
@click.option("--without-plan", is_flag=True, help="Open the test split to explore; this is recorded.")
@RUNS_DIR
def open_command(run_name: str, file: Path | None, without_plan: bool, runs_dir: Path) -> None:
    """Open the test split of a sealed run, map it as planned and judge each hypothesis.

    The run keeps a ledger of every opening, openings.jsonl. Only the first opening, with a plan, of a run made with
    `nldisco run --sealed` confirms anything; every other is done as well and called exploratory.
    """
    if (file is None) != without_plan:
        raise ConfigError("give either --plan FILE (see `nldisco plan`) or --without-plan")
    from nldisco_core.ledger import openings
    from nldisco_core.opening import HYPOTHESES, open_run
    from nldisco_core.preregistration import read_plan
    from nldisco_core.runs import find_run

    plan = None if file is None else read_plan(file)
    run = open_run(find_run(run_name, runs_dir), plan)
    opening = openings(run)[-1]
    click.echo(f"run    {run.folder}")
    click.echo(f"{opening['kind']}: {opening['why']}")
    if plan is None:
        return
    table = run.table(HYPOTHESES)
    table = table[table["opening"] == opening["opening"]]
    click.echo(f"q is over the {table['p'].notna().sum()} of {len(table)} hypotheses that could be tested")
    for row in table.to_dict("records"):
        said = f"{row['hypothesis']}  {row['variable']}: {row['expect']} - {row['verdict']}"
        reason = f" ({row['reason']})" if row["reason"] else f" (found {row['found']}, q {row['q']:.3g})"
        beside = f"; {row['statistic']} {row['score']:.3g}" if row["score"] == row["score"] else ""
        if isinstance(row["best_control"], str):
            beside += f", the best of {row['best_control']} {row['best_control_score']:.3g}"
        click.echo(textwrap.fill(said + reason + beside, width=110, subsequent_indent="    "))
