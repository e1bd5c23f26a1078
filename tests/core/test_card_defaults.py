"""Settings that a dataset's card suggests, and how they meet those of a run."""

from __future__ import annotations

from nldisco_core.composition import compose, plan
from nldisco_core.config import parse_assignments

DATASET = "place-cells-1d"


def test_a_plain_run_takes_the_settings_of_the_card_for_its_model() -> None:
    made = plan(compose(dataset=DATASET, model="matryoshka-sae"))
    assert made.config.bin.bin_s == 0.1
    assert made.config.model["levels"] == {"128": 4}
    assert made.model()[1].epochs == 20  # type: ignore[attr-defined]


def test_another_model_takes_none_of_them() -> None:
    assert compose(dataset=DATASET, model="pca").model == {"name": "pca"}


def test_levels_that_are_set_replace_those_of_the_card() -> None:
    config = compose(dataset=DATASET, model="matryoshka-sae", assignments=["model.levels={16=2}"])
    assert config.model["levels"] == parse_assignments(["levels={16=2}"])["levels"]
    assert config.model["epochs"] == 20
