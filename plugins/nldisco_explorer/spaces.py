"""The latent space of a model on kept, memory-mapped arrays: the activations of one latent are a slice of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.latents import LatentSpace
from nldisco_core.runs import Run
from nldisco_explorer.caches import Cache

__all__ = ["mapped_space", "n_active"]


def mapped_space(run: Run, model: str, cache: Cache) -> LatentSpace:
    """The space ``latents`` at its deepest level: sparse codes on kept arrays, dense ones as they lie in the run."""
    part = run.part(model)
    kept = cache.get("latents" if model == "model" else f"controls/{model}", lambda: _space_arrays(part.latents.main))
    if "data-0" not in kept:
        return part.latents.main
    n_rows, n_latents, n_instances = map(int, kept["shape"])
    row_kind, code_kind, label_use = map(str, kept["kinds"])
    return LatentSpace(
        codes=tuple(_csc(kept, i, (n_rows, n_latents)) for i in range(n_instances)),
        session_ids=tuple(map(str, kept["session_ids"])),
        row_offsets=np.asarray(kept["row_offsets"]),
        row_kind=row_kind,  # type: ignore[arg-type]  # written from one
        code_kind=code_kind,  # type: ignore[arg-type]  # written from one
        defined=np.asarray(kept["defined"]) if "defined" in kept else None,
        level_sizes=tuple(map(int, kept["level_sizes"])),
        label_use=label_use,  # type: ignore[arg-type]  # written from one
    )


def _space_arrays(space: LatentSpace) -> dict[str, NDArray[Any]]:
    """All of a space as arrays; of a dense one, whose codes are memory-mapped already, no more than its kinds."""
    arrays: dict[str, NDArray[Any]] = {"kinds": np.array([space.row_kind, space.code_kind, space.label_use])}
    if isinstance(space.codes, np.ndarray):
        return arrays
    for i in range(space.n_instances):
        code = space.csc(i)  # where levels select for themselves, what the deepest one selects is what is drawn
        arrays[f"indptr-{i}"] = code.indptr.astype(np.int64)
        arrays[f"indices-{i}"] = code.indices.astype(np.int32)
        arrays[f"data-{i}"] = code.data.astype(np.float32)
    if space.defined is not None:
        arrays["defined"] = space.defined
    return arrays | {
        "shape": np.array([space.n_rows, space.n_latents, space.n_instances]),
        "session_ids": np.array(space.session_ids),
        "row_offsets": space.row_offsets,
        "level_sizes": np.array(space.level_sizes, dtype=np.int64),
    }


def _csc(kept: Mapping[str, NDArray[Any]], instance: int, shape: tuple[int, int]) -> sparse.csc_array:
    parts = (kept[f"data-{instance}"], kept[f"indices-{instance}"], kept[f"indptr-{instance}"])
    return sparse.csc_array(parts, shape=shape, copy=False)


def n_active(code: sparse.csc_array | NDArray[Any], defined: NDArray[np.bool_], sign: int = 0) -> NDArray[np.int64]:
    """(n_latents,) active bins among those defined, of one sign or (0) of both."""
    if not isinstance(code, sparse.csc_array):
        compared = {0: np.not_equal, 1: np.greater, -1: np.less}[sign]
        active = compared(code[defined], 0)
        return np.asarray(np.count_nonzero(active, axis=0), dtype=np.int64)
    if defined.all() and not sign:
        return np.diff(code.indptr).astype(np.int64)
    counted = np.concatenate([[0], np.cumsum(defined[code.indices] & ((code.data * sign > 0) if sign else True))])
    return np.asarray(np.diff(counted[code.indptr]), dtype=np.int64)
