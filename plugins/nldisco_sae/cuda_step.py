"""One training step on a CUDA device: dense products, and kernels that never write codes out level by level.

It does what the reference step of `nldisco_sae.training.Trainer` does, on the same tensors: parameters, Adam's moments
and silence counters are changed in place, so that either step can follow the other. Nothing waits for the device, and
the host decides nothing by what the device found: the step can be captured in a graph.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from nldisco_sae.architecture import Parameters, project_decoder_gradient
from nldisco_sae.config import LevelsConfig, TrainingConfig, per_instance
from nldisco_sae.examples import Examples
from nldisco_sae.plain_kernels import Adam, Precision
from nldisco_sae.revival import auxiliary_loss, update_silence
from nldisco_sae.selection import level_budgets
from nldisco_sae.single_level_config import BatchTopKConfig

__all__ = ["CudaStep", "prepare_adam"]


class CudaStep:
    """The step of a fit with a linear encoder, batch-top-k, squared error, identity output, every entry observed.

    Parameters
    ----------
    optimiser : Adam over `parameters.trained()`, one group per tensor with its highest rate in ``peak_lr``
    silent_steps : (n_instances, n_latents) as `nldisco_sae.revival.update_silence` counts them
    weights : (n_levels, n_instances) of the levels' losses
    baseline : what losses are divided by
    dead_after : steps of silence after which a latent is dead
    precision : of the factors of products
    kernels : `nldisco_sae.triton_kernels`, or `nldisco_sae.plain_kernels`, which does the same on any device
    """

    def __init__(
        self,
        config: TrainingConfig,
        examples: Examples,
        parameters: Parameters,
        optimiser: torch.optim.Adam,
        silent_steps: Tensor,
        *,
        weights: Tensor,
        batch_size: int,
        baseline: float,
        dead_after: int,
        precision: Precision,
        kernels: ModuleType,
    ) -> None:
        assert isinstance(config, LevelsConfig | BatchTopKConfig)
        self._config, self._examples, self._parameters, self._optimiser = config, examples, parameters, optimiser
        self._silent_steps, self._dead_after = silent_steps, dead_after
        self._kernels, self._precision, self._sizes = kernels, precision, config.level_sizes
        device, n_instances = silent_steps.device, config.n_instances
        self._n_entries = batch_size * examples.n_targets
        self._baseline = baseline
        self._factors = (-2 / (self._n_entries * baseline) * weights.T).contiguous()
        budgets = level_budgets(config.levels, config.selection)
        places = [[max(round(batch_size * k), 1) for k in per_instance(each, n_instances)] for each in budgets.values()]
        self._places = torch.tensor(places, dtype=torch.int32, device=device).T.contiguous()
        self._budgeted = tuple(budgets)
        lr = torch.tensor(per_instance(config.lr, n_instances), device=device)
        self._rates = [group["peak_lr"] * (lr / lr.max()) for group in optimiser.param_groups]
        self._ones = torch.ones(n_instances, device=device)

    @torch.no_grad()
    def __call__(self, rows: Tensor, rate_factor: Tensor, warmth: Tensor, *, revive: bool) -> tuple[Tensor, Tensor]:
        """One step of Adam on examples (n_instances, n_rows).

        Parameters
        ----------
        rate_factor : () share of the peak learning rates
        warmth : () that of a penalty, of which there is none here
        revive : False where no latent can be dead at this step

        Returns
        -------
        losses : (n_levels, n_instances)
        active : (n_instances, n_rows, n_latents) bool, at the deepest level
        """
        x, y, _ = self._examples.batch(rows)
        parameters, chosen = self._parameters, {"sizes": self._sizes, "precision": self._precision}
        centred = x - parameters.input_mean
        codes = self._kernels.product(centred, parameters.encoder, self._precision) + parameters.encoder_bias[:, None]
        cutoffs = self._cutoffs(codes)
        active = codes >= cutoffs[:, -1:, None]
        update_silence(self._silent_steps, active)
        residuals, squares = self._kernels.decode_levels(
            codes, cutoffs, parameters.decoder, parameters.decoder_bias, y, **chosen
        )
        slopes = self._kernels.pull_back(codes, cutoffs, parameters.decoder, residuals, self._factors, **chosen)
        turns = self._kernels.decoder_gradient(codes, cutoffs, residuals, self._factors, **chosen)
        if revive:
            more_slopes, more_turns = self._revive(codes, residuals)
            slopes, turns = slopes + more_slopes, turns + more_turns
        gradients = {
            "encoder": self._kernels.product(centred.transpose(1, 2), slopes, self._precision),
            "encoder_bias": slopes.sum(dim=1),
            "decoder": turns,
            "decoder_bias": (self._factors.T[..., None] * residuals.sum(dim=2)).sum(dim=0),
        }
        self._descend(gradients, rate_factor)
        return squares / (self._n_entries * self._baseline), active

    def _cutoffs(self, codes: Tensor) -> Tensor:
        """(n_instances, n_levels) as `nldisco_sae.selection.batch_cutoffs`, above zero."""
        found: Tensor = self._kernels.kth_largest(codes, self._budgeted, self._places)
        tiny = torch.finfo(found.dtype).tiny  # zero is never active
        return found.clamp(min=tiny).expand(-1, len(self._sizes)).contiguous()

    def _revive(self, codes: Tensor, residuals: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the auxiliary loss by codes and decoder."""
        config = self._config
        with torch.enable_grad():
            codes, decoder = codes.detach().requires_grad_(), self._parameters.decoder.detach().requires_grad_()
            total = auxiliary_loss(
                codes,
                self._silent_steps >= self._dead_after,
                decoder,
                list(residuals),
                level_sizes=self._sizes,
                aux_k=config.aux_k,
                observed=None,
            )
            slopes, turns = torch.autograd.grad(config.aux_coefficient * total.sum(), (codes, decoder))
        return slopes, turns

    def _descend(self, gradients: dict[str, Tensor], factor: Tensor) -> None:
        largest, scales = self._config.grad_clip, self._ones
        if largest is not None:
            project_decoder_gradient(self._parameters.decoder, gradients["decoder"])
            norms = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients.values()]
            scales = (largest / torch.linalg.vector_norm(torch.stack(norms), dim=0)).clamp(max=1)
        prepare_adam(self._optimiser)
        trained = self._parameters.trained()
        for (name, tensor), group, rates in zip(
            trained.items(), self._optimiser.param_groups, self._rates, strict=True
        ):
            state = self._optimiser.state[tensor]
            state["step"] += 1
            adam = Adam(
                rates=rates, factor=factor, scales=scales, step=state["step"], betas=group["betas"], eps=group["eps"]
            )
            self._kernels.adam_rows(
                tensor, gradients[name], state["exp_avg"], state["exp_avg_sq"], adam, unit_rows=name == "decoder"
            )


def prepare_adam(optimiser: torch.optim.Adam) -> None:
    """Give every tensor that has not been stepped yet the state that torch would give it at its first step."""
    for group in optimiser.param_groups:
        for tensor in group["params"]:
            if not optimiser.state[tensor]:
                optimiser.state[tensor] = {
                    "step": torch.zeros((), device=tensor.device),
                    "exp_avg": torch.zeros_like(tensor),
                    "exp_avg_sq": torch.zeros_like(tensor),
                }
