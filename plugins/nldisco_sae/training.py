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
from nldisco_sae.config import TrainingConfig, per_instance
from nldisco_sae.examples import Examples
from nldisco_sae.fast_choice import takes_fast_step, takes_sparse_decoding
from nldisco_sae.history import History
from nldisco_sae.losses import check_targets
from nldisco_sae.objective import Objective
from nldisco_sae.revival import auxiliary_loss, dead_latents, steps_until_dead, update_silence
from nldisco_sae.schedule import learning_rate_factor
from nldisco_sae.seeding import data_order
from nldisco_sae.sequences import SequenceParameters
from nldisco_sae.sparsifier import sparsifier_of
from nldisco_sae.validation import BestEpoch, held_out_rows

if TYPE_CHECKING:
    from nldisco_sae.cuda_graph import GraphedSteps, Step
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
                check_targets(config.loss, given.target_bins, given.observed)
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
        if takes_sparse_decoding(config, examples, n_steps=self.total_steps):
            self._decode_sparsely()
        for tensor in self.parameters.trained().values():
            tensor.requires_grad_()
        self._rates = per_instance(config.lr, config.n_instances)
        self._order = -1, torch.empty(0)
        self.silent_steps = torch.zeros(config.n_instances, config.level_sizes[-1], dtype=torch.int32, device=device)
        self._optimiser = self._make_optimiser()
        self._best = None if config.patience is None else BestEpoch(self.parameters, patience=config.patience)
        self._fast = self._fast_step()
        on_cuda = device.type == "cuda" and config.engine != "reference"
        self._graphed = self._graphed_steps() if on_cuda else None

    def identity(self) -> dict[str, Any]:
        """What has to be equal for a checkpoint to be this fit's."""
        return {
            "settings": json.loads(self.config.model_dump_json(exclude={"device"})),
            "data": [
                [self.examples.n_rows, self.examples.n_targets],
                [float(value).hex() for value in self.examples.mean],
            ],
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
        losses = torch.zeros(interval, *self.objective.weights.shape, device=self.silent_steps.device)
        stop_reason = "finished"
        while self.step < self.total_steps and not self._exhausted():
            seen = self.step % interval
            n_steps = min(interval - seen, self.steps_per_epoch - self.step % self.steps_per_epoch)
            losses[seen : seen + n_steps], active = self._advance(n_steps)
            seen += n_steps
            if self.validation is not None and self.step % self.steps_per_epoch == 0:
                self._validate(self.validation, monitor)
            if seen == interval or self.step == self.total_steps or self._exhausted():
                self._report(losses[:seen], active, monitor)
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

    def _advance(self, n_steps: int) -> tuple[Tensor, Tensor]:
        """Take steps of one epoch; gives losses (n_steps, n_parts, n_instances) and what was active at the last."""
        if self._graphed is not None:
            losses, active = self._graphed.run(self.step, n_steps)
            self.step += n_steps
            return losses, active
        found = []
        for _ in range(n_steps):
            losses, active = self._update(self._rows())
            found.append(losses)
            self.step += 1
        return torch.stack(found), active

    def _rows(self) -> Tensor:
        """(n_instances, batch_size) examples of this step."""
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        if epoch != self._order[0]:
            self._order = epoch, self._order_of(epoch).to(self.silent_steps.device)
        return self._order[1][:, batch * self.batch_size : (batch + 1) * self.batch_size]

    def _order_of(self, epoch: int) -> Tensor:
        return data_order(self.config.seeds, self.examples.n_rows, epoch)

    def _update(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """This step; as `_take`."""
        rate_factor, warmth = self._shares(self.step)
        if self._fast is not None:
            return self._fast.update(rows, rate_factor)
        return self._take(rows, rate_factor, warmth, revive=True)

    def _take(
        self, rows: Tensor, rate_factor: float | Tensor, warmth: float | Tensor, *, revive: bool
    ) -> tuple[Tensor, Tensor]:
        """One step of Adam on examples (n_instances, n_rows).

        Parameters
        ----------
        rate_factor, warmth : as `_shares` gives them
        revive : False where no latent can be dead at this step

        Returns
        -------
        losses : (n_parts, n_instances) parts of the objective
        active : (n_instances, n_rows, n_latents) what was active
        """
        config, parameters = self.config, self.parameters
        x, y, observed = self.examples.batch(rows)
        encoded = self.sparsifier.encode(parameters, x, scale=self.objective.scale)
        with torch.no_grad():
            update_silence(self.silent_steps, encoded.active)
        parts, predictions = self.objective.parts(parameters, encoded, y, observed, penalised=warmth)
        objective = self.objective.weighed(parts).sum()
        dead = self._dead()
        if config.aux_coefficient and revive and may_hold_dead(dead):
            auxiliary = auxiliary_loss(
                encoded.pre_activations,
                dead,
                parameters.decoder,
                [residual(y, prediction.detach(), observed) for prediction in predictions],
                level_sizes=config.level_sizes,
                aux_k=config.aux_k,
                observed=observed,
                combine=parameters.combine,
            )
            objective = objective + config.aux_coefficient * auxiliary.sum()
        self._optimiser.zero_grad()
        objective.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._descend(rate_factor)
        return parts.detach(), encoded.active

    @torch.no_grad()
    def _validate(self, validation: Examples, monitor: Monitor) -> None:
        """Add the objective on validation bins to the curves."""
        parts = [self._parts(validation, rows) for rows in held_out_rows(validation, batch_size=self.batch_size)]
        losses = self.objective.weighed(torch.stack(parts).mean(dim=0))
        self.history.add(self.step, "validation_loss", losses.tolist(), monitor)
        if self._best is not None:
            self._best.see(losses, self.parameters)

    def _parts(self, examples: Examples, rows: Tensor) -> Tensor:
        """Parts of the objective (n_parts, n_instances) on examples (n_rows,) that teach nothing."""
        if self._fast is not None and examples.observed is None:
            return self._fast.losses(examples, rows)
        x, y, observed = examples.batch(rows.expand(self.config.n_instances, -1))
        encoded = self.sparsifier.encode(self.parameters, x, scale=self.objective.scale)
        return self.objective.parts(self.parameters, encoded, y, observed, penalised=1.0)[0]

    def _exhausted(self) -> bool:
        return self._best is not None and self._best.exhausted

    def _shares(self, step: int) -> tuple[float, float]:
        """Of the peak learning rates at a step; and of the penalty, which rises as the rate does, and stays."""
        total, config = self.total_steps, self.config
        rate = learning_rate_factor(step, total, warmup=config.warmup, hold=config.hold, final=config.final_lr)
        return rate, learning_rate_factor(step, total, warmup=config.warmup, hold=1.0, final=1.0)

    def _graphed_steps(self) -> GraphedSteps:
        """What replays whole steps on a CUDA device."""
        config = self.config
        from nldisco_sae.cuda_graph import GraphedSteps

        dead_after = steps_until_dead(config.dead_after, self.steps_per_epoch)
        return GraphedSteps(
            self._cuda_step() if takes_fast_step(config, self.examples, n_steps=self.total_steps) else self._take,
            self._optimiser,
            self.silent_steps,
            order=self._order_of,
            batch_size=self.batch_size,
            steps_per_epoch=self.steps_per_epoch,
            shares=torch.tensor([self._shares(step) for step in range(self.total_steps)]),
            n_parts=len(self.objective.weights),
            longest=min(max(self.total_steps // _REPORTS, 1), self.steps_per_epoch),
            dead_after=dead_after if config.aux_coefficient else None,
            precision=config.precision,
        )

    def _cuda_step(self) -> Step:
        """The step that replaces the reference's on a CUDA device."""
        from nldisco_sae.cuda_step import CudaStep
        from nldisco_sae.kernel_choice import kernels_for

        return CudaStep(
            self.config,
            self.examples,
            self.parameters,
            self._optimiser,
            self.silent_steps,
            weights=self.objective.weights,
            batch_size=self.batch_size,
            baseline=self.objective.baseline,
            dead_after=steps_until_dead(self.config.dead_after, self.steps_per_epoch),
            precision=self.config.precision,
            kernels=kernels_for(self.silent_steps.device),
        )

    def _decode_sparsely(self) -> None:
        """From here on, decode on the CPU what is not 0 alone."""
        from nldisco_sae.fast_convolution import sparse_decoding  # imports numba

        assert isinstance(self.parameters, SequenceParameters)
        self.parameters = sparse_decoding(self.parameters)

    def _fast_step(self) -> FastStep | None:
        """The step that replaces the reference's on the CPU; None where it does not apply."""
        config = self.config
        if self.silent_steps.device.type != "cpu" or not takes_fast_step(
            config, self.examples, n_steps=self.total_steps
        ):
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

    def _descend(self, rate_factor: float | Tensor) -> None:
        config, parameters = self.config, self.parameters
        for group in self._optimiser.param_groups:
            group["lr"] = group["peak_lr"] * rate_factor
        with torch.no_grad():
            if self.sparsifier.unit_norm:
                decoder_gradient = parameters.decoder.grad
                assert decoder_gradient is not None
                project_decoder_gradient(parameters.decoder, decoder_gradient)
            if config.grad_clip is not None:
                clip_gradients(list(parameters.trained().values()), config.grad_clip)
            before = None if len(set(self._rates)) == 1 else parameters.detached(parameters.encoder.device)
            self._optimiser.step()
            if before is not None:
                self._shorten(before)
            if self.sparsifier.unit_norm:
                normalise_decoder(parameters.decoder)

    def _shorten(self, before: Parameters) -> None:
        """Take, of the step that has just been taken with the highest learning rate, each instance's own share."""
        shares = self.sparsifier.each(self.config.lr, before.encoder.device) / max(self._rates)
        old = before.trained()
        for name, tensor in self.parameters.trained().items():
            share = shares.view(-1, *[1] * (tensor.ndim - 1))
            tensor.copy_(torch.lerp(old[name], tensor, share))

    def _report(self, losses: Tensor, active: Tensor, monitor: Monitor) -> None:
        """Add means over the last steps to the curves; losses (n_steps, n_parts, n_instances)."""
        means = losses.mean(dim=0)
        l0 = active.sum(dim=2).float().mean(dim=1)
        dead_share = self._dead().float().mean(dim=1)
        found = torch.stack([self.objective.weighed(means), *means, l0, dead_share]).cpu()  # one wait for the device
        if not torch.isfinite(found).all():
            self._require_finite(losses)
        for name, values in zip(("loss", *self.objective.part_names, "l0", "dead_share"), found, strict=True):
            self.history.add(self.step, name, values.tolist(), monitor)
        loss, *_, mean_l0, share = found.mean(dim=1).tolist()
        monitor.progress(self.step, self.total_steps, f"loss {loss:.3g}, L0 {mean_l0:.2f}, dead {share:.0%}")

    def _require_finite(self, values: Tensor) -> None:
        """Refuse values (n_steps, n_parts, n_instances) of the last steps that are not finite."""
        broken = ~torch.isfinite(values).all(dim=1)
        if bool(broken.any()):
            index, instance = torch.nonzero(broken)[0].tolist()
            step = self.step - len(values) + index + 1
            raise Diverged(
                f"loss or parameters of instance {instance} (seed {self.config.seeds[instance]}) are not finite at "
                f"step {step} of {self.total_steps}; the likely cause is lr = {self._rates[instance]:g}: lower it, or "
                "set grad_clip"
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
        """Adam with one rate for weights, and for biases rates on the scale of what they are added to.

        The rates are those of the instance with the highest; `_shorten` brings others to their own.
        """
        highest = max(self._rates)
        scale, spread = self.objective.scale, self.objective.spread
        rates = {"encoder_bias": scale, "magnitude_bias": scale, "decoder_bias": spread}
        return torch.optim.Adam(
            [
                {"params": [tensor], "lr": highest, "peak_lr": highest * rates.get(name, 1.0)}
                for name, tensor in self.parameters.trained().items()
            ],
            fused=True,
            capturable=self.silent_steps.device.type == "cuda",
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
