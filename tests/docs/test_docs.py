"""What the docs say is so."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest

from nldisco_core import hookspecs
from nldisco_core.cli import cli
from nldisco_core.errors import NLDiscoError
from nldisco_core.plugins import registry

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def _blocks(language: str) -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for found, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            if found == language:
                indent = len(text) - len(text.lstrip(" "))
                yield page, "\n".join(line[indent:] for line in text.splitlines())


def test_the_hook_list_is_that_of_the_code() -> None:
    text = (REPOSITORY / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(nldisco_\w+)\(", text))
    assert documented == {name for name in vars(hookspecs) if name.startswith("nldisco_")}


def test_python_blocks_parse_and_import_what_there_is() -> None:
    blocks = list(_blocks("python"))
    assert blocks
    for page, text in blocks:
        for node in ast.walk(ast.parse(text, filename=str(page))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("nldisco_core"):
                module = __import__(node.module, fromlist=["*"])
                for name in node.names:
                    assert hasattr(module, name.name), f"{page}: {node.module} has no {name.name}"


def test_toml_blocks_parse() -> None:
    blocks = list(_blocks("toml"))
    assert blocks
    for _, text in blocks:
        tomllib.loads(text)


def _command_lines() -> Iterator[tuple[Path, list[str]]]:
    for page, text in _blocks("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["nldisco"]:
                yield page, words[1:]


def test_command_lines_name_commands_and_options_that_exist() -> None:
    lines = list(_command_lines())
    assert lines
    for page, words in lines:
        command: click.Command = cli
        context = click.Context(cli, info_name="nldisco")
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            found = command.get_command(context, words[0])
            if found is None:
                break
            command, words = found, words[1:]
        options = {option for parameter in command.params for option in parameter.opts}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in {*options, "--help"}, f"{page}: {command.name} has no {word}"


def test_command_lines_name_providers_that_exist() -> None:
    kinds = {
        "--dataset": "dataset",
        "--model": "model",
        "--mapper": "mapper",
        "--control": "model",
        "--preset": "preset",
    }
    for page, words in _command_lines():
        for option, value in pairwise(words):
            if option in kinds and value != "mine":
                try:
                    registry().listed(kinds[option], value)  # type: ignore[arg-type]  # one of the five kinds
                except NLDiscoError as error:
                    pytest.fail(f"{page}: {error}")


def test_relative_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize(
    "command",
    [
        *("run", "map", "export", "runs", "serve", "demo", "datasets", "plugins", "check"),
        *("plan", "open", "report", "figures"),
    ],
)
def test_every_command_and_option_explains_itself(command: str) -> None:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    assert found.help
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{command} {parameter.opts}"


def test_the_tutorial_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for page, text in _blocks("python"):
        if page.name == "tutorial.md":
            exec(compile(text, str(page), "exec"), namespace)
    assert list((tmp_path / "runs").glob("*/run.json"))
