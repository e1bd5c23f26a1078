from __future__ import annotations

import json
from typing import Annotated, Literal

import pytest
from click.testing import CliRunner
from pydantic import Field

from nldisco_core.cli import cli
from nldisco_core.config import Config
from nldisco_core.plugins import registry
from nldisco_core.settings import settings_of


class Base(Config):
    """A base.

    Attributes
    ----------
    first, second : what both mean, over
        two lines
    """

    first: int = 1
    second: Literal["a", "b"] = "a"


class Derived(Base):
    """A configuration without a section."""

    third: dict[int, Annotated[float, Field(gt=0)] | tuple[float, ...]] | None
    fourth: tuple[str, ...] = Field(default_factory=lambda: ("x",))


def test_settings_have_the_types_defaults_and_meanings_that_the_classes_state() -> None:
    rows = [(s.key, s.kind, s.default, s.meaning) for s in settings_of(Derived)]
    assert rows == [
        ("first", "int", "1", "what both mean, over two lines"),
        ("second", "'a' | 'b'", "'a'", "what both mean, over two lines"),
        ("third", "dict[int, float | tuple[float, ...]] | None", "required", ""),
        ("fourth", "tuple[str, ...]", "('x',)", ""),
    ]


@pytest.mark.parametrize("listed", [p for p in registry().providers() if p.kind != "preset"], ids=lambda p: p.name)
def test_every_provider_prints_all_of_its_settings(listed) -> None:
    config_class = listed.load_config()
    known = [] if config_class is None else list(config_class.model_fields)
    printed = CliRunner().invoke(cli, ["plugins", listed.name, "--json"], catch_exceptions=False).output
    if listed.name not in {record.name for record in registry().plugins}:
        assert [row["key"] for row in json.loads(printed)] == known
    shown = CliRunner().invoke(cli, ["plugins", listed.name], catch_exceptions=False).output
    assert listed.provider.summary in shown
