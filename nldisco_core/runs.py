"""A run on disk: a folder with data, model, latents, mappings and controls that opens without the plugins behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd

from nldisco_core.errors import PluginNotFound, RunError, RunIncomplete, RunNotFound, unknown_name
from nldisco_core.files import read_binned, read_dictionary, read_json, read_latents, read_mapping, read_table
from nldisco_core.plugins import registry
from nldisco_core.preprocessing import preprocess

if TYPE_CHECKING:
    from nldisco_core.binned import Binned
    from nldisco_core.interfaces import Dictionary, LatentModel
    from nldisco_core.latents import Latents
    from nldisco_core.mapping import MapperResult

__all__ = ["DEFAULT_RUNS_DIR", "ModelPart", "Run", "find_run", "list_runs", "title_of"]

DEFAULT_RUNS_DIR = Path("runs")


class ModelPart:
    """What one model left in a run: the run's own model, or a control.

    Attributes
    ----------
    folder : where it lies
    name : ``model`` for the run's own, else the name of the control
    record : provider, distribution, version and config
    """

    def __init__(self, folder: Path, *, name: str, record: Mapping[str, Any]) -> None:
        self.folder = folder
        self.name = name
        self.record = MappingProxyType(dict(record))

    @property
    def provider(self) -> str:
        """Name of the latent model."""
        return str(self.record["provider"])

    @cached_property
    def latents(self) -> Latents:
        """Activations over all bins of the run."""
        return read_latents(self.folder / "latents")

    @cached_property
    def dictionary(self) -> Dictionary | None:
        """Weights from latents to units, None where the model has none."""
        return read_dictionary(self.folder)

    @cached_property
    def history(self) -> pd.DataFrame:
        """Training curves: columns step, instance, name, value."""
        return read_table(self.folder / "history.parquet")

    @property
    def mappings(self) -> tuple[str, ...]:
        """Names of the mappers that were run."""
        folder = self.folder / "mappings"
        found = folder.iterdir() if folder.is_dir() else ()
        whole = (path for path in found if path.suffix not in (".partial", ".old"))
        return tuple(sorted(path.name for path in whole if (path / "mapping.json").exists()))

    def mapping(self, mapper: str) -> MapperResult:
        """What a mapper found; `RunNotFound` lists those that were run."""
        if mapper not in self.mappings:
            raise RunNotFound(f"{unknown_name('mapping', mapper, self.mappings)}; add it with `nldisco map`")
        return read_mapping(self.folder / "mappings" / mapper)

    def load_model(self) -> LatentModel:
        """The fitted model, through its plugin.

        Raises
        ------
        PluginNotFound
            The plugin is not installed; the message names its distribution.
        """
        try:
            model_class = registry().listed("model", self.provider).load()
        except PluginNotFound as error:
            needed = f"{self.record.get('distribution')} {self.record.get('version', '')}".strip()
            raise PluginNotFound(f"this run's model needs {needed}; install it. ({error})") from error
        loaded: LatentModel = model_class.load(self.folder / "model")
        return loaded


class Run:
    """A finished run.

    Attributes
    ----------
    folder : where it lies
    about : contents of ``run.json``

    Raises
    ------
    RunNotFound
        The folder is not a run.
    RunIncomplete
        It was interrupted or failed before it was whole.
    SchemaTooNew
        A newer version wrote it.
    """

    def __init__(self, folder: Path) -> None:
        if folder.name.endswith(".partial"):
            raise RunIncomplete(f"{folder} was interrupted; finish it with `nldisco run … --resume` or delete it")
        if not (folder / "run.json").is_file():
            raise RunNotFound(f"{folder} is not a run: it holds no run.json")
        self.folder = folder
        self.about = read_json(folder / "run.json")
        if not isinstance(self.about.get("model"), dict):
            raise RunIncomplete(f"{folder}/run.json names no model; the run is damaged")
        if self.about.get("status") != "finished":
            raise RunIncomplete(f"{folder} has status {self.about.get('status')!r}, expected 'finished'; run it again")

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def sealed(self) -> bool:
        """Whether the run was sealed and not opened yet: it holds no test bins."""
        return bool(self.about.get("config", {}).get("sealed", False)) and "opened" not in self.about

    @cached_property
    def model(self) -> ModelPart:
        """The run's own model and what came from it."""
        return ModelPart(self.folder, name="model", record=self.about["model"])

    @cached_property
    def controls(self) -> Mapping[str, ModelPart]:
        """The controls by name; empty for a run without any."""
        return MappingProxyType(
            {
                name: ModelPart(self.folder / "controls" / name, name=name, record=record)
                for name, record in self.about.get("controls", {}).items()
            }
        )

    def part(self, name: str) -> ModelPart:
        """``model`` or a control by name; `RunNotFound` lists those there are."""
        if name == "model":
            return self.model
        if name not in self.controls:
            raise RunNotFound(unknown_name("model of this run", name, ["model", *self.controls]))
        return self.controls[name]

    @property
    def latents(self) -> Latents:
        """Activations of the run's own model."""
        return self.model.latents

    @property
    def dictionary(self) -> Dictionary | None:
        """Weights from latents to units of the run's own model."""
        return self.model.dictionary

    @property
    def mappings(self) -> tuple[str, ...]:
        """Names of the mappers that were run."""
        return self.model.mappings

    def mapping(self, mapper: str = "selectivity") -> MapperResult:
        """What a mapper found for the run's own model."""
        return self.model.mapping(mapper)

    @cached_property
    def counts(self) -> Binned:
        """Data as they were binned, before any preprocessing; activity is memory-mapped."""
        return read_binned(self.folder / "binned")[0]

    @cached_property
    def binned(self) -> Binned:
        """Data as the model saw them, preprocessed again with the kept statistics."""
        data, done = read_binned(self.folder / "binned")
        return preprocess(data, smooth_s=done.smooth_s, normalise=done.normalise, statistics=done.statistics)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Evaluation of the model and its controls: column ``model``, then those of `nldisco_core.metrics.evaluate`."""
        return read_table(self.folder / "metrics.parquet")

    @cached_property
    def unit_metrics(self) -> pd.DataFrame:
        """Evaluation per unit, with a column ``model``."""
        return read_table(self.folder / "unit_metrics.parquet")

    @property
    def history(self) -> pd.DataFrame:
        """Training curves of the run's own model."""
        return self.model.history

    @cached_property
    def offers(self) -> frozenset[str]:
        """What views may need of a run and this one has.

        Kinds of its variables (``linear``, ``circular``, ``discrete``, ``position``), ``trials``, ``mapping`` and the
        name of each mapper that was run (``spatial mapping``), ``dictionary``, ``controls``, ``history`` and
        ``metrics``.
        """
        kinds = {self.counts.covariate(name).kind for name in self.counts.covariate_names}
        held = {
            "trials": any(session.trials is not None for session in self.counts.sessions),
            "mapping": bool(self.mappings),
            "dictionary": (self.folder / "dictionary.json").exists(),
            "controls": bool(self.controls),
            "history": self._has_rows("history"),
            "metrics": self._has_rows("metrics"),
        }
        mapped = {f"{name} mapping" for name in self.mappings}
        return frozenset(kinds | mapped | {name for name, there in held.items() if there})

    def _has_rows(self, table: str) -> bool:
        return (self.folder / f"{table}.parquet").exists() and len(getattr(self, table)) > 0

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of further tables of the run, such as ``seed_match``."""
        return tuple(sorted(path.stem for path in (self.folder / "tables").glob("*.parquet")))

    def table(self, name: str) -> pd.DataFrame:
        """A further table by name; `RunNotFound` lists those there are."""
        if name not in self.tables:
            raise RunNotFound(unknown_name("table of this run", name, self.tables))
        return read_table(self.folder / "tables" / f"{name}.parquet")


def list_runs(runs_dir: Path = DEFAULT_RUNS_DIR) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Folder and ``run.json`` of each run in a folder, newest name last; others have the status they stopped with.

    One whose ``run.json`` cannot be read has the status ``damaged`` and nothing else.
    """
    for folder in sorted(runs_dir.iterdir()) if runs_dir.is_dir() else ():
        if (folder / "run.json").is_file():
            try:
                about = read_json(folder / "run.json")
            except RunError:
                about = {"status": "damaged"}
            yield folder, about


def find_run(token: str | Path, runs_dir: Path = DEFAULT_RUNS_DIR) -> Run:
    """A run by folder, by name, or by a unique start of its name.

    Raises
    ------
    RunNotFound
        No run fits, or several do; the message lists the nearest or the candidates.
    """
    if not str(token).strip():
        raise RunNotFound(f"no run is named; name one of those in {runs_dir} (`nldisco runs`)")
    if (Path(token) / "run.json").is_file():
        return Run(Path(token))
    names = [folder.name for folder, _ in list_runs(runs_dir)]
    fitting = [name for name in names if name == str(token)] or [name for name in names if name.startswith(str(token))]
    finished = [name for name in fitting if not name.endswith(".partial")]
    fitting = finished or fitting
    if len(fitting) == 1:
        return Run(runs_dir / fitting[0])
    if fitting:
        raise RunNotFound(f"{str(token)!r} fits {len(fitting)} runs; write more of the name: {', '.join(fitting[:5])}")
    raise RunNotFound(f"{unknown_name('run', str(token), names)} (in {runs_dir})")


def new_name(dataset: str, model: str, *, digest: str, now: datetime) -> str:
    """Name of a run: when, on what, with what, and the start of its config's digest."""
    return f"{now:%Y-%m-%dT%H-%M-%S}_{dataset}_{model}_{digest[:4]}"


def title_of(name: str) -> str:
    """What a run is about first: "maze-reach, matryoshka-sae, 2026-11-22 13:36, d6c8"; other names as they are."""
    started, *about = name.split("_")
    try:
        when = datetime.strptime(started, "%Y-%m-%dT%H-%M-%S")
    except ValueError:
        return name
    return ", ".join([*about[:-1], f"{when:%Y-%m-%d %H:%M}", *about[-1:]])
