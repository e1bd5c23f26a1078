"""What a mapper found: one table with a fixed schema, and named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.errors import DataError
from nldisco_core.session import read_only

__all__ = ["MAPPING_COLUMNS", "MapperResult", "mapping_table"]

MAPPING_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "instance": "int32",
        "latent": "Int32",  # null: all latents of the instance together
        "sign": "int8",  # +1 and -1 for the rectified halves of a signed code, 0 for a code as it is
        "variable": "string",
        "condition": "string",  # null: a score of the whole variable
        "split": "string",
        "coverage": "float64",
        "specificity": "float64",
        "precision": "float64",
        "selectivity": "float64",
        "auroc": "float64",
        "cohens_d": "float64",
        "n_on": "Int64",
        "n_off": "Int64",
        "statistic": "string",  # what p speaks of
        "null_mean": "float64",
        "p": "float64",
        "q": "float64",
        "label_use": "string",
    }
)


@dataclass(frozen=True, kw_only=True, eq=False)
class MapperResult:
    """Scores of latents against variables.

    Attributes
    ----------
    table : one row per (instance, latent, sign, variable, condition, split), told apart further by `statistic` where a
        mapper has several; columns `MAPPING_COLUMNS` and any further scores
    arrays : curves, maps, occupancies and matches by name; a name says what it holds, such as ``head_direction/curve``
    notes : sentences a reader of the table must know (refused tests, excluded variables and why)

    Raises
    ------
    DataError
        A column is missing or cannot be read as its type.
    """

    table: pd.DataFrame
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [column for column in MAPPING_COLUMNS if column not in self.table.columns]
        if missing:
            raise DataError(f"mapping table lacks {', '.join(missing)}; make it with mapping_table()")
        wrong = [
            f"{column} is {self.table[column].dtype}, expected {kind}"
            for column, kind in MAPPING_COLUMNS.items()
            if str(self.table[column].dtype) != kind
        ]
        if wrong:
            raise DataError(f"mapping table: {'; '.join(wrong)}; make it with mapping_table()")
        object.__setattr__(self, "table", self.table.reset_index(drop=True))
        object.__setattr__(
            self, "arrays", MappingProxyType({k: read_only(np.asarray(v)) for k, v in self.arrays.items()})
        )


def mapping_table(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Table with every column of the schema in its type; what is not given is null.

    Parameters
    ----------
    columns : values by column name, all of one length; names beyond the schema are kept as further scores
    """
    frame = pd.DataFrame(dict(columns))
    defaults: dict[str, Any] = {"sign": 0, "split": "all", "label_use": "none"}
    for column, kind in MAPPING_COLUMNS.items():
        if column not in frame.columns:
            frame[column] = defaults.get(column, pd.NA if kind[0].isupper() or kind == "string" else np.nan)
        try:
            frame[column] = frame[column].astype(kind)
        except (TypeError, ValueError) as error:
            raise DataError(f"mapping table: column {column!r} cannot be read as {kind}: {error}") from error
    further = [column for column in frame.columns if column not in MAPPING_COLUMNS]
    return frame[[*MAPPING_COLUMNS, *further]]
