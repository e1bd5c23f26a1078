"""Discovery keeps broken plugins apart, never overrides, and names the nearest provider."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nldisco_core import plugins
from nldisco_core.errors import ConfigError, PluginLoadError, PluginNotFound
from nldisco_core.hookspecs import hookimpl
from nldisco_core.plugins import PluginRecord, Registry, discover
from nldisco_core.providers import Preset, Provider, load_target

OWN = {"datasets", "files", "nwb", "sae", "baselines", "selectivity", "spatial", "decoding", "explorer", "report"}
HEAD = "from nldisco_core.hookspecs import hookimpl\nfrom nldisco_core.providers import Preset, Provider\n"
GOOD = f"""{HEAD}
@hookimpl
def nldisco_latent_models():
    yield Provider(name="stranger", target="stranger_plugin:Stranger", summary="A stranger's model.")

class Stranger:
    pass
"""
BROKEN = {
    "missing_import": ("import no_such_package_anywhere\n", "ModuleNotFoundError: No module named 'no_such_package"),
    "exit_at_import": ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
    "wrong_argument": (
        f"{HEAD}\n@hookimpl\ndef nldisco_latent_models(models):\n    return []\n",
        "PluginValidationError: Plugin 'wrong_argument' for hook 'nldisco_latent_models'",
    ),
    "misspelled_hook": (
        f"{HEAD}\n@hookimpl\ndef nldisco_latent_model():\n    return []\n",
        "PluginValidationError: unknown hook 'nldisco_latent_model' in plugin",
    ),
    "raising_hook": (
        f"{HEAD}\n@hookimpl\ndef nldisco_mappers():\n    raise RuntimeError('no licence')\n",
        "RuntimeError: no licence",
    ),
    "taken_name": (
        f"{HEAD}\n@hookimpl\ndef nldisco_latent_models():\n"
        "    yield Provider(name='fresh', target='a:B', summary='')\n"
        "    yield Provider(name='pca', target='a:B', summary='')\n",
        "DuplicateProvider: model 'pca' is already offered by plugin 'baselines'; rename one",
    ),
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on `sys.path` in which distributions can be installed; modules imported from it are forgotten."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("NLDISCO_PLUGINS", raising=False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def install(site: Path, name: str, code: str) -> None:
    """What `pip install` leaves of a distribution ``dist-NAME`` with one plugin module and its entry point."""
    (site / f"{name}_plugin.py").write_text(code, encoding="utf-8")
    about = site / f"dist_{name}-2.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 2.5\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[nldisco]\n{name} = {name}_plugin\n", encoding="utf-8")
    importlib.invalidate_caches()


def records(found: Registry) -> dict[str, PluginRecord]:
    return {record.name: record for record in found.plugins}


def test_own_plugins_load_first_and_all_work() -> None:
    found = discover()
    own = [record.name for record in found.plugins if record.distribution == "nldisco-core"]
    assert set(own) == OWN
    assert [record.name for record in found.plugins][: len(own)] == own
    assert [record.reason for record in found.plugins if record.name in OWN] == [None] * len(OWN)


def test_a_strangers_plugin_comes_through_the_same_door(site: Path) -> None:
    install(site, "stranger", GOOD)
    found = discover()
    record = records(found)["stranger"]
    assert (record.distribution, record.version, record.state) == ("dist-stranger", "2.5", "ok")
    assert found.listed("model", "stranger").load().__name__ == "Stranger"
    assert found.listed("model", "stranger").plugin.distribution == "dist-stranger"
    assert [record.name for record in found.plugins][-1] == "stranger"


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_one_broken_record_and_nothing_else(site: Path, kind: str) -> None:
    code, reason = BROKEN[kind]
    before = discover()
    install(site, kind, code)
    install(site, "stranger", GOOD)
    found = discover()
    broken = [record for record in found.plugins if record.reason is not None]
    assert [(record.name, record.distribution, record.version) for record in broken] == [(kind, f"dist-{kind}", "2.5")]
    assert broken[0].state.startswith(f"BROKEN {reason}")
    assert "\n" not in broken[0].state
    assert found.providers()[: len(before.providers())] == before.providers()
    assert {(listed.kind, listed.name) for listed in found.providers()[len(before.providers()) :]} == {
        ("model", "stranger")
    }


def test_all_six_broken_plugins_at_once_leave_the_others_working(site: Path) -> None:
    before = discover()
    for kind, (code, _) in BROKEN.items():
        install(site, kind, code)
    found = discover()
    assert {name for name, record in records(found).items() if record.reason is not None} == set(BROKEN)
    assert found.providers() == before.providers()
    with pytest.raises(PluginNotFound, match=", ".join(sorted(BROKEN))):
        found.listed("model", "fresh")


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_one_broken_record(tmp_path: Path, kind: str) -> None:
    code, _ = BROKEN[kind]
    path = tmp_path / f"{kind}.py"
    path.write_text(code, encoding="utf-8")
    found = discover(files=[path])
    broken = [record for record in found.plugins if record.reason is not None]
    assert [(record.name, record.distribution) for record in broken] == [(kind, str(path))]
    assert found.providers() == discover().providers()


def test_a_file_becomes_a_plugin_whose_targets_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stranger_plugin.py"
    path.write_text(GOOD, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "stranger_plugin", raising=False)
    found = discover(only=(), files=[path])
    monkeypatch.setitem(sys.modules, "stranger_plugin", sys.modules["stranger_plugin"])
    assert [record.name for record in found.plugins] == ["stranger_plugin"]
    assert found.listed("model", "stranger").load().__module__ == "stranger_plugin"


def test_a_missing_file_is_a_broken_record(tmp_path: Path) -> None:
    found = discover(only=(), files=[tmp_path / "absent.py"])
    assert [record.state for record in found.plugins] == [
        f"BROKEN FileNotFoundError: {tmp_path / 'absent.py'} is not a Python file"
    ]


def test_a_second_plugin_of_one_name_is_broken_and_the_first_stays() -> None:
    class Empty:
        pass

    found = Registry()
    found.add("twice", Empty(), distribution="first", version="1")
    found.add("twice", Empty(), distribution="second", version="1")
    assert [(record.name, record.reason is None) for record in found.plugins] == [
        ("twice", True),
        ("twice (second)", False),
    ]


def test_a_hook_that_gives_other_things_than_providers_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "gives_text.py"
    path.write_text(f"{HEAD}\n@hookimpl\ndef nldisco_views():\n    return ['view']\n", encoding="utf-8")
    found = discover(only=(), files=[path])
    assert found.plugins[0].state == "BROKEN TypeError: nldisco_views gave 'view'; expected Provider records"


def test_one_name_may_be_used_once_per_kind(tmp_path: Path) -> None:
    path = tmp_path / "one_name.py"
    hooks = "\n".join(
        f"@hookimpl\ndef {hook}():\n    yield Provider(name='same', target='a:B', summary='')\n"
        for hook in ("nldisco_datasets", "nldisco_mappers")
    )
    path.write_text(f"{HEAD}\n{hooks}", encoding="utf-8")
    found = discover(only=(), files=[path])
    assert [(listed.kind, listed.name) for listed in found.providers()] == [("dataset", "same"), ("mapper", "same")]


def test_the_environment_restricts_which_plugins_load(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "stranger", GOOD)
    monkeypatch.setenv("NLDISCO_PLUGINS", " baselines, stranger ,")
    assert [record.name for record in discover().plugins] == ["baselines", "stranger"]
    monkeypatch.setenv("NLDISCO_PLUGINS", "")
    assert discover().plugins == ()
    assert [record.name for record in discover(only=["nwb"]).plugins] == ["nwb"]


def test_a_plugin_left_out_is_never_imported(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "exit_at_import", BROKEN["exit_at_import"][0])
    monkeypatch.setenv("NLDISCO_PLUGINS", "baselines")
    assert [record.reason for record in discover().plugins] == [None]


def test_an_unknown_provider_names_the_nearest() -> None:
    with pytest.raises(PluginNotFound, match=r"unknown latent model 'matrioshka-sae'; did you mean 'matryoshka-sae'"):
        discover().listed("model", "matrioshka-sae")
    with pytest.raises(PluginNotFound, match=r"unknown dataset 'pca'"):
        discover().listed("dataset", "pca")


def test_a_command_hook_that_raises_breaks_its_plugin_alone(tmp_path: Path) -> None:
    hooks = {
        "raises": "raise OSError('no terminal')",
        "quits": "raise SystemExit(2)",
        "works": "cli.command('greet')(lambda: print('hello'))",
    }
    paths = [tmp_path / f"command_{name}.py" for name in hooks]
    for path, body in zip(paths, hooks.values(), strict=True):
        path.write_text(f"{HEAD}\n@hookimpl\ndef nldisco_commands(cli):\n    {body}\n", encoding="utf-8")
    found = discover(only=(), files=paths)
    assert [record.reason for record in found.plugins] == [None] * 3

    cli = click.Group("nldisco")
    found.add_commands(cli)
    assert {name: record.reason for name, record in records(found).items()} == {
        "command_raises": "OSError: no terminal",
        "command_quits": "SystemExit: 2",
        "command_works": None,
    }
    assert CliRunner().invoke(cli, ["greet"]).output == "hello\n"


def test_code_that_cannot_be_imported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "target_exits.py").write_text("raise SystemExit('gone')", encoding="utf-8")
    for target, reason in {
        "target_exits:Model": "target_exits cannot be imported: SystemExit: gone",
        "no_such_module:Model": "no_such_module cannot be imported: ModuleNotFoundError",
        "json:Model": "json has no 'Model'",
        "json": "target 'json' is not of the form 'module:attribute'",
    }.items():
        with pytest.raises(PluginLoadError, match=reason):
            load_target(target)


def test_making_a_provider_checks_its_settings() -> None:
    listed = plugins.Listed(
        kind="dataset",
        provider=Provider(name="plain", target="builtins:object", summary=""),
        plugin=PluginRecord(name="p", distribution="d", version="1"),
    )
    assert type(listed.make()) is object
    with pytest.raises(ConfigError, match="dataset 'plain' takes no settings; got path"):
        listed.make({"path": "x"})
    with_config = plugins.Listed(
        kind="dataset",
        provider=Provider(name="binned", target="builtins:list", config="nldisco_core.config:BinConfig", summary=""),
        plugin=listed.plugin,
    )
    with pytest.raises(ConfigError, match=r"dataset 'binned': unknown key 'bin_z'; did you mean 'bin_s'"):
        with_config.make({"bin_z": 0.1})


def test_a_preset_is_read_from_its_package_when_asked() -> None:
    preset = Preset(name="quick", source="nldisco_core:no-such.toml", summary="")
    with pytest.raises(PluginLoadError, match=r"preset 'quick': cannot read nldisco_core:no-such.toml"):
        preset.text()
    listed = plugins.Listed(
        kind="preset", provider=preset, plugin=PluginRecord(name="p", distribution="d", version="1")
    )
    with pytest.raises(PluginLoadError, match="is a preset and has no class"):
        listed.load()
    assert listed.load_config() is None


def test_the_plugins_of_the_process_can_be_chosen() -> None:
    mine = Registry()
    plugins.use(mine)
    try:
        assert plugins.registry() is mine
        with pytest.raises(PluginNotFound, match="Known: none"):
            plugins.get("mapper", "selectivity")
    finally:
        plugins.use(None)
    assert plugins.registry() is plugins.registry()
    assert {record.name for record in plugins.registry().plugins} >= OWN


def test_a_plugin_cannot_take_the_name_of_a_command_that_is_there(tmp_path: Path) -> None:
    import click

    (tmp_path / "taker.py").write_text(
        "import click\n"
        "from nldisco_core.hookspecs import hookimpl\n"
        "@hookimpl\n"
        "def nldisco_commands(cli):\n"
        "    cli.add_command(click.Command('mine'))\n"
        "    cli.add_command(click.Command('run'))\n"
    )
    found = plugins.discover(only=[], files=[tmp_path / "taker.py"])
    own = click.Command("run")
    group = click.Group(commands={"run": own})
    found.add_commands(group)
    assert group.commands == {"run": own}
    (record,) = found.plugins
    assert "command run is already there" in str(record.reason)


@pytest.mark.parametrize("name", ["../evil", "my.mapper", "Mine", "", "model", "a b"])
def test_names_that_cannot_be_folders_of_a_run_are_refused(name: str) -> None:
    class Plugin:
        @hookimpl
        def nldisco_mappers(self) -> list[Provider]:
            return [Provider(name=name, target="m:M", summary="")]

    found = plugins.discover(only=[])
    found.add("odd", Plugin(), distribution="odd", version="1")
    assert found.providers() == ()
    assert "expected small letters" in str(found.plugins[0].reason)
