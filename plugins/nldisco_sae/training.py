"""Gradient training of all instances side by side, each with its own data order, budget and gradient norm."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nldisco_core.errors import Diverged
from nldisco_core.interfaces import Monitor
from nldisco_sae.architecture import (
    Parameters,
    apply_output,
    initialise,
    normalise_decoder,
    project_decoder_gradient,
)
from nldisco_sae.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.examples import Examples
from nldisco_sae.history import History
from nldisco_sae.losses import check_targets, element_loss, mean_loss
from nldisco_sae.revival import auxiliary_loss, dead_latents, update_silence
from nldisco_sae.schedule import learning_rate_factor
from nldisco_sae.seeding import data_order
from nldisco_sae.selection import batch_cutoffs, select

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


def train(config: MatryoshkaConfig, examples: Examples, monitor: Monitor) -> Trained:
    """Train from the monitor's last checkpoint, or from the start where there is none.

    Raises
    ------
    IncompatibleData
        Targets that the loss is not defined for.
    Diverged
        The loss is not finite.
    ModelError
        The checkpoint was written by other settings or data.
    """
    trainer = Trainer(config, examples)
    folder = monitor.latest_checkpoint()
    if folder is not None:
        trainer.restore(read_checkpoint(folder, trainer.identity()))
    return trainer.run(monitor)


class Trainer:
    """A fit in progress: parameters, Adam's moments, how long each latent has been silent, and the step.

    The objective of an instance is ``Σ_l w_l·loss(y, y^_l) / loss(y, mean y) + aux_coefficient·aux``. Dividing by the
    loss of the mean, and scaling the learning rate of biases with the data, makes the settings mean the same whatever
    the scale of the data.
    """

    def __init__(self, config: MatryoshkaConfig, examples: Examples) -> None:
        check_targets(config.loss, examples.values)
        device = examples.values.device
        self.config = config
        self.examples = examples
        self.step = 0
        self.history = History()
        self.batch_size = min(config.batch_size, examples.n_rows)
        self.steps_per_epoch = examples.n_rows // self.batch_size
        self.total_steps = config.epochs * self.steps_per_epoch
        self.parameters = initialise(
            seeds=config.seeds, n_latents=config.n_latents, mean=examples.mean, output=config.output
        ).detached(device)
        for tensor in self.parameters.trained().values():
            tensor.requires_grad_()
        self.silent_steps = torch.zeros(config.n_instances, config.n_latents, dtype=torch.int32, device=device)
        self._loss = element_loss(config.loss, tau=config.tau)
        self._baseline = self._loss_of_mean()
        self._weights = torch.tensor(config.weights, device=device)
        self._optimiser = self._make_optimiser()

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

    def run(self, monitor: Monitor) -> Trained:
        """Train to the end, or until the monitor says stop."""
        interval = max(self.total_steps // _REPORTS, 1)
        losses = torch.zeros(interval, *self._weights.shape, len(self.config.seeds), device=self.silent_steps.device)
        order_epoch, order = -1, torch.empty(0)
        stop_reason = "finished"
        while self.step < self.total_steps:
            epoch, batch = divmod(self.step, self.steps_per_epoch)
            if epoch != order_epoch:
                order_epoch, order = epoch, data_order(self.config.seeds, self.examples.n_rows, epoch).to(losses.device)
            rows = order[:, batch * self.batch_size : (batch + 1) * self.batch_size]
            seen = self.step % interval
            losses[seen], active = self._update(rows)
            self.step += 1
            if seen == interval - 1 or self.step == self.total_steps:
                self._report(losses[: seen + 1], active, monitor)
                if monitor.should_stop():
                    stop_reason = "stopped"
                    break
                if monitor.checkpoint_due():
                    monitor.checkpoint(lambda folder: write_checkpoint(self.checkpoint(), folder))
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
        """One step of Adam; gives the losses (n_levels, n_instances) and what the deepest level selected."""
        config, parameters = self.config, self.parameters
        x, observed = self.examples.batch(rows)
        pre_activations = parameters.pre_activations(x)
        activations = torch.relu(pre_activations)
        with torch.no_grad():
            cutoffs = batch_cutoffs(activations.detach(), config.levels, config.selection)
            selected = select(activations, cutoffs[:, None], config.level_sizes)
            update_silence(self.silent_steps, selected[-1])
        codes = [activations[..., : mask.shape[-1]] * mask for mask in selected]
        decoded = parameters.decode_levels(codes, nested=config.selection == "nested")
        predictions = [apply_output(values, config.output) for values in decoded]
        losses = torch.stack([mean_loss(self._loss(y, x), observed) for y in predictions]) / self._baseline
        objective = (self._weights @ losses).sum()
        dead = self._dead()
        if config.aux_coefficient and may_hold_dead(dead):
            auxiliary = auxiliary_loss(
                pre_activations,
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
        return losses.detach(), selected[-1]

    def _descend(self) -> None:
        config, parameters = self.config, self.parameters
        factor = learning_rate_factor(
            self.step, self.total_steps, warmup=config.warmup, hold=config.hold, final=config.final_lr
        )
        for group in self._optimiser.param_groups:
            group["lr"] = group["peak_lr"] * factor
        with torch.no_grad():
            decoder_gradient = parameters.decoder.grad
            assert decoder_gradient is not None
            project_decoder_gradient(parameters.decoder, decoder_gradient)
            if config.grad_clip is not None:
                clip_gradients(list(parameters.trained().values()), config.grad_clip)
            self._optimiser.step()
            normalise_decoder(parameters.decoder)

    def _report(self, losses: Tensor, active: Tensor, monitor: Monitor) -> None:
        """Add means over the last steps to the curves; losses (n_steps, n_levels, n_instances)."""
        self._require_finite(losses)
        means = losses.mean(dim=0)
        self.history.add(self.step, "loss", (self._weights @ means).tolist(), monitor)
        for size, level_means in zip(self.config.level_sizes, means, strict=True):
            self.history.add(self.step, f"loss/{size}", level_means.tolist(), monitor)
        l0 = active.sum(dim=2).float().mean(dim=1)
        self.history.add(self.step, "l0", l0.tolist(), monitor)
        dead_share = self._dead().float().mean(dim=1)
        self.history.add(self.step, "dead_share", dead_share.tolist(), monitor)
        loss = float((self._weights @ means).mean())
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
        notes = []
        if (n_dead := int(self._dead().sum())) > 0:
            notes.append(
                f"{n_dead} of {self.silent_steps.numel()} latents of all instances were dead when training ended."
            )
        if self.config.selection == "nested" and len(set(self.config.budgets)) > 1:
            notes.append(f"Nested selection: only k = {self.config.budgets[-1]} of the deepest level was used.")
        return tuple(notes)

    def _dead(self) -> Tensor:
        return dead_latents(self.silent_steps, dead_after=self.config.dead_after, steps_per_epoch=self.steps_per_epoch)

    def _loss_of_mean(self) -> float:
        """Loss of predicting each unit's mean over all training rows; 1 where that is perfect."""
        values, observed = self.examples.values, self.examples.observed
        losses = self._loss(self.examples.mean.to(values.device).expand_as(values), values)
        loss = float(mean_loss(losses[None], None if observed is None else observed[None]))
        return loss if loss > 0 else 1.0

    def _make_optimiser(self) -> torch.optim.Adam:
        """Adam with one rate for weights, and for biases rates on the scale of what they are added to."""
        variance = float(torch.square(self.examples.values - self.examples.mean.to(self.silent_steps.device)).mean())
        spread = variance**0.5 or 1.0  # of one unit; that of a pre-activation is the norm over units
        rates = {"encoder_bias": spread * self.examples.n_units**0.5, "decoder_bias": spread}
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
