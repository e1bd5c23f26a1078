"""The sparsifier that docs/how-to shows is a whole model."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nldisco_core.config import parse
from nldisco_core.conformance.models import check_model

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "train-a-sparse-autoencoder.md"


@pytest.fixture
def soft(monkeypatch: pytest.MonkeyPatch) -> Any:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("mypackage.soft")
    monkeypatch.setitem(sys.modules, "mypackage", ModuleType("mypackage"))
    monkeypatch.setitem(sys.modules, "mypackage.soft", module)
    exec(block, vars(module))
    return module


def test_a_plugins_sparsifier_is_trained_and_passes_the_conformance_checks(soft) -> None:
    def make(settings):
        return soft.SoftSAE(parse(soft.SoftConfig, {"n_latents": 5, "epochs": 2, "batch_size": 64, **settings}))

    reason = {"save_and_load_in_a_fresh_process": "the module exists in this process alone"}
    failed = {result.name: result.reason for result in check_model(make, expected_failures=reason) if not result.passed}
    assert not failed
