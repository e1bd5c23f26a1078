"""Opening the test split of a run: recorded first, then mapped as planned, then each hypothesis judged."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nldisco_core.binned import Binned
from nldisco_core.composition import Plan, plan
from nldisco_core.config import RunConfig, parse
from nldisco_core.cosmoothing import without_units
from nldisco_core.errors import RunError
from nldisco_core.files import whole_folder, write_json, write_table
from nldisco_core.hypotheses import judge
from nldisco_core.ledger import LEDGER, Opening, append, openings
from nldisco_core.pipeline import Analysis, load_counts, map_run, write_data
from nldisco_core.preprocessing import preprocess
from nldisco_core.preregistration import Preregistration, require_known_scores, require_same_data
from nldisco_core.run_writer import RunWriter
from nldisco_core.runs import Run
from nldisco_core.sealing import identity
from nldisco_core.zero_input import ZERO_INPUT

__all__ = ["HYPOTHESES", "open_run"]

HYPOTHESES = "hypotheses"
_EXPLORED = {"confirmed": "as expected", "not confirmed": "not as expected"}
_KEPT = (LEDGER, "notes.jsonl")


def open_run(run: Run, registered: Preregistration | None) -> Run:
    """Open the test split of a run, as planned or to explore.

    The ledger of the run (`nldisco_core.ledger`) is told before any test bin is read. A sealed run then gets its test
    bins: the data are loaded again, every kept model transforms them, and everything that is measured is measured anew.
    In a run that holds its test bins already only the plan's mappers are run. Hypotheses are judged last, in the table
    ``hypotheses``, see `nldisco_core.hypotheses.judge`; an exploratory opening finds them ``as expected`` or ``not as
    expected``, it confirms nothing.

    Parameters
    ----------
    registered : the plan, None to explore without one

    Raises
    ------
    RunError
        The plan is for other data, the data have changed since the run was made, or the ledger was changed.
    ConfigError
        A hypothesis speaks of a score that its mapper does not give.
    PluginNotFound, DataError
        The dataset or a model of a sealed run is not at hand.
    """
    if registered is not None:
        require_same_data(registered, run)
        require_known_scores(registered, run)
    before = openings(run)
    kind, why = _kind(run, before, None if registered is None else registered.sha256)
    number = len(before) + 1
    append(
        run.folder,
        {
            "opening": number,
            "kind": kind,
            "why": why,
            "plan_sha256": None if registered is None else registered.sha256,
            "plan": None if registered is None else registered.model_dump(mode="json"),
        },
    )
    if run.sealed:
        run = _with_test_bins(run, registered)
    elif registered is not None:
        for mapper, settings in registered.mappers.items():
            run = map_run(run, mapper, settings=settings, seed=registered.seed)
    if registered is not None:
        table = judge(registered, run).assign(opening=number, kind=kind, plan_sha256=registered.sha256)
        table["verdict"] = table["verdict"].replace(_EXPLORED) if kind == "exploratory" else table["verdict"]
        earlier = [run.table(HYPOTHESES)] if HYPOTHESES in run.tables else []
        (run.folder / "tables").mkdir(exist_ok=True)
        write_table(run.folder / "tables" / f"{HYPOTHESES}.parquet", pd.concat([*earlier, table], ignore_index=True))
    append(run.folder, {"finished": number})
    return Run(run.folder)


def _kind(run: Run, before: Sequence[Opening], sha256: str | None) -> tuple[str, str]:
    """Whether an opening confirms anything, and why.

    One that was cut short before it came to its end may be repeated with the same plan: the figures are the same.
    """
    if not run.about.get("config", {}).get("sealed", False):
        return "exploratory", "the run was not sealed: its test split was open from the start"
    if sha256 is None:
        return "exploratory", "no plan was given"
    looked = [entry for entry in before if entry["finished"] or entry["plan_sha256"] != sha256]
    if looked:
        return "exploratory", f"the test split had been opened before, first on {looked[0]['time']}"
    return "confirmatory", "the first opening of a sealed test split, by a plan"


def _with_test_bins(run: Run, registered: Preregistration | None) -> Run:
    """The run with its test bins, in the place of the sealed one."""
    config = parse(RunConfig, run.about["config"], where=f"configuration of {run.name}")
    mappers = config.mappers if registered is None else registered.mappers
    made = plan(config.model_copy(update={"sealed": False, "mappers": mappers}))
    counts, data = _everything(run, made)
    if registered is not None:
        made = replace(made, config=made.config.model_copy(update={"seed": registered.seed}))
    with whole_folder(run.folder) as folder:
        writer = RunWriter(folder, _about(run))
        write_data(writer, made, counts, data)
        analysis = Analysis(writer, made, counts, data, quiet=True)
        fitted = (control for name, control in run.controls.items() if name != ZERO_INPUT)
        for part in (run.model, *fitted):
            model = part.load_model()
            analysis.keep(part.name, model, model.transform(data), None)
            _keep_fit(part.folder, writer.part_folder(part.name))
        analysis.close()
        _keep_rest(run.folder, folder)
        made_by = run.about.get("environment")
        writer.about |= {"opened": datetime.now(UTC).isoformat(timespec="seconds")}
        writer.about |= {"environment_of_opening": writer.about["environment"], "environment": made_by}
        write_json(folder / "run.json", writer.about)
    return Run(run.folder)


def _everything(run: Run, made: Plan) -> tuple[Binned, Binned]:
    """All bins before and after preprocessing, with the units that the run kept."""
    counts = load_counts(made)
    if identity(counts) != run.about["recording"]:
        raise RunError(f"the data have changed since {run.name} was made; its test split cannot be opened with them")
    data = preprocess(counts, **made.config.preprocess.model_dump())
    if not counts.shares_units:
        return counts, data
    dropped = np.flatnonzero(~counts.units["id"].isin(run.counts.units["id"]).to_numpy())
    return without_units(counts, dropped), without_units(data, dropped)


def _about(run: Run) -> dict[str, Any]:
    """``run.json`` without what is made anew: the fingerprint, and what mappers had to say."""
    mappers = run.about.get("mappers", {})
    notes = [note for note in run.about.get("notes", []) if note.split(": ")[0] not in mappers]
    return {**{key: value for key, value in run.about.items() if key != "fingerprint"}, "notes": notes}


def _keep_fit(old: Path, new: Path) -> None:
    """What fitting left stays as it was."""
    shutil.rmtree(new / "model")
    shutil.copytree(old / "model", new / "model")
    shutil.copyfile(old / "history.parquet", new / "history.parquet")


def _keep_rest(old: Path, new: Path) -> None:
    """The ledger, people's notes, and tables of decisions made before the model was fitted."""
    for name in _KEPT:
        if (old / name).exists():
            shutil.copyfile(old / name, new / name)
    (new / "tables").mkdir(exist_ok=True)
    for table in (old / "tables").glob("*.parquet"):
        if not (new / "tables" / table.name).exists():
            shutil.copyfile(table, new / "tables" / table.name)
