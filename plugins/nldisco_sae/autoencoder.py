"""What all sparse autoencoders share once they have parameters: transform, reconstruct, save and load."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nldisco_core.binned import Binned
from nldisco_core.errors import IncompatibleData, ModelError, NotFitted, SchemaTooNew
from nldisco_core.interfaces import Attribution, Dictionary, FitReport, Monitor, ReconstructionBlock, Requirements
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.row_blocks import entry_blocks
from nldisco_sae.architecture import Parameters, apply_output
from nldisco_sae.attribution import attribute
from nldisco_sae.config import SparseCodeConfig, TrainingConfig
from nldisco_sae.encoding import encode
from nldisco_sae.examples import Examples, require_units, unit_ids
from nldisco_sae.memory import require_memory
from nldisco_sae.sequences import ConvolutionParameters, TransformerParameters
from nldisco_sae.sparsifier import sparsifier_of
from nldisco_sae.training import Trained, train
from nldisco_sae.windows import ExampleShape

__all__ = ["SparseAutoencoder", "TrainedAutoencoder", "choose_device"]

SCHEMA_VERSION = 1
PARAMETERS = {"linear": Parameters, "convolution": ConvolutionParameters, "transformer": TransformerParameters}
_ROWS = 8192  # of one reconstruction block

C = TypeVar("C", bound=SparseCodeConfig)
T = TypeVar("T", bound=TrainingConfig)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fitted:
    parameters: Parameters
    thresholds: Tensor
    unit_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    bin_s: float

    def tensors(self) -> dict[str, Tensor]:
        return {**self.parameters.named(), "thresholds": self.thresholds}


def choose_device(wanted: str) -> torch.device:
    """The device to train on.

    Raises
    ------
    ModelError
        ``cuda`` or ``mps`` is asked for and torch finds no such device.
    """
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    chosen = wanted if wanted != "auto" else "cuda" if found["cuda"] else "cpu"
    if not found[chosen]:
        raise ModelError(
            f"device {chosen!r} was asked for and torch finds no {chosen.upper()} device; choose 'auto' or 'cpu'"
        )
    return torch.device(chosen)


class SparseAutoencoder(ABC, Generic[C]):
    """An encoder with a sparsifier and a linear decoder, in several instances.

    Subclasses say in `learn` how parameters come about.
    """

    requirements: ClassVar[Requirements] = Requirements(example="bin", sessions="shared units", deterministic=True)
    config_class: ClassVar[type[SparseCodeConfig]]

    def __init__(self, config: C) -> None:
        self.config = config
        self._fitted: _Fitted | None = None

    @abstractmethod
    def learn(self, examples: Examples, monitor: Monitor, *, validation: Examples | None) -> Trained:
        """Parameters of all instances from the training examples; validation ones may decide when to stop."""

    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        """Learn from all rows of `train` and calibrate thresholds on them.

        `validation` gives a curve and, where there is a patience, says when to stop; nothing is fitted on it.

        Raises
        ------
        IncompatibleData
            Sessions with different units, activity that is not finite, targets the loss is not defined for, or a
            patience without validation rows.
        ModelError
            Too large for the memory, no such device, or a checkpoint of another fit.
        Diverged
            The loss is not finite.
        """
        if self.config.candidates(n_units=train.n_units):
            raise ModelError("n_latents is 'auto': `nldisco run` chooses it; state the size to fit a model by hand")
        device = choose_device(self.config.device)
        units, shape = unit_ids(train), ExampleShape.of(self.config)
        require_memory(self.config, n_rows=train.n_bins, n_units=len(units), device=device)
        started = time.perf_counter()
        examples = Examples.of(train, device, shape=shape)
        sets = {"training": train}
        held_out = None
        if validation is not None and validation.n_bins > 0:
            require_units(validation, units)
            sets["validation"] = validation
            held_out = Examples.of(validation, device, shape=shape, like=examples)
        trained = self.learn(examples, monitor, validation=held_out)
        learned = time.perf_counter()
        sparsifier = sparsifier_of(self.config)
        finished = sparsifier.finish(trained.parameters, examples)
        self._fitted = _Fitted(
            parameters=finished.parameters,
            thresholds=finished.thresholds,
            unit_ids=units,
            target_ids=tuple(np.array(units, dtype=object)[shape.columns(train.units)[1]]),
            bin_s=train.bin_s,
        )
        found = {} if finished.training_l0 is None else {"batch": finished.training_l0}
        found |= {name: _l0(self.transform(data)) for name, data in sets.items()}
        for name, l0 in found.items():
            for level, size in enumerate(self.config.level_sizes):
                trained.history.add(trained.steps, f"{name}_l0/{size}", l0[:, level].tolist(), monitor)
        return FitReport(
            history=trained.history.frame(),
            stop_reason=trained.stop_reason,
            timings_s={"learn": learned - started, "calibrate": time.perf_counter() - learned},
            notes=(*trained.notes, *_sparsity_notes(self.config.level_sizes, sparsifier.inference, found)),
        )

    def transform(self, data: Binned) -> Latents:
        """Activations of every row of `data`, float32 on the CPU; no row's depend on which other rows are given.

        Raises
        ------
        NotFitted
            Before `fit`.
        IncompatibleData
            Other units than it was fitted on, or activity that is not finite.
        """
        fitted = self._require_fitted()
        require_units(data, fitted.unit_ids)
        if ExampleShape.of(self.config).reach > 1 and data.bin_s != fitted.bin_s:
            raise IncompatibleData(
                f"fitted on windows of {self.config.window} bins of {fitted.bin_s:g} s; this data has bins of "
                f"{data.bin_s:g} s"
            )
        return Latents.of(encode(fitted.parameters, fitted.thresholds, self.config, data))

    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        """Each level's prediction from its own activations, block by block.

        Raises
        ------
        NotFitted
            Before `fit`.
        IncompatibleData
            Latents of another size or number of instances.
        """
        fitted = self._require_fitted()
        space = self._own(latents)
        lags_s = tuple(lag * fitted.bin_s for lag in self._predicted_lags())
        every = fitted.target_ids == fitted.unit_ids
        columns = None if every else np.flatnonzero(np.isin(fitted.unit_ids, fitted.target_ids))
        for instance, parameters in enumerate(fitted.parameters.instances()):
            start = 0
            for codes in entry_blocks(space, instance, _ROWS, before=ExampleShape.of(self.config).reach - 1):
                rows = slice(start, codes.rows.stop)
                start = rows.stop
                for level in range(space.n_levels):
                    within = slice(rows.start - codes.rows.start, rows.stop - codes.rows.start)
                    values = torch.from_numpy(parameters.predicted(codes.csr(level), within))
                    if len(lags_s) > 1:
                        values = values.view(len(values), len(lags_s), -1)
                    yield ReconstructionBlock(
                        instance=instance,
                        level=level,
                        rows=rows,
                        lags_s=lags_s,
                        values=apply_output(values, self.config.output).numpy(),
                        columns=columns,
                    )

    def dictionary(self) -> Dictionary:
        """Decoder rows, of unit norm over units and lags, (n_instances, n_latents, n_units[, n_lags]).

        Units are those that are predicted. Lags are those of the predicted bins, from the example's last bin.

        Raises
        ------
        NotFitted
            Before `fit`.
        """
        fitted = self._require_fitted()
        rows, lags = fitted.parameters.decoder.numpy(), self._dictionary_lags()
        if len(lags) > 1:
            rows = np.swapaxes(rows.reshape(*rows.shape[:2], len(lags), -1), 2, 3)
        lags_s = tuple(lag * fitted.bin_s for lag in lags)
        return Dictionary(values=rows.copy(), unit_ids=(fitted.target_ids,), lags_s=lags_s)

    def attribution(self, latents: Latents, data: Binned, *, rows: NDArray[np.bool_] | None = None) -> Attribution:
        """Gradient times input of each latent's activation, unit by unit and lag by lag.

        The mean over up to `nldisco_sae.attribution.MAX_EXAMPLES` active examples of each latent, see there.

        Raises
        ------
        NotFitted
            Before `fit`.
        IncompatibleData
            Latents of another size or number of instances, or of other bins; other units than it was fitted on.
        """
        fitted = self._require_fitted()
        require_units(data, fitted.unit_ids)
        space = self._own(latents)
        if space.n_rows != data.n_bins:
            raise IncompatibleData(
                f"latents of {space.n_rows} rows for {data.n_bins} bins; give the bins they were made of"
            )
        return attribute(fitted.parameters, ExampleShape.of(self.config), space, data, rows=rows)

    def save(self, folder: Path) -> None:
        """Write ``config.json`` and ``weights.safetensors`` into an existing folder; `NotFitted` before `fit`."""
        fitted = self._require_fitted()
        save_file(fitted.tensors(), folder / "weights.safetensors")
        written = {
            "schema_version": SCHEMA_VERSION,
            "config": json.loads(self.config.model_dump_json()),
            "unit_ids": fitted.unit_ids,
            "target_ids": fitted.target_ids,
            "bin_s": fitted.bin_s,
        }
        (folder / "config.json").write_text(json.dumps(written, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model as it was saved.

        Raises
        ------
        ModelError
            The folder holds no whole model.
        SchemaTooNew
            A newer version of the toolkit wrote it.
        """
        try:
            read = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            tensors = load_file(folder / "weights.safetensors")
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError(
                f"{folder} holds no whole model ({error}); expected config.json and weights.safetensors"
            ) from error
        if read["schema_version"] > SCHEMA_VERSION:
            raise SchemaTooNew(
                f"{folder} was written with schema {read['schema_version']}; this version reads up to "
                f"{SCHEMA_VERSION}: update nldisco-core"
            )
        config = cls.config_class.model_validate_json(json.dumps(read["config"]))
        model = cls(config)  # type: ignore[arg-type]  # config_class is the class's own C
        thresholds = tensors.pop("thresholds")
        model._fitted = _Fitted(
            parameters=PARAMETERS[config.encoder](**tensors),
            thresholds=thresholds,
            unit_ids=tuple(read["unit_ids"]),
            target_ids=tuple(read["target_ids"]),
            bin_s=read["bin_s"],
        )
        return model

    def _own(self, latents: Latents) -> LatentSpace:
        """The latents' main space, if this model can have made it; `IncompatibleData` otherwise."""
        space = latents.main
        found = (space.n_instances, space.level_sizes)
        if found != (self.config.n_instances, self.config.level_sizes):
            raise IncompatibleData(
                f"latents of {found[0]} instances with levels {found[1]}; this model has {self.config.n_instances} "
                f"instances with levels {self.config.level_sizes}: give the latents that its transform made"
            )
        return space

    def _predicted_lags(self) -> tuple[int, ...]:
        """Bins from a row's own to those that its code, or the codes up to it, predict."""
        lag = self.config.target_lag
        return ExampleShape.of(self.config).lags() if self.config.encoder == "linear" else (lag,)

    def _dictionary_lags(self) -> tuple[int, ...]:
        """Bins from a code's own to those that it adds to."""
        lag, window = self.config.target_lag, self.config.window
        return self._predicted_lags() if self.config.encoder == "linear" else tuple(range(lag, lag + window))

    def _require_fitted(self) -> _Fitted:
        if self._fitted is None:
            raise NotFitted(f"{type(self).__name__} has not been fitted; call fit or load first")
        return self._fitted


class TrainedAutoencoder(SparseAutoencoder[T]):
    """A sparse autoencoder that gradient descent trains, as its configuration and the sparsifier named there say."""

    def learn(self, examples: Examples, monitor: Monitor, *, validation: Examples | None) -> Trained:
        """Train all instances; goes on from the monitor's checkpoint where there is one."""
        return train(self.config, examples, monitor, validation=validation)


def _l0(latents: Latents) -> Tensor:
    """(n_instances, n_levels) mean number of active latents per row."""
    space = latents.main
    counts = [
        [space.csc(instance, level=level).nnz for level in range(space.n_levels)]
        for instance in range(space.n_instances)
    ]
    return torch.tensor(counts) / space.n_rows


def _sparsity_notes(level_sizes: tuple[int, ...], inference: str, found: Mapping[str, Tensor]) -> Iterator[str]:
    """How far inference is from training, level by level, as means over instances."""
    for level, size in enumerate(level_sizes):
        means = {name: float(l0[:, level].mean()) for name, l0 in found.items()}
        batch = f"{means.pop('batch'):.2f} latents a bin in training batches; " if "batch" in means else ""
        inferred = ", ".join(f"{value:.2f} on {name} bins" for name, value in means.items())
        yield f"Level {size}: {batch}{inference} gives {inferred}."
