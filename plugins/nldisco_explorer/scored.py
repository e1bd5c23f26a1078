"""The table of a mapping, ready to be asked for the rows of one variable, split and value."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.mapping import MapperResult

__all__ = ["Scored", "known"]

Key = tuple[str, str, str | None]
Latent = tuple[int, int, int]

NONE = np.empty(0, dtype=np.int64)


class Scored:
    """What a mapper says of single latents.

    Attributes
    ----------
    result : all it found
    """

    def __init__(self, result: MapperResult) -> None:
        self.result = result
        self._whole: dict[tuple[str, str], pd.DataFrame] = {}
        self._each: dict[tuple[str, str, str], NDArray[np.int64]] = {}
        self._ordered: dict[tuple[str, str, str], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    @cached_property
    def _positions(self) -> dict[Key, NDArray[np.int64]]:
        """Rows of the table by variable, split and condition, those of all latents together left out."""
        table = self.result.table
        codes, values = zip(*(pd.factorize(table[name]) for name in ("variable", "split", "condition")), strict=True)
        variable, split, condition = codes
        n_splits, n_conditions = len(values[1]), len(values[2]) + 1
        number = (variable.astype(np.int64) * n_splits + split) * n_conditions + condition + 1
        number[table["latent"].isna().to_numpy() | (variable < 0) | (split < 0)] = -1
        order = np.argsort(number, kind="stable")
        present, first = np.unique(number[order], return_index=True)
        found: dict[Key, NDArray[np.int64]] = {}
        for each, rows in zip(present.tolist(), np.split(order, first)[1:], strict=True):
            if each >= 0:
                rest, c = divmod(each, n_conditions)
                label = None if c == 0 else str(values[2][c - 1])
                found[str(values[0][rest // n_splits]), str(values[1][rest % n_splits]), label] = rows
        return found

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Variables in the order of the table."""
        return tuple(dict.fromkeys(self.result.table["variable"].dropna().unique().astype(str)))

    @cached_property
    def least_p(self) -> tuple[float, int] | None:
        """The smallest p that the relabellings allow, and their number; None where the table does not show it.

        With n relabellings every p is a multiple of 1 / (n + 1), so the smallest p is that one where all others are
        multiples of it.
        """
        p = np.unique(self.result.table["p"].dropna().to_numpy(np.float64))
        if not len(p) or p[0] <= 0:
            return None
        multiples, whole = p / p[0], 1 / p[0]
        certain = np.allclose(multiples, np.rint(multiples), atol=1e-4) and abs(whole - round(whole)) < 1e-4 * whole
        return (float(p[0]), round(whole) - 1) if certain and round(whole) > 1 else None

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Splits that single latents were scored on."""
        return tuple(sorted({split for _, split, _ in self._positions}))

    def conditions(self, variable: str | None) -> tuple[str, ...]:
        """Values of a variable that were scored one by one, in the order of the table."""
        first: dict[str, int] = {}
        for (name, _, condition), rows in self._positions.items():
            if name == variable and condition is not None:
                first[condition] = min(int(rows[0]), first.get(condition, int(rows[0])))
        return tuple(sorted(first, key=first.__getitem__))

    def has(self, variable: str | None, split: str, condition: str | None = None) -> bool:
        """Whether there are such rows."""
        return (str(variable), split, condition) in self._positions

    def rows(self, variable: str | None, split: str, condition: str | None = None) -> pd.DataFrame:
        """Rows of one variable, split and condition (None: the whole variable), with their index in the table."""
        return self.result.table.take(self._positions.get((str(variable), split, condition), NONE))

    def whole(self, variable: str | None, split: str) -> pd.DataFrame:
        """Rows that score a whole variable, on the split or else on the one that is reported."""
        key = (str(variable), split)
        if key not in self._whole:
            tried = (self.rows(variable, each) for each in (split, "test", "all"))
            self._whole[key] = next((rows for rows in tried if len(rows)), self.rows(variable, split))
        return self._whole[key]

    def of_latent(self, variable: str | None, split: str, latent: Latent) -> dict[str, Any]:
        """What `whole` says of one latent, nulls left out; empty where it says nothing.

        Parameters
        ----------
        latent : instance, latent and sign
        """
        rows = self.whole(variable, split)
        at = self._found(("whole", str(variable), split), lambda: rows, latent)
        return known(rows.iloc[at[0]]) if len(at) else {}

    def by_condition(self, variable: str | None, split: str, latent: Latent) -> pd.DataFrame:
        """Rows of one latent, one for each value of a variable, in the order of the table.

        Parameters
        ----------
        latent : instance, latent and sign
        """
        key = ("each", str(variable), split)
        if key not in self._each:
            found = [rows for (name, of, value), rows in self._positions.items() if (name, of) == key[1:] and value]
            self._each[key] = np.sort(np.concatenate(found)) if found else NONE
        positions = self._each[key]
        at = self._found(key, lambda: self.result.table.take(positions), latent)
        return self.result.table.take(positions[at])

    def _found(self, key: tuple[str, str, str], rows: Callable[[], pd.DataFrame], latent: Latent) -> NDArray[np.int64]:
        """Which of the rows speak of a latent; they are put in order once."""
        if key not in self._ordered:
            keys = _numbers(*(rows()[name].to_numpy(np.int64) for name in ("instance", "latent", "sign")))
            order = np.argsort(keys, kind="stable")
            self._ordered[key] = keys[order], order
        ordered, order = self._ordered[key]
        number = _numbers(*(np.array([each]) for each in latent))
        first, last = np.searchsorted(ordered, number, side="left"), np.searchsorted(ordered, number, side="right")
        return order[int(first[0]) : int(last[0])]


def _numbers(instance: NDArray[Any], latent: NDArray[Any], sign: NDArray[Any]) -> NDArray[np.int64]:
    return np.asarray((instance.astype(np.int64) << 40) + (latent.astype(np.int64) << 2) + sign + 1)


def known(row: pd.Series) -> dict[str, Any]:
    """The values of a row that are not null, as plain Python values."""
    return {
        str(name): getattr(value, "item", lambda value=value: value)()
        for name, value in row.items()
        if not pd.isna(value)
    }
