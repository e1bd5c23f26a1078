"""How values are kept on disk: binned data, latents, mappings and dictionaries, in Parquet, npy, npz and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import Binned, BinnedSession, Covariate, Preprocessing, UnitStatistics
from nldisco_core.errors import RunError
from nldisco_core.interfaces import Dictionary
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult, mapping_table
from nldisco_core.scratch import allocate
from nldisco_core.session import IntervalTable
from nldisco_core.storage import (
    SCHEMA_VERSION,
    read_json,
    read_npy,
    read_npz,
    read_table,
    reading,
    whole_folder,
    write_json,
    write_table,
    writing_failed,
)

__all__ = [
    "SCHEMA_VERSION",
    "read_binned",
    "read_dictionary",
    "read_json",
    "read_latents",
    "read_mapping",
    "read_table",
    "whole_folder",
    "write_binned",
    "write_dictionary",
    "write_json",
    "write_latents",
    "write_mapping",
    "write_table",
    "writing_failed",
]

ROW_GROUP = 1 << 20
"""Activations that are written and read at once."""

ENCODINGS = {"bin": "DELTA_BINARY_PACKED", "activation": "BYTE_STREAM_SPLIT"}
"""Of columns that hardly repeat; the others are dictionaries. Half the size of dictionaries throughout."""


def write_binned(folder: Path, data: Binned, preprocessing: Preprocessing) -> None:
    """Write data as they were binned, and how they were preprocessed afterwards.

    Parameters
    ----------
    data : before preprocessing
    preprocessing : of the data the model saw; applied again when the run is read
    """
    folder.mkdir()
    sessions = []
    for index, session in enumerate(data.sessions):
        part = folder / f"session-{index:03d}"
        part.mkdir()
        np.save(part / "activity.npy", session.activity)
        if session.observed is not None:
            np.save(part / "observed.npy", np.packbits(session.observed, axis=1))
        columns: dict[str, Any] = {"start_ns": session.start_ns, "trial": session.trial, "split": session.split}
        for covariate in session.covariates.values():
            for channel, values in zip(covariate.channels, covariate.values.T, strict=True):
                columns[_column(covariate, channel)] = values
        write_table(part / "bins.parquet", pd.DataFrame(columns))
        write_table(part / "units.parquet", session.units)
        if session.trials is not None:
            write_table(part / "trials.parquet", session.trials.frame)
        sessions.append(
            {
                "session_id": session.session_id,
                "trial_events": None if session.trials is None else list(session.trials.events),
                "trial_columns": {} if session.trials is None else _columns_json(session.trials),
                "warnings": list(session.warnings),
                "covariates": [_covariate_json(covariate) for covariate in session.covariates.values()],
            }
        )
    np.savez(
        folder / "statistics.npz",
        **{
            f"{name}_{i}": getattr(s, name)
            for i, s in enumerate(preprocessing.statistics)
            for name in ("offset", "scale")
        },
    )
    write_json(
        folder / "binned.json",
        {
            "schema_version": SCHEMA_VERSION,
            "bin_s": data.bin_s,
            "activity_kind": data.activity_kind,
            "smooth_s": preprocessing.smooth_s,
            "normalise": preprocessing.normalise,
            "n_statistics": len(preprocessing.statistics),
            "sessions": sessions,
        },
    )


def read_binned(folder: Path) -> tuple[Binned, Preprocessing]:
    """Data as they were binned (activity memory-mapped), and the preprocessing the model saw."""
    return reading(folder, lambda: _binned(folder))


def _binned(folder: Path) -> tuple[Binned, Preprocessing]:
    about = read_json(folder / "binned.json")
    sessions = []
    for index, stated in enumerate(about["sessions"]):
        part = folder / f"session-{index:03d}"
        bins = read_table(part / "bins.parquet")
        activity = read_npy(part / "activity.npy")
        observed = None
        if (part / "observed.npy").exists():
            packed = np.load(part / "observed.npy")
            observed = np.unpackbits(packed, axis=1, count=activity.shape[1]).astype(bool)
        trials = None
        if stated["trial_events"] is not None:
            columns = stated.get("trial_columns", {})  # runs written before they were kept have none
            frame = read_table(part / "trials.parquet")
            trials = IntervalTable(frame, events=tuple(stated["trial_events"]), **columns)
        sessions.append(
            BinnedSession(
                session_id=stated["session_id"],
                activity=activity,
                units=read_table(part / "units.parquet"),
                start_ns=bins["start_ns"].to_numpy(np.int64),
                trial=bins["trial"].to_numpy(np.int32),
                split=bins["split"].to_numpy(np.int8),
                observed=observed,
                trials=trials,
                covariates=MappingProxyType({item["name"]: _covariate(item, bins) for item in stated["covariates"]}),
                warnings=tuple(stated["warnings"]),
            )
        )
    arrays = read_npz(folder / "statistics.npz")
    statistics = tuple(
        UnitStatistics(offset=arrays[f"offset_{i}"], scale=arrays[f"scale_{i}"]) for i in range(about["n_statistics"])
    )
    data = Binned(sessions=tuple(sessions), bin_s=about["bin_s"], activity_kind=about["activity_kind"])
    return data, Preprocessing(smooth_s=about["smooth_s"], normalise=about["normalise"], statistics=statistics)


def _columns_json(table: IntervalTable) -> dict[str, dict[str, Any]]:
    return {"periods": dict(table.periods), "physical_units": dict(table.physical_units)}


def _column(covariate: Covariate, channel: str) -> str:
    return covariate.name if len(covariate.channels) == 1 else f"{covariate.name}.{channel}"


def _covariate_json(covariate: Covariate) -> dict[str, Any]:
    fields = ("name", "kind", "source", "period", "physical_unit", "channels", "categories")
    return {field: getattr(covariate, field) for field in fields}


def _covariate(stated: Mapping[str, Any], bins: pd.DataFrame) -> Covariate:
    settings = dict(stated)
    settings["channels"] = tuple(stated["channels"])
    settings["categories"] = None if stated["categories"] is None else tuple(stated["categories"])
    empty = Covariate(values=np.empty((0, len(settings["channels"]))), **settings)
    return replace(
        empty, values=np.stack([bins[_column(empty, c)].to_numpy(np.float64) for c in empty.channels], axis=1)
    )


def write_latents(folder: Path, latents: Latents) -> None:
    """Write every space: sparse ones as Parquet sorted by instance, latent, session and bin, dense ones as npy."""
    folder.mkdir()
    for name, space in latents.spaces.items():
        if space.is_sparse:
            _write_sparse(folder / f"{name}.parquet", space)
        else:
            np.save(folder / f"{name}.npy", np.asarray(space.codes))
        if space.defined is not None:
            np.save(folder / f"{name}.defined.npy", space.defined)
        write_json(
            folder / f"{name}.json",
            {
                "schema_version": SCHEMA_VERSION,
                "sparse": space.is_sparse,
                "n_instances": space.n_instances,
                "n_rows": space.n_rows,
                "n_latents": space.n_latents,
                "session_ids": space.session_ids,
                "row_offsets": space.row_offsets.tolist(),
                "row_kind": space.row_kind,
                "code_kind": space.code_kind,
                "level_sizes": space.level_sizes,
                "label_use": space.label_use,
            },
        )


def _write_sparse(path: Path, space: LatentSpace) -> None:
    types = {"session": pa.int32(), "bin": pa.int32(), "instance": pa.int32(), "latent": pa.int32()}
    types |= {"activation": pa.float32()} | ({} if space.level_masks is None else {"level_mask": pa.uint8()})
    with pq.ParquetWriter(
        path,
        pa.schema(list(types.items())),
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name in types if name not in ENCODINGS],
        column_encoding=ENCODINGS,
    ) as writer:
        for instance in range(space.n_instances):
            for columns in _entries(space, instance):
                writer.write_table(pa.table(columns, schema=writer.schema))


def _entries(space: LatentSpace, instance: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Columns of the entries of one instance, a row group at a time."""
    code = space.codes[instance]
    assert isinstance(code, sparse.csc_array)  # dense codes are written by the caller
    latents, starts = np.arange(space.n_latents, dtype=np.int32), code.indptr.astype(np.int64)
    for first in range(0, code.nnz, ROW_GROUP):
        part = slice(first, min(first + ROW_GROUP, code.nnz))
        row = code.indices[part]
        session = np.searchsorted(space.row_offsets, row, side="right").astype(np.int32) - 1
        columns: dict[str, NDArray[Any]] = {
            "session": session,
            "bin": (row - space.row_offsets[session]).astype(np.int32),
            "instance": np.full(len(row), instance, dtype=np.int32),
            "latent": np.repeat(latents, np.diff(starts.clip(part.start, part.stop))),
            "activation": code.data[part].astype(np.float32, copy=False),
        }
        if space.level_masks is not None:
            columns["level_mask"] = space.level_masks[instance][part]
        yield columns


def read_latents(folder: Path) -> Latents:
    """All spaces of a folder written by `write_latents`."""
    if not folder.is_dir():
        raise RunError(f"{folder} is missing; the run is damaged")
    names = sorted(path.stem for path in folder.glob("*.json"))
    return reading(folder, lambda: Latents({name: _read_space(folder, name) for name in names}))


def _read_space(folder: Path, name: str) -> LatentSpace:
    about = read_json(folder / f"{name}.json")
    offsets = np.array(about["row_offsets"], dtype=np.int64)
    codes: tuple[sparse.csc_array, ...] | NDArray[Any]
    masks: tuple[NDArray[np.uint8], ...] | None = None
    if about["sparse"]:
        codes, masks = _read_sparse(folder / f"{name}.parquet", about, offsets)
    else:
        codes = read_npy(folder / f"{name}.npy")
    defined = folder / f"{name}.defined.npy"
    return LatentSpace(
        codes=codes,
        session_ids=tuple(about["session_ids"]),
        row_offsets=offsets,
        row_kind=about["row_kind"],
        code_kind=about["code_kind"],
        defined=np.load(defined) if defined.exists() else None,
        level_sizes=tuple(about["level_sizes"]),
        level_masks=masks,
        label_use=about["label_use"],
    )


def _read_sparse(
    path: Path, about: Mapping[str, Any], offsets: NDArray[np.int64]
) -> tuple[tuple[sparse.csc_array, ...], tuple[NDArray[np.uint8], ...] | None]:
    """Codes and level masks of all instances, memory-mapped from a scratch file where they are large."""
    with pq.ParquetFile(path) as file:
        masked = "level_mask" in file.schema_arrow.names
        shape = (about["n_instances"], about["n_latents"])
        n_active = np.zeros(shape, dtype=np.int64)
        for instance, latent in _batches(file, ["instance", "latent"]):
            n_active += np.bincount(instance * shape[1] + latent, minlength=n_active.size).reshape(shape)
        n_entries, ends = int(n_active.sum()), np.cumsum(n_active.sum(axis=1))
        limit = max(n_active.sum(axis=1).max(initial=0), about["n_rows"])
        kinds = [np.dtype(np.int32 if limit < np.iinfo(np.int32).max else np.int64), np.dtype(np.float32)]
        kinds += [np.dtype(np.uint8)] if masked else []
        n_bytes = n_entries * sum(kind.itemsize for kind in kinds)
        rows, values, *masks = (allocate((n_entries,), kind, together=n_bytes) for kind in kinds)
        start = 0
        for session, bin_, *columns in _batches(
            file, ["session", "bin", "activation", *(["level_mask"] if masked else [])]
        ):
            part = slice(start, start + len(session))
            rows[part] = bin_ + offsets[session]
            for whole, column in zip([values, *masks], columns, strict=True):
                whole[part] = column
            start = part.stop
    parts = [slice(int(end - counts.sum()), int(end)) for end, counts in zip(ends, n_active, strict=True)]
    codes = tuple(
        sparse.csc_array(
            (values[part], rows[part], np.concatenate([[0], np.cumsum(counts)]).astype(kinds[0])),
            shape=(about["n_rows"], shape[1]),
        )
        for part, counts in zip(parts, n_active, strict=True)
    )
    return codes, tuple(masks[0][part] for part in parts) if masked else None


def _batches(file: pq.ParquetFile, names: list[str]) -> Iterator[list[NDArray[Any]]]:
    """Columns of a Parquet file, a row group at a time."""
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=names)
        yield [table[name].to_numpy() for name in names]


def write_dictionary(folder: Path, dictionary: Dictionary) -> None:
    """Write a model's dictionary so that a run can be looked at without the model."""
    np.save(folder / "dictionary.npy", dictionary.values)
    about = {"schema_version": SCHEMA_VERSION, "unit_ids": dictionary.unit_ids, "lags_s": dictionary.lags_s}
    write_json(folder / "dictionary.json", about)


def read_dictionary(folder: Path) -> Dictionary | None:
    """The dictionary in a folder, None where the model has none."""
    if not (folder / "dictionary.json").exists():
        return None
    about = read_json(folder / "dictionary.json")
    values = read_npy(folder / "dictionary.npy")
    return Dictionary(values=values, unit_ids=tuple(map(tuple, about["unit_ids"])), lags_s=tuple(about["lags_s"]))


def write_mapping(folder: Path, result: MapperResult) -> None:
    """Write a mapping into an existing folder."""
    result.table.to_parquet(folder / "table.parquet", index=False)
    arrays: dict[str, Any] = {name.replace("/", "\\"): array for name, array in result.arrays.items()}
    np.savez_compressed(folder / "arrays.npz", **arrays)
    write_json(folder / "mapping.json", {"schema_version": SCHEMA_VERSION, "notes": result.notes})


def read_mapping(folder: Path) -> MapperResult:
    """A mapping written by `write_mapping`."""
    return reading(folder, lambda: _mapping(folder))


def _mapping(folder: Path) -> MapperResult:
    about = read_json(folder / "mapping.json")
    arrays = {name.replace("\\", "/"): array for name, array in read_npz(folder / "arrays.npz").items()}
    table = read_table(folder / "table.parquet")
    return MapperResult(
        table=mapping_table({name: table[name] for name in table.columns}), arrays=arrays, notes=tuple(about["notes"])
    )
