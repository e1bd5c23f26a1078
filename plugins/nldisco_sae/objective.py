"""What training makes small: each level's reconstruction loss and the price of activity."""

from __future__ import annotations

import torch
from torch import Tensor

from nldisco_sae.architecture import Parameters, apply_output
from nldisco_sae.config import TrainingConfig, per_instance
from nldisco_sae.examples import Examples
from nldisco_sae.losses import element_loss, mean_loss
from nldisco_sae.sparsifier import Encoded, Sparsifier

__all__ = ["Objective"]


class Objective:
    """``Σ_l w_l·loss(y, y^_l) / loss(y, mean y) + penalty``, where the penalty is the sparsifier's, if it has one.

    Dividing by the loss of the mean, and measuring codes on the scale of the data, makes the settings mean the same
    whatever that scale is.

    Attributes
    ----------
    baseline : loss of predicting each unit's mean over all training bins; 1 where losses are taken as they come
    spread, scale : what decoder biases and codes are measured in, see `nldisco_sae.sparsifier.Sparsifier.encode`
    part_names : of the parts that add up, levels first
    weights : (n_parts, n_instances)
    """

    def __init__(
        self, config: TrainingConfig, sparsifier: Sparsifier[TrainingConfig], examples: Examples, device: torch.device
    ) -> None:
        self._output, self._sparsifier = config.output, sparsifier
        self._loss = element_loss(config.loss, tau=config.tau)
        self.baseline = self._loss_of_mean(examples) if sparsifier.scaled else 1.0
        in_data_units = sparsifier.scaled and config.output != "exp"  # which has codes in units of a log rate
        self.spread, self.scale = (examples.spread(), examples.norm()) if in_data_units else (1.0, 1.0)
        names = [f"loss/{size}" for size in config.level_sizes]
        penalties = ("penalty",) if sparsifier.penalised else ()
        self.part_names = (*names, *penalties)
        weights = [per_instance(each, config.n_instances) for each in (*config.weights, *(1.0 for _ in penalties))]
        self.weights = torch.tensor(weights, dtype=torch.float32, device=device)

    def weighed(self, parts: Tensor) -> Tensor:
        """(n_instances,) weighted sum of parts (n_parts, n_instances)."""
        return (self.weights * parts).sum(dim=0)

    def parts(
        self, parameters: Parameters, encoded: Encoded, y: Tensor, observed: Tensor | None, *, penalised: float | Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Relative loss of each level and `penalised` times the penalty, (n_parts, n_instances); each level's y^.

        Parameters
        ----------
        y, observed : targets and mask, as `Examples.batch` gives them
        """

        def loss(prediction: Tensor) -> Tensor:
            return mean_loss(self._loss(prediction, y), observed)

        decoded = parameters.decode_levels(encoded.codes, nested=self._sparsifier.nested)
        predictions = [apply_output(values, self._output) for values in decoded]
        parts = torch.stack([loss(y) for y in predictions]) / self.baseline
        if self._sparsifier.penalised:
            penalty = self._sparsifier.penalty(
                parameters,
                encoded,
                scale=self.scale,
                loss=lambda values: loss(apply_output(values, self._output)) / self.baseline,
            )
            parts = torch.cat([parts, penalised * penalty[None]])
        return parts, predictions

    def _loss_of_mean(self, examples: Examples) -> float:
        values, mean, observed = examples.target_bins, examples.target_bin_mean, examples.observed
        losses = self._loss(mean.to(values.device).expand_as(values), values)
        loss = float(mean_loss(losses[None], None if observed is None else observed[None]))
        return loss if loss > 0 else 1.0
