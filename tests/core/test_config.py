"""Configurations take TOML as it is written, coerce nothing, and name what is wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from nldisco_core.config import (
    BinConfig,
    Config,
    ModelConfig,
    PreprocessConfig,
    RunConfig,
    SplitConfig,
    merge,
    parse,
    parse_assignments,
    read_toml,
)
from nldisco_core.errors import ConfigError


class Nested(ModelConfig):
    """A model's configuration with the types that strict mode refuses in Python objects."""

    levels: dict[int, int] = Field(default={8: 1})
    file: Path | None = None
    bins: BinConfig = BinConfig()


def test_toml_lists_integer_keys_and_paths_are_read_in_strict_mode() -> None:
    written = tomllib.loads('seeds = [3, 4]\nfile = "a/b.nwb"\nlevels = {8 = 1, 16 = 2}\nbins = {bin_s = 0.1}')
    config = parse(Nested, written)
    assert config.seeds == (3, 4)
    assert config.levels == {8: 1, 16: 2}
    assert config.file == Path("a/b.nwb")
    assert config.bins.bin_s == 0.1


def test_a_configuration_survives_being_written_and_read() -> None:
    config = parse(Nested, {"seeds": [1, 2], "levels": {"4": 1}, "file": "x"})
    assert parse(Nested, config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"seedz": [1]}, "latent model 'x': unknown key 'seedz'; did you mean 'seeds'"),
        ({"bins": {"binz_s": 1}}, "unknown key 'binz_s'; did you mean 'bin_s'"),
        ({"seeds": ["1"]}, r"seeds.0: .*valid integer, found '1'"),
        ({"seeds": []}, r"seeds: .*at least 1 item"),
        ({"levels": {"8": 1.5}}, r"levels.8: .*valid integer, found 1.5"),
        ({"bins": {"bin_s": 0}}, r"bins.bin_s: .*greater than 0, found 0"),
        ({"bins": {"bin_s": float("inf")}}, r"bins.bin_s: .*finite number"),
        ({"bins": {"bin_s": "0.1"}}, r"bins.bin_s: .*valid number, found '0.1'"),
        ({"bins": {"only_trials": 1}}, r"bins.only_trials: .*valid boolean, found 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_found(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse(Nested, values, where="latent model 'x'")


def test_all_mistakes_are_named_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(BinConfig, {"bin_s": -1, "epok": "wake"})
    assert "bin_s" in str(caught.value)
    assert "did you mean 'epoch'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_configurations_are_frozen() -> None:
    config = BinConfig()
    with pytest.raises(ValidationError):
        config.bin_s = 1.0


def test_shares_of_a_split_must_add_up_to_one() -> None:
    assert SplitConfig(train=0.5, validation=0.25, test=0.25).train == 0.5
    with pytest.raises(ConfigError, match=r"train \+ validation \+ test is 0.9; expected 1"):
        parse(SplitConfig, {"train": 0.6})


def test_a_run_needs_a_dataset_and_a_model_by_name() -> None:
    config = parse(RunConfig, {"dataset": {"name": "toy", "n_units": 3}, "model": {"name": "pca"}})
    assert config.dataset == {"name": "toy", "n_units": 3}
    assert config.preprocess == PreprocessConfig()
    with pytest.raises(ConfigError, match=r"model\.name is missing"):
        parse(RunConfig, {"dataset": {"name": "toy"}, "model": {"k": 3}})
    with pytest.raises(ConfigError, match="dataset is missing"):
        parse(RunConfig, {"model": {"name": "pca"}})


def test_a_model_without_a_size_of_its_own_is_matched_as_it_is() -> None:
    config = ModelConfig(seeds=(5,))
    assert config.matched(reference=ModelConfig(), n_latents=3, l0=1.0, n_units=9) is config


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("3", 3),
        ("true", True),
        ("wake", "wake"),
        ('"3"', "3"),
        ("[1, 2]", [1, 2]),
        ("{8=1, 16=2}", {"8": 1, "16": 2}),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_flag_is_toml_and_bare_words_are_text(text: str, value: object) -> None:
    assert parse_assignments([f"model.x={text}"]) == {"model": {"x": value}}


def test_later_flags_win_and_tables_are_merged() -> None:
    assert parse_assignments(["a.b=1", "a.c=2", "a.b=3", "a.d.e=4"]) == {"a": {"b": 3, "c": 2, "d": {"e": 4}}}


@pytest.mark.parametrize("flag", ["model.lr", "=3", "model..lr=1", ""])
def test_a_flag_without_key_and_value_is_refused(flag: str) -> None:
    with pytest.raises(ConfigError, match=r"is not of the form key\.sub=value"):
        parse_assignments([flag])


tables = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3), max_leaves=8
).filter(lambda value: isinstance(value, dict))


def leaves(table: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    if not isinstance(table, dict):
        return {path: table}
    found: dict[tuple[str, ...], object] = {}
    for key, value in table.items():
        found |= leaves(value, (*path, key))
    return found


@given(below=tables, above=tables)
def test_merging_keeps_all_of_above_and_what_it_leaves_of_below(
    below: dict[str, object], above: dict[str, object]
) -> None:
    untouched = (repr(below), repr(above))
    merged = leaves(merge(below, above))
    assert (repr(below), repr(above)) == untouched
    over = leaves(above)
    assert over.items() <= merged.items()
    for path, value in leaves(below).items():
        hidden = any(path[: len(other)] == other or other[: len(path)] == path for other in over)
        assert hidden or merged[path] == value


def test_a_missing_or_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml does not exist"):
        read_toml(tmp_path / "absent.toml")
    (tmp_path / "broken.toml").write_text("[model]\nname = \n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.toml: .*line 2"):
        read_toml(tmp_path / "broken.toml")
    with pytest.raises(ConfigError, match="config file"):
        read_toml(tmp_path)
    (tmp_path / "good.toml").write_text("[bin]\nbin_s = 0.1\n", encoding="utf-8")
    assert read_toml(tmp_path / "good.toml") == {"bin": {"bin_s": 0.1}}


def test_strict_configs_refuse_what_toml_cannot_mean() -> None:
    with pytest.raises(ConfigError, match="configuration: "):
        parse(Config, {"a": 1})
    with pytest.raises(ConfigError, match=r"bins: .*found 3"):
        parse(Nested, {"bins": 3})
