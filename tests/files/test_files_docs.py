"""What the how-to pages say of layouts is what a layout takes."""

from __future__ import annotations

import doctest
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from nldisco_files.config import Layout

from nldisco_core.config import RunConfig, parse

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PAGE, FORMATS = HOW_TO / "use-your-own-recording.md", HOW_TO / "file-formats.md"
BLOCKS = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", BLOCKS)
def test_every_example_is_a_layout_or_a_configuration(text: str) -> None:
    held = tomllib.loads(text)
    parse(RunConfig if "dataset" in held else Layout, held)


def test_the_page_of_formats_names_every_key() -> None:
    table = FORMATS.read_text(encoding="utf-8").split("## Keys of a layout")[1].split("\n## ")[0]
    first_column = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
    named = {re.split(r"[.\]]", word.strip("["))[0] for word in re.findall(r"`([^`]+)`", first_column)}
    missing = set(Layout.model_fields) - named - {"units_first", "physical_unit"}
    assert missing == set()
    assert "units_first" in table
    assert named <= set(Layout.model_fields)


@pytest.mark.parametrize("module", ["kinds", "memory", "stretches"])
def test_examples_in_docstrings_hold(module: str) -> None:
    found = doctest.testmod(import_module(f"nldisco_files.{module}"))
    assert found.attempted
    assert not found.failed


def test_the_example_in_memory_runs() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    namespace: dict[str, object] = {}
    exec(compile(code, PAGE.name, "exec"), namespace)
    assert namespace["session"].n_units == 2  # type: ignore[attr-defined]  # whatever the page made
