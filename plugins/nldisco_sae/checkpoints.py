"""A fit in progress on disk: tensors in safetensors, the rest in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nldisco_core.errors import ModelError

__all__ = ["Checkpoint", "read_checkpoint", "write_checkpoint"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Everything that a fit needs to go on exactly.

    Attributes
    ----------
    identity : settings and data it belongs to, as plain JSON values
    step : steps done
    points : training curves so far, see `nldisco_sae.history.History`
    tensors : parameters, optimiser state and counters by name
    """

    identity: Mapping[str, Any]
    step: int
    points: list[tuple[int, str, tuple[float, ...]]]
    tensors: Mapping[str, Tensor]


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Fill an existing folder with ``state.json`` and ``state.safetensors``."""
    save_file(
        {name: tensor.detach().cpu() for name, tensor in checkpoint.tensors.items()}, folder / "state.safetensors"
    )
    state = {"identity": checkpoint.identity, "step": checkpoint.step, "points": checkpoint.points}
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")


def read_checkpoint(folder: Path, identity: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of the fit with that identity.

    Raises
    ------
    ModelError
        It cannot be read, or other settings or data wrote it.
    """
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "state.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"checkpoint {folder} cannot be read ({error}); delete it to start anew") from error
    if state["identity"] != identity:
        different = [key for key in identity if state["identity"].get(key) != identity[key]]
        raise ModelError(
            f"checkpoint {folder} belongs to another fit: {', '.join(different)} differ; resume with the settings and "
            "data it was written with, or delete it to start anew"
        )
    points = [(int(step), str(name), tuple(values)) for step, name, values in state["points"]]
    return Checkpoint(identity=identity, step=int(state["step"]), points=points, tensors=tensors)
