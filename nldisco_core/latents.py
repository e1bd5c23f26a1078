"""What a latent model says of each bin: one or more named spaces of activations, sparse or dense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.errors import DataError, unknown_name
from nldisco_core.session import read_only

__all__ = ["CodeKind", "LabelUse", "LatentSpace", "Latents"]

RowKind = Literal["bin", "trial"]
CodeKind = Literal["nonnegative", "signed"]
LabelUse = Literal["none", "fit", "transform"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentSpace:
    """Activations of all instances over the stacked rows of all sessions.

    Attributes
    ----------
    codes : per instance a (n_rows, n_latents) `scipy.sparse.csc_array` (canonical: sorted, no explicit zeros), or one
        dense (n_instances, n_rows, n_latents) array
    session_ids, row_offsets : rows ``row_offsets[s]:row_offsets[s + 1]`` belong to session ``session_ids[s]``
    row_kind : what a row stands for, a bin or a trial
    code_kind : ``nonnegative`` (zero means inactive) or ``signed``
    defined : (n_rows,) bool, rows the model speaks of; elsewhere its activations mean nothing. None means all
    level_sizes : for nested models the number of latents of each level, ascending; the last is n_latents
    level_masks : where selection is per level: per instance (nnz,) uint8 aligned with ``codes[i].data``, bit l set
        where the activation is selected at level l. None: an activation counts at every level that holds its latent
    label_use : what the model was told about behaviour
    """

    codes: tuple[sparse.csc_array, ...] | NDArray[Any]
    session_ids: tuple[str, ...]
    row_offsets: NDArray[np.int64]
    row_kind: RowKind = "bin"
    code_kind: CodeKind = "nonnegative"
    defined: NDArray[np.bool_] | None = None
    level_sizes: tuple[int, ...] = ()
    level_masks: tuple[NDArray[np.uint8], ...] | None = None
    label_use: LabelUse = "none"

    def __post_init__(self) -> None:
        if isinstance(self.codes, np.ndarray):
            if self.codes.ndim != 3:
                raise DataError(f"dense latents have shape {self.codes.shape}; expected instances x rows x latents")
            object.__setattr__(self, "codes", read_only(self.codes))
        else:
            if not self.codes or any(code.shape != self.codes[0].shape for code in self.codes):
                raise DataError("sparse latents need at least one instance, all of one shape")
            for instance, code in enumerate(self.codes):
                if not code.has_canonical_format or not np.all(code.data):
                    raise DataError(
                        f"latents of instance {instance} hold stored zeros, repeated or unsorted entries; "
                        "call eliminate_zeros() and sum_duplicates() before"
                    )
            object.__setattr__(self, "codes", tuple(_read_only_csc(code) for code in self.codes))
        if len(self.row_offsets) != len(self.session_ids) + 1 or self.row_offsets[-1] != self.n_rows:
            raise DataError(
                f"row offsets {self.row_offsets} do not fit {self.n_rows} rows of {len(self.session_ids)} sessions"
            )
        if self.level_sizes and (
            list(self.level_sizes) != sorted(set(self.level_sizes)) or self.level_sizes[-1] != self.n_latents
        ):
            raise DataError(f"levels {self.level_sizes} must ascend and end at the {self.n_latents} latents")

    @property
    def is_sparse(self) -> bool:
        """Whether `codes` are sparse."""
        return not isinstance(self.codes, np.ndarray)

    @property
    def n_instances(self) -> int:
        """Number of replicas."""
        return len(self.codes)

    @property
    def n_rows(self) -> int:
        """Rows of all sessions together."""
        return int(self.codes[0].shape[0])

    @property
    def n_latents(self) -> int:
        """Number of latents of one instance."""
        return int(self.codes[0].shape[1])

    @property
    def n_levels(self) -> int:
        """Levels of a nested model, 1 for any other."""
        return max(len(self.level_sizes), 1)

    @property
    def level_of_latent(self) -> NDArray[np.int32]:
        """(n_latents,) first level that holds each latent; zeros where there are no levels."""
        return np.searchsorted(
            np.array(self.level_sizes or (self.n_latents,)), np.arange(self.n_latents), side="right"
        ).astype(np.int32)

    def dense(self, instance: int = 0, *, level: int = -1) -> NDArray[Any]:
        """(n_rows, n_latents) activations of one instance, the deepest level by default; latents beyond it are zero."""
        if isinstance(self.codes, np.ndarray):
            level_index = range(self.n_levels)[level]
            if level_index == self.n_levels - 1:
                return np.asarray(self.codes[instance])
            values: NDArray[Any] = self.codes[instance].copy()
            values[:, self.level_sizes[level_index] :] = 0
            return values
        return np.asarray(self.csc(instance, level=level).toarray())

    def csc(self, instance: int = 0, *, level: int = -1) -> sparse.csc_array:
        """(n_rows, n_latents) activations of one instance by latent. Deepest level by default."""
        if isinstance(self.codes, np.ndarray):
            return sparse.csc_array(self.dense(instance, level=level))
        code = self.codes[instance]
        level_index = range(self.n_levels)[level]
        size = self.level_sizes[level_index] if self.level_sizes else self.n_latents
        if self.level_masks is None and size == self.n_latents:
            return code
        keep = np.repeat(np.arange(self.n_latents), np.diff(code.indptr)) < size
        if self.level_masks is not None:
            keep = keep & ((self.level_masks[instance] >> level_index) & 1).astype(bool)
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        return sparse.csc_array((code.data[keep], code.indices[keep], kept_before[code.indptr]), shape=code.shape)

    def csr(self, instance: int = 0, *, level: int = -1) -> sparse.csr_array:
        """(n_rows, n_latents) activations of one instance by row."""
        return self.csc(instance, level=level).tocsr()

    def rows(self, mask: NDArray[np.bool_]) -> LatentSpace:
        """The same space with only the rows where the (n_rows,) mask is True."""
        counts = [int(mask[a:b].sum()) for a, b in zip(self.row_offsets[:-1], self.row_offsets[1:], strict=True)]
        codes: tuple[sparse.csc_array, ...] | NDArray[Any]
        masks: tuple[NDArray[np.uint8], ...] | None = None
        if isinstance(self.codes, np.ndarray):
            codes = self.codes[:, mask]
        else:
            new_row = np.cumsum(mask) - 1
            picked = [mask[code.indices] for code in self.codes]
            codes = tuple(
                sparse.csc_array(
                    (
                        code.data[pick],
                        new_row[code.indices[pick]],
                        np.concatenate([[0], np.cumsum(pick)])[code.indptr],
                    ),
                    shape=(int(mask.sum()), self.n_latents),
                )
                for code, pick in zip(self.codes, picked, strict=True)
            )
            if self.level_masks is not None:
                masks = tuple(level_mask[pick] for level_mask, pick in zip(self.level_masks, picked, strict=True))
        return replace(
            self,
            codes=codes,
            row_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            defined=None if self.defined is None else self.defined[mask],
            level_masks=masks,
        )


def _read_only_csc(code: sparse.csc_array) -> sparse.csc_array:
    """The same matrix on views that cannot be written to; the caller's own stays as it was."""
    parts = (read_only(code.data), read_only(code.indices), read_only(code.indptr))
    return sparse.csc_array(parts, shape=code.shape, copy=False)


@dataclass(frozen=True, eq=False)
class Latents:
    """Named spaces of one model over one data set; every model has ``latents``.

    Sequence models add ``factors``, ``rates``, ``inputs`` and ``initial_conditions``.
    """

    spaces: Mapping[str, LatentSpace]

    def __post_init__(self) -> None:
        if "latents" not in self.spaces:
            raise DataError(f"a model must give a space named 'latents'; got {', '.join(self.spaces) or 'none'}")

    @classmethod
    def of(cls, space: LatentSpace) -> Latents:
        """Latents with the one space every model has."""
        return cls({"latents": space})

    @property
    def main(self) -> LatentSpace:
        """The space ``latents``."""
        return self.spaces["latents"]

    def space(self, name: str) -> LatentSpace:
        """The space of that name; `DataError` lists those there are."""
        if name not in self.spaces:
            raise DataError(unknown_name("latent space", name, self.spaces))
        return self.spaces[name]
