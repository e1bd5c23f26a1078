"""Gradient training of all instances side by side, each with its own data order, budget and gradient norm."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nldisco_core.errors import Diverged, IncompatibleData
from nldisco_core.interfaces import Monitor
from nldisco_sae.architecture import (
    Parameters,
    normalise_decoder,
    project_decoder_gradient,
)
from nldisco_sae.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from nldisco_sae.config import TrainingConfig
from nldisco_sae.examples import Examples
from nldisco_sae.fast_choice import takes_fast_step
from nldisco_sae.history import History
from nldisco_sae.losses import check_targets
from nldisco_sae.objective import Objective
from nldisco_sae.revival import auxiliary_loss, dead_latents, steps_until_dead, update_silence
from nldisco_sae.schedule import learning_rate_factor
from nldisco_sae.seeding import data_order
from nldisco_sae.sparsifier import sparsifier_of
from nldisco_sae.validation import BestEpoch, held_out_batches

if TYPE_CHECKING:
    from nldisco_sae.fast_step import FastStep

__all__ = ["Trained", "Trainer", "train"]

_REPORTS = 200  # points of a training curve


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What learning gives.

    Attributes
    ----------
    parameters : on the CPU, outside any graph
    history : training curves
    stop_reason : as in `FitReport`
    steps : steps done
    notes : sentences a reader of the results must know
    """

    parameters: Parameters
    history: History
    stop_reason: str
    steps: int
    notes: tuple[str, ...] = ()


def train(
    config: TrainingConfig, examples: Examples, monitor: Monitor, *, validation: Examples | None = None
) -> Trained:
    """Train from the monitor's last checkpoint, or from the start where there is none.

    Raises
    ------
    IncompatibleData
        Targets that the loss is not defined for, or a patience without validation bins.
    Diverged
        The loss is not finite.
    ModelError
        The checkpoint was written by other settings or data.
    """
    trainer = Trainer(config, examples, validation=validation)
    folder = monitor.latest_checkpoint()
    if folder is not None:
        trainer.restore(read_checkpoint(folder, trainer.identity()))
    return trainer.run(monitor)


class Trainer:
    """A fit in progress: parameters, Adam's moments, how long each latent has been silent, and the step.

    What is made small is the `Objective` of each instance, whose penalty rises with the learning rate's warm-up, plus
    ``aux_coefficient·aux``. The learning rate of biases is scaled with the data.
    """

    def __init__(self, config: TrainingConfig, examples: Examples, *, validation: Examples | None = None) -> None:
        for given in (examples, validation):
            if given is not None:
                check_targets(config.loss, given.values, given.observed)
        if config.patience is not None and validation is None:
            raise IncompatibleData(
                f"patience = {config.patience} waits for a better validation loss and there are no validation bins; "
                "set split.validation above 0, or leave patience out"
            )
        device = examples.values.device
        self.config = config
        self.examples = examples
        self.validation = validation
        self.sparsifier = sparsifier_of(config)
        self.step = 0
        self.history = History()
        self.batch_size = min(config.batch_size, examples.n_rows)
        self.steps_per_epoch = examples.n_rows // self.batch_size
        self.total_steps = config.epochs * self.steps_per_epoch
        self.objective = Objective(config, self.sparsifier, examples, device)
        self.parameters = self.sparsifier.initialise(examples, scale=self.objective.scale).detached(device)
        for tensor in self.parameters.trained().values():
            tensor.requires_grad_()
        self.silent_steps = torch.zeros(config.n_instances, config.level_sizes[-1], dtype=torch.int32, device=device)
        self._optimiser = self._make_optimiser()
        self._best = None if config.patience is None else BestEpoch(self.parameters, patience=config.patience)
        self._fast = self._fast_step()

    def identity(self) -> dict[str, Any]:
        """What has to be equal for a checkpoint to be this fit's."""
        return {
            "settings": json.loads(self.config.model_dump_json(exclude={"device"})),
            "data": [list(self.examples.values.shape), [float(value).hex() for value in self.examples.mean]],
        }

    def checkpoint(self) -> Checkpoint:
        """The whole state, between two steps."""
        tensors = {**self.parameters.trained(), "silent_steps": self.silent_steps}
        for name, tensor in self.parameters.trained().items():
            for moment, value in self._optimiser.state[tensor].items():
                tensors[f"{name}/{moment}"] = value
        if self._best is not None:
            tensors |= self._best.tensors()
        return Checkpoint(identity=self.identity(), step=self.step, points=self.history.points, tensors=tensors)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where `checkpoint` was taken."""
        self.step = checkpoint.step
        self.history = History(checkpoint.points)
        self.silent_steps.copy_(checkpoint.tensors["silent_steps"])
        for name, tensor in self.parameters.trained().items():
            tensor.data.copy_(checkpoint.tensors[name])
            prefix = f"{name}/"
            self._optimiser.state[tensor] = {
                key.removeprefix(prefix): value.to(tensor.device)
                for key, value in checkpoint.tensors.items()
                if key.startswith(prefix)
            }
        if self._best is not None:
            self._best.restore(checkpoint.tensors)

    def run(self, monitor: Monitor) -> Trained:
        """Train to the end, until the monitor says stop, or until patience is exhausted."""
        interval = max(self.total_steps // _REPORTS, 1)
        losses = torch.zeros(
            interval, *self.objective.weights.shape, len(self.config.seeds), device=self.silent_steps.device
        )
        order_epoch, order = -1, torch.empty(0)
        stop_reason = "finished"
        while self.step < self.total_steps and not self._exhausted():
            epoch, batch = divmod(self.step, self.steps_per_epoch)
            if epoch != order_epoch:
                order_epoch, order = epoch, data_order(self.config.seeds, self.examples.n_rows, epoch).to(losses.device)
            rows = order[:, batch * self.batch_size : (batch + 1) * self.batch_size]
            seen = self.step % interval
            losses[seen], active = self._update(rows)
            self.step += 1
            if self.validation is not None and self.step % self.steps_per_epoch == 0:
                self._validate(self.validation, monitor)
            if seen == interval - 1 or self.step == self.total_steps or self._exhausted():
                self._report(losses[: seen + 1], active, monitor)
                if monitor.should_stop():
                    stop_reason = "stopped"
                    break
                if monitor.checkpoint_due():
                    monitor.checkpoint(lambda folder: write_checkpoint(self.checkpoint(), folder))
        if stop_reason == "finished" and self.step < self.total_steps:
            stop_reason = "early"
        if self._best is not None:
            self._best.put_back(self.parameters)
        self._require_finite(
            torch.stack([tensor.flatten(1).sum(1) for tensor in self.parameters.trained().values()])[None]
        )
        return Trained(
            parameters=self.parameters.detached("cpu"),
            history=self.history,
            stop_reason=stop_reason,
            steps=self.step,
            notes=self._notes(),
        )

    def _update(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """One step of Adam; gives the parts of the objective (n_parts, n_instances) and what was active."""
        if self._fast is not None:
            return self._fast.update(rows, self._rate_factor())
        config, parameters = self.config, self.parameters
        x, observed = self.examples.batch(rows)
        encoded = self.sparsifier.encode(parameters, x, scale=self.objective.scale)
        with torch.no_grad():
            update_silence(self.silent_steps, encoded.active)
        parts, predictions = self.objective.parts(parameters, encoded, x, observed, penalised=self._warmth())
        objective = (self.objective.weights @ parts).sum()
        dead = self._dead()
        if config.aux_coefficient and may_hold_dead(dead):
            auxiliary = auxiliary_loss(
                encoded.pre_activations,
                dead,
                parameters.decoder,
                [residual(x, y.detach(), observed) for y in predictions],
                level_sizes=config.level_sizes,
                aux_k=config.aux_k,
                observed=observed,
            )
            objective = objective + config.aux_coefficient * auxiliary.sum()
        self._optimiser.zero_grad()
        objective.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._descend()
        return parts.detach(), encoded.active

    def _warmth(self) -> float:
        """Share of the penalty at this step: it rises as the learning rate does, and stays."""
        return learning_rate_factor(self.step, self.total_steps, warmup=self.config.warmup, hold=1.0, final=1.0)

    @torch.no_grad()
    def _validate(self, validation: Examples, monitor: Monitor) -> None:
        """Add the objective on validation bins to the curves."""
        batches = held_out_batches(validation, batch_size=self.batch_size, n_instances=self.config.n_instances)
        parts = []
        for x, observed in batches:
            encoded = self.sparsifier.encode(self.parameters, x, scale=self.objective.scale)
            parts.append(self.objective.parts(self.parameters, encoded, x, observed, penalised=1.0)[0])
        losses = self.objective.weights @ torch.stack(parts).mean(dim=0)
        self.history.add(self.step, "validation_loss", losses.tolist(), monitor)
        if self._best is not None:
            self._best.see(losses, self.parameters)

    def _exhausted(self) -> bool:
        return self._best is not None and self._best.exhausted

    def _rate_factor(self) -> float:
        config = self.config
        return learning_rate_factor(
            self.step, self.total_steps, warmup=config.warmup, hold=config.hold, final=config.final_lr
        )

    def _fast_step(self) -> FastStep | None:
        """The step that replaces the reference's on the CPU; None where it does not apply."""
        config = self.config
        if not takes_fast_step(config, self.examples, n_steps=self.total_steps):
            return None
        from nldisco_sae.fast_step import FastStep  # imports numba

        return FastStep(
            config,
            self.examples,
            self.parameters,
            self._optimiser,
            self.silent_steps,
            batch_size=self.batch_size,
            baseline=self.objective.baseline,
            dead_after=steps_until_dead(config.dead_after, self.steps_per_epoch),
        )

    def _descend(self) -> None:
        config, parameters = self.config, self.parameters
        factor = self._rate_factor()
        for group in self._optimiser.param_groups:
            group["lr"] = group["peak_lr"] * factor
        with torch.no_grad():
            if self.sparsifier.unit_norm:
                decoder_gradient = parameters.decoder.grad
                assert decoder_gradient is not None
                project_decoder_gradient(parameters.decoder, decoder_gradient)
            if config.grad_clip is not None:
                clip_gradients(list(parameters.trained().values()), config.grad_clip)
            self._optimiser.step()
            if self.sparsifier.unit_norm:
                normalise_decoder(parameters.decoder)

    def _report(self, losses: Tensor, active: Tensor, monitor: Monitor) -> None:
        """Add means over the last steps to the curves; losses (n_steps, n_parts, n_instances)."""
        self._require_finite(losses)
        means = losses.mean(dim=0)
        self.history.add(self.step, "loss", (self.objective.weights @ means).tolist(), monitor)
        for name, part_means in zip(self.objective.part_names, means, strict=True):
            self.history.add(self.step, name, part_means.tolist(), monitor)
        l0 = active.sum(dim=2).float().mean(dim=1)
        self.history.add(self.step, "l0", l0.tolist(), monitor)
        dead_share = self._dead().float().mean(dim=1)
        self.history.add(self.step, "dead_share", dead_share.tolist(), monitor)
        loss = float((self.objective.weights @ means).mean())
        message = f"loss {loss:.3g}, L0 {float(l0.mean()):.2f}, dead {float(dead_share.mean()):.0%}"
        monitor.progress(self.step, self.total_steps, message)

    def _require_finite(self, values: Tensor) -> None:
        """Refuse values (n_steps, n_parts, n_instances) of the last steps that are not finite."""
        broken = ~torch.isfinite(values).all(dim=1)
        if bool(broken.any()):
            index, instance = torch.nonzero(broken)[0].tolist()
            step = self.step - len(values) + index + 1
            raise Diverged(
                f"loss or parameters of instance {instance} (seed {self.config.seeds[instance]}) are not finite at "
                f"step {step} of {self.total_steps}; the likely cause is lr = {self.config.lr:g}: lower it, or set "
                "grad_clip"
            )

    def _notes(self) -> tuple[str, ...]:
        notes = list(self.sparsifier.notes)
        if (n_dead := int(self._dead().sum())) > 0:
            notes.insert(
                0, f"{n_dead} of {self.silent_steps.numel()} latents of all instances were dead when training ended."
            )
        return tuple(notes)

    def _dead(self) -> Tensor:
        return dead_latents(self.silent_steps, dead_after=self.config.dead_after, steps_per_epoch=self.steps_per_epoch)

    def _make_optimiser(self) -> torch.optim.Adam:
        """Adam with one rate for weights, and for biases rates on the scale of what they are added to."""
        scale, spread = self.objective.scale, self.objective.spread
        rates = {"encoder_bias": scale, "magnitude_bias": scale, "decoder_bias": spread}
        return torch.optim.Adam(
            [
                {"params": [tensor], "lr": self.config.lr, "peak_lr": self.config.lr * rates.get(name, 1.0)}
                for name, tensor in self.parameters.trained().items()
            ],
            fused=True,
        )


def may_hold_dead(dead: Tensor) -> bool:
    """False where the auxiliary loss cannot matter; only the CPU is asked, where asking costs no synchronisation."""
    return dead.device.type != "cpu" or bool(dead.any())


def residual(target: Tensor, prediction: Tensor, observed: Tensor | None) -> Tensor:
    """What a prediction leaves over, 0 where nothing was observed."""
    difference = target - prediction
    return difference if observed is None else difference * observed


def clip_gradients(tensors: Sequence[Tensor], largest: float) -> None:
    """Scale, in place, the gradients of each instance (leading axis) to a joint L2 norm of at most `largest`."""
    gradients = [tensor.grad for tensor in tensors if tensor.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])
    scale = (largest / torch.linalg.vector_norm(norms, dim=0)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))
