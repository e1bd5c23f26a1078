"""What a saved model's folder may hold, and what another process makes of it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nldisco_core.conformance.checks import ConformanceFailure, expect
from nldisco_core.conformance.toy_fits import toy_data_for
from nldisco_core.interfaces import LatentModel

__all__ = ["expect_no_pickle", "load_elsewhere", "transform_saved"]

_LATENTS_FILE = "latents.npy"


def expect_no_pickle(folder: Path) -> None:
    """Expect ``config.json``, which is JSON, beside safetensors and nothing else."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    foreign = [name for name in files if name != "config.json" and not name.endswith(".safetensors")]
    expect(not foreign, f"save wrote {', '.join(foreign)}; only config.json and *.safetensors are kept")
    expect("config.json" in files, f"save wrote {', '.join(files) or 'nothing'}; config.json is missing")
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConformanceFailure(f"config.json is not JSON: {error}; write the config's model_dump_json()") from error


def load_elsewhere(model_class: type, folder: Path) -> NDArray[Any]:
    """(n_instances, n_rows, n_latents) activations of the toy data by a saved model, computed in a new process."""
    module = model_class.__module__
    call = (
        "import sys; from nldisco_core.conformance.saved_models import transform_saved; transform_saved(*sys.argv[1:])"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", call, module, model_class.__qualname__, str(sys.modules[module].__file__), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    reason = (outcome.stderr.strip().splitlines() or [""])[-1]
    expect(outcome.returncode == 0, f"a fresh process could not load and use the model: {reason}")
    return np.asarray(np.load(folder / _LATENTS_FILE))


def transform_saved(module_name: str, class_name: str, file: str, folder: str) -> None:
    """Load a saved model, transform the toy data and write its activations beside it; run in a fresh process.

    A module that cannot be imported by name there, such as a one-off plugin, is loaded from its file.
    """
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError:
        module = _from_file(module_name, Path(file))
    model: LatentModel = getattr(module, class_name).load(Path(folder))
    space = model.transform(toy_data_for(model.requirements)).main
    np.save(Path(folder) / _LATENTS_FILE, np.stack([space.dense(instance) for instance in range(space.n_instances)]))


def _from_file(module_name: str, file: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(module_name, file)
    assert specification is not None, file
    assert specification.loader is not None, file
    module = sys.modules[module_name] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
