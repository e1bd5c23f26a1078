"""A run's latents and tables in plain files that other tools read."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nldisco_core.binned import SPLITS, Binned
from nldisco_core.files import whole_folder
from nldisco_core.latents import LatentSpace
from nldisco_core.runs import Run

__all__ = ["ACTIVATIONS", "COLUMNS", "MASKS", "export_tables", "write_activations"]

ACTIVATIONS = "activations.parquet"
MASKS = {"train": "train_mask.npy", "validation": "val_mask.npy", "test": "test_mask.npy"}
COLUMNS = ["example_idx", "instance_idx", "unit_idx", "activation_value"]
_SCHEMA = pa.schema(
    [(name, kind) for name, kind in zip(COLUMNS, (pa.int64(), pa.int32(), pa.int32(), pa.float32()), strict=True)]
)


def write_activations(space: LatentSpace, data: Binned, folder: Path) -> None:
    """Write activations as the public NLDisco tutorial keeps them; `nldisco_core.activations` reads them back.

    ``activations.parquet`` has one row per activation at the deepest level: example_idx (stacked bin), instance_idx,
    unit_idx (there a *latent*) and activation_value. ``train_mask.npy`` and ``val_mask.npy`` are (n_bins,) bool;
    ``test_mask.npy`` stands beside them.

    Raises
    ------
    RunError
        The folder cannot be written.
    """
    with whole_folder(folder) as made:
        with pq.ParquetWriter(made / ACTIVATIONS, _SCHEMA) as writer:
            for instance in range(space.n_instances):
                codes = space.csc(instance)
                columns = [
                    codes.indices.astype(np.int64),
                    np.full(codes.nnz, instance, dtype=np.int32),
                    np.repeat(np.arange(codes.shape[1], dtype=np.int32), np.diff(codes.indptr)),
                    codes.data.astype(np.float32),
                ]
                writer.write_table(pa.table(columns, schema=_SCHEMA))
        for split, name in MASKS.items():
            np.save(made / name, data.split == SPLITS.index(split))


def export_tables(run: Run, folder: Path) -> list[Path]:
    """Write every table of a run as CSV: metrics, further tables, and each mapping of the model and its controls.

    Returns
    -------
    list of Path
        The files, in the order they were written.
    """
    tables = {"metrics": run.metrics, "unit_metrics": run.unit_metrics}
    tables |= {name: run.table(name) for name in run.tables}
    for part in (run.model, *run.controls.values()):
        tables |= {f"mapping_{name}_{part.name}": part.mapping(name).table for name in part.mappings}
    with whole_folder(folder) as made:
        for name, table in tables.items():
            table.to_csv(made / f"{_plain(name)}.csv", index=False)
    return [folder / f"{_plain(name)}.csv" for name in tables]


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]", "_", name)
