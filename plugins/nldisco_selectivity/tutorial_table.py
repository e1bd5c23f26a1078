"""The selectivity table of the earlier public tutorial, written and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nldisco_core.errors import DataError, InvalidRecording
from nldisco_core.mapping import MapperResult, mapping_table
from nldisco_core.run_writer import add_mapping
from nldisco_core.runs import Run

__all__ = ["TUTORIAL_COLUMNS", "add_to_run", "from_tutorial", "read_tutorial", "to_tutorial", "write_tutorial"]

TUTORIAL_COLUMNS = (
    "variable",
    "variable_type",
    "value",
    "instance_idx",
    "unit_idx",
    "activation_frac_during",
    "activation_frac_outside",
    "selectivity_score",
)


def to_tutorial(table: pd.DataFrame, *, split: str, only_top: bool = True) -> pd.DataFrame:
    """The rows of single conditions in the tutorial's columns; its ``unit`` is a latent.

    ``activation_frac_during`` is the coverage, ``activation_frac_outside`` is 1 - specificity, ``variable_type`` is
    ``discrete`` or ``continuous``; most selective first.

    Parameters
    ----------
    table : mapping table of the mapper ``selectivity``
    split : on whose bins
    only_top : only latents that passed the filters of the mapper (`min_activation_frac`, `top_n`)

    Raises
    ------
    DataError
        Signed codes, which the tutorial's table cannot tell apart, or a split that was not scored.
    """
    if (table["sign"] != 0).any():
        raise DataError("the tutorial's table has no signs; map a code that is not signed")
    if split not in set(table["split"]):
        raise DataError(f"the table has no split {split!r}; it has {', '.join(sorted(set(table['split'])))}")
    chosen = table[table["condition"].notna() & (table["split"] == split)]
    chosen = chosen[chosen["top"]] if only_top else chosen
    found = pd.DataFrame(
        {
            "variable": chosen["variable"],
            "variable_type": np.where(chosen["kind"] == "discrete", "discrete", "continuous"),
            "value": chosen["condition"],
            "instance_idx": chosen["instance"],
            "unit_idx": chosen["latent"],
            "activation_frac_during": chosen["coverage"],
            "activation_frac_outside": 1 - chosen["specificity"],
            "selectivity_score": chosen["selectivity"],
        }
    )
    order = ["variable", "value", "instance_idx"]
    found = found.sort_values("selectivity_score", ascending=False, kind="stable").sort_values(order, kind="stable")
    return found.reset_index(drop=True)


def from_tutorial(frame: pd.DataFrame) -> pd.DataFrame:
    """A mapping table of the tutorial's rows; what it does not hold is null, and the split is ``all``.

    Raises
    ------
    InvalidRecording
        A column is missing, or a share lies outside 0 to 1.
    """
    missing = [column for column in TUTORIAL_COLUMNS if column not in frame.columns]
    if missing:
        raise InvalidRecording(f"the table lacks {', '.join(missing)}; expected {', '.join(TUTORIAL_COLUMNS)}")
    shares = frame[["activation_frac_during", "activation_frac_outside", "selectivity_score"]]
    if ((shares < 0) | (shares > 1)).any(axis=None):
        raise InvalidRecording("the table holds shares outside 0 to 1; expected fractions of bins")
    return mapping_table(
        {
            "instance": frame["instance_idx"],
            "latent": frame["unit_idx"],
            "variable": frame["variable"],
            "condition": frame["value"].astype("string"),
            "kind": frame["variable_type"].astype("string"),
            "coverage": frame["activation_frac_during"],
            "specificity": 1 - frame["activation_frac_outside"],
            "selectivity": frame["selectivity_score"],
        }
    )


def write_tutorial(table: pd.DataFrame, path: Path) -> None:
    """Write a table of `to_tutorial` as ``.csv`` or ``.parquet``."""
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    elif path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        raise DataError(f"{path} ends with {path.suffix!r}; expected .csv or .parquet")


def read_tutorial(path: Path) -> pd.DataFrame:
    """Mapping table of a ``.csv`` or ``.parquet`` file in the tutorial's columns, see `from_tutorial`."""
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InvalidRecording(f"{path} cannot be read as a table: {error}") from error
    return from_tutorial(frame)


def add_to_run(run: Run, table: pd.DataFrame, *, source: str) -> Run:
    """The run with a table of `from_tutorial` as its mapping ``selectivity-table``.

    Raises
    ------
    DataError
        The table speaks of instances or latents that the run does not have.
    """
    space = run.latents.main
    for column, size in (("instance", space.n_instances), ("latent", space.n_latents)):
        outside = table[column][~table[column].between(0, size - 1)]
        if len(outside):
            raise DataError(f"{source} speaks of {column} {outside.iloc[0]}; the run has {size}, counted from 0")
    record = {"provider": "selectivity-table", "distribution": "nldisco-core", "config": {"source": source}}
    result = MapperResult(table=table, notes=(f"read from {source}",))
    return add_mapping(run, "selectivity-table", {"model": result}, record, lambda about, fresh: None)
