"""A run while it is being written: ``<name>.partial``, locked, and renamed when whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from nldisco_core.config import RunConfig
from nldisco_core.errors import NLDiscoError, RunError, RunIncomplete
from nldisco_core.files import (
    SCHEMA_VERSION,
    whole_folder,
    write_dictionary,
    write_json,
    write_latents,
    write_mapping,
    write_table,
    writing_failed,
)
from nldisco_core.interfaces import Dictionary, FitReport, LatentModel
from nldisco_core.latents import Latents
from nldisco_core.mapping import MapperResult
from nldisco_core.runs import Run, list_runs, new_name

__all__ = ["RunWriter", "add_mapping", "config_digest"]


def config_digest(config: RunConfig) -> str:
    """SHA-256 of a configuration."""
    return hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


class RunWriter:
    """Writes one run. Made by `RunWriter.open`, a context that finishes, keeps or removes the folder.

    Attributes
    ----------
    folder : the partial folder; its parts are written in place
    about : contents of ``run.json`` so far
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.folder = folder
        self.about = about
        self._final: Path | None = None

    @classmethod
    @contextmanager
    def open(cls, config: RunConfig, *, runs_dir: Path, resume: bool) -> Iterator[RunWriter]:
        """A writer for a new run, or for the interrupted one of the same configuration.

        An error or an interrupt removes the folder, unless it holds a checkpoint to go on from: then it stays, with the
        suffix ``.partial`` and status ``interrupted``.

        Raises
        ------
        RunError
            The folder cannot be written, the disk is full, or another process writes the same run.
        RunIncomplete
            `resume` was asked for and no interrupted run has this configuration.
        """
        with ExitStack() as stack:
            writer = cls._resumed(config, runs_dir, stack) if resume else cls._new(config, runs_dir, stack)
            try:
                yield writer
                writer._finish()
            except BaseException as error:
                writer._abandon()
                if isinstance(error, OSError) and not isinstance(error, NLDiscoError):
                    raise writing_failed(writer.folder, error) from error
                raise

    @classmethod
    def _new(cls, config: RunConfig, runs_dir: Path, stack: ExitStack) -> RunWriter:
        digest, now = config_digest(config), datetime.now(UTC)
        name = new_name(config.dataset["name"], config.model["name"], digest=digest, now=now)
        folder = _reserve(runs_dir, name)
        about = {
            "schema_version": SCHEMA_VERSION,
            "name": folder.name.removesuffix(".partial"),
            "status": "running",
            "created": now.isoformat(timespec="seconds"),
            "config_digest": digest,
            "config": config.model_dump(mode="json"),
        }
        stack.enter_context(_locked(folder))
        try:
            write_json(folder / "run.json", about)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise writing_failed(folder, error) from error
        return cls(folder, about)

    @classmethod
    def _resumed(cls, config: RunConfig, runs_dir: Path, stack: ExitStack) -> RunWriter:
        digest = config_digest(config)
        fitting = [
            (folder, dict(about))
            for folder, about in list_runs(runs_dir)
            if folder.name.endswith(".partial") and about.get("config_digest") == digest
        ]
        if not fitting:
            raise RunIncomplete(f"no interrupted run in {runs_dir} has this configuration; start it without --resume")
        folder, about = fitting[-1]
        stack.enter_context(_locked(folder))
        for path in folder.iterdir():
            if path.is_dir() and path.name != "checkpoints":
                shutil.rmtree(path)
        kept = ("schema_version", "name", "status", "created", "config_digest", "config", "fingerprint")
        return cls(folder, {key: about[key] for key in kept if key in about})

    def checkpoints(self, part: str) -> Path:
        """Folder for checkpoints of one model of the run."""
        return self.folder / "checkpoints" / part

    def part_folder(self, part: str) -> Path:
        """Folder of the run's own model (``model``) or of a control."""
        folder = self.folder if part == "model" else self.folder / "controls" / part
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write_part(
        self,
        part: str,
        *,
        model: LatentModel | None,
        report: FitReport | None,
        latents: Latents,
        dictionary: Dictionary | None,
    ) -> None:
        """Write a model with its history and latents."""
        folder = self.part_folder(part)
        if model is not None:
            (folder / "model").mkdir()
            model.save(folder / "model")
        history = (
            pd.DataFrame({"step": [], "instance": [], "name": [], "value": []}) if report is None else report.history
        )
        write_table(folder / "history.parquet", history)
        if dictionary is not None:
            write_dictionary(folder, dictionary)
        write_latents(folder / "latents", latents)

    def write_mapping(self, part: str, mapper: str, result: MapperResult) -> None:
        """Write what a mapper found for one model of the run."""
        with whole_folder(self.part_folder(part) / "mappings" / mapper) as folder:
            write_mapping(folder, result)

    def write_mapping_table(self, part: str, mapper: str, table: pd.DataFrame) -> None:
        """Put a table in the place of the one that `write_mapping` wrote."""
        table.to_parquet(self.part_folder(part) / "mappings" / mapper / "table.parquet", index=False)

    def write_table(self, name: str, frame: pd.DataFrame) -> None:
        """Write ``metrics``, ``unit_metrics`` or a further table of the run."""
        folder = self.folder if name in ("metrics", "unit_metrics") else self.folder / "tables"
        folder.mkdir(exist_ok=True)
        write_table(folder / f"{name}.parquet", frame)

    def finished(self) -> Run:
        """The run, once the context has ended well."""
        if self._final is None:
            raise RunIncomplete(f"{self.folder} is not finished")
        return Run(self._final)

    def _finish(self) -> None:
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        self.about["status"] = "finished"
        self.about["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.folder / "run.json", self.about)
        final = self.folder.with_name(self.folder.name.removesuffix(".partial"))
        self.folder.rename(final)
        self._final = final

    def _abandon(self) -> None:
        checkpoints = self.folder / "checkpoints"
        if checkpoints.is_dir() and any(checkpoints.glob("*/last")):
            self.about["status"] = "interrupted"
            with suppress(OSError):  # a full disk keeps the status "running", which looks no more finished
                write_json(self.folder / "run.json", self.about)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def add_mapping(
    run: Run,
    mapper: str,
    results: Mapping[str, MapperResult],
    record: Mapping[str, Any],
    update: Callable[[dict[str, Any], Run], None],
) -> Run:
    """Add a mapping to a finished run, or put it in the place of an older one of the same mapper.

    Parameters
    ----------
    results : what the mapper found, by name of the run's part (``model`` and controls)
    record : how the mapper was configured
    update : changes the contents of ``run.json`` to what the run with its new mapping shows
    """
    with _locked(run.folder):
        for part, result in results.items():
            with whole_folder(run.part(part).folder / "mappings" / mapper) as folder:
                write_mapping(folder, result)
        fresh = Run(run.folder)  # another process may have added a mapping meanwhile
        about = dict(fresh.about)
        about["mappers"] = {**about.get("mappers", {}), mapper: dict(record)}
        update(about, fresh)
        try:
            write_json(run.folder / "run.json", about)
        except OSError as error:
            raise writing_failed(run.folder, error) from error
    return Run(run.folder)


def _reserve(runs_dir: Path, name: str) -> Path:
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        for attempt in range(1000):
            taken = name if attempt == 0 else f"{name}-{attempt + 1}"
            folder = runs_dir / f"{taken}.partial"
            if (runs_dir / taken).exists():
                continue
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise writing_failed(runs_dir, error) from error
    raise RunError(f"{runs_dir} holds a thousand runs named {name}; choose another --runs-dir")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder.with_name(f".{folder.name.removesuffix('.partial')}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"another process is writing {folder}; wait for it, or choose another --runs-dir") from None
    except OSError as error:
        raise writing_failed(folder, error) from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: nobody can hold what is unlinked here
        lock.release()
