"""A small sweep in one fit: instances with settings of their own learn what they would learn alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nldisco_sae.batch_topk import BatchTopKSAE
from nldisco_sae.gated import GatedSAE
from nldisco_sae.jumprelu import JumpReLUSAE
from nldisco_sae.matryoshka import MatryoshkaSAE
from nldisco_sae.single_level_config import TopKConfig
from nldisco_sae.topk import TopKSAE
from nldisco_sae.vanilla import VanillaSAE

from nldisco_core.config import parse
from nldisco_core.errors import ConfigError

SHARED = {"epochs": 3, "batch_size": 128}
SWEEPS: list[tuple[Any, dict[str, Any], list[dict[str, Any]]]] = [
    (MatryoshkaSAE, {"levels": {"8": 2}, "lr": [1e-2, 1e-3]}, [{"lr": 1e-2}, {"lr": 1e-3}]),
    (
        MatryoshkaSAE,
        {"levels": {"4": [1, 2], "8": [2, 3]}, "level_weights": [[1.0, 0.2], 1.0]},
        [
            {"levels": {"4": 1, "8": 2}, "level_weights": [1.0, 1.0]},
            {"levels": {"4": 2, "8": 3}, "level_weights": [0.2, 1.0]},
        ],
    ),
    (
        MatryoshkaSAE,
        {"levels": {"4": 1, "8": [2, 3]}, "selection": "nested", "inference": "sample-topk"},
        [{"levels": {"4": 1, "8": 2}}, {"levels": {"4": 1, "8": 3}}],
    ),
    (BatchTopKSAE, {"n_latents": 8, "k": [1.5, 2.5]}, [{"k": 1.5}, {"k": 2.5}]),
    (TopKSAE, {"n_latents": 8, "k": [1, 3]}, [{"k": 1}, {"k": 3}]),
    (VanillaSAE, {"n_latents": 8, "sparsity": [0.02, 0.3]}, [{"sparsity": 0.02}, {"sparsity": 0.3}]),
    (JumpReLUSAE, {"n_latents": 8, "sparsity": [0.01, 0.1]}, [{"sparsity": 0.01}, {"sparsity": 0.1}]),
    (GatedSAE, {"n_latents": 8, "sparsity": [0.05, 0.5]}, [{"sparsity": 0.05}, {"sparsity": 0.5}]),
]


@pytest.mark.parametrize(("model_class", "swept", "alone"), SWEEPS)
def test_an_instance_learns_in_a_sweep_what_it_learns_alone(model_class, swept, alone, planted, monitor) -> None:
    data = planted[0]

    def fitted(settings: dict[str, Any]) -> Any:
        model = model_class(parse(model_class.config_class, {**SHARED, **settings}))
        model.fit(data, validation=None, monitor=monitor)
        return model.transform(data).main, model.dictionary().values

    together, atoms = fitted({**swept, "seeds": [5, 6]})
    for instance, own in enumerate(alone):
        space, one = fitted({**swept, **own, "seeds": [5 + instance]})
        np.testing.assert_allclose(atoms[instance], one[0], atol=2e-4)
        for level in range(space.n_levels):
            np.testing.assert_allclose(together.dense(instance, level=level), space.dense(level=level), atol=2e-3)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"lr": [1e-3]}, "lr lists 1 values for 2 seeds; expected one for each"),
        ({"lr": []}, "lr lists 0 values for 2 seeds"),
        ({"lr": [1e-3, 0.0]}, "lr: expected above 0"),
        ({"lr": "quick"}, "lr.number: Input should be a valid number, found 'quick'"),
        ({"levels": {"8": [1, 2, 3]}}, "levels lists 3 values for 2 seeds"),
        ({"levels": {"8": [1, 9]}}, "level of 8 latents with k 9"),
        ({"levels": {"8": 2}, "level_weights": [[1.0]]}, "level_weights lists 1 values for 2 seeds"),
        ({"levels": {"8": 2}, "level_weights": [[1.0, 0.0]]}, "level_weights must not be negative and not all zero"),
    ],
)
def test_lists_that_do_not_fit_the_instances_are_refused(settings, complaint) -> None:
    with pytest.raises(ConfigError, match=complaint.replace("[", r"\[")):
        parse(MatryoshkaSAE.config_class, {"seeds": [0, 1], **settings})


def test_top_k_takes_whole_numbers() -> None:
    with pytest.raises(ConfigError, match="whole numbers"):
        parse(TopKConfig, {"k": 1.5})


def test_sixty_four_instances_are_trained_together_and_differ(planted, monitor) -> None:
    data = planted[0]
    model = MatryoshkaSAE(
        parse(MatryoshkaSAE.config_class, {"levels": {"6": 2}, "seeds": list(range(64)), "epochs": 1})
    )
    model.fit(data, validation=None, monitor=monitor)
    atoms = model.dictionary().values
    assert atoms.shape == (64, 6, 20)
    assert len({row.tobytes() for row in atoms}) == 64
